// The executions, as the list's own stream tells them.

import { Connection } from "./connection.js";
import { element } from "./elements.js";
import { fold } from "./fold.js";
import { dateTime } from "./format.js";
import { STATUSES, icon, label } from "./status.js";
import { Table, textCell } from "./table.js";

export class ExecutionsView {
  constructor(root, { onSelect, onState }) {
    Object.assign(this, { onState });
    this.executions = {};
    const of = (id) => this.executions[id] ?? {};
    const by = (get) => (a, b) => (get(a) < get(b) ? -1 : get(a) > get(b) ? 1 : a < b ? -1 : 1);
    this.table = new Table(root, {
      label: "Executions",
      onOpen: onSelect,
      sort: { key: "started", direction: -1 },
      columns: [
        {
          key: "status",
          title: "Status",
          width: "130px",
          render: (cell, id) => status(cell, of(id).status),
          compare: by((id) => of(id).status),
        },
        {
          key: "name",
          title: "Pipeline",
          width: "minmax(140px, 1.4fr)",
          render: textCell((id) => of(id).name),
          compare: by((id) => of(id).name),
        },
        {
          key: "id",
          title: "Execution",
          width: "minmax(150px, 1fr)",
          render: textCell((id) => id),
          compare: by((id) => id),
        },
        {
          key: "started",
          title: "Started",
          width: "minmax(170px, 1fr)",
          render: textCell((id) => dateTime(of(id).start_timestamp)),
          compare: by((id) => of(id).start_timestamp ?? 0),
        },
        {
          key: "nodes",
          title: "Steps",
          width: "minmax(200px, 1.4fr)",
          render: (cell, id) => counts(cell, of(id).nodes ?? {}),
        },
      ],
    });
  }

  /** Follows the list while it is looked at. */
  open(lets) {
    this.lets = lets;
    if (this.stream) return this.#show();
    this.stream = new Connection("executions", {
      onMessage: (message) => {
        this.executions = fold({ executions: this.executions }, message).executions ?? {};
        this.#show();
      },
      onState: this.onState,
    });
    return undefined;
  }

  close() {
    this.stream?.close();
    this.stream = null;
  }

  select(id) {
    this.table.select(id);
  }

  #show() {
    const ids = Object.keys(this.executions);
    this.table.setRows(
      ids.filter((id) =>
        this.lets(`${id} ${this.executions[id].name} ${this.executions[id].status}`),
      ),
    );
  }
}

function status(cell, word) {
  if (cell.dataset.word === word) return;
  cell.dataset.word = word;
  cell.replaceChildren(
    element("span", { class: `status-word is-${word}` }, icon(word), label(word)),
  );
}

function counts(cell, nodes) {
  const key = JSON.stringify(nodes);
  if (cell.dataset.key === key) return;
  cell.dataset.key = key;
  const parts = STATUSES.filter((each) => nodes[each]).map((each) =>
    element(
      "span",
      { title: label(each) },
      icon(each),
      element("span", { class: "visually-hidden" }, label(each)),
      nodes[each].toLocaleString(),
    ),
  );
  cell.replaceChildren(element("span", { class: "counts" }, ...parts));
}
