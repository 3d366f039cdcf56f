// The line above everything: which execution, how it stands, since when, and whether the line
// is up.

import { byId, element, setText } from "./elements.js";
import { duration, running } from "./format.js";
import { icon, label } from "./status.js";

const PHASES = {
  connecting: "Connecting",
  open: "Live",
  lost: "Not connected",
  ended: "Complete",
  refused: "Refused",
};
const THEMES = ["system", "light", "dark"];
const dark = matchMedia("(prefers-color-scheme: dark)");

export class Header {
  constructor(store, { onTheme }) {
    Object.assign(this, { store, onTheme });
    this.theme = stored() ?? "system";
    this.button = byId("theme");
    this.button.addEventListener("click", () => {
      this.theme = THEMES[(THEMES.indexOf(this.theme) + 1) % THEMES.length];
      keep(this.theme);
      this.apply();
    });
    dark.addEventListener("change", () => this.apply());
    this.apply();
  }

  apply() {
    const chosen = this.theme === "system" ? (dark.matches ? "dark" : "light") : this.theme;
    document.documentElement.dataset.theme = chosen;
    setText(this.button, { system: "Auto", light: "Light", dark: "Dark" }[this.theme]);
    this.button.title = this.button.ariaLabel = `Theme: ${this.theme}`;
    this.onTheme();
  }

  update(onList, listState) {
    const { store } = this;
    const { info, document: state } = store;
    const phase = (onList ? listState : store.connection)?.phase ?? "connecting";
    byId("execution").hidden = onList;
    const word = byId("connection");
    if (word.dataset.phase !== phase) {
      word.dataset.phase = phase;
      setText(word, PHASES[phase]);
    }
    setText(
      byId("title"),
      info?.name ?? (store.following === "latest" ? "Latest execution" : (store.following ?? "")),
    );
    setText(byId("title-id"), store.id ?? "");
    const status = store.status();
    const shown = byId("title-status");
    if (shown.dataset.status !== status) {
      shown.dataset.status = status;
      shown.className = `status-word is-${status}`;
      shown.replaceChildren(icon(status), label(status));
    }
    shown.hidden = !state;
    document.title = onList
      ? "Executions – AetherScript"
      : `${info?.name ?? "…"} · ${label(status)} – AetherScript`;
    this.tick();
  }

  tick() {
    const { store } = this;
    const over = store.info?.ended_at && !store.past;
    setText(
      byId("title-elapsed"),
      store.document ? (over ? duration : running)(store.elapsed()) : "",
    );
  }
}

function stored() {
  try {
    return THEMES.find((theme) => theme === localStorage.getItem("theme"));
  } catch {
    return null; // Storage may be refused in a frame of another page.
  }
}

function keep(theme) {
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Then it lasts as long as the page.
  }
}

/** Fills the dialog which explains signs and keys. */
export function explain(dialog, statuses) {
  const keys = [
    ["/", "Search"],
    ["1 2 3", "Graph, timeline, list"],
    ["E", "Executions"],
    ["Arrows, Home, End", "Move in the graph, the timeline and the list"],
    ["Enter", "Open the step"],
    ["Esc", "Close it"],
    ["+ − 0", "Graph: zoom, show everything"],
    ["Shift + arrows", "Graph: pan"],
    ["?", "This help"],
  ];
  dialog.replaceChildren(
    element("h2", { id: "help-title" }, "Signs and keys"),
    element(
      "p",
      { class: "links" },
      statuses.map((status) =>
        element("span", { class: `status-word is-${status}` }, icon(status), label(status)),
      ),
    ),
    element(
      "dl",
      { class: "keys" },
      keys.flatMap(([key, what]) => [
        element("dt", {}, element("kbd", {}, key)),
        element("dd", {}, what),
      ]),
    ),
    element(
      "form",
      { method: "dialog", class: "actions" },
      element("button", { class: "primary" }, "Close"),
    ),
  );
}
