// The list of what happened, newest first, and its quiet voice for screen readers.
import { byId, make, write } from "./dom.js";
import { clock } from "./format.js";

/** @typedef {import("./model.js").Happening} Happening */

/** Announcements are gathered this long, so that a busy minute is a sentence and not a stream. */
const GATHER_MS = 5000;
/** What is worth interrupting a listener for. */
const ANNOUNCED = new Set(["recruited", "serving", "drained", "killed", "down", "revived", "refused", "error"]);

export function eventList() {
  const list = byId("events");
  const announcer = byId("announcer");
  const empty = /** @type {Element} */ (list.firstElementChild);
  let shown = new Set();
  /** @type {Happening[]} */
  let waiting = [];
  let first = true;

  const announce = () => {
    const last = waiting.at(-1);
    if (!last) return;
    const more = waiting.length - 1;
    write(announcer, more ? `${last.text}, and ${more} more events` : last.text);
    waiting = [];
  };
  setInterval(announce, GATHER_MS);

  return {
    /** @param {Happening[]} events oldest first */
    update(events) {
      const ids = new Set(events.map((event) => event.id));
      for (const row of list.querySelectorAll("li[data-id]")) {
        const id = Number(/** @type {HTMLElement} */ (row).dataset.id);
        if (!ids.has(id)) row.remove();
      }
      for (const event of events) {
        if (shown.has(event.id)) continue;
        empty.remove();
        list.prepend(row(event));
        if (!first && ANNOUNCED.has(event.kind)) waiting.push(event);
      }
      shown = ids;
      first = false;
    },
    /** A world started anew numbers from one again. */
    forget() {
      for (const row of list.querySelectorAll("li[data-id]")) row.remove();
      shown = new Set();
      first = true;
    },
  };
}

/** @param {Happening} event */
function row(event) {
  const at = make("time", { datetime: new Date(event.at).toISOString() }, [clock(event.at)]);
  const kind = make("span", { class: "kind" }, [event.kind]);
  return make("li", { "data-id": String(event.id), "data-kind": event.kind }, [at, kind, make("p", {}, [event.text])]);
}
