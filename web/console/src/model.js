// What the server sends, as types, and how pieces of it become the state that the page shows.

/** @typedef {"home" | "lent" | "relay"} Role */
/** @typedef {"home" | "idle" | "starting" | "serving" | "draining" | "ended" | "down"} Phase */
/**
 * @typedef {object} Node
 * @property {string} name
 * @property {Role} role
 * @property {Phase} phase
 * @property {number | null} pid
 * @property {string} url
 * @property {number} rps requests per second
 * @property {number} bytes_per_s
 * @property {number | null} latency_ms none without a request
 * @property {number} inflight
 * @property {number | null} lease_remaining_ms at the state's `now`
 * @property {number} lease_total_ms
 * @property {number} requests_total
 * @property {string[]} rights
 */
/**
 * @typedef {object} Totals
 * @property {number} rps
 * @property {number} bytes_per_s
 * @property {number | null} mean_ms
 * @property {number | null} p99_ms
 * @property {number} errors
 * @property {number} servers
 */
/** @typedef {{clients: number, since: number, until: number, sent: number, failed: number}} Surge */
/** @typedef {{t: number, rps: number, mean_ms: number | null, p99_ms: number | null, servers: number}} Point */
/** @typedef {{id: number, at: number, kind: string, node: string | null, text: string}} Happening */
/**
 * @typedef {object} State
 * @property {number} now wall clock of the server, milliseconds
 * @property {string} realm
 * @property {string} service
 * @property {number} started
 * @property {string} link
 * @property {number | null} goal_ms
 * @property {Node[]} nodes
 * @property {Totals} totals
 * @property {Surge | null} surge
 * @property {Point[]} history oldest first
 * @property {Happening[]} events oldest first
 */

/** Points and events kept; the server keeps the same numbers. */
export const HISTORY_POINTS = 600;
export const MAX_EVENTS = 200;

/**
 * The state after a `state` message: facts are replaced, history and events are continued. A world started anew
 * begins from nothing.
 * @param {State | null} old
 * @param {State} fresh
 * @returns {State}
 */
export function merged(old, fresh) {
  const known = old && old.started === fresh.started ? old : { history: [], events: [] };
  return {
    ...fresh,
    history: continued(known.history, fresh.history, (point) => point.t).slice(-HISTORY_POINTS),
    events: continued(known.events, fresh.events, (event) => event.id).slice(-MAX_EVENTS),
  };
}

/**
 * @template T
 * @param {T[]} known
 * @param {T[]} more
 * @param {(item: T) => number} key rises in both lists
 */
function continued(known, more, key) {
  const last = known.length ? key(known[known.length - 1]) : -Infinity;
  return known.concat(more.filter((item) => key(item) > last));
}

/** @param {Node} node */
export const serves = (node) => node.phase === "home" || node.phase === "serving";
