// The surge panel: how much load for how long, start and stop, and how far it is.
import { byId, write } from "./dom.js";
import { count, plural, span } from "./format.js";
import * as api from "./api.js";

/** @typedef {import("./model.js").State} State */

/** @param {(text: string) => void} say */
export function surgePanel(say) {
  const form = byId("surge-form");
  const clients = /** @type {HTMLInputElement} */ (byId("clients"));
  const duration = /** @type {HTMLInputElement} */ (byId("seconds"));
  const start = /** @type {HTMLButtonElement} */ (byId("surge-start"));
  const stop = /** @type {HTMLButtonElement} */ (byId("surge-stop"));
  const fault = byId("surge-fault");
  const bar = byId("surge-bar");
  const fill = /** @type {HTMLElement} */ (bar.firstElementChild);
  let running = false;
  /** Whether focus waits to go from one button to the other: a disabled button would drop it. */
  let handOver = false;

  /** Makes the fields show the surge that runs, whoever started it. @param {State["surge"]} surge */
  const show = (surge) => {
    const now = surge !== null;
    if (now === running) return;
    if (surge) {
      clients.value = String(surge.clients);
      duration.value = String(Math.round((surge.until - surge.since) / 1000));
    }
    running = now;
    start.hidden = now;
    stop.hidden = !now;
    clients.disabled = duration.disabled = now;
    if (handOver) (now ? stop : start).focus();
    handOver = false;
  };
  /** @param {HTMLButtonElement} button @param {() => Promise<string>} action */
  const ask = async (button, action) => {
    handOver = document.activeElement === button || document.activeElement === clients || document.activeElement === duration;
    button.disabled = true;
    write(fault, "");
    try {
      say(await action());
    } catch (error) {
      write(fault, error instanceof Error ? error.message : String(error));
    } finally {
      button.disabled = false;
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wrong = [clients, duration].find((input) => !input.checkValidity());
    for (const input of [clients, duration]) input.setAttribute("aria-invalid", String(input === wrong));
    if (wrong) {
      write(fault, `${wrong === clients ? "Clients" : "Seconds"}: a whole number from ${wrong.min} to ${wrong.max}.`);
      wrong.focus();
      return;
    }
    ask(start, () => api.surge(clients.valueAsNumber, duration.valueAsNumber));
  });
  stop.addEventListener("click", () => ask(stop, api.calm));

  return {
    /** @param {State} state */
    update(state) {
      const { surge } = state;
      show(surge);
      const share = surge ? Math.min(1, (state.now - surge.since) / Math.max(1, surge.until - surge.since)) : 0;
      fill.style.transform = `scaleX(${share.toFixed(3)})`;
      bar.setAttribute("aria-valuenow", String(Math.round(share * 100)));
      const progress = surge
        ? `${plural(surge.clients, "client", "clients")}, ${span(surge.until - state.now)} left. ${count(surge.sent)} requests sent, ${count(surge.failed)} failed.`
        : "No load is being sent.";
      write(byId("surge-progress"), progress);
    },
  };
}
