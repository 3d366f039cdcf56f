// Draws a laid-out graph on a canvas: what is in view, in the detail which its size allows.

import { HEIGHT } from "./layout.js";
import { drawMarks } from "./marks.js";
import { drawIcon } from "./status.js";
import { nextNode } from "./walk.js";

const DETAIL = 0.55; // From this scale on a second line is readable,
const NAMES = 0.24; // and from this one a name.
const EDGES_AT_ONCE = 400;
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif';

/** Colours as the style sheet has them for the theme. */
export function readColours() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const statuses = [
    "pending",
    "blocked",
    "executing",
    "succeeded",
    "failed",
    "retrying",
    "cancelled",
  ];
  return {
    ...Object.fromEntries(statuses.map((status) => [status, colour(`status-${status}`)])),
    sign: colour("sign"),
    node: colour("surface"),
    border: colour("border-strong"),
    text: colour("text"),
    muted: colour("text-muted"),
    edge: colour("edge"),
    accent: colour("accent"),
  };
}

export class Scene {
  /**
   * `names` are the nodes' names, `types` their second lines, `edges` pairs of indexes,
   * `laid` from `layout`.
   */
  constructor(names, types, edges, laid) {
    Object.assign(this, { names, types, edges, laid });
    this.boxes = laid.routes.map(bounds);
    this.labels = new Array(names.length);
    this.incident = names.map(() => []);
    edges.forEach(([from, to], index) => {
      this.incident[from].push(index);
      this.incident[to].push(index);
    });
  }

  /** The node at a point of the graph, or -1. */
  at(x, y, slack = 0) {
    const { laid } = this;
    for (let node = laid.x.length - 1; node >= 0; node -= 1) {
      const inside =
        x >= laid.x[node] - slack &&
        x <= laid.x[node] + laid.widths[node] + slack &&
        y >= laid.y[node] - slack &&
        y <= laid.y[node] + HEIGHT + slack;
      if (inside) return node;
    }
    return -1;
  }

  /**
   * The next node in a direction, or -1: where an edge leads if it leads there, else the
   * nearest.
   */
  next(from, dx, dy) {
    return from < 0 ? 0 : nextNode(this, from, dx, dy);
  }

