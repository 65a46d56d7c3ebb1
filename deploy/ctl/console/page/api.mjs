// Requests to the server that this page came from. The token, where one is needed, came in the URL's fragment, which browsers do
// not send: it is kept for this tab, and goes into a header.
const KEY = "mayfly-token";

// A part of an address; as it is, if somebody wrote what cannot be decoded.
export function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

// Takes "#token=…" out of the address.
export function takeToken() {
  const found = /^#token=([^&]+)$/.exec(location.hash);
  if (!found) return;
  setToken(decoded(found[1]));
  history.replaceState(null, "", `${location.pathname}#/`);
}

export function setToken(token) { sessionStorage.setItem(KEY, token); }

function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { authorization: `Bearer ${token}` } : {};
}

export class Refused extends Error {
  constructor(status, answer) {
    super(answer?.error ?? `the server returned ${status}`);
    Object.assign(this, { status, action: answer?.action, subject: answer?.subject });
  }
}

let onToken = () => {};
export const whenTokenIsNeeded = (callback) => { onToken = callback; };

async function refuse(response) {
  const error = new Refused(response.status, await response.json().catch(() => null));
  if (response.status === 401) onToken(error);
  throw error;
}

// get("jobs", { class: "small" }): the JSON of that command.
export async function get(path, parameters = {}, signal = undefined) {
  const query = String(new URLSearchParams(Object.entries(parameters).filter(([, v]) => v !== undefined && v !== null && v !== "")));
  const response = await fetch(`/api/${path}${query ? `?${query}` : ""}`, { headers: headers(), signal, cache: "no-store" })
    .catch((error) => { throw error.name === "AbortError" ? error : new Refused(0, { error: "the console does not respond" }); });
  return response.ok ? response.json() : refuse(response);
}

// --- the stream ---

// Events of a text/event-stream, as far as this server uses it.
export function parseEvents(text, take) {
  const parts = text.split("\n\n");
  for (const part of parts.slice(0, -1)) {
    const event = { name: "message", data: "" };
    for (const line of part.split("\n")) {
      const [, field, value] = /^([a-z]*): ?(.*)$/.exec(line) ?? [];
      if (field === "event") event.name = value;
      if (field === "data") event.data += value;
    }
    if (event.data) take(event.name, JSON.parse(event.data));
  }
  return parts.at(-1);
}

async function read(response, take) {
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest = parseEvents(rest + decoder.decode(value, { stream: true }), take);
  }
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// Beyond two pauses between events. A server that hangs, or a connection that a sleeping computer lost, ends nothing: silence does.
export const SILENCE_MS = 15000;

// Follows the stream for as long as the page is seen. take(name, data); say(state, words) with live, lost, full, paused.
// An EventSource cannot send the token.
export async function follow(take, say) {
  let everyMs = 1000;
  for (let tries = 0; ; tries += 1) {
    if (document.hidden) {
      say("paused", "paused");
      await new Promise((resolve) => { document.addEventListener("visibilitychange", resolve, { once: true }); });
      continue;
    }
    const stop = new AbortController();
    const hide = () => { if (document.hidden) stop.abort(); };
    document.addEventListener("visibilitychange", hide);
    let silence = null;
    let silentMs = 0;
    const listen = () => {
      clearTimeout(silence);
      const ms = SILENCE_MS + 2 * everyMs;
      silence = setTimeout(() => { silentMs = ms; stop.abort(); }, ms);
    };
    try {
      listen();
      const response = await fetch("/api/stream", { headers: headers(), signal: stop.signal, cache: "no-store" });
      if (!response.ok) await refuse(response);
      tries = 0;
      await read(response, (name, data) => { everyMs = data.every_ms ?? everyMs; listen(); take(name, data); });
      say("lost", "connection lost");
    } catch (error) {
      if (silentMs) say("lost", `no news for ${silentMs / 1000} s`);
      else if (error.name !== "AbortError") say(error.status === 503 ? "full" : "lost", error.status ? error.message : "connection lost");
    }
    clearTimeout(silence);
    document.removeEventListener("visibilitychange", hide);
    if (!document.hidden) await pause(Math.min(10000, 1000 * 2 ** Math.min(tries, 4)));
  }
}
