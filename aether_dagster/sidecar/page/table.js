// A grid of any number of rows, of which only those in view have elements. Sorted by its
// headers, moved in by
// keyboard; `aria-rowcount` and `aria-rowindex` tell a screen reader of the rows which are not
// there.

import { element, setText } from "./elements.js";

const MARGIN = 6;
let tables = 0;

/**
 * `columns`: `{key, title, width, render(cell, row), compare(a, b), header}`; `width` is a track
 * of a CSS grid.
 * `onOpen(row)` on Enter or click; rows are strings.
 */
export class Table {
  constructor(root, { label, columns, rowHeight = 36, onOpen, sort = null, onSort = () => {} }) {
    tables += 1;
    Object.assign(this, { columns, rowHeight, onOpen, sort, onSort, prefix: `grid${tables}-` });
    this.rows = [];
    this.sorted = [];
    this.elements = [];
    this.active = -1;
    this.selected = null;
    this.track = columns.map((column) => column.width).join(" ");
    this.head = element("div", { class: "grid-row grid-head", role: "row", "aria-rowindex": 1 });
    this.head.style.gridTemplateColumns = this.track;
    this.headers = columns.map((column) => this.#header(column));
    this.head.append(...this.headers);
    this.body = element("div", { class: "grid-body", role: "rowgroup" });
    this.grid = element(
      "div",
      {
        class: "grid",
        role: "grid",
        tabindex: 0,
        "aria-label": label,
        "aria-colcount": columns.length,
      },
      element("div", { role: "rowgroup", class: "grid-top" }, this.head),
      this.body,
    );
    this.grid.addEventListener("scroll", () => this.refresh(), { passive: true });
    this.grid.addEventListener("keydown", (event) => this.#key(event));
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest(".grid-row");
      if (row) this.#open(Number(row.dataset.index));
    });
    new ResizeObserver(() => this.refresh()).observe(this.grid);
    root.append(this.grid);
  }

  #header(column) {
    const cell = element("div", { role: "columnheader", class: "grid-cell" });
    if (column.header) cell.append(column.header);
    else if (column.compare) {
      const sort = () =>
        this.sortBy(column.key, this.sort?.key === column.key ? -this.sort.direction : 1);
      cell.append(
        element("button", { type: "button", class: "sort", onclick: sort }, column.title),
      );
    } else cell.append(column.title);
    return cell;
  }

  sortBy(key, direction) {
    this.sort = { key, direction };
    this.onSort(this.sort);
    this.setRows(this.rows);
  }

  /** Shows these rows, in the order which is chosen; the active one stays active. */
  setRows(rows) {
    const kept = this.sorted[this.active];
    this.rows = rows;
    const column = this.columns.find(({ key }) => key === this.sort?.key);
    this.sorted = column
      ? [...rows].sort((a, b) => column.compare(a, b) * this.sort.direction)
      : rows;
    this.columns.forEach(({ key, compare }, index) => {
      if (!compare) return;
      const direction = key === this.sort?.key ? this.sort.direction : 0;
      this.headers[index].setAttribute(
        "aria-sort",
        ["descending", "none", "ascending"][direction + 1],
      );
    });
    this.active = kept === undefined ? -1 : this.sorted.indexOf(kept);
    this.grid.setAttribute("aria-rowcount", this.sorted.length + 1);
    this.body.style.height = `${this.sorted.length * this.rowHeight}px`;
    this.refresh();
  }

  select(row) {
    this.selected = row;
    if (row !== null && this.sorted[this.active] !== row) this.active = this.sorted.indexOf(row);
    this.refresh();
  }

  /** Draws the rows in view again. */
  refresh() {
    const { scrollTop, clientHeight } = this.grid;
    if (clientHeight === 0) return;
    const first = Math.max(0, Math.floor(scrollTop / this.rowHeight) - MARGIN);
    const after = Math.min(
      this.sorted.length,
      Math.ceil((scrollTop + clientHeight) / this.rowHeight) + MARGIN,
    );
    while (this.elements.length < after - first) this.elements.push(this.#row());
    while (this.elements.length > after - first) this.elements.pop().remove();
    this.elements.forEach((made, index) => this.#fill(made, first + index));
    const present = this.active >= first && this.active < after;
    if (present) this.grid.setAttribute("aria-activedescendant", `${this.prefix}${this.active}`);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  #row() {
    const made = element("div", { class: "grid-row", role: "row" });
    made.style.gridTemplateColumns = this.track;
    made.style.height = `${this.rowHeight}px`;
    made.append(
      ...this.columns.map(() => element("div", { class: "grid-cell", role: "gridcell" })),
    );
    this.body.append(made);
    return made;
  }

  #fill(made, index) {
    const row = this.sorted[index];
    if (made.dataset.index !== String(index)) {
      made.dataset.index = index;
      made.id = `${this.prefix}${index}`;
      made.setAttribute("aria-rowindex", index + 2);
      made.style.transform = `translateY(${index * this.rowHeight}px)`;
    }
    made.setAttribute("aria-selected", row === this.selected);
    made.classList.toggle("is-active", index === this.active);
    this.columns.forEach((column, at) => column.render(made.children[at], row));
  }

  #open(index) {
    this.active = index;
    this.refresh();
    if (index >= 0 && index < this.sorted.length) this.onOpen(this.sorted[index]);
  }

  #key(event) {
    if (event.target !== this.grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.grid.clientHeight / this.rowHeight) - 2);
    const moves = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -Infinity,
      End: Infinity,
    };
    if (event.key === "Enter" || event.key === " ") this.#open(this.active);
    else if (event.key in moves) this.#move(moves[event.key]);
    else return;
    event.preventDefault();
  }

  #move(by) {
    const last = this.sorted.length - 1;
    this.active = Math.max(0, Math.min(last, (this.active < 0 && by > 0 ? -1 : this.active) + by));
    this.reveal(this.active);
    this.refresh();
  }

  reveal(index) {
    const top = index * this.rowHeight;
    const shown = this.grid.clientHeight - this.head.offsetHeight;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    if (top + this.rowHeight > this.grid.scrollTop + shown)
      this.grid.scrollTop = top + this.rowHeight - shown;
  }
}

/** Fills a cell with text, making no element where nothing changed. */
export const textCell = (of) => (cell, row) => setText(cell, of(row));
