// What the reader must know of what is shown: that the line is lost, or that it is the past.

import { byId, element } from "./elements.js";
import { clockTime, dateTime } from "./format.js";

const REASONS = {
  1009: "A message was longer than this page or the server takes.",
  4400: "The server does not understand what this page says; they are of different versions.",
  4404: "There is no such execution. It may have been pruned.",
};

export class Banner {
  constructor(store, { onRetry, onLive }) {
    Object.assign(this, { store, onRetry, onLive });
    this.root = byId("banner");
    this.shown = null;
  }

  update() {
    const { phase, code, reason } = this.store.connection;
    const lost = phase === "lost" || (phase === "connecting" && this.wasLost);
    this.wasLost = lost;
    if (lost) this.#lost();
    else if (phase === "refused" && code !== 4401)
      this.#show("refused", REASONS[code] ?? reason, null);
    else if (this.store.past) this.#past();
    else this.#show(null);
  }

  #lost() {
    const { live, connection } = this.store;
    const kept = live ? `What you see is the state as of ${clockTime(live.timestamp)}.` : "";
    this.#show("lost", `Connection lost. ${kept}`, ["Try now", this.onRetry]);
    const seconds = Math.ceil(((connection.retryAt ?? 0) - Date.now()) / 1000);
    // Outside of the words which are read out: a count would be read every second.
    const next = seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again…";
    if (this.count.textContent !== next) this.count.textContent = next;
  }

  #past() {
    const { past, player } = this.store;
    const what = player ? "Replay" : `Version ${past.version}`;
    this.#show("past", what, ["Back to now", this.onLive]);
    const of = ` of ${dateTime(past.timestamp)}`;
    if (this.count.textContent !== of) this.count.textContent = of;
  }

  #show(kind, text = "", action = null) {
    this.root.hidden = kind === null;
    const shown = `${kind}${text}`;
    if (shown === this.shown) return;
    this.shown = shown;
    this.count = element("span", { "aria-live": "off" });
    this.root.classList.toggle("is-past", kind === "past");
    this.root.replaceChildren(
      element("strong", {}, text),
      this.count,
      ...(action ? [element("button", { type: "button", onclick: action[1] }, action[0])] : []),
    );
  }
}
