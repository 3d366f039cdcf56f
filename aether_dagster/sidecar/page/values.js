// Payloads, errors and lists of names, as elements; whatever is in them is only ever text.

import { element } from "./elements.js";
import { bytes } from "./format.js";

/** Text in a box of its own, which can be scrolled by keyboard and copied. */
export function block(text, label, { wrap = false } = {}) {
  const copy = element(
    "button",
    { type: "button", class: "copy", "aria-label": `Copy: ${label}` },
    "Copy",
  );
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  });
  return element(
    "div",
    { class: wrap ? "block wrap" : "block" },
    element("pre", { tabindex: 0, role: "group", "aria-label": label }, text),
    navigator.clipboard ? copy : null,
  );
}

/** A payload; a value which is stored elsewhere is told by where. */
export function payload(value, label) {
  if (value === null || value === undefined) return element("p", { class: "muted" }, "None");
  if (typeof value === "object" && Object.hasOwn(value, "$artifact")) {
    const { $artifact: uri, media_type: type, bytes: size, sha256 } = value;
    return facts([
      ["Stored at", uri],
      ["Kind", type],
      ["Size", bytes(size)],
      ["SHA-256", sha256],
    ]);
  }
  return block(JSON.stringify(value, null, 2), label, { wrap: typeof value === "string" });
}

/** An error with what it holds; `folded`, its traceback waits to be opened. */
export function failure(error, { folded = false } = {}) {
  if (!error) return null;
  const { type, message, traceback, attempt, ...more } = error;
  return element(
    "div",
    {},
    element("p", { class: "error" }, element("strong", {}, type), message ? `: ${message}` : ""),
    Object.keys(more).length
      ? facts(Object.entries(more).map(([key, value]) => [key, inline(value)]))
      : null,
    !traceback
      ? null
      : folded
        ? element(
            "details",
            {},
            element("summary", {}, "Traceback"),
            block(traceback, "Traceback of the attempt"),
          )
        : block(traceback, "Traceback"),
  );
}

const inline = (value) =>
  Array.isArray(value)
    ? value.join(", ")
    : typeof value === "string"
      ? value
      : JSON.stringify(value);

/** Pairs of a name and a text or element; those without a value are left out. */
export function facts(pairs) {
  const rows = pairs
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  return element("dl", { class: "facts" }, rows);
}
