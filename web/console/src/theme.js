// Light, dark, or as the system has it; the choice is kept for this console.
import { byId, write } from "./dom.js";

const KEY = "webos-console-colours";
const ORDER = ["automatic", "light", "dark"];

/** @param {() => void} repaint */
export function theme(repaint) {
  const root = document.documentElement;
  let now = localStorage.getItem(KEY) ?? ORDER[0];
  if (!ORDER.includes(now)) now = ORDER[0];
  const apply = () => {
    if (now === ORDER[0]) delete root.dataset.theme;
    else root.dataset.theme = now;
    write(byId("theme-now"), now);
  };
  apply();
  byId("theme").addEventListener("click", () => {
    now = ORDER[(ORDER.indexOf(now) + 1) % ORDER.length];
    localStorage.setItem(KEY, now);
    apply();
    repaint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
}
