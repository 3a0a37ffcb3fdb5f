// The page's sentences: the state of the world in one, what to do next, and what a kill will and will not stop.
import { plural, rate, span } from "./format.js";
import { serves } from "./model.js";

/** @typedef {import("./model.js").State} State */
/** @typedef {import("./model.js").Node} Node */

/** @type {Record<import("./model.js").Phase, string>} */
export const PHASES = {
  home: "Serving",
  idle: "Idle",
  starting: "Starting",
  serving: "Serving",
  draining: "Draining",
  ended: "Lease ended",
  down: "Down",
};

/** @type {Record<import("./model.js").Role, string>} */
export const ROLES = { home: "home node", lent: "lent node", relay: "relay" };

/** @param {State} state who answers, in words @param {Node[]} active */
function servers(state, active) {
  const home = active.some((node) => node.role === "home");
  const others = active.filter((node) => node.role !== "home").length;
  if (!others) return "The home alone answers";
  const surrogates = plural(others, "surrogate", "surrogates");
  if (!home) return `${surrogates} ${others === 1 ? "answers" : "answer"}`;
  return `The home and ${surrogates} answer`;
}

/**
 * The state of the world in one sentence, and what a person could do about it.
 * @param {State} state
 * @returns {{sentence: string, advice: string, trouble: boolean}}
 */
export function world(state) {
  const active = state.nodes.filter(serves);
  const home = state.nodes.find((node) => node.role === "home");
  if (home && home.phase === "down") return homeless(active);
  if (!active.length) {
    return { sentence: "No server takes requests.", advice: "Revive a node to bring the service back.", trouble: true };
  }
  const load = `${servers(state, active)} ${rate(state.totals.rps).replace(/\u00a0\/s$/, " requests per second")}`;
  const coming = state.nodes.filter((node) => node.phase === "starting").map((node) => node.name);
  const joining = coming.length ? `; ${coming.join(" and ")} ${coming.length === 1 ? "is" : "are"} being recruited` : "";
  if (state.surge) {
    const clients = plural(state.surge.clients, "client sends", "clients send");
    return { sentence: `${load}${joining}.`, advice: `${clients} load for ${span(state.surge.until - state.now)} more.`, trouble: false };
  }
  if (state.totals.rps < 0.05) {
    return {
      sentence: `All is quiet: ${active.length === 1 ? "the home waits" : `${plural(active.length, "server", "servers")} wait`} for requests.`,
      advice: `Start a surge, or run “webos fetch ${state.service}/” in a second terminal.`,
      trouble: false,
    };
  }
  const down = state.nodes.filter((node) => node.phase === "down").map((node) => node.name);
  const advice = down.length ? `${down.join(" and ")} ${down.length === 1 ? "is" : "are"} down; revive to have ${down.length === 1 ? "it" : "them"} back for recruiting.` : "Start a surge to see surrogates recruited.";
  return { sentence: `${load}${joining}.`, advice, trouble: false };
}

/** @param {Node[]} active */
function homeless(active) {
  if (!active.length) {
    return {
      sentence: "The home is down and no surrogate holds a lease.",
      advice: "Requests are answered with 503, naming the home, until it is revived.",
      trouble: true,
    };
  }
  const left = plural(active.length, "surrogate goes on", "surrogates go on");
  return {
    sentence: `The home is down: ${left} with cached files until the leases end.`,
    advice: "Nothing can change and nobody is recruited until the home is revived.",
    trouble: true,
  };
}

/**
 * What the kill dialog says.
 * @param {Node} node
 * @returns {{title: string, intro: string, lists: {title: string, items: string[]}[]}}
 */
export function killing(node) {
  const intro = `The process of ${node.name}${node.pid == null ? "" : ` (pid ${node.pid})`} gets SIGKILL: it ends at once, as if its machine lost power.`;
  if (node.role === "home") {
    return {
      title: "Kill the home?",
      intro,
      lists: [
        {
          title: "What goes on",
          items: [
            "Surrogates serve the ranges they have cached, until their leases end.",
            "Everything written and acknowledged is kept, and is there after a revival.",
          ],
        },
        {
          title: "What does not",
          items: [
            "Files cannot change.",
            "Nobody is recruited, and no lease is renewed.",
            `After the last lease (at most ${span(node.lease_total_ms)}) requests are answered with 503 until the home is revived.`,
          ],
        },
      ],
    };
  }
  const lists = serves(node)
    ? [{
        title: "What goes on",
        items: [
          "The service: clients go to another server, and downloads under way continue there.",
          "The load daemon recruits another node if the load asks for one.",
        ],
      }]
    : [{ title: "What goes on", items: ["Everything: this node serves nothing now. It cannot be recruited until it is revived."] }];
  return { title: `Kill ${node.name}?`, intro, lists };
}

/**
 * What the lease column says.
 * @param {Node} node
 * @returns {string} empty while the lease runs
 */
export function noLease(node) {
  if (node.role === "home") return "needs none";
  return { ended: "ended", down: "none", idle: "none", starting: "coming", draining: "given back", serving: "none", home: "" }[node.phase];
}
