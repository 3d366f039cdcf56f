// Update masks: "replace at path". A client which does this, and nothing else, is a correct client.

const SEGMENT = /(?:`((?:[^`]|``)*)`|([A-Za-z0-9_-]+))(\.|$)/gy;

export function splitPath(path) {
  if (/^[\w-]+(\.[\w-]+)*$/.test(path)) return path.split(".");
  const segments = [];
  SEGMENT.lastIndex = 0;
  for (;;) {
    const found = SEGMENT.exec(path);
    if (!found) throw new Error(`not a path: ${path}`);
    segments.push(found[2] ?? found[1].replaceAll("``", "`"));
    if (!found[3]) return segments;
  }
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// A step may be named `__proto__`: looked up and set like any other key.
const get = (object, key) => (Object.hasOwn(object, key) ? object[key] : undefined);
const set = (object, key, value) =>
  Object.defineProperty(object, key, {
    value,
    writable: true,
    enumerable: true,
    configurable: true,
  });

/**
 * Brings `state` up to a message, in place, and returns it; a snapshot's payload takes its
 * place.
 */
export function fold(state, { update_mask: mask, payload }) {
  if (mask.length === 1 && mask[0] === "*") return payload;
  for (const path of mask.map(splitPath)) {
    const last = path.pop();
    const source = path.reduce((at, key) => (isObject(at) ? get(at, key) : undefined), payload);
    const present = isObject(source) && Object.hasOwn(source, last);
    let target = state;
    for (const key of path) {
      if (!isObject(get(target, key))) {
        if (!present) break;
        set(target, key, {});
      }
      target = get(target, key);
      if (!isObject(target)) break;
    }
    if (present) set(target, last, source[last]);
    else if (isObject(target) && reaches(state, path)) delete target[last];
  }
  return state;
}

const reaches = (state, path) =>
  isObject(path.reduce((at, key) => (isObject(at) ? get(at, key) : undefined), state));

/** The names of the nodes which a mask touches; null for a snapshot, which may touch any. */
export function touchedNodes(mask) {
  if (mask[0] === "*") return null;
  return new Set(
    mask.filter((path) => path.startsWith("nodes.")).map((path) => splitPath(path)[1]),
  );
}
