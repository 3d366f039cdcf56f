// The fragment is the page's address: `#token=…&execution=…&view=…&node=…&version=…`.
// A browser never sends it, so the token in it reaches no log.

const ORDER = ["token", "execution", "view", "node", "version"];

export function read(fragment = location.hash) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  return Object.fromEntries(ORDER.map((key) => [key, given.get(key) || null]));
}

export function write(address) {
  const parts = ORDER.filter((key) => address[key] !== null && address[key] !== undefined);
  return `#${parts.map((key) => `${key}=${encodeURIComponent(address[key])}`).join("&")}`;
}

/** Goes to the present address with some members changed; Back returns, unless `replace`. */
export function go(changes, { replace = false } = {}) {
  const fragment = write({ ...read(), ...changes });
  if (fragment === location.hash) return;
  history[replace ? "replaceState" : "pushState"](null, "", fragment);
  dispatchEvent(new Event("address"));
}

/** Calls `listener` now and on each change, also by Back and by editing the URL. */
export function follow(listener) {
  const tell = () => listener(read());
  addEventListener("address", tell);
  addEventListener("popstate", tell);
  tell();
}

export const embedded = new URLSearchParams(location.search).has("embed");
