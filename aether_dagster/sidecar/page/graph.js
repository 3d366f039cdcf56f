// The graph's view: zoom, pan, choosing nodes by pointer and by keyboard.

import { byId, element } from "./elements.js";
import { duration, plural, running } from "./format.js";
import { gestures } from "./gestures.js";
import { HEIGHT, layout } from "./layout.js";
import { Scene, readColours, widthFor } from "./scene.js";
import { appearance, describe } from "./status.js";

const [SMALLEST, LARGEST] = [0.01, 2.5];
const SMALL = 300; // Up to so many nodes the direction is chosen for readability.
const HELP =
  "Arrow keys move along the graph, Enter opens a node, plus and minus zoom, 0 shows everything.";

export class GraphView {
  /** `onSelect(name or null)`; `visible(name)` says whether a filter lets a node through. */
  constructor(root, store, { onSelect, visible, filtered }) {
    Object.assign(this, { root, store, onSelect, visible, filtered });
    this.view = { x: 0, y: 0, scale: 1, width: 0, height: 0, ratio: 1 };
    this.selected = -1;
    this.hovered = -1;
    this.fitted = false;
    this.canvas = element("canvas", {
      class: "graph-canvas",
      tabindex: 0,
      role: "application",
      "aria-label": "Graph of the steps",
      "aria-roledescription": "graph",
      "aria-describedby": "graph-help",
    });
    this.context = this.canvas.getContext("2d");
    const button = (text, title, onclick) =>
      element("button", { type: "button", title, "aria-label": title, onclick }, text);
    root.append(
      this.canvas,
      element("p", { id: "graph-help", class: "visually-hidden" }, HELP),
      element(
        "div",
        { class: "graph-tools", role: "group", "aria-label": "Zoom" },
        button("+", "Zoom in", () => this.zoom(1.3)),
        button("−", "Zoom out", () => this.zoom(1 / 1.3)),
        button("Fit", "Show the whole graph", () => this.fit()),
      ),
    );
    this.colours = readColours();
    gestures(this.canvas, {
      zoom: (factor, x, y) => this.zoom(factor, x, y),
      pan: (x, y) => this.pan(x, y),
      tap: (x, y) => this.onSelect(this.scene?.names[this.#nodeAt(x, y)] ?? null),
      hover: (x, y) => this.#hover(x === null ? -1 : this.#nodeAt(x, y)),
    });
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#resize()).observe(root);
  }

  themed() {
    this.colours = readColours();
    this.redraw();
  }

  /** Lays the execution's graph out anew. */
  load() {
    const { names, steps } = this.store;
    this.index = new Map(names.map((name, index) => [name, index]));
    const types = names.map((name) => steps.get(name).type ?? "");
    this.edges = names.flatMap((name, to) =>
      (steps.get(name).dependencies ?? [])
        .filter((from) => this.index.get(from) < to)
        .map((from) => [this.index.get(from), to]),
    );
    const widths = names.map((name, index) => widthFor(name, types[index]));
    const laid = this.#better(
      layout(widths, this.edges),
      names.length <= SMALL ? layout(widths, this.edges, true) : null,
    );
    this.scene = new Scene(names, types, this.edges, laid);
    this.selected = -1;
    this.fitted = false;
    const edges = plural(this.edges.length, "dependency", "dependencies");
    this.canvas.setAttribute("aria-label", `Graph of ${plural(names.length, "step")} and ${edges}`);
    this.fit();
  }

  /**
   * Of a layout from left to right and one from top to bottom, the one which is larger on
   * this screen.
   */
  #better(across, down) {
    const { width, height } = this.view;
    const scale = (laid) => Math.min(width / laid.width, height / laid.height, 1);
    return down && scale(down) > 1.15 * scale(across) ? down : across;
  }

