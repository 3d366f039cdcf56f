// Which steps are shown: those with a chosen status whose name or type holds the words searched
// for.

import { byId, element, setText } from "./elements.js";
import { STATUSES, icon, label } from "./status.js";

export class Filter {
  constructor(store, onChange) {
    Object.assign(this, { store, onChange });
    this.statuses = new Set();
    this.words = [];
    this.search = byId("search");
    this.search.addEventListener("input", () => {
      this.words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.onChange();
    });
    this.chips = STATUSES.map((status) => {
      const count = element("span");
      const chip = element(
        "button",
        { type: "button", "aria-pressed": "false", onclick: () => this.#toggle(status) },
        icon(status),
        label(status),
        count,
      );
      return { status, chip, count };
    });
    byId("chips").append(...this.chips.map(({ chip }) => chip));
  }

  get active() {
    return this.statuses.size > 0 || this.words.length > 0;
  }

  clear() {
    this.statuses.clear();
    this.words = [];
    this.search.value = "";
    this.onChange();
  }

  #toggle(status) {
    if (!this.statuses.delete(status)) this.statuses.add(status);
    this.onChange();
  }

  lets(name) {
    if (this.statuses.size && !this.statuses.has(this.store.node(name)?.status)) return false;
    if (!this.words.length) return true;
    const text = `${name} ${this.store.steps.get(name)?.type ?? ""}`.toLowerCase();
    return this.words.every((word) => text.includes(word));
  }

  names() {
    return this.active ? this.store.names.filter((name) => this.lets(name)) : this.store.names;
  }

  update() {
    const counts = this.store.counts();
    for (const { status, chip, count } of this.chips) {
      setText(count, (counts[status] ?? 0).toLocaleString());
      chip.setAttribute("aria-pressed", this.statuses.has(status));
    }
  }
}
