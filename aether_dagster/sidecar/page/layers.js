// Which layer each node is in, and in which order, so that few edges cross (Sugiyama, Tagawa,
// Toda 1981).

const SWEEPS = 24;
const FEW = 800; // Up to so many nodes and bends there is time for more than one beginning.

/**
 * Layers by the longest way from a source; a node with more dependents than dependencies
 * stands near them.
 */
export function rank(count, edges) {
  const { into, out } = neighbours(count, edges);
  const ranks = new Int32Array(count);
  for (let node = 0; node < count; node += 1) {
    for (const from of into[node]) ranks[node] = Math.max(ranks[node], ranks[from] + 1);
  }
  for (let node = count - 1; node >= 0; node -= 1) {
    if (out[node].length > into[node].length) {
      let nearest = Infinity;
      for (const to of out[node]) nearest = Math.min(nearest, ranks[to] - 1);
      ranks[node] = Math.max(ranks[node], nearest);
    }
  }
  return ranks;
}

function neighbours(count, edges) {
  const into = Array.from({ length: count }, () => []);
  const out = Array.from({ length: count }, () => []);
  for (const [from, to] of edges) {
    into[to].push(from);
    out[from].push(to);
  }
  return { into, out };
}

/**
 * The graph with a bend in each layer which an edge passes; without bends, edges of any length
 * stay as they are.
 */
export function chains(ranks, edges, bent) {
  const rankOf = [...ranks];
  const links = [];
  const made = edges.map(([from, to]) => {
    const chain = [from];
    for (let at = ranks[from] + 1; bent && at < ranks[to]; at += 1) {
      links.push([chain.at(-1), rankOf.length]);
      chain.push(rankOf.length);
      rankOf.push(at);
    }
    links.push([chain.at(-1), to]);
    chain.push(to);
    return chain;
  });
  return { real: ranks.length, rankOf, chains: made, links, ...neighbours(rankOf.length, links) };
}

/** The nodes and bends of each layer, from top to bottom: the best of several tries. */
export function order(graph, careful) {
  if (!careful) return sweep(graph, walked(graph), mean, false).layers;
  const tries = graph.rankOf.length <= FEW ? [walked, given] : [walked];
  let best = null;
  for (const start of tries) {
    for (const centre of [median, mean]) {
      const found = sweep(graph, start(graph), centre, true);
      if (!best || found.crossings < best.crossings) best = found;
      if (best.crossings === 0) return best.layers;
    }
  }
  return best.layers;
}

function sweep(graph, layers, centre, careful) {
  const position = new Float64Array(graph.rankOf.length);
  const number = (layer) =>
    layer.forEach((node, index) => (position[node] = careful ? index : index / layer.length));
  layers.forEach(number);
  let best = { crossings: careful ? crossings(graph, layers, position) : 0, layers: copy(layers) };
  let stale = 0;
  for (let round = 0; round < (careful ? SWEEPS : 6) && stale < 6; round += 1) {
    const downwards = round % 2 === 0;
    const turn = round % 4 < 2 ? 1 : -1; // Nodes which want the same place change sides by turns.
    const side = downwards ? graph.into : graph.out;
    for (const layer of downwards ? layers : [...layers].reverse()) {
      const wanted = new Map(
        layer.map((node) => [node, centre(side[node], position) ?? position[node]]),
      );
      layer.sort((a, b) => wanted.get(a) - wanted.get(b) || (position[a] - position[b]) * turn);
      number(layer);
    }
    if (!careful) continue;
    for (const layer of layers) exchange(graph, layer, position);
    const now = crossings(graph, layers, position);
    stale += 1;
    if (now < best.crossings) {
      best = { crossings: now, layers: copy(layers) };
      stale = 0;
    }
    if (now === 0) break;
  }
  return careful ? best : { layers };
}

const copy = (layers) => layers.map((layer) => [...layer]);

/** Layers as a walk along the edges meets their nodes: neighbours begin near each other. */
function walked({ rankOf, into, out }) {
  const layers = [];
  const seen = new Uint8Array(rankOf.length);
  const waiting = [];
  for (let start = 0; start < rankOf.length; start += 1) {
    if (into[start].length === 0) waiting.push(start);
  }
  waiting.reverse();
  while (waiting.length) {
    const node = waiting.pop();
    if (seen[node]) continue;
    seen[node] = 1;
    (layers[rankOf[node]] ??= []).push(node);
    for (let index = out[node].length - 1; index >= 0; index -= 1) waiting.push(out[node][index]);
  }
  return layers;
}

/** The weighted median of the neighbours' positions (Gansner and others 1993), null without any. */
function median(nodes, position) {
  const at = nodes.map((node) => position[node]).sort((a, b) => a - b);
  if (at.length === 0) return null;
  const half = at.length >> 1;
  if (at.length % 2) return at[half];
  if (at.length === 2) return (at[0] + at[1]) / 2;
  const left = at[half - 1] - at[0];
  const right = at.at(-1) - at[half];
  return left + right
    ? (at[half - 1] * right + at[half] * left) / (left + right)
    : (at[half - 1] + at[half]) / 2;
}

const mean = (nodes, position) =>
  nodes.length ? nodes.reduce((sum, node) => sum + position[node], 0) / nodes.length : null;

/** Layers as the document has them. */
function given({ rankOf }) {
  const layers = [];
  rankOf.forEach((layer, node) => (layers[layer] ??= []).push(node));
  return layers;
}

/** Swaps neighbours in a layer as long as that removes crossings. */
function exchange({ into, out }, layer, position) {
  for (let again = true, rounds = 0; again && rounds < 8; rounds += 1) {
    again = false;
    for (let index = 0; index + 1 < layer.length; index += 1) {
      const [upper, lower] = [layer[index], layer[index + 1]];
      let gain = 0;
      for (const side of [into, out]) {
        for (const a of side[upper]) {
          for (const b of side[lower]) gain += Math.sign(position[a] - position[b]);
        }
      }
      if (gain > 0) {
        [layer[index], layer[index + 1]] = [lower, upper];
        [position[lower], position[upper]] = [index, index + 1];
        again = true;
      }
    }
  }
}

/**
 * How many edges cross between layers next to each other: inversions, counted in a Fenwick
 * tree.
 */
function crossings({ out }, layers, position) {
  let total = 0;
  for (let at = 0; at + 1 < layers.length; at += 1) {
    const size = layers[at + 1].length;
    const tree = new Int32Array(size + 1);
    let inserted = 0;
    for (const node of layers[at]) {
      const targets = out[node].map((to) => position[to]).sort((a, b) => a - b);
      for (const target of targets) {
        let before = 0;
        for (let slot = target + 1; slot > 0; slot -= slot & -slot) before += tree[slot];
        total += inserted - before;
      }
      for (const target of targets) {
        for (let slot = target + 1; slot <= size; slot += slot & -slot) tree[slot] += 1;
        inserted += 1;
      }
    }
  }
  return total;
}
