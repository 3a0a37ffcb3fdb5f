// The list of nodes: one row each, kept and updated in place so that focus, hover and order stay.
import { byId, calmMotion, make, symbol, write } from "./dom.js";
import { bytesRate, count, decimal, latency, rate, seconds } from "./format.js";
import { PHASES, ROLES, noLease } from "./words.js";

/** @typedef {import("./model.js").Node} Node */
/** @typedef {{kill: (node: Node) => void, revive: (node: Node) => void}} Actions */

/** How often a running lease is redrawn. */
const REDRAW_MS = 100;

/** @param {Actions} actions */
export function nodeList(actions) {
  const list = byId("nodes");
  /** @type {Map<string, ReturnType<typeof row>>} */
  const rows = new Map();

  const redraw = () => {
    const now = performance.now();
    for (const one of rows.values()) one.lease.draw(now);
  };
  let timer = 0;
  const pace = () => {
    clearInterval(timer);
    timer = window.setInterval(redraw, calmMotion.matches ? 1000 : REDRAW_MS);
  };
  calmMotion.addEventListener("change", pace);
  pace();

  return {
    /** @param {Node[]} nodes */
    update(nodes) {
      if (nodes.length && !rows.size) list.replaceChildren();
      for (const node of nodes) {
        let one = rows.get(node.name);
        if (!one) {
          one = row(node, actions);
          rows.set(node.name, one);
          list.append(one.element);
        }
        one.update(node);
      }
      const names = new Set(nodes.map((node) => node.name));
      for (const [name, one] of rows) {
        if (names.has(name)) continue;
        one.element.remove();
        rows.delete(name);
      }
    },
    /** The news stopped: leases are not to be guessed on. */
    freeze() {
      for (const one of rows.values()) one.lease.freeze();
    },
  };
}

/** @param {Node} first @param {Actions} actions */
function row(first, actions) {
  let node = first;
  const title = make("h3", { id: `node-${first.name}` }, [first.name]);
  const shape = symbol(`phase-${first.phase}`);
  const phase = make("span", { class: "phase-text" });
  const place = make("span");
  const cells = {
    rps: make("dd"),
    bytes: make("dd"),
    latency: make("dd"),
    inflight: make("dd"),
  };
  const lease = leaseBar(first.name);
  const rights = make("span");
  const button = make("button", { type: "button" });
  button.addEventListener("click", () => (node.phase === "down" ? actions.revive(node) : actions.kill(node)));
  const element = make("li", { class: "node", "data-node": first.name, "aria-labelledby": title.id }, [
    make("div", { class: "who" }, [title, make("span", { class: "role muted" }, [ROLES[first.role]]), make("p", { class: "phase" }, [shape.svg, phase])]),
    make("dl", { class: "measures" }, [
      make("div", {}, [make("dt", {}, ["Requests"]), cells.rps]),
      make("div", {}, [make("dt", {}, ["Data"]), cells.bytes]),
      make("div", {}, [make("dt", {}, ["Latency"]), cells.latency]),
      make("div", {}, [make("dt", {}, ["In flight"]), cells.inflight]),
      make("div", { class: "lease" }, [make("dt", {}, ["Lease"]), lease.element]),
    ]),
    make("div", { class: "act" }, [button]),
    make("p", { class: "facts muted" }, [place, " · ", rights]),
  ]);
  return {
    element,
    lease,
    /** @param {Node} next */
    update(next) {
      node = next;
      element.dataset.phase = next.phase;
      shape.show(`phase-${next.phase}`);
      write(phase, PHASES[next.phase]);
      const port = next.url.split(":").pop();
      write(place, next.pid == null ? "No process" : `pid ${next.pid}, port ${port}`);
      place.title = `${next.url}, ${count(next.requests_total)} requests answered since its start`;
      const measured = next.phase === "down" ? null : next;
      write(cells.rps, rate(measured?.rps));
      write(cells.bytes, bytesRate(measured?.bytes_per_s));
      write(cells.latency, latency(measured?.latency_ms));
      write(cells.inflight, decimal(measured?.inflight));
      lease.set(next);
      write(rights, next.rights.length ? `Rights: ${next.rights.join("; ")}` : "Rights: none now");
      write(button, next.phase === "down" ? "Revive" : "Kill");
      button.setAttribute("aria-label", `${button.textContent} ${next.name}`);
    },
  };
}

/** A lease counting down between reports. @param {string} name */
function leaseBar(name) {
  const fill = make("span");
  const bar = make("div", { class: "lease-bar", role: "progressbar", "aria-label": `Lease of ${name}`, "aria-valuemin": "0" }, [fill]);
  const text = make("span", { class: "lease-text" });
  const element = make("dd", {}, [bar, text]);
  /** @type {{end: number, total: number} | null} */
  let running = null;

  /** @param {number} now of `performance` */
  const draw = (now) => {
    if (!running) return;
    const left = Math.max(0, running.end - now);
    const share = Math.min(1, left / running.total);
    fill.style.transform = `scaleX(${share.toFixed(3)})`;
    bar.classList.toggle("late", share < 1 / 3);
    write(text, seconds(left));
  };
  return {
    element,
    draw,
    freeze() {
      running = null;
    },
    /** @param {Node} node */
    set(node) {
      const left = node.lease_remaining_ms;
      running = left == null ? null : { end: performance.now() + left, total: Math.max(1, node.lease_total_ms) };
      bar.classList.toggle("none", left == null);
      text.classList.toggle("muted", left == null);
      if (left == null) {
        fill.style.transform = "scaleX(0)";
        bar.removeAttribute("aria-valuenow");
        bar.setAttribute("aria-valuetext", noLease(node));
        write(text, noLease(node));
        return;
      }
      bar.setAttribute("aria-valuemax", String(Math.round(node.lease_total_ms / 1000)));
      bar.setAttribute("aria-valuenow", String(Math.round(left / 1000)));
      bar.setAttribute("aria-valuetext", `${Math.round(left / 1000)} seconds left`);
      draw(performance.now());
    },
  };
}
