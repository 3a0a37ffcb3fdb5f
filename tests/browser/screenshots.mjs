// Takes the pictures by which a person judges the page: node screenshots.mjs LINK [FOLDER]
import { mkdir } from "node:fs/promises";
import { launch } from "./browser.mjs";

const [link, folder = "."] = process.argv.slice(2);
if (!link) {
  console.error("usage: node screenshots.mjs 'http://127.0.0.1:8480/?token=…' [FOLDER]");
  process.exit(2);
}

const VIEWS = [
  { name: "desktop-light", width: 1280, height: 900, colorScheme: "light" },
  { name: "desktop-dark", width: 1280, height: 900, colorScheme: "dark" },
  { name: "tablet-light", width: 820, height: 1100, colorScheme: "light" },
  { name: "phone-dark", width: 390, height: 844, colorScheme: "dark", deviceScaleFactor: 2 },
  { name: "phone-360-light", width: 360, height: 740, colorScheme: "light", deviceScaleFactor: 2 },
];

await mkdir(folder, { recursive: true });
const browser = await launch();
for (const { name, width, height, ...rest } of VIEWS) {
  const page = await browser.newPage({ viewport: { width, height }, reducedMotion: "reduce", ...rest });
  await page.goto(link);
  await page.locator("li.node").first().waitFor();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (wide > 0) console.error(`${name}: the page is ${wide} px wider than the window`);
  await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  await page.close();
}
await browser.close();
