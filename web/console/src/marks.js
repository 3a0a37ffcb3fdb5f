// What is painted into the charts beside the lines: what happened when, and the goal.
import { color } from "./colors.js";

/** @typedef {import("uplot")} Plot */
/** @typedef {import("./model.js").State} State */

/** Which happenings are worth a line in the charts, and in which colour. */
export const MARKS = /** @type {Record<string, string>} */ ({
  recruited: "--mark-more",
  serving: "--mark-more",
  revived: "--mark-more",
  draining: "--mark-less",
  drained: "--mark-less",
  killed: "--mark-loss",
  down: "--mark-loss",
  surge: "--mark-load",
  calm: "--mark-load",
});

/** @param {Plot} plot @param {State | null} state */
export function drawMarks(plot, state) {
  if (!state) return;
  const { ctx, bbox } = plot;
  const [min, max] = [plot.scales.x.min ?? 0, plot.scales.x.max ?? 0];
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([]);
  for (const event of state.events) {
    const at = event.at / 1000;
    if (!(event.kind in MARKS) || at < min || at > max) continue;
    const x = Math.round(plot.valToPos(at, "x", true));
    ctx.strokeStyle = ctx.fillStyle = color(MARKS[event.kind]);
    ctx.globalAlpha = 0.5;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.globalAlpha = 1;
    drawHead(ctx, event.kind, x, bbox.top, 4 * devicePixelRatio);
  }
  ctx.restore();
}

/**
 * The head of a mark tells by its shape what the colour tells too: up for more servers, down for fewer, a cross
 * for a loss, a square for load.
 * @param {CanvasRenderingContext2D} ctx @param {string} kind @param {number} x @param {number} y @param {number} r
 */
function drawHead(ctx, kind, x, y, r) {
  ctx.beginPath();
  if (MARKS[kind] === "--mark-load") ctx.rect(x - r * 0.8, y - r * 0.8, r * 1.6, r * 1.6);
  else if (MARKS[kind] === "--mark-more") shape(ctx, [[x - r, y + r], [x + r, y + r], [x, y - r]]);
  else if (MARKS[kind] === "--mark-less") shape(ctx, [[x - r, y - r], [x + r, y - r], [x, y + r]]);
  else {
    ctx.lineWidth *= 2;
    ctx.moveTo(x - r, y - r);
    ctx.lineTo(x + r, y + r);
    ctx.moveTo(x + r, y - r);
    ctx.lineTo(x - r, y + r);
    ctx.stroke();
    ctx.lineWidth /= 2;
    return;
  }
  ctx.fill();
}

/** @param {CanvasRenderingContext2D} ctx @param {number[][]} corners */
function shape(ctx, corners) {
  corners.forEach(([x, y], index) => (index ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
  ctx.closePath();
}

/** @param {Plot} plot @param {number | null | undefined} goal */
export function drawGoal(plot, goal) {
  if (goal == null || goal > (plot.scales.y.max ?? 0)) return;
  const { ctx, bbox } = plot;
  const y = Math.round(plot.valToPos(goal, "y", true));
  ctx.save();
  ctx.strokeStyle = color("--goal");
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}
