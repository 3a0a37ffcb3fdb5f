// Starts the machine's own Chromium without a window; nothing is downloaded.
import { chromium } from "playwright-core";
import { accessSync, constants } from "node:fs";

const CANDIDATES = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

function installed() {
  const found = CANDIDATES.filter(Boolean).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) throw new Error("no Chromium here: apt-get install chromium, or name one in CHROMIUM");
  return found;
}

/** A started browser, with more arguments if need be. Chromium refuses its own sandbox to root, who is the user in containers. */
export function launch(more = []) {
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: installed(), headless: true, args: [...args, ...more] });
}
