// What the page says and how it continues its state, without a browser: npm test.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesRate, latency, rate, seconds, span } from "../src/format.js";
import { HISTORY_POINTS, merged } from "../src/model.js";
import { killing, world } from "../src/words.js";

/** @param {Partial<import("../src/model.js").Node>} facts @returns {import("../src/model.js").Node} */
const node = (facts) => ({
  name: "n1", role: "lent", phase: "idle", pid: 7, url: "https://127.0.0.1:1", rps: 0, bytes_per_s: 0, latency_ms: null,
  inflight: 0, lease_remaining_ms: null, lease_total_ms: 10_000, requests_total: 0, rights: [], ...facts,
});
const home = node({ name: "home", role: "home", phase: "home" });

/** @param {Partial<import("../src/model.js").State>} facts @returns {import("../src/model.js").State} */
const state = (facts) => ({
  now: 60_000, realm: "demo.localhost", service: "service://site.demo.localhost", started: 1, link: "100 Mbit/s", goal_ms: null,
  nodes: [home, node({})], totals: { rps: 12, bytes_per_s: 0, mean_ms: null, p99_ms: null, errors: 0, servers: 1 },
  surge: null, history: [], events: [], ...facts,
});
const plain = (/** @type {string} */ text) => text.replaceAll("\u00a0", " ");

test("numbers have their unit and stay short", () => {
  const cases = [
    [rate(null), "–"], [rate(0), "0 /s"], [rate(9.94), "9.9 /s"], [rate(9.96), "10 /s"], [rate(12345.6), "12,346 /s"],
    [latency(0.44), "0.4 ms"], [latency(999.6), "1,000 ms"], [latency(12_340), "12.3 s"],
    [bytesRate(0), "0 B/s"], [bytesRate(999.6), "1.0 kB/s"], [bytesRate(12_500_000), "12.5 MB/s"], [bytesRate(2e12), "2,000 GB/s"],
    [seconds(-5), "0.0 s"], [seconds(9_960), "10.0 s"], [span(119_999), "119 s"], [span(125_000), "2 min"], [span(7_260_000), "2 h 1 min"],
  ];
  for (const [got, wanted] of cases) assert.equal(plain(got), wanted);
});

test("the sentence tells who answers and what to do", () => {
  const down = { ...home, phase: /** @type {const} */ ("down") };
  const serving = node({ phase: "serving" });
  const surge = { clients: 20, since: 0, until: 90_000, sent: 1, failed: 0 };
  const quiet = { rps: 0, bytes_per_s: 0, mean_ms: null, p99_ms: null, errors: 0, servers: 1 };
  const cases = /** @type {[Partial<import("../src/model.js").State>, string, string, boolean][]} */ ([
    [{}, "The home alone answers 12 requests per second.", "Start a surge to see surrogates recruited.", false],
    [{ nodes: [home, serving], surge }, "The home and 1 surrogate answer 12 requests per second.", "20 clients send load for 30 s more.", false],
    [{ nodes: [home, node({ phase: "starting" })] }, "The home alone answers 12 requests per second; n1 is being recruited.", "Start a surge", false],
    [{ totals: quiet }, "All is quiet: the home waits for requests.", "webos fetch service://site.demo.localhost/", false],
    [{ nodes: [home, node({ phase: "down" })] }, "The home alone answers", "n1 is down; revive", false],
    [{ nodes: [down, serving] }, "The home is down: 1 surrogate goes on with cached files", "Nothing can change", true],
    [{ nodes: [down, node({})] }, "The home is down and no surrogate holds a lease.", "503", true],
    [{ nodes: [] }, "No server takes requests.", "Revive a node", true],
  ]);
  for (const [facts, sentence, advice, trouble] of cases) {
    const said = world(state(facts));
    assert.ok(plain(said.sentence).startsWith(sentence), said.sentence);
    assert.ok(plain(said.advice).includes(advice), said.advice);
    assert.equal(said.trouble, trouble);
  }
});

test("a kill of the home says what goes on and what does not", () => {
  assert.deepEqual(killing(home).lists.map((list) => list.title), ["What goes on", "What does not"]);
  assert.match(plain(JSON.stringify(killing(home))), /at most 10 s.*503/);
  assert.match(killing(node({ phase: "serving" })).lists[0].items[0], /another server/);
});

test("pieces continue the state, repeat nothing, and a new world starts empty", () => {
  const point = (/** @type {number} */ t) => ({ t, rps: 0, mean_ms: null, p99_ms: null, servers: 1 });
  const event = (/** @type {number} */ id) => ({ id, at: id, kind: "note", node: null, text: "" });
  const first = merged(null, state({ history: [point(1), point(2)], events: [event(1)] }));
  const second = merged(first, state({ history: [point(2), point(3)], events: [event(1), event(2)] }));
  assert.deepEqual(second.history.map((one) => one.t), [1, 2, 3]);
  assert.deepEqual(second.events.map((one) => one.id), [1, 2]);
  assert.deepEqual(merged(second, state({ started: 2, events: [event(1)] })).history, []);
  const long = merged(second, state({ history: Array.from({ length: 700 }, (_, index) => point(10 + index)) }));
  assert.equal(long.history.length, HISTORY_POINTS);
});
