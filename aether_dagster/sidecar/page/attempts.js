// When each attempt of each node began and ended: as the server tells, and then as the frames show.

import { ENDED } from "./status.js";

export class Attempts {
  constructor() {
    this.byName = new Map();
  }

  /** Takes the server's answer; what the frames showed since is newer and stays. */
  load(nodes) {
    for (const [name, told] of Object.entries(nodes)) {
      const newer = (this.byName.get(name) ?? []).filter(
        (seen) =>
          !told.some((entry) => entry.attempt >= seen.attempt && (entry.ended || !seen.ended)),
      );
      const kept = told.filter((entry) => !newer.some((seen) => seen.attempt === entry.attempt));
      this.byName.set(
        name,
        [...kept, ...newer].sort((a, b) => a.attempt - b.attempt),
      );
    }
  }

  /**
   * Takes a node as it is at a time; true where an attempt was missed and the server should
   * be asked.
   */
  observe(name, node, timestamp) {
    const attempt = node.retry_count + 1;
    const over = ENDED.has(node.status) || node.status === "retrying";
    if (!over && node.status !== "executing") return false;
    const list = this.byName.get(name) ?? [];
    let entry = list.find((known) => known.attempt === attempt);
    const missed = !entry && attempt > (list.at(-1)?.attempt ?? 0) + 1;
    if (!entry) {
      // The time so far is in snapshots, the whole time in an end.
      entry = {
        attempt,
        status: node.status,
        started: timestamp - node.execution_time,
        ended: null,
      };
      this.byName.set(name, [...list, entry]);
    }
    if (over && entry.ended === null) {
      entry.ended = node.execution_time ? entry.started + node.execution_time : timestamp;
    }
    entry.status = node.status;
    return missed;
  }

  /** The attempts of a node which had begun at a time, those which ended later as running still. */
  at(name, time = Infinity) {
    const list = this.byName.get(name) ?? [];
    if (time === Infinity) return list;
    return list
      .filter((entry) => entry.started <= time)
      .map((entry) =>
        entry.ended === null || entry.ended > time
          ? { ...entry, ended: null, status: "executing" }
          : entry,
      );
  }
}