  select(name, reveal = true) {
    this.selected = name === null ? -1 : (this.index?.get(name) ?? -1);
    if (this.selected >= 0 && reveal) this.#reveal(this.selected);
    this.redraw();
  }

  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.#draw();
    });
  }

  get ticking() {
    return this.root.offsetParent !== null && this.view.scale >= 0.5;
  }

  fit() {
    const { view, scene } = this;
    if (!scene || view.width === 0) return;
    const { width, height } = scene.laid;
    const margin = Math.min(40, view.width / 12);
    const scale = Math.min(
      (view.width - 2 * margin) / Math.max(1, width),
      (view.height - 2 * margin) / Math.max(1, height),
    );
    view.scale = Math.max(SMALLEST, Math.min(1.1, scale));
    view.x = (view.width - width * view.scale) / 2;
    view.y = (view.height - height * view.scale) / 2;
    this.fitted = true;
    this.redraw();
  }

  zoom(factor, x = this.view.width / 2, y = this.view.height / 2) {
    const { view } = this;
    const scale = Math.max(SMALLEST, Math.min(LARGEST, view.scale * factor));
    view.x = x - ((x - view.x) * scale) / view.scale;
    view.y = y - ((y - view.y) * scale) / view.scale;
    view.scale = scale;
    this.fitted = false;
    this.redraw();
  }

  pan(x, y) {
    this.view.x += x;
    this.view.y += y;
    this.fitted = false;
    this.redraw();
  }

  #reveal(node) {
    const { view, scene } = this;
    if (view.scale < 0.3 && scene.names.length > 60) this.zoom(0.8 / view.scale);
    const [left, top] = [
      scene.laid.x[node] * view.scale + view.x,
      scene.laid.y[node] * view.scale + view.y,
    ];
    const [width, height] = [scene.laid.widths[node] * view.scale, HEIGHT * view.scale];
    const inside =
      left >= 8 && top >= 8 && left + width <= view.width - 8 && top + height <= view.height - 8;
    if (!inside) this.pan(view.width / 2 - left - width / 2, view.height / 2 - top - height / 2);
  }

  #resize() {
    const { view, canvas } = this;
    const { width, height } = this.root.getBoundingClientRect();
    if (width === 0 || height === 0) return;
    const first = view.width === 0;
    Object.assign(view, { width, height, ratio: devicePixelRatio || 1 });
    canvas.width = Math.round(width * view.ratio);
    canvas.height = Math.round(height * view.ratio);
    if (first || this.fitted) this.fit();
    // Setting a canvas's size clears it: drawn at once, or it would flicker.
    this.#draw();
  }

  #draw() {
    const { store, scene, view } = this;
    if (!scene || view.width === 0 || !store.document) return;
    const { names } = scene;
    const node = (index) => store.node(names[index]);
    const filtered = this.filtered();
    scene.draw(this.context, view, this.colours, {
      statusOf: (index) => (node(index) ? appearance(node(index)) : "pending"),
      second: (index) => this.#time(names[index], node(index)),
      faded: (index) => filtered && !this.visible(names[index]),
      selected: this.selected,
      hovered: this.hovered,
    });
    if (!this.painted) {
      this.painted = this.canvas.dataset.painted = true;
      performance.mark("graph-painted");
    }
  }

  #time(name, node) {
    if (!node || node.status === "pending") return "";
    const tries = node.retry_count ? `#${node.retry_count + 1} · ` : "";
    if (node.status === "executing") return tries + running(this.store.elapsedOf(name));
    return tries + duration(node.execution_time);
  }

  #nodeAt(x, y) {
    const { view, scene } = this;
    const slack = view.scale < 0.24 ? 3 / view.scale : 0;
    return scene ? scene.at((x - view.x) / view.scale, (y - view.y) / view.scale, slack) : -1;
  }

  #hover(node) {
    if (node === this.hovered) return;
    this.hovered = node;
    this.canvas.classList.toggle("is-pointing", node >= 0);
    this.canvas.title = node >= 0 && this.view.scale < 0.55 ? this.#words(node) : "";
    this.redraw();
  }

  #key(event) {
    const { key, shiftKey } = event;
    if (!this.scene || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (key in arrows && shiftKey) this.pan(-60 * arrows[key][0], -60 * arrows[key][1]);
    else if (key in arrows) this.#choose(this.scene.next(this.selected, ...arrows[key]));
    else if (key === "+" || key === "=") this.zoom(1.3);
    else if (key === "-") this.zoom(1 / 1.3);
    else if (key === "0") this.fit();
    else if (key === "Home" || key === "End")
      this.#choose(key === "Home" ? 0 : this.scene.names.length - 1);
    else if ((key === "Enter" || key === " ") && this.selected >= 0)
      this.onSelect(this.scene.names[this.selected], true);
    else return;
    event.preventDefault();
  }

  #choose(node) {
    if (node < 0) return;
    this.selected = node;
    this.#reveal(node);
    this.redraw();
    byId("announcement").textContent = this.#words(node);
  }

  #words(index) {
    const name = this.scene.names[index];
    const { dependencies = [] } = this.store.steps.get(name);
    const node = this.store.node(name);
    const after = dependencies.length ? `, after ${dependencies.slice(0, 5).join(", ")}` : "";
    return `${name}: ${node ? describe(node) : "unknown"}${after}`;
  }
}
