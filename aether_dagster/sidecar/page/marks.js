// A graph from afar, where no name can be read.

import { HEIGHT } from "./layout.js";
import { drawIcon } from "./status.js";

// From afar each status still has a form: what has not run is hollow, what runs points onwards.
const FORMS = { pending: "hollow", blocked: "hollow", executing: "pointed", retrying: "split" };

/**
 * From afar: a block of colour for each node, and a shape of its own for those which need a
 * look.
 */
export function drawMarks(
  context,
  scale,
  { x, y, widths },
  nodes,
  colours,
  { statusOf, faded, selected },
) {
  const byStatus = {};
  for (const node of nodes) (byStatus[statusOf(node) + (faded(node) ? "~" : "")] ??= []).push(node);
  const line = Math.min(HEIGHT / 5, 1 / scale);
  for (const [key, members] of Object.entries(byStatus)) {
    const status = key.replace("~", "");
    const form = FORMS[status] ?? "whole";
    context.globalAlpha = key.endsWith("~") ? 0.15 : 0.9;
    context.fillStyle = form === "hollow" ? colours.node : colours[status];
    for (const node of members) context.fillRect(x[node], y[node], widths[node], HEIGHT);
    context.fillStyle = context.strokeStyle = form === "hollow" ? colours[status] : colours.node;
    context.lineWidth = line;
    for (const node of members) {
      const [left, top, width] = [x[node], y[node], widths[node]];
      if (form === "hollow")
        context.strokeRect(left + line / 2, top + line / 2, width - line, HEIGHT - line);
      else if (form === "split")
        context.fillRect(left + width / 2 - 1.2 * line, top, 2.4 * line, HEIGHT);
      else if (form === "pointed") {
        context.beginPath();
        for (const edge of [top, top + HEIGHT]) {
          context.moveTo(left + width - HEIGHT, edge);
          context.lineTo(left + width, edge);
          context.lineTo(left + width, top + HEIGHT / 2);
        }
        context.fill();
      }
    }
  }
  context.globalAlpha = 1;
  const size = Math.min(13 / scale, 130);
  for (const node of (byStatus.failed ?? []).slice(0, 1500)) {
    const [left, top] = [x[node] + (widths[node] - size) / 2, y[node] + (HEIGHT - size) / 2];
    drawIcon(context, "failed", left, top, size, colours, colours.node);
  }
  if (selected >= 0) {
    context.strokeStyle = colours.accent;
    context.lineWidth = 2.5 / scale;
    const space = 3 / scale;
    context.strokeRect(
      x[selected] - space,
      y[selected] - space,
      widths[selected] + 2 * space,
      HEIGHT + 2 * space,
    );
  }
}
