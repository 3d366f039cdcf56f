// One stream of the live protocol which comes back: with back-off, and with `since` where it may.

import { read } from "./address.js";

const PROTOCOL = "aetherscript.state.v1+seq";
const FIRST_DELAY = 250;
const LONGEST_DELAY = 10_000;
const SILENCE = 16_000; // Three heartbeats of five seconds, and a little.
const GOOD = new Set([1000]);
const REFUSED = new Set([1009, 4400, 4401, 4404]);

export async function fetchJson(path, { signal } = {}) {
  const { token } = read();
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { headers, signal, cache: "no-store" });
  if (!response.ok) {
    const error = new Error((await response.text()) || response.statusText);
    error.status = response.status;
    throw error;
  }
  return response.json();
}

/**
 * A WebSocket which is opened again whenever it closes before all was sent.
 *
 * `onMessage(message)` gets each frame; `onState(state)` gets `{phase, code, reason, retryAt}`
 * where phase is
 * `connecting`, `open`, `lost`, `ended` (all was sent) or `refused`.
 */
export class Connection {
  constructor(path, { parameters = {}, resume = true, onMessage, onState }) {
    Object.assign(this, { path, parameters, resume, onMessage, onState });
    this.timestamp = null;
    this.attempts = 0;
    this.closed = false;
    this.wake = () => this.retryNow();
    addEventListener("online", this.wake);
    this.#open();
  }

  close() {
    this.closed = true;
    removeEventListener("online", this.wake);
    clearTimeout(this.timer);
    clearTimeout(this.watch);
    this.socket?.close(1000);
  }

  retryNow() {
    if (this.closed || !this.timer) return;
    clearTimeout(this.timer);
    this.timer = null;
    this.#open();
  }

  #open() {
    const url = new URL(this.path, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    for (const [name, value] of Object.entries(this.parameters)) url.searchParams.set(name, value);
    if (this.resume && this.timestamp !== null) url.searchParams.set("since", this.timestamp);
    const { token } = read();
    const offered = token ? [PROTOCOL, `aetherscript.token.${token}`] : [PROTOCOL];
    this.timer = null;
    this.onState({ phase: "connecting" });
    let socket;
    try {
      socket = new WebSocket(url, offered);
    } catch (error) {
      // A token which is no HTTP token is not one the server can have given.
      this.onState({ phase: "refused", code: 4401, reason: error.message });
      return;
    }
    this.socket = socket;
    socket.onopen = () => {
      this.#listen();
      this.onState({ phase: "open" });
    };
    socket.onmessage = ({ data }) => {
      if (this.closed) return;
      this.#listen();
      this.attempts = 0;
      const message = JSON.parse(data);
      if (message.event_type !== "state_update") return;
      this.timestamp = message.timestamp;
      this.onMessage(message);
    };
    socket.onclose = ({ code, reason }) => {
      if (!this.closed && this.socket === socket) this.#ended(code, reason);
    };
  }

  #listen() {
    clearTimeout(this.watch);
    const { socket } = this;
    this.watch = setTimeout(() => {
      if (this.socket !== socket || this.closed) return;
      // A close on a dead line takes minutes to be answered: this one is given up at once.
      this.socket = null;
      socket.close();
      this.#ended(1006, "silent");
    }, SILENCE);
  }

  async #ended(code, reason) {
    clearTimeout(this.watch);
    if (GOOD.has(code)) return this.onState({ phase: "ended", code, reason });
    const status = code === 1006 ? await this.#ask() : null;
    if (this.closed) return undefined;
    if (status === 401 || status === 403) code = 4401;
    if (status === 404 && !this.path.endsWith("latest")) code = 4404;
    if (REFUSED.has(code)) return this.onState({ phase: "refused", code, reason });
    const bound = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.attempts);
    const delay = bound / 2 + Math.random() * (bound / 2);
    this.attempts += 1;
    this.timer = setTimeout(() => this.#open(), delay);
    return this.onState({ phase: "lost", code, reason, retryAt: Date.now() + delay });
  }

  // A browser does not say why a handshake failed; the same path by GET does.
  async #ask() {
    try {
      await fetchJson(`${this.path}?mask=pipeline.id`, { signal: AbortSignal.timeout(3000) });
      return 200;
    } catch (error) {
      return error.status ?? null;
    }
  }
}
