// The steps as a list: everything the graph shows, for eyes and ears which prefer rows.

import { setText } from "./elements.js";
import { clockTime, duration, running } from "./format.js";
import { STATUSES, appearance, describe, icon } from "./status.js";
import { Table, textCell } from "./table.js";

export class ListView {
  constructor(root, store, { onSelect }) {
    this.store = store;
    const node = (name) =>
      store.node(name) ?? { status: "pending", retry_count: 0, execution_time: 0 };
    const place = (name) => this.places.get(name);
    const started = (name) => store.attemptsOf(name)[0]?.started ?? Infinity;
    const by = (of) => (a, b) => of(a) - of(b) || place(a) - place(b);
    this.table = new Table(root, {
      label: "Steps",
      onOpen: onSelect,
      sort: null,
      columns: [
        {
          key: "status",
          title: "Status",
          width: "minmax(150px, .9fr)",
          render: statusCell(node),
          compare: by((name) => STATUSES.indexOf(node(name).status)),
        },
        {
          key: "name",
          title: "Step",
          width: "minmax(160px, 1.8fr)",
          render: nameCell,
          compare: (a, b) => a.localeCompare(b, undefined, { numeric: true }),
        },
        {
          key: "type",
          title: "Type",
          width: "minmax(90px, 1fr)",
          render: textCell((name) => store.steps.get(name)?.type ?? ""),
          compare: (a, b) =>
            (store.steps.get(a)?.type ?? "").localeCompare(store.steps.get(b)?.type ?? "") ||
            place(a) - place(b),
        },
        {
          key: "attempt",
          title: "Attempt",
          width: "76px",
          render: textCell((name) => attempt(node(name))),
          compare: by((name) => node(name).retry_count),
        },
        {
          key: "started",
          title: "Started",
          width: "100px",
          render: textCell((name) => clockTime(started(name))),
          compare: by(started),
        },
        {
          key: "time",
          title: "Time",
          width: "90px",
          render: textCell((name) => this.#time(name, node(name))),
          compare: by((name) => store.elapsedOf(name)),
        },
      ],
    });
  }

  #time(name, { status, execution_time: time }) {
    if (status === "executing") return running(this.store.elapsedOf(name));
    return status === "pending" ? "–" : duration(time);
  }

  load() {
    this.places = new Map(this.store.names.map((name, index) => [name, index]));
  }

  show(names) {
    this.table.setRows(names);
  }

  select(name) {
    this.table.select(name);
  }

  /** Draws anew; in another order where the column which sorts has changed. */
  redraw() {
    const { sort } = this.table;
    if (sort && !["name", "type"].includes(sort.key)) this.table.setRows(this.table.rows);
    else this.table.refresh();
  }
}

const attempt = ({ status, retry_count: retries }) =>
  status === "pending" ? "–" : String(retries + 1);

function nameCell(cell, name) {
  cell.classList.add("name");
  setText(cell, name);
  cell.title = name;
}

export const statusCell = (node) => (cell, name) => {
  const look = appearance(node(name));
  const words = describe(node(name));
  if (cell.dataset.look === look && cell.lastChild?.textContent === words) return;
  cell.dataset.look = look;
  const word = document.createElement("span");
  word.className = `status-word is-${look}`;
  word.append(icon(look), words);
  cell.replaceChildren(word);
};
