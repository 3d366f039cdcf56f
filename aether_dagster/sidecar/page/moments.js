// Versions of the past: one which is asked for, or all of them played.

import { Connection, fetchJson } from "./connection.js";
import { fold, touchedNodes } from "./fold.js";

export class Moments {
  /**
   * `move(past, touched)` shows a moment, null being what is; `onEnd()` is told that all was
   * played.
   */
  constructor(store, move, onEnd) {
    Object.assign(this, { store, move, onEnd });
    this.path = `executions/${encodeURIComponent(store.id)}`;
    this.wanted = null;
    this.player = null;
    this.over = false;
  }

  /** Ends whatever goes on: another execution is looked at. */
  stop() {
    this.over = true;
    this.player?.close();
  }

  /** Shows a version of the past; null, or the newest, shows what is. */
  async show(version) {
    const { store } = this;
    this.player?.close();
    this.player = null;
    if (version === null || (version >= store.head && store.head > 0)) {
      this.wanted = null;
      if (store.past) this.move(null);
      return;
    }
    // While the slider is dragged, one question at a time: the newest wish wins.
    const busy = this.wanted !== null;
    this.wanted = version;
    if (busy) return;
    while (this.wanted !== null) {
      const asked = this.wanted;
      const message = await fetchJson(`${this.path}?version=${asked}`).catch(() => null);
      if (this.over) return;
      if (message && this.wanted !== null) {
        const timestamp = this.#committed(asked) ?? message.timestamp;
        this.move({ document: message.payload, timestamp, version: asked, speed: 0 });
      }
      if (this.wanted === asked) this.wanted = null;
    }
  }

  /**
   * Plays the versions from the one shown on, `speed` times as fast; from the beginning
   * where none is shown.
   */
  play(speed) {
    const { past, head } = this.store;
    this.player?.close();
    let document = {};
    this.player = new Connection(this.path, {
      parameters: { replay: speed, from: past && past.version < head ? past.version : 0 },
      resume: false,
      onMessage: (message) => {
        const { timestamp } = message;
        document = fold(document, message);
        const version = message.version ?? this.#versionAt(timestamp);
        this.move(
          { document, timestamp, version, speed, at: performance.now() },
          touchedNodes(message.update_mask),
        );
      },
      onState: ({ phase }) => {
        if (phase !== "open" && phase !== "connecting") this.onEnd();
      },
    });
  }

  /** Stops playing, at the version which is shown. */
  pause() {
    this.player?.close();
    this.player = null;
    if (this.store.past) this.store.past = { ...this.store.past, speed: 0 };
  }

  #committed(version) {
    return this.store.versions.find(([number]) => number === version)?.[1];
  }

  #versionAt(timestamp) {
    return (
      this.store.versions.findLast(([, committed]) => committed <= timestamp + 0.0005)?.[0] ?? 0
    );
  }
}
