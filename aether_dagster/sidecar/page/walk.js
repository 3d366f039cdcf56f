// Going through a graph by arrow keys.

/**
 * The node next to `from` in a direction: where an edge leads if it leads there, else the
 * nearest; -1 if none.
 */
export function nextNode({ laid, edges, incident }, from, dx, dy) {
  const { x, y, widths, vertical } = laid;
  const onwards = vertical ? dy : dx;
  const [start, end] = onwards > 0 ? [0, 1] : [1, 0];
  const along = onwards === 0 ? [] : incident[from].map((edge) => edges[edge]);
  const linked = along.filter((edge) => edge[start] === from).map((edge) => edge[end]);
  let best = -1;
  let least = Infinity;
  for (const node of linked.length ? linked : x.keys()) {
    const across = x[node] + widths[node] / 2 - x[from] - widths[from] / 2;
    const down = y[node] - y[from];
    const ahead = across * dx + down * dy;
    if (node === from || (!linked.length && ahead <= 1)) continue;
    const aside = Math.abs(dx ? down : across);
    const cost = linked.length ? aside : ahead + 4 * aside;
    if (cost < least) [best, least] = [node, cost];
  }
  return best;
}
