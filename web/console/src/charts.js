// Latency, requests and servers over the last minutes, on one time axis, with what happened marked on it.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { color, forgetColors } from "./colors.js";
import { byId, write } from "./dom.js";
import { clock, count, latency, rate } from "./format.js";
import { MARKS, drawGoal, drawMarks } from "./marks.js";

/** @typedef {import("./model.js").State} State */

const HEIGHT = { latency: 170, rps: 130, servers: 110 };
/** How near a happening is to the pointer to be read out: seconds. */
const NEAR_S = 2;

export function charts() {
  const parts = [latencyChart(), rateChart(), serverChart()];
  const readout = byId("readout");
  let windowS = 120;
  /** @type {State | null} */
  let state = null;
  /** @type {uPlot[]} */
  let plots = [];
  let pointing = false;

  const draw = () => {
    if (!state) return;
    const points = state.history;
    const end = Math.max(points.length ? points[points.length - 1].t : 0, state.now) / 1000;
    const from = points.findIndex((point) => point.t / 1000 >= end - windowS - 2);
    const shown = from < 0 ? [] : points.slice(from);
    const times = shown.map((point) => point.t / 1000);
    plots.forEach((plot, index) => {
      plot.batch(() => {
        plot.setData([times, ...parts[index].series.map((series) => shown.map((point) => series.value(point)))], false);
        plot.setScale("x", { min: end - windowS, max: end });
      });
    });
    describe(parts, state.totals, state.goal_ms, windowS);
    if (!pointing) write(readout, shown.length < 2 ? "The first points come in a few seconds." : "");
  };

  /** @param {number | null | undefined} index into the shown points */
  const read = (index) => {
    const times = plots[0]?.data[0];
    const t = index == null ? undefined : times?.[index];
    pointing = t !== undefined;
    if (t === undefined || !state) {
      write(readout, "");
      return;
    }
    const point = state.history.find((one) => one.t / 1000 === t);
    const near = state.events.filter((event) => event.kind in MARKS && Math.abs(event.at / 1000 - t) <= NEAR_S);
    const values = point ? `mean ${latency(point.mean_ms)}, p99 ${latency(point.p99_ms)}, ${rate(point.rps)}, ${count(point.servers)} servers` : "";
    write(readout, `${clock(t * 1000)}: ${near.length ? near[near.length - 1].text : values}`);
  };

  const build = () => {
    forgetColors();
    plots.forEach((plot) => plot.destroy());
    plots = parts.map((part) => new uPlot(options(part, () => state, read), [[], ...part.series.map(() => [])], part.box));
    draw();
  };
  build();

  const resized = new ResizeObserver(() => plots.forEach((plot, index) => plot.setSize({ width: parts[index].box.clientWidth, height: parts[index].height })));
  parts.forEach((part) => resized.observe(part.box));
  for (const choice of document.querySelectorAll('input[name="window"]')) {
    choice.addEventListener("change", () => {
      windowS = Number(/** @type {HTMLInputElement} */ (choice).value);
      draw();
    });
  }
  return {
    /** @param {State} next */
    update(next) {
      state = next;
      draw();
    },
    /** Colours are painted, so a new theme needs new charts. */
    repaint: build,
  };
}

/** @typedef {import("./model.js").Point} Point */
/** @typedef {{value: (point: Point) => number | null, options: () => uPlot.Series}} Series */
/** @typedef {{box: HTMLElement, height: number, series: Series[], top: (max: number) => number, label: (value: number) => string, goal?: boolean, integers?: boolean}} Part */

/**
 * Writes the newest values beside the charts, and the charts' text for those who do not see them.
 * @param {Part[]} parts @param {State["totals"]} last @param {number | null} goal @param {number} windowS
 */
function describe(parts, last, goal, windowS) {
  write(byId("k-mean"), latency(last.mean_ms));
  write(byId("k-p99"), latency(last.p99_ms));
  write(byId("k-rps"), rate(last.rps));
  write(byId("k-servers"), count(last.servers));
  byId("k-goal-line").hidden = goal == null;
  write(byId("k-goal"), latency(goal));
  const over = `over the last ${windowS / 60} minutes`;
  const texts = [
    `Latency ${over}; now mean ${latency(last.mean_ms)}, p99 ${latency(last.p99_ms)}`,
    `Requests per second ${over}; now ${rate(last.rps)}`,
    `Servers taking requests ${over}; now ${count(last.servers)}`,
  ];
  parts.forEach((part, index) => part.box.setAttribute("aria-label", texts[index]));
}

/** @param {string} id */
const box = (id) => /** @type {HTMLElement} */ (byId(id).querySelector(".canvas"));

/** @returns {Part} */
function latencyChart() {
  return {
    box: box("chart-latency"),
    height: HEIGHT.latency,
    goal: true,
    top: (max) => Math.max(20, max * 1.12),
    label: (value) => latency(value),
    series: [
      { value: (point) => point.mean_ms, options: () => ({ stroke: color("--mean"), width: 2, points: { show: false } }) },
      { value: (point) => point.p99_ms, options: () => ({ stroke: color("--p99"), width: 1.5, dash: [5, 3], points: { show: false } }) },
    ],
  };
}

/** @returns {Part} */
function rateChart() {
  return {
    box: box("chart-rps"),
    height: HEIGHT.rps,
    top: (max) => Math.max(10, max * 1.12),
    label: (value) => rate(value),
    series: [
      { value: (point) => point.rps, options: () => ({ stroke: color("--rps"), fill: color("--rps-fill"), width: 1.5, points: { show: false } }) },
    ],
  };
}

/** @returns {Part} */
function serverChart() {
  const stepped = uPlot.paths.stepped?.({ align: 1 });
  return {
    box: box("chart-servers"),
    height: HEIGHT.servers,
    integers: true,
    top: (max) => Math.max(4, Math.ceil(max)) + 0.4,
    label: (value) => count(value),
    series: [
      {
        value: (point) => point.servers,
        options: () => ({ stroke: color("--servers"), fill: color("--servers-fill"), width: 2, points: { show: false }, paths: stepped }),
      },
    ],
  };
}

/**
 * @param {Part} part
 * @param {() => State | null} state
 * @param {(index: number | null | undefined) => void} read
 * @returns {uPlot.Options}
 */
function options(part, state, read) {
  const ink = color("--muted");
  const grid = { stroke: color("--grid"), width: 1 };
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: ink, font, grid, ticks: { show: false } };
  return {
    width: part.box.clientWidth || 300,
    height: part.height,
    legend: { show: false },
    padding: [8, 26, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: "console" }, points: { size: 6 } },
    scales: { x: { time: true, auto: false }, y: { range: (_, __, max) => [0, part.top(max ?? 0)] } },
    axes: [
      { ...axis, size: 26, space: 70, values: (_, times) => times.map((t) => clock(t * 1000)) },
      { ...axis, size: 66, space: 28, incrs: part.integers ? [1, 2, 5, 10, 20, 50] : undefined, values: (_, values) => values.map((value) => part.label(value)) },
    ],
    series: [{}, ...part.series.map((series) => series.options())],
    hooks: {
      drawClear: [(plot) => drawMarks(plot, state())],
      draw: [(plot) => part.goal && drawGoal(plot, state()?.goal_ms)],
      setCursor: [(plot) => plot.cursor.event && read(plot.cursor.idx)],
    },
  };
}
