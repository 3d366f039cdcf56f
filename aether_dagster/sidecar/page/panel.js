// The details of one step, or of the whole execution where none is chosen.

import { fetchJson } from "./connection.js";
import { element, setText } from "./elements.js";
import { clockTime, dateTime, duration, plural, running } from "./format.js";
import { appearance, describe, icon, label } from "./status.js";
import { facts, failure, payload } from "./values.js";

const MOST_LINKS = 40;

export class Panel {
  constructor(root, store, { onSelect }) {
    Object.assign(this, { root, store, onSelect });
    this.name = null;
    this.records = null;
  }

  select(name) {
    if (name === this.name) return;
    this.name = name;
    this.records = null;
    this.drawn = null;
    this.update();
    this.root.scrollTop = 0;
  }

  /** Draws anew where something is different; elapsed times alone only change their text. */
  update() {
    const { store, name } = this;
    if (!store.document) return this.root.replaceChildren();
    const node = name === null ? null : store.node(name);
    const attempts = node ? store.attemptsOf(name) : [];
    // A snapshot's `execution_time` differs each time while a step runs; `tick` shows it.
    const shown = JSON.stringify(
      node
        ? [name, { ...node, execution_time: 0 }, attempts.length, Boolean(this.records)]
        : [store.id, store.document.context, store.info, store.document.report],
    );
    if (shown !== this.drawn) {
      this.drawn = shown;
      const opened = this.root.contains(document.activeElement)
        ? document.activeElement.dataset.keep
        : null;
      this.time = element("span", { class: "tabular" });
      this.root.classList.toggle("is-overview", !node);
      this.root.replaceChildren(
        ...(node ? this.#node(node, attempts) : this.#overview()).filter(Boolean),
      );
      if (opened) this.root.querySelector(`[data-keep="${opened}"]`)?.focus();
      if (node && attempts.length) this.#ask(node);
    }
    return this.tick();
  }

  tick() {
    const { store, name } = this;
    if (!this.time || !store.document) return;
    const node = name === null ? null : store.node(name);
    if (!node)
      setText(
        this.time,
        store.finalized && !store.past ? duration(store.elapsed()) : running(store.elapsed()),
      );
    else if (node.status === "executing") setText(this.time, running(store.elapsedOf(name)));
    else setText(this.time, node.status === "pending" ? "" : duration(node.execution_time));
  }

  #node(node, attempts) {
    const { name, store } = this;
    const step = store.steps.get(name) ?? {};
    const dependents = store.names.filter((other) =>
      store.steps.get(other).dependencies?.includes(name),
    );
    const look = appearance(node);
    const tries =
      Number.isInteger(step.retries) && step.retries > 0 ? ` of at most ${step.retries + 1}` : "";
    const close = {
      type: "button",
      class: "close",
      "aria-label": "Close the step",
      title: "Close (Esc)",
      onclick: () => this.onSelect(null),
      "data-keep": "close",
    };
    return [
      element("header", {}, element("h2", {}, name), element("button", close, "×")),
      element("p", { class: `status-word is-${look}` }, icon(look), describe(node)),
      step.description ? element("p", { class: "muted" }, step.description) : null,
      facts([
        ["Type", step.type],
        ["Node", element("span", { class: "mono" }, node.node_id)],
        ["Attempt", node.status === "pending" ? null : `${node.retry_count + 1}${tries}`],
        ["Time", this.time],
        ["Started", attempts.length ? clockTime(attempts.at(-1).started) : null],
        ["Timeout", Number.isFinite(step.timeout) ? duration(step.timeout) : step.timeout],
        ["After", this.#links(step.dependencies ?? [])],
        ["Before", this.#links(dependents)],
      ]),
      ...(node.error ? [element("h3", {}, "Error"), failure(node.error)] : []),
      element("h3", {}, "Output"),
      payload(node.output_payload, "Output"),
      element("h3", {}, "Input"),
      payload(node.input_payload, "Input"),
      ...(attempts.length > 1 ? [element("h3", {}, "Attempts"), this.#compared(attempts)] : []),
    ];
  }

  #links(names) {
    if (!names.length) return null;
    const links = names
      .slice(0, MOST_LINKS)
      .map((name) =>
        element(
          "button",
          { type: "button", class: "link", onclick: () => this.onSelect(name) },
          name,
        ),
      );
    const more = names.length - links.length;
    return element(
      "span",
      { class: "links" },
      links,
      more ? element("span", { class: "muted" }, `and ${more} more`) : null,
    );
  }

  #compared(attempts) {
    const records = new Map((this.records ?? []).map((entry) => [entry.attempt, entry.record]));
    const row = (title, of) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, title),
        attempts.map((entry) => element("td", {}, of(entry, records.get(entry.attempt)) ?? "–")),
      );
    const status = ({ status: word }) =>
      element("span", { class: `status-word is-${word}` }, icon(word), label(word));
    return element(
      "div",
      { class: "compare", tabindex: 0, role: "region", "aria-label": "Attempts side by side" },
      element(
        "table",
        {},
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            element("td", {}),
            attempts.map(({ attempt }) => element("th", { scope: "col" }, `Attempt ${attempt}`)),
          ),
        ),
        element(
          "tbody",
          {},
          row("Status", status),
          row("Started", ({ started }) => clockTime(started)),
          row("Time", ({ started, ended }) =>
            ended === null ? "running" : duration(ended - started),
          ),
          row("Error", (_, record) => failure(record?.error, { folded: true })),
          row("Output", (_, record) =>
            record?.output_payload === null || !record
              ? null
              : payload(record.output_payload, "Output of the attempt"),
          ),
          row("Input", (_, record) =>
            record ? payload(record.input_payload, "Input of the attempt") : null,
          ),
        ),
      ),
    );
  }

  /** Asks what each attempt left, once for each state of the node in which there are several. */
  async #ask() {
    const { name, store } = this;
    const attempts = store.attemptsOf(name);
    if (attempts.length < 2) return;
    const states = attempts.map(({ attempt, ended }) => `${attempt}:${ended !== null}`);
    const key = `${store.id}/${name}/${states}`;
    if (this.asked === key && this.records) return;
    this.asked = key;
    const [id, node] = [store.id, name].map(encodeURIComponent);
    const path = `executions/${id}/attempts?node=${node}`;
    const found = await fetchJson(path).catch(() => null);
    if (!found || this.asked !== key || this.name !== name) return;
    this.records = found.nodes[name] ?? [];
    this.drawn = null;
    this.update();
  }

  #overview() {
    const { store } = this;
    const { pipeline, context, report } = store.document;
    const info = store.info ?? {};
    const table = (entries) =>
      entries.length ? facts(entries) : element("p", { class: "muted" }, "None");
    return [
      element("header", {}, element("h2", {}, info.name ?? pipeline.id)),
      info.description ? element("p", { class: "muted" }, info.description) : null,
      facts([
        ["Execution", element("span", { class: "mono" }, pipeline.id)],
        ["Started", dateTime(pipeline.start_timestamp)],
        ["Time", this.time],
        ["Steps", plural(store.names.length, "step")],
        ["Version", pipeline.version],
        ["Config hash", element("span", { class: "mono" }, pipeline.config_hash)],
        ["Partition", info.partition],
        ["Resumes", info.resumed_from],
        ["Dagster run", info.run_id && element("span", { class: "mono" }, info.run_id)],
        ["History", info.history && element("span", { class: "mono" }, info.history)],
      ]),
      element("h3", {}, "Artifacts"),
      table(Object.entries(context.artifacts)),
      element("h3", {}, "Environment"),
      table(Object.entries(context.environment_vars)),
      ...(context.secret_store
        ? [element("h3", {}, "Secret store"), element("p", { class: "mono" }, context.secret_store)]
        : []),
      ...(context.active_plugins?.length
        ? [element("h3", {}, "Plugins"), element("p", {}, context.active_plugins.join(", "))]
        : []),
      ...(report ? [element("h3", {}, "Report"), payload(report, "Report")] : []),
    ];
  }
}
