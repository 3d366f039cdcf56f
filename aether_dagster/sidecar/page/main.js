// Puts the page together: the address says what is looked at, the store what is there.

import * as address from "./address.js";
import { Banner } from "./banner.js";
import { byId } from "./elements.js";
import { ExecutionsView } from "./executions.js";
import { Filter } from "./filter.js";
import { plural } from "./format.js";
import { GraphView } from "./graph.js";
import { Header, explain } from "./header.js";
import { ListView } from "./list.js";
import { Panel } from "./panel.js";
import { Replay } from "./replay.js";
import { Store } from "./store.js";
import { TimelineView } from "./timeline.js";

const VIEWS = ["graph", "timeline", "list"];
const TICK = 200;

const store = new Store();
const select = (node) => address.go({ node });
const filter = new Filter(store, () => refresh());
const graph = new GraphView(byId("view-graph"), store, {
  onSelect: (name, byKey) => {
    select(name);
    if (byKey) byId("panel").focus();
  },
  visible: (name) => filter.lets(name),
  filtered: () => filter.active,
});
const timeline = new TimelineView(byId("view-timeline"), store, { onSelect: select });
const list = new ListView(byId("view-list"), store, { onSelect: select });
const panel = new Panel(byId("panel"), store, { onSelect: select });
const replay = new Replay(store);
let listState = null;
const executions = new ExecutionsView(byId("view-executions"), {
  onSelect: (id) => address.go({ execution: id, view: "graph", node: null, version: null }),
  onState: (state) => {
    listState = state;
    if (state.code === 4401) signIn();
    header.update(view === "executions", listState);
  },
});
const header = new Header(store, { onTheme: () => graph.themed() });
const banner = new Banner(store, {
  onRetry: () => store.stream.retryNow(),
  onLive: () => store.show(null),
});

let view = null;
let version = null;

document.documentElement.classList.toggle("is-embedded", address.embedded);
explain(byId("help"), [
  "pending",
  "executing",
  "succeeded",
  "failed",
  "retrying",
  "cancelled",
  "blocked",
]);

address.follow((to) => {
  const chosen = to.view === "executions" || VIEWS.includes(to.view) ? to.view : "graph";
  store.follow(to.execution ?? "latest");
  if (store.document) panel.select(to.node);
  for (const each of [graph, timeline, list]) each.select(to.node);
  if (to.version !== version) {
    version = to.version;
    if (store.id) store.show(version === null ? null : Number(version));
  }
  show(chosen);
});

function show(chosen) {
  view = chosen;
  const onList = view === "executions";
  for (const each of [...VIEWS, "executions"]) byId(`view-${each}`).hidden = each !== view;
  for (const each of VIEWS) {
    const tab = byId(`tab-${each}`);
    tab.setAttribute("aria-selected", each === view);
    tab.tabIndex = each === view ? 0 : -1;
  }
  byId("search").placeholder = `Search ${onList ? "executions" : "steps"} ( / )`;
  byId("tabs").hidden =
    byId("chips").hidden =
    byId("panel").hidden =
    byId("replay").hidden =
      onList;
  byId("to-executions").toggleAttribute("aria-current", onList);
  byId("to-executions").href = address.write({
    ...address.read(),
    view: "executions",
    node: null,
    version: null,
  });
  byId("brand").href = address.write({
    ...address.read(),
    execution: "latest",
    view: "graph",
    node: null,
    version: null,
  });
  if (!onList) executions.close();
  refresh();
}

/** Draws what is looked at anew: another view, another filter, or any node may have changed. */
function refresh() {
  header.update(view === "executions", listState);
  banner.update();
  replay.update();
  if (view === "executions") {
    executions.open((text) => filter.words.every((word) => text.toLowerCase().includes(word)));
    executions.select(store.id);
    byId("empty").hidden = true;
    return;
  }
  filter.update();
  panel.update();
  if (view === "graph") graph.redraw();
  const names = view === "graph" ? store.names : filter.names();
  if (view === "timeline") timeline.show(names);
  if (view === "list") list.show(names);
  const none = !store.document
    ? store.following === "latest"
      ? "Waiting for an execution…"
      : "Loading…"
    : view === "timeline" && timeline.count === 0
      ? "No such step has begun."
      : names.length
        ? ""
        : "No such step.";
  byId("empty").hidden = !none || store.connection.phase === "refused";
  byId("empty").textContent = none;
}

let pending = null;
function later() {
  pending ??= requestAnimationFrame(() => {
    pending = null;
    refresh();
  });
}

store.addEventListener("execution", () => {
  if (store.info) {
    graph.load();
    list.load();
    const { node, version: wanted } = address.read();
    panel.select(node);
    for (const each of [graph, timeline, list]) each.select(node);
    if (wanted !== null) store.show(Number(wanted));
    byId("announcement").textContent = `${store.info.name}, ${plural(store.names.length, "step")}`;
  }
  refresh();
});
store.addEventListener("nodes", later);
store.addEventListener("versions", () => replay.update());
store.addEventListener("moment", () => {
  // The address follows the slider, so that it can be shared; while it plays, it would only
  // flicker.
  if (!store.player) {
    version = store.past ? String(store.past.version) : null;
    address.go({ version }, { replace: true });
  }
  later();
});
store.addEventListener("connection", () => {
  if (store.connection.code === 4401) signIn();
  banner.update();
  header.update(view === "executions", listState);
});

setInterval(() => {
  if (document.hidden) return;
  banner.update();
  if (view === "executions" || !store.document) return;
  const still = store.past ? !store.player : store.finalized;
  if (still) return;
  header.tick();
  panel.tick();
  if (view === "graph" && graph.ticking) graph.redraw();
  if (view === "timeline") timeline.redraw();
  if (view === "list") list.table.refresh();
}, TICK);

for (const each of VIEWS) {
  const tab = byId(`tab-${each}`);
  tab.addEventListener("click", () => address.go({ view: each }));
  tab.addEventListener("keydown", ({ key }) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!by) return;
    const next = VIEWS[(VIEWS.indexOf(each) + by + VIEWS.length) % VIEWS.length];
    address.go({ view: next });
    byId(`tab-${next}`).focus();
  });
}

byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
byId("help-open").addEventListener("click", () => byId("help").showModal());
byId("panel").addEventListener("keydown", (event) => {
  if (event.key === "Escape") select(null);
});

addEventListener("keydown", (event) => {
  // What was focused in a dialog which was closed stays so until the next frame.
  const typing = event.target.closest("input, select, textarea, dialog[open]");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && event.target === byId("search")) filter.clear();
  else if (event.key === "Escape" && !typing) select(null);
  if (typing) return;
  if (event.key === "/") byId("search").focus();
  else if (event.key === "?") byId("help").showModal();
  else if ("123".includes(event.key)) address.go({ view: VIEWS[Number(event.key) - 1] });
  else if (event.key === "e") address.go({ view: "executions", node: null, version: null });
  else return;
  event.preventDefault();
});

function signIn() {
  if (!byId("sign-in").open) byId("sign-in").showModal();
}

byId("sign-in-form").addEventListener("submit", () => {
  const given = byId("token").value.trim();
  const token = given.includes("#") ? address.read(given.slice(given.indexOf("#"))).token : given;
  history.replaceState(null, "", address.write({ ...address.read(), token }));
  location.reload();
});