  /**
   * `view` is `{x, y, scale, width, height, ratio}`; `look` gives `statusOf(node)`,
   * `second(node)`, `faded(node)`, `selected`
   * and `hovered`.
   */
  draw(context, view, colours, look) {
    const { scale, ratio } = view;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * view.x, ratio * view.y);
    const seen = {
      left: -view.x / scale,
      top: -view.y / scale,
      right: (view.width - view.x) / scale,
      bottom: (view.height - view.y) / scale,
    };
    this.#edges(context, scale, seen, colours, look);
    const nodes = this.#inView(seen);
    if (scale < NAMES) drawMarks(context, scale, this.laid, nodes, colours, look);
    else this.#boxes(context, scale, nodes, colours, look);
    return nodes.length;
  }

  #inView({ left, top, right, bottom }) {
    const { x, y, widths } = this.laid;
    const nodes = [];
    for (let node = 0; node < x.length; node += 1) {
      if (
        x[node] <= right &&
        x[node] + widths[node] >= left &&
        y[node] <= bottom &&
        y[node] + HEIGHT >= top
      ) {
        nodes.push(node);
      }
    }
    return nodes;
  }

  #edges(context, scale, seen, colours, { selected, hovered }) {
    const straight = scale < NAMES;
    context.strokeStyle = colours.edge;
    context.lineWidth = Math.max(straight ? 0.4 : 1, 1.3 * scale) / scale;
    context.globalAlpha = straight && this.edges.length > 2000 ? 0.45 : 1;
    let drawn = 0;
    context.beginPath();
    for (let edge = 0; edge < this.boxes.length; edge += 1) {
      const box = this.boxes[edge];
      if (box[0] > seen.right || box[2] < seen.left || box[1] > seen.bottom || box[3] < seen.top)
        continue;
      trace(context, this.laid.routes[edge], straight, this.laid.vertical);
      drawn += 1;
      // One long path costs more than several short ones: the rasteriser looks for
      // crossings in each.
      if (drawn % EDGES_AT_ONCE === 0) {
        context.stroke();
        context.beginPath();
      }
    }
    context.stroke();
    context.globalAlpha = 1;
    const told = new Set([selected, hovered].flatMap((node) => this.incident[node] ?? []));
    if (told.size === 0) return;
    context.strokeStyle = colours.accent;
    context.lineWidth = Math.max(1.2, 1.8 * scale) / scale;
    context.beginPath();
    for (const edge of told) trace(context, this.laid.routes[edge], false, this.laid.vertical);
    context.stroke();
  }

  #boxes(context, scale, nodes, colours, { statusOf, second, faded, selected, hovered }) {
    const { x, y, widths } = this.laid;
    const detail = scale >= DETAIL;
    context.textBaseline = "middle";
    for (const node of nodes) {
      const status = statusOf(node);
      const [left, top, width] = [x[node], y[node], widths[node]];
      context.globalAlpha = faded(node) ? 0.25 : 1;
      context.fillStyle = colours.node;
      context.beginPath();
      context.roundRect(left, top, width, HEIGHT, 7);
      context.fill();
      context.strokeStyle =
        node === hovered ? colours.muted : status === "pending" ? colours.border : colours[status];
      context.lineWidth = status === "pending" ? 1 : 1.4;
      if (status === "pending" || status === "blocked") context.setLineDash([4, 3]);
      context.stroke();
      context.setLineDash([]);
      drawIcon(context, status, left + 11, top + (HEIGHT - 16) / 2, 16, colours);
      const label = (this.labels[node] ??= this.#label(context, node));
      context.fillStyle = colours.text;
      context.font = `600 13px ${FONT}`;
      context.fillText(label.name, left + 36, top + (detail ? 15 : HEIGHT / 2));
      if (detail) {
        context.font = `11px ${FONT}`;
        context.fillStyle = colours.muted;
        context.fillText(label.type, left + 36, top + 31);
        const time = second(node);
        if (time) {
          context.textAlign = "right";
          context.fillStyle = colours[status];
          context.fillText(time, left + width - 10, top + 31);
          context.textAlign = "left";
        }
      }
      if (node === selected) {
        context.globalAlpha = 1;
        context.strokeStyle = colours.accent;
        context.lineWidth = 2.5;
        context.beginPath();
        context.roundRect(left - 4, top - 4, width + 8, HEIGHT + 8, 10);
        context.stroke();
      }
    }
    context.globalAlpha = 1;
  }

  #label(context, node) {
    const room = this.laid.widths[node] - 46;
    context.font = `600 13px ${FONT}`;
    const name = fitted(context, this.names[node], room);
    context.font = `11px ${FONT}`;
    return { name, type: fitted(context, this.types[node], room - 58) };
  }
}

/** Text cut to a width in pixels, with an ellipsis. */
function fitted(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let [fits, not] = [0, text.length];
  while (not - fits > 1) {
    const half = (fits + not) >> 1;
    if (context.measureText(`${text.slice(0, half)}…`).width <= room) fits = half;
    else not = half;
  }
  return `${text.slice(0, fits)}…`;
}

/**
 * About how wide a node must be for its name and type, without asking a canvas ten thousand
 * times.
 */
export const widthFor = (name, type) =>
  Math.round(
    Math.min(260, Math.max(132, 56 + Math.max(name.length * 7.6, type.length * 6.2 + 58))),
  );

function bounds(route) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let at = 0; at < route.length; at += 2) {
    left = Math.min(left, route[at]);
    right = Math.max(right, route[at]);
    top = Math.min(top, route[at + 1]);
    bottom = Math.max(bottom, route[at + 1]);
  }
  return [left, top, right, bottom];
}

function trace(context, route, straight, vertical) {
  context.moveTo(route[0], route[1]);
  for (let at = 2; at < route.length; at += 2) {
    const [fromX, fromY, toX, toY] = [route[at - 2], route[at - 1], route[at], route[at + 1]];
    if (straight || fromY === toY || fromX === toX || (at / 2) % 2 === 0) context.lineTo(toX, toY);
    else if (vertical) {
      const middle = (fromY + toY) / 2;
      context.bezierCurveTo(fromX, middle, toX, middle, toX, toY);
    } else {
      const middle = (fromX + toX) / 2;
      context.bezierCurveTo(middle, fromY, middle, toY, toX, toY);
    }
  }
}
