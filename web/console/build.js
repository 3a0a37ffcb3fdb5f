// Builds web/console/dist from src: one script, one style sheet, the page and its icon. The result is committed,
// so it must be the same on every machine: pinned tools, no time stamps, no paths.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, rm } from "node:fs/promises";

const here = new URL(".", import.meta.url).pathname;
const licence = await readFile(`${here}node_modules/uplot/LICENSE`, "utf8");

await rm(`${here}dist`, { recursive: true, force: true });
await mkdir(`${here}dist`);
await build({
  absWorkingDir: here,
  entryPoints: { console: "src/main.js" },
  outdir: "dist",
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome123", "firefox121", "safari17.5"],
  legalComments: "none",
  banner: { js: `/*! The console of WebOS. Contains uPlot, https://github.com/leeoniya/uPlot:\n${licence.trim()}\n*/` },
});
for (const file of ["index.html", "icon.svg"]) await copyFile(`${here}src/${file}`, `${here}dist/${file}`);
