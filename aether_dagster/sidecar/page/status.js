// A status is a word, a colour and a shape; the shape alone tells it too.

import { svg } from "./elements.js";

export const STATUSES = ["failed", "retrying", "executing", "succeeded", "pending"];
export const ENDED = new Set(["succeeded", "failed"]);

const LABELS = {
  pending: "Pending",
  executing: "Executing",
  succeeded: "Succeeded",
  failed: "Failed",
  retrying: "Retrying",
  cancelled: "Cancelled",
  blocked: "Not run",
};

// In a box of 16 by 16: the body's silhouette differs for each, and so does the sign on it.
const SHAPES = {
  pending: { body: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11z", hollow: true },
  blocked: {
    body: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11z",
    hollow: true,
    sign: "M4.5 11.5l7-7",
  },
  executing: { body: "M3.5 1.8l10.5 6.2l-10.5 6.2z" },
  succeeded: { body: "M8 1a7 7 0 1 1 0 14a7 7 0 1 1 0-14z", sign: "M4.9 8.3l2.1 2.1l4.1-4.5" },
  failed: { body: "M8 .3l7.7 7.7l-7.7 7.7l-7.7-7.7z", sign: "M5.7 5.7l4.6 4.6M10.3 5.7l-4.6 4.6" },
  retrying: {
    body: "M2.5 1.5h11a1 1 0 0 1 1 1v11a1 1 0 0 1-1 1h-11a1 1 0 0 1-1-1v-11a1 1 0 0 1 1-1z",
    sign: "M11.2 9.2a3.4 3.4 0 1 1-.2-2.6M11.3 4.2v2.6h-2.6",
  },
  cancelled: { body: "M5 1h6l4 4v6l-4 4h-6l-4-4v-6z", sign: "M4.6 8h6.8" },
};

/** How a node is drawn: its status, but one that waits for nothing any more is `blocked`. */
export function appearance(node) {
  if (node.status === "pending" && node.error) return "blocked";
  if (node.status === "failed" && node.error?.type === "Cancelled") return "cancelled";
  return Object.hasOwn(SHAPES, node.status) ? node.status : "pending";
}

export const label = (status) => LABELS[status] ?? status;

/** In words, with the reason where it never ran: `Pending: UpstreamFailed`. */
export function describe(node) {
  const word = label(node.status);
  return node.error && node.status !== "succeeded" ? `${word}: ${node.error.type}` : word;
}

/** An icon which is only for the eyes: the word stands beside it. */
export function icon(status) {
  const shape = SHAPES[status] ?? SHAPES.pending;
  const made = svg("svg", {
    viewBox: "0 0 16 16",
    class: `icon is-${status}`,
    "aria-hidden": "true",
  });
  made.append(svg("path", { d: shape.body, class: shape.hollow ? "hollow" : "body" }));
  if (shape.sign)
    made.append(svg("path", { d: shape.sign, class: shape.hollow ? "hollow" : "sign" }));
  return made;
}

const paths = new Map();

/**
 * Draws an icon's shape on a canvas, `size` wide, with its upper left corner at x, y; `rim`
 * sets it off.
 */
export function drawIcon(context, status, x, y, size, colours, rim = null) {
  if (!paths.has(status)) {
    const { body, sign } = SHAPES[status];
    paths.set(status, { body: new Path2D(body), sign: sign && new Path2D(sign) });
  }
  const { body, sign } = paths.get(status);
  const { hollow } = SHAPES[status];
  context.save();
  context.translate(x, y);
  context.scale(size / 16, size / 16);
  if (rim) {
    context.lineWidth = 4;
    context.strokeStyle = rim;
    context.stroke(body);
  }
  context.lineWidth = 1.8;
  context.strokeStyle = context.fillStyle = colours[status];
  if (hollow) context.stroke(body);
  else context.fill(body);
  if (sign) {
    if (!hollow) context.strokeStyle = colours.sign;
    context.stroke(sign);
  }
  context.restore();
}
