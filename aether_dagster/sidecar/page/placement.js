// Coordinates of nodes whose layers and order are settled.

const NODE_GAP = 18;
const BEND_GAP = 14;
const SWEEPS = 12;
const NEAREST = 56;
const WIDEST = 150;

/**
 * Each node as near to the middle of its neighbours as the order in its layer lets it.
 *
 * `along` has each node's size in the direction of the edges, `across` in the direction of its
 * layer.
 */
export function place(graph, layers, along, across) {
  const { real, rankOf, into, out } = graph;
  const isBend = (node) => node >= real;
  const half = (node) => (isBend(node) ? 0 : across[node] / 2);
  // Long edges are the ones whose bends show, so they pull harder.
  const pull = (a, b) => (isBend(a) && isBend(b) ? 8 : isBend(a) || isBend(b) ? 2 : 1);
  const gap = (a, b) => half(a) + half(b) + (isBend(a) || isBend(b) ? BEND_GAP : NODE_GAP);
  const middle = new Float64Array(rankOf.length);
  for (const layer of layers) {
    layer.forEach((node, index) => {
      middle[node] = index ? middle[layer[index - 1]] + gap(layer[index - 1], node) : 0;
    });
  }
  const settle = (layer, sides) => {
    const wanted = layer.map((node) => {
      let weight = 0;
      let sum = 0;
      for (const side of sides) {
        for (const other of side[node]) {
          weight += pull(node, other);
          sum += pull(node, other) * middle[other];
        }
      }
      return weight ? { at: sum / weight, weight } : { at: middle[node], weight: 0.01 };
    });
    spread(layer, wanted, gap, middle);
  };
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const last = sweep >= SWEEPS - 4;
    const sides = last ? [into, out] : sweep % 2 ? [out] : [into];
    for (const layer of sweep % 2 ? [...layers].reverse() : layers) settle(layer, sides);
  }
  const columns = layers.map((layer) =>
    Math.max(0, ...layer.filter((node) => !isBend(node)).map((node) => along[node])),
  );
  const lefts = [0];
  layers.forEach((layer, at) => {
    let steepest = 0;
    for (const node of layer) {
      for (const to of out[node])
        steepest = Math.max(steepest, Math.abs(middle[to] - middle[node]));
    }
    lefts.push(lefts[at] + columns[at] + Math.min(WIDEST, NEAREST + steepest / 8));
  });
  const top = middle.reduce((least, at, node) => Math.min(least, at - half(node)), Infinity);
  const bottom = middle.reduce((most, at, node) => Math.max(most, at + half(node)), -Infinity);
  return {
    along: rankOf.map((at) => lefts[at]),
    across: rankOf.map((_, node) => middle[node] - half(node) - top),
    column: rankOf,
    columns,
    size: [lefts[layers.length - 1] + columns.at(-1), bottom - top],
  };
}

/**
 * The positions nearest to the wanted ones (least squares) which keep order and gaps: pool
 * adjacent violators,
 * after the gaps above each are taken off.
 */
function spread(layer, wanted, gap, middle) {
  const blocks = [];
  let above = 0;
  layer.forEach((node, index) => {
    if (index) above += gap(layer[index - 1], node);
    let block = {
      at: wanted[index].at - above,
      weight: wanted[index].weight,
      members: [[node, above]],
    };
    while (blocks.length && blocks.at(-1).at >= block.at) {
      const upper = blocks.pop();
      const weight = upper.weight + block.weight;
      block = {
        at: (upper.at * upper.weight + block.at * block.weight) / weight,
        weight,
        members: upper.members.concat(block.members),
      };
    }
    blocks.push(block);
  });
  for (const { at, members } of blocks) {
    for (const [node, offset] of members) middle[node] = at + offset;
  }
}

/**
 * For thousands of nodes: layers as columns, a long layer as several, so that the whole is as
 * wide as a window.
 */
export function inColumns(layers, widths, height, shape) {
  const count = widths.length;
  const x = new Float64Array(count);
  const y = new Float64Array(count);
  const step = height + NODE_GAP;
  const mean = widths.reduce((sum, width) => sum + width, 0) / count;
  const rows = Math.max(24, Math.ceil(Math.sqrt((count * (mean + NODE_GAP)) / step / shape)));
  const tallest = Math.min(rows, Math.max(...layers.map((layer) => layer.length)));
  let left = 0;
  for (const layer of layers) {
    const split = Math.ceil(layer.length / rows);
    const each = Math.ceil(layer.length / split);
    for (let part = 0; part < split; part += 1) {
      const column = layer.slice(part * each, (part + 1) * each);
      const top = ((tallest - column.length) * step) / 2;
      let wide = 0;
      column.forEach((node, index) => {
        x[node] = left;
        y[node] = top + index * step;
        wide = Math.max(wide, widths[node]);
      });
      left += wide + (part + 1 < split ? NODE_GAP : NEAREST * 1.5);
    }
  }
  return {
    along: x,
    across: y,
    column: [],
    columns: [],
    size: [left - NEAREST * 1.5, tallest * step - NODE_GAP],
  };
}
