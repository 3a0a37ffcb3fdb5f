// The two ways to the server: one event stream in, small posts out. It knows when the stream is lost and why.

/** How long without a message until the stream counts as lost: several of the server's seconds. */
const SILENCE_MS = 4500;
const RETRY_MS = 2000;

/** @typedef {"live" | "lost" | "stranger" | "crowded"} Connection stranger: the server was started anew */

/**
 * Keeps a stream open while the page is visible; browsers allow six streams a host, so hidden pages give theirs up.
 * @param {object} to
 * @param {(state: import("./model.js").State) => void} to.state
 * @param {(event: import("./model.js").Happening) => void} to.event
 * @param {(connection: Connection) => void} to.connection
 */
export function listen(to) {
  /** @type {EventSource | null} */
  let source = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      to.connection("lost");
      reopen();
    }, SILENCE_MS);
  };
  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const reopen = () => {
    close();
    if (document.visibilityState === "hidden") return;
    const stream = new EventSource("/api/events");
    source = stream;
    wait();
    stream.addEventListener("state", (message) => {
      wait();
      to.connection("live");
      to.state(JSON.parse(message.data));
    });
    stream.addEventListener("event", (message) => to.event(JSON.parse(message.data)));
    stream.addEventListener("error", async () => {
      close();
      to.connection(await reason());
      clearTimeout(timer);
      timer = setTimeout(reopen, RETRY_MS);
    });
  };
  document.addEventListener("visibilitychange", () => (document.visibilityState === "hidden" ? close() : reopen()));
  reopen();
}

/** Why the stream does not open. @returns {Promise<Connection>} */
async function reason() {
  try {
    const answer = await fetch("/api/state", { signal: AbortSignal.timeout(RETRY_MS) });
    if (answer.status === 401) return "stranger";
    return answer.ok ? "crowded" : "lost";
  } catch {
    return "lost";
  }
}

/**
 * Posts an action.
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<string>} what was done, in a sentence
 * @throws {Error} with the server's sentence
 */
async function post(path, body) {
  /** @type {RequestInit} */
  const request = { method: "POST" };
  if (body !== undefined) Object.assign(request, { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  let answer;
  try {
    answer = await fetch(path, request);
  } catch {
    throw new Error("The console does not answer; is “webos up” still running?");
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said.text ?? "";
  throw new Error([said.detail ?? `The console answered ${answer.status}`, said.next].filter(Boolean).join("; "));
}

/** @returns {Promise<import("./rights.js").Rights>} @throws {Error} with the server's sentence */
export async function rights() {
  const answer = await fetch("/api/rights", { signal: AbortSignal.timeout(SILENCE_MS) });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `The console answered ${answer.status}`);
  return answer.json();
}
/** @param {import("./rights.js").Revocation} what */
export const revoke = (what) => post("/api/rights/revoke", what);
/** @param {number} clients @param {number} seconds */
export const surge = (clients, seconds) => post("/api/surge", { clients, seconds });
export const calm = () => post("/api/calm");
/** @param {string} name */
export const kill = (name) => post(`/api/nodes/${encodeURIComponent(name)}/kill`);
/** @param {string} name */
export const revive = (name) => post(`/api/nodes/${encodeURIComponent(name)}/revive`);
