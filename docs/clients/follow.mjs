// Follows an execution and prints its state whenever it changed. In a browser, and in Node from 22 on,
// WebSocket is there; in an older Node it is the package `ws`.
//
//     node follow.mjs ws://127.0.0.1:8787/executions/latest TOKEN

const SEGMENT = /`((?:[^`]|``)*)`|([A-Za-z0-9_-]+)/g;
const own = (value) => ({ value, writable: true, enumerable: true, configurable: true }); // also for `__proto__`
const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** Returns the state after a frame: replace at path. */
export function fold(state, frame) {
  for (const written of frame.update_mask) {
    if (written === "*") { state = frame.payload; continue; }
    const path = [...written.matchAll(SEGMENT)].map(([, quoted, plain]) => plain ?? quoted.replaceAll("``", "`"));
    const last = path.pop();
    let source = frame.payload, target = state;
    for (const segment of path) {
      source = isObject(source) && Object.hasOwn(source, segment) ? source[segment] : undefined;
      if (!Object.hasOwn(target, segment) || !isObject(target[segment])) Object.defineProperty(target, segment, own({}));
      target = target[segment];
    }
    if (isObject(source) && Object.hasOwn(source, last)) Object.defineProperty(target, last, own(source[last]));
    else delete target[last];
  }
  return state;
}

/** Calls `changed` with the state after each frame; returns the socket. */
export function follow(url, token, changed, Socket = globalThis.WebSocket) {
  const socket = new Socket(url, ["aetherscript.state.v1", `aetherscript.token.${token}`]);
  let state = {};
  socket.onmessage = (event) => changed((state = fold(state, JSON.parse(event.data))));
  return socket;
}

if (globalThis.process?.argv[1] === globalThis.process?.getBuiltinModule?.("url").fileURLToPath(import.meta.url)) {
  const Socket = globalThis.WebSocket ?? (await import("ws")).default;
  follow(process.argv[2], process.argv[3], (state) => console.log(JSON.stringify(state)), Socket);
}
