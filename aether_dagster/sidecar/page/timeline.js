// The steps over time, one bar for each attempt.

import { element, setText } from "./elements.js";
import { duration, running } from "./format.js";
import { appearance, icon, label } from "./status.js";
import { Table } from "./table.js";

const TICKS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900,
  1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800, 2592000,
];

export class TimelineView {
  constructor(root, store, { onSelect }) {
    this.store = store;
    this.axis = element("div", { class: "axis" });
    this.range = { from: 0, length: 1 };
    this.table = new Table(root, {
      label: "Timeline: the attempts of each step",
      onOpen: onSelect,
      columns: [
        {
          key: "name",
          title: "Step",
          width: "minmax(150px, 240px)",
          render: (cell, name) => this.#name(cell, name),
        },
        {
          key: "bars",
          title: "",
          width: "minmax(0, 1fr)",
          header: this.axis,
          render: (cell, name) => this.#bars(cell, name),
        },
        {
          key: "time",
          title: "Time",
          width: "150px",
          render: (cell, name) => this.#time(cell, name),
        },
      ],
    });
    this.axis.parentElement.setAttribute("aria-label", "Attempts");
  }

  /** Shows those of these steps which have begun, in the order in which they did. */
  show(names) {
    const begun = new Map();
    for (const name of names) {
      const first = this.store.attemptsOf(name)[0];
      if (first) begun.set(name, first.started);
    }
    this.names = names;
    this.count = begun.size;
    this.#measure();
    this.table.setRows([...begun.keys()].sort((a, b) => begun.get(a) - begun.get(b)));
  }

  select(name) {
    this.table.select(name);
  }

  redraw() {
    this.show(this.names ?? []);
  }

  #measure() {
    const { store } = this;
    const from = store.document?.pipeline.start_timestamp ?? 0;
    this.range = { from, length: Math.max(0.001, store.elapsed()) * 1.02 };
    const width = this.axis.clientWidth || 600;
    const step = TICKS.find((tick) => (tick / this.range.length) * width >= 84) ?? TICKS.at(-1);
    // The last one only where its words have room.
    const wanted = Math.floor((this.range.length * Math.max(0, width - 56)) / width / step) + 1;
    while (this.axis.children.length < wanted) this.axis.append(element("span"));
    while (this.axis.children.length > wanted) this.axis.lastChild.remove();
    [...this.axis.children].forEach((tick, index) => {
      tick.style.left = `${((index * step) / this.range.length) * 100}%`;
      setText(tick, index ? duration(index * step).replace(".0 s", " s") : "0");
    });
  }

  #name(cell, name) {
    const look = appearance(this.store.node(name) ?? { status: "pending" });
    if (cell.dataset.look === look && cell.dataset.name === name) return;
    Object.assign(cell.dataset, { look, name });
    const word = element("span", { class: `status-word is-${look}` }, icon(look));
    cell.replaceChildren(
      word,
      element("span", { class: "visually-hidden" }, label(look)),
      " ",
      element("span", { class: "name" }, name),
    );
    cell.title = name;
  }

  #bars(cell, name) {
    const attempts = this.store.attemptsOf(name);
    cell.classList.add("bars");
    while (cell.children.length > attempts.length) cell.lastChild.remove();
    while (cell.children.length < attempts.length) cell.append(element("i"));
    const { from, length } = this.range;
    const part = (time) => Math.max(0, Math.min(1, (time - from) / length)) * 100;
    const words = attempts.map((entry, index) => {
      const bar = cell.children[index];
      const end = entry.ended ?? this.#now();
      bar.className = `is-${entry.status}`;
      bar.style.left = `${part(entry.started)}%`;
      bar.style.width = `${part(end) - part(entry.started)}%`;
      bar.title = `Attempt ${entry.attempt}: ${label(entry.status)}, ${this.#length(entry)}`;
      return bar.title;
    });
    cell.setAttribute("aria-label", words.join("; "));
  }

  #time(cell, name) {
    const attempts = this.store.attemptsOf(name);
    const tries = attempts.length > 1 ? `${attempts.length} attempts, ` : "";
    cell.classList.add("tabular", "muted");
    setText(cell, attempts.length ? tries + this.#length(attempts.at(-1)) : "");
  }

  #now() {
    const { store, range } = this;
    return store.finalized && !store.past ? range.from + range.length / 1.02 : store.now();
  }

  #length({ started, ended }) {
    return ended === null ? running(this.#now() - started) : duration(ended - started);
  }
}
