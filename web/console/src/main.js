// Puts the page together: the stream's messages become one state, and each part of the page draws its share of it.
import "./console.css";
import * as api from "./api.js";
import { charts } from "./charts.js";
import { byId, write } from "./dom.js";
import { eventList } from "./events.js";
import { bytesRate, clock, count, latency, rate, span } from "./format.js";
import { killDialog } from "./kill.js";
import { merged } from "./model.js";
import { nodeList } from "./nodes.js";
import { rightsPanel } from "./rights.js";
import { surgePanel } from "./surge.js";
import { theme } from "./theme.js";
import { world } from "./words.js";

/** @typedef {import("./model.js").State} State */

/** How long the answer to an action stays on the page. */
const SAID_MS = 6000;

/** @type {State | null} */
let state = null;
let saidTimer = 0;

/** @param {string} text */
function say(text) {
  write(byId("said"), text);
  clearTimeout(saidTimer);
  saidTimer = window.setTimeout(() => write(byId("said"), ""), SAID_MS);
}

/** @param {Promise<string>} action @param {string} failed */
async function report(action, failed) {
  try {
    say(await action);
  } catch (error) {
    say(`${failed}: ${error instanceof Error ? error.message : error}`);
  }
}

const plots = charts();
const events = eventList();
const surge = surgePanel(say);
const askToKill = killDialog((node) => report(api.kill(node.name), `${node.name} was not killed`));
const nodes = nodeList({
  kill: askToKill,
  revive: (node) => report(api.revive(node.name), `${node.name} was not revived`),
});
rightsPanel(report);
theme(plots.repaint);

/** @param {State} now */
function draw(now) {
  const { sentence, advice, trouble } = world(now);
  write(byId("sentence"), sentence);
  write(byId("advice"), advice);
  document.body.classList.toggle("trouble", trouble);
  write(byId("realm"), now.realm);
  write(byId("service"), now.service);
  write(byId("link"), now.link);
  write(byId("uptime"), span(now.now - now.started));
  write(byId("f-rps"), rate(now.totals.rps));
  write(byId("f-bytes"), bytesRate(now.totals.bytes_per_s));
  write(byId("f-mean"), latency(now.totals.mean_ms));
  write(byId("f-p99"), latency(now.totals.p99_ms));
  write(byId("f-servers"), count(now.totals.servers));
  write(byId("f-errors"), count(now.totals.errors));
  document.title = `${count(now.totals.servers)} up, ${rate(now.totals.rps)} · WebOS console`;
  nodes.update(now.nodes);
  surge.update(now);
  plots.update(now);
  events.update(now.events);
}

/** @param {api.Connection} connection */
function connected(connection) {
  const banner = byId("banner");
  const live = connection === "live";
  document.body.classList.toggle("stale", !live);
  if (live) {
    banner.hidden = true;
    return;
  }
  nodes.freeze();
  const since = state ? ` What you see is from ${clock(state.now)}.` : "";
  const why = {
    lost: "The console does not answer. If “webos up” has ended, start it again; this page keeps trying.",
    stranger: "The console was started anew. Open the link that “webos up” printed this time.",
    crowded: "Too many pages of this console are open. Close one; this page keeps trying.",
  };
  write(banner, why[connection] + since);
  banner.hidden = false;
}

api.listen({
  state(fresh) {
    if (state && state.started !== fresh.started) events.forget();
    state = merged(state, fresh);
    draw(state);
  },
  event(event) {
    if (!state || state.events.some((known) => known.id >= event.id)) return;
    state = { ...state, events: [...state.events, event] };
    events.update(state.events);
  },
  connection: connected,
});
