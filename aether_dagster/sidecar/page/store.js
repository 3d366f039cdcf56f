// One execution as the page knows it: folded frames, its graph, its attempts, and which moment
// is shown.

import { Attempts } from "./attempts.js";
import { Connection, fetchJson } from "./connection.js";
import { fold, touchedNodes } from "./fold.js";
import { Moments } from "./moments.js";

const ASK_AGAIN = 2000;
const SETTLED = 700;
const LONGEST = 30_000;

/**
 * Events: `execution` (another one, or its graph came), `nodes` (`detail`: a set of names, or
 * null for all),
 * `connection`, `moment` (live, past or playing), `versions`.
 */
export class Store extends EventTarget {
  constructor() {
    super();
    this.connection = { phase: "connecting" };
    this.offset = 0;
    this.#clear(null);
  }

  #clear(id) {
    this.id = id;
    this.live = null;
    this.past = null;
    this.info = null;
    this.names = [];
    this.steps = new Map();
    this.attempts = new Attempts();
    this.versions = [];
    this.moments?.stop();
    this.moments = new Moments(
      this,
      (past, touched) => this.#move(past, touched),
      () => this.pause(),
    );
  }

  /** Follows an execution, or with `latest` always the newest. */
  follow(execution) {
    if (this.following === execution) return;
    this.following = execution;
    this.stream?.close();
    this.#clear(null);
    this.#tell("execution");
    const named = execution !== "latest";
    this.early = named ? { id: execution, info: this.#ask("pipeline", execution) } : null;
    this.stream = new Connection(`executions/${encodeURIComponent(execution)}`, {
      resume: named,
      onMessage: (message) => this.#receive(message),
      onState: (state) => this.#connection(state),
    });
  }

  get shown() {
    return this.past ?? this.live;
  }

  get document() {
    return this.shown?.document ?? null;
  }

  node(name) {
    return this.document?.nodes[name];
  }

  /** Unix seconds at the moment which is shown. */
  now() {
    if (!this.past) return Date.now() / 1000 + this.offset;
    const { timestamp, at, speed } = this.past;
    return timestamp + (speed ? ((performance.now() - at) / 1000) * speed : 0);
  }

  get finalized() {
    return this.connection.phase === "ended" || Boolean(this.info?.finalized);
  }

  get head() {
    return Math.max(this.versions.at(-1)?.[0] ?? 0, this.live?.version ?? 0, this.info?.head ?? 0);
  }

  /** `{status: count}` of the moment which is shown. */
  counts() {
    const counts = {};
    for (const name of this.names) {
      const status = this.node(name)?.status;
      if (status) counts[status] = (counts[status] ?? 0) + 1;
    }
    return counts;
  }

  /** How the whole execution stands, in the words of the list of executions. */
  status() {
    if (!this.document) return "pending";
    if (this.past && this.past.version < this.head) return "executing";
    if (this.info?.finalized) return this.info.status;
    return "executing";
  }

  /** Seconds since the execution began, or which it took. */
  elapsed() {
    const end = this.past
      ? Math.min(this.now(), this.info?.ended_at ?? Infinity)
      : this.info?.ended_at;
    return (end ?? this.now()) - (this.document?.pipeline.start_timestamp ?? NaN);
  }

  attemptsOf(name) {
    return this.attempts.at(name, this.past ? this.now() : Infinity);
  }

  /** Seconds of a node's present or last attempt. */
  elapsedOf(name) {
    const node = this.node(name);
    if (node?.status !== "executing") return node?.execution_time ?? 0;
    const started = this.attemptsOf(name).at(-1)?.started ?? this.shown.timestamp;
    return Math.max(0, this.now() - started);
  }

  #receive(message) {
    const { timestamp, version } = message;
    const snapshot = message.update_mask[0] === "*";
    const id = snapshot ? message.payload.pipeline.id : this.id;
    const another = id !== this.id;
    if (another) this.#clear(id);
    const document = fold(this.live?.document ?? {}, message);
    this.live = { document, timestamp, version: version ?? null };
    const touched = touchedNodes(message.update_mask);
    let missed = false;
    for (const name of touched ?? Object.keys(document.nodes)) {
      const node = document.nodes[name];
      if (node) missed = this.attempts.observe(name, node, timestamp) || missed;
    }
    if (another) this.#load();
    else if (missed) this.#askLater();
    if (version && version > (this.versions.at(-1)?.[0] ?? 0)) {
      this.versions.push([version, timestamp]);
      this.#tell("versions");
    }
    if (!this.past && this.info) this.#tell("nodes", touched);
    this.#settle();
  }

  async #load() {
    const { id, early } = this;
    const info = await (early?.id === id ? early.info : this.#ask("pipeline"));
    if (this.id !== id) return;
    this.info = info ?? { name: id, steps: [] };
    // A run may have selected some of the document's steps: the state has those.
    const { nodes } = this.live.document;
    this.steps = new Map(
      this.info.steps
        .filter((step) => Object.hasOwn(nodes, step.id))
        .map((step) => [step.id, step]),
    );
    for (const name of Object.keys(nodes)) {
      if (!this.steps.has(name)) this.steps.set(name, { id: name, type: "", dependencies: [] });
    }
    this.names = [...this.steps.keys()];
    this.#tell("execution");
    // What is not needed for the first picture comes after it.
    requestAnimationFrame(() => setTimeout(() => this.#loadPast(id)));
  }

  async #loadPast(id) {
    const [attempts, versions] = await Promise.all([this.#ask("attempts"), this.#ask("versions")]);
    if (this.id !== id) return;
    this.attempts.load(attempts?.nodes ?? {});
    const known = versions?.versions ?? [];
    const last = known.at(-1)?.[0] ?? 0;
    this.versions = [...known, ...this.versions.filter(([number]) => number > last)];
    this.#tell("versions");
    this.#tell("nodes", null);
  }

  /** What the server tells beside the stream; null where it does not. */
  #ask(what, id = this.id) {
    return fetchJson(`executions/${encodeURIComponent(id)}/${what}`).catch(() => null);
  }

  #askLater() {
    this.asking ??= setTimeout(async () => {
      this.asking = null;
      const { id } = this;
      const found = await this.#ask("attempts");
      if (!found || this.id !== id) return;
      this.attempts.load(found.nodes);
      this.#tell("nodes", null);
    }, ASK_AGAIN);
  }

  #connection(state) {
    this.connection = state;
    this.#tell("connection");
    if (state.phase === "ended") this.#ended();
  }

  async #ended() {
    const { id } = this;
    if (!this.info || this.info.finalized) return;
    const info = await this.#ask("pipeline");
    if (!info || this.id !== id) return;
    this.info = info;
    if (info.finalized) this.#askLater();
    this.#tell("nodes", null);
  }

  /** The stream of the newest execution does not end with it: asks, once nothing runs any more. */
  #settle(delay = SETTLED) {
    clearTimeout(this.settling);
    if (this.following !== "latest" || this.info?.finalized) return;
    this.settling = setTimeout(async () => {
      const { executing = 0, retrying = 0 } = this.past ? { executing: 1 } : this.counts();
      if (!executing && !retrying) await this.#ended();
      this.#settle(Math.min(LONGEST, delay * 1.6));
    }, delay);
  }

  /** See `Moments`: the past of the execution. */
  show(version) {
    return this.moments.show(version);
  }

  play(speed) {
    this.moments.play(speed);
    this.#tell("moment");
  }

  pause() {
    this.moments.pause();
    this.#tell("moment");
  }

  /** Whether a version of the past was asked for and is not shown yet. */
  get seeking() {
    return this.moments.wanted !== null;
  }

  get player() {
    return this.moments.player;
  }

  #move(past, touched = null) {
    this.past = past;
    this.#tell("moment");
    this.#tell("nodes", touched);
  }

  #tell(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
