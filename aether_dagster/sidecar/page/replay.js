// The slider over an execution's versions, and playing them.

import { byId, element, setText } from "./elements.js";
import { clockTime } from "./format.js";

const SPEEDS = [1, 2, 5, 10, 50, 100];

export class Replay {
  constructor(store) {
    this.store = store;
    this.root = byId("replay");
    this.slider = element("input", {
      type: "range",
      min: 1,
      max: 1,
      step: 1,
      value: 1,
      "aria-label": "Version",
    });
    this.slider.addEventListener("input", () => store.show(Number(this.slider.value)));
    this.button = element("button", { type: "button", onclick: () => this.#toggle() }, "Replay");
    this.speed = element(
      "select",
      { "aria-label": "Speed" },
      SPEEDS.map((speed) => element("option", { value: speed }, `${speed}×`)),
    );
    this.speed.value = "1";
    this.speed.addEventListener(
      "change",
      () => this.store.player && this.store.play(Number(this.speed.value)),
    );
    this.now = element("button", { type: "button", onclick: () => store.show(null) }, "Now");
    this.place = element("output", { for: "replay-slider" });
    this.slider.id = "replay-slider";
    this.root.append(this.button, this.speed, this.slider, this.place, this.now);
  }

  #toggle() {
    if (this.store.player) this.store.pause();
    else this.store.play(Number(this.speed.value));
  }

  update() {
    const { store } = this;
    const { head, shown, past } = store;
    const version = Math.max(1, past ? past.version : head);
    this.slider.max = Math.max(1, head);
    this.slider.disabled = head < 2;
    this.button.disabled = head < 2;
    // Who moves it is not moved against, also while the version which was asked for is on its way.
    const held = document.activeElement === this.slider && (past || store.seeking);
    if (!held || store.player) this.slider.value = version;
    const words =
      head === 0 ? "" : `Version ${version.toLocaleString()} of ${head.toLocaleString()}`;
    const text = shown && head ? `${words} · ${clockTime(shown.timestamp)}` : words;
    setText(this.place, text);
    this.slider.setAttribute("aria-valuetext", text);
    setText(this.button, store.player ? "Pause" : "Replay");
    this.now.disabled = !past;
  }
}
