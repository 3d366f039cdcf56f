// Mouse, pen and fingers on the graph: drag to pan, wheel or two fingers to zoom, tap to choose.

const STILL = 4; // A hand which moves so many pixels or less has tapped.

/**
 * Tells of gestures on an element: `zoom(factor, x, y)`, `pan(x, y)`, `tap(x, y)`, `hover(x,
 * y)` or `hover(null)`.
 */
export function gestures(target, { zoom, pan, tap, hover }) {
  const down = new Map();
  let travel = 0;

  const moved = ({ pointerId, offsetX: x, offsetY: y }) => {
    const before = down.get(pointerId);
    if (!before) return hover(x, y);
    const other = [...down].find(([id]) => id !== pointerId)?.[1];
    if (other) {
      const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
      zoom(apart({ x, y }) / apart(before), other.x, other.y);
    } else {
      travel += Math.abs(x - before.x) + Math.abs(y - before.y);
      if (travel <= STILL) return undefined;
      target.classList.add("is-panning");
      pan(x - before.x, y - before.y);
    }
    return down.set(pointerId, { x, y });
  };

  const up = (event) => {
    target.classList.remove("is-panning");
    const known = down.delete(event.pointerId);
    if (known && travel <= STILL && event.type === "pointerup") tap(event.offsetX, event.offsetY);
  };

  const wheel = (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.0018; // A trackpad's pinch comes as a wheel with Ctrl.
    zoom(Math.exp(-event.deltaY * lines * speed), event.offsetX, event.offsetY);
  };

  target.addEventListener("wheel", wheel, { passive: false });
  target.addEventListener("pointerdown", (event) => {
    target.setPointerCapture(event.pointerId);
    down.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    travel = down.size > 1 ? Infinity : 0;
  });
  target.addEventListener("pointermove", moved);
  target.addEventListener("pointerup", up);
  target.addEventListener("pointercancel", up);
  target.addEventListener("pointerleave", () => hover(null));
  target.addEventListener("dblclick", (event) => zoom(1.8, event.offsetX, event.offsetY));
}
