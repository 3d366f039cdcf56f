// Where each node stands: connected parts in layers from left to right, or from top to bottom,
// and the parts packed.

import { chains, order, rank } from "./layers.js";
import { inColumns, place } from "./placement.js";

export const HEIGHT = 44;
const PART_GAP = 48;
const SHAPE = 1.7; // Width to height, about that of a window.
const READABLE = 2500; // So many nodes and bends get the careful way; more would take too long.

/**
 * Lays out a graph, in layers from left to right or, if `vertical`, from top to bottom.
 *
 * `widths` has each node's width; `edges` are pairs of indexes, where a dependency comes before
 * its dependents.
 * Returns `{x, y, widths, width, height, routes}`: upper left corners, and for each edge its
 * points: curves from
 * an even point to the next, straight on from an odd one.
 */
export function layout(widths, edges, vertical = false) {
  const count = widths.length;
  const x = new Float64Array(count);
  const y = new Float64Array(count);
  const routes = new Array(edges.length);
  const size = pack(parts(count, edges).map((part) => drawn(part, widths, edges, vertical)));
  for (const { part, left, top, own, route } of size.shelved) {
    part.nodes.forEach((node, index) => {
      x[node] = own.x[index] + left;
      y[node] = own.y[index] + top;
    });
    part.edges.forEach((edge, index) => {
      routes[edge] = route[index].map((value, at) => value + (at % 2 ? top : left));
    });
  }
  return { x, y, widths, width: size.width, height: size.height, routes, vertical };
}

function drawn(part, widths, edges, vertical) {
  const local = new Map(part.nodes.map((node, index) => [node, index]));
  const own = part.edges.map((edge) => edges[edge].map((end) => local.get(end)));
  const sizes = part.nodes.map((node) => widths[node]);
  const ranks = rank(sizes.length, own);
  const bends = own.reduce((sum, [from, to]) => sum + ranks[to] - ranks[from] - 1, 0);
  const careful = sizes.length + bends <= READABLE;
  const graph = chains(ranks, own, careful);
  const layers = order(graph, careful);
  const heights = sizes.map(() => HEIGHT);
  const [along, across] = vertical ? [heights, sizes] : [sizes, heights];
  const placed = careful
    ? place(graph, layers, along, across)
    : inColumns(layers, sizes, HEIGHT, SHAPE);
  const route = graph.chains.map((chain) => routed(chain, placed, along, across, vertical));
  const [x, y] = vertical ? [placed.across, placed.along] : [placed.along, placed.across];
  const [width, height] = vertical ? placed.size.reverse() : placed.size;
  return { part, own: { x, y }, route, width, height };
}

function routed(chain, placed, along, across, vertical) {
  const points = [];
  const add = (forward, sideways) =>
    points.push(...(vertical ? [sideways, forward] : [forward, sideways]));
  chain.forEach((at, index) => {
    const [start, side] = [placed.along[at], placed.across[at]];
    if (at < along.length) add(index === 0 ? start + along[at] : start, side + across[at] / 2);
    else {
      // A bend passes its whole layer straight on, so that no edge runs across a node.
      add(start, side);
      add(start + placed.columns[placed.column[at]], side);
    }
  });
  return points;
}

/** Connected parts, in the order of their first nodes. */
function parts(count, edges) {
  const root = Int32Array.from({ length: count }, (_, index) => index);
  const find = (node) => {
    while (root[node] !== node) node = root[node] = root[root[node]];
    return node;
  };
  for (const [from, to] of edges) {
    const [a, b] = [find(from), find(to)];
    root[Math.max(a, b)] = Math.min(a, b);
  }
  const found = new Map();
  for (let node = 0; node < count; node += 1) {
    const top = find(node);
    if (!found.has(top)) found.set(top, { nodes: [], edges: [] });
    found.get(top).nodes.push(node);
  }
  edges.forEach(([from], index) => found.get(find(from)).edges.push(index));
  return [...found.values()];
}

/** Parts in rows, large ones first, filled from the left. */
function pack(boxes) {
  const area = boxes.reduce(
    (sum, box) => sum + (box.width + PART_GAP) * (box.height + PART_GAP),
    0,
  );
  const widest = Math.max(0, ...boxes.map((box) => box.width));
  const limit = Math.max(widest, Math.sqrt(area * SHAPE));
  let left = 0;
  let top = 0;
  let row = 0;
  let width = 0;
  const shelved = [...boxes]
    .sort((a, b) => (b.part.nodes.length > 1) - (a.part.nodes.length > 1) || b.height - a.height)
    .map((box) => {
      if (left > 0 && left + box.width > limit) {
        [left, top, row] = [0, top + row + (row > HEIGHT ? PART_GAP : PART_GAP / 3), 0];
      }
      const here = { ...box, left, top };
      left += box.width + PART_GAP;
      row = Math.max(row, box.height);
      width = Math.max(width, left - PART_GAP);
      return here;
    });
  return { shelved, width, height: top + row };
}
