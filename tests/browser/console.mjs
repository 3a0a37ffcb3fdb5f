// The console in a real browser, before a real world: node console.mjs LINK [SECONDS OF PATIENCE]
// Prints one line a check; ends with 1 if any failed. Leaves the world calm and every node up.
import { createServer } from "node:http";
import { launch } from "./browser.mjs";

const [link, patience = "60"] = process.argv.slice(2);
if (!link?.includes("?token=")) {
  console.error("usage: node console.mjs 'http://127.0.0.1:8480/?token=…' [SECONDS]");
  process.exit(2);
}
const WAIT_MS = Number(patience) * 1000;
const CLIENTS = 60;
const SURGE_S = 300;
const { origin, port, search } = new URL(link);

let failures = 0;
/** @param {string} name @param {() => Promise<unknown>} test throws, or answers false, when it fails */
async function check(name, test) {
  try {
    if ((await test()) === false) throw new Error("not so");
    console.log(`ok    ${name}`);
  } catch (error) {
    failures += 1;
    console.log(`FAIL  ${name}: ${String(error.message ?? error).split("\n")[0]}`);
  }
}
const equal = (got, wanted) => {
  if (got !== wanted) throw new Error(`got ${got}, wanted ${wanted}`);
};

const browser = await launch([`--host-resolver-rules=MAP evil.example 127.0.0.1`]);
const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
context.setDefaultTimeout(WAIT_MS);
const page = await context.newPage();

/** What the page should never say: script errors, failed loads, breaches of its policy. */
const complaints = [];
page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
page.on("pageerror", (error) => complaints.push(error.message));
page.on("requestfailed", (request) => request.failure()?.errorText !== "net::ERR_ABORTED" && complaints.push(request.url()));
await page.exposeFunction("complain", (text) => complaints.push(text));
await page.addInitScript(() =>
  addEventListener("securitypolicyviolation", (breach) => window.complain(`${breach.violatedDirective}: ${breach.blockedURI}`)),
);

const node = (name) => page.locator(`li.node[data-node="${name}"]`);
const inPhase = (phase) => page.locator(`li.node[data-phase="${phase}"]`);
const state = () => page.evaluate(async () => (await fetch("/api/state")).json());

await check("the link opens the page and leaves the address bar without the token", async () => {
  const answer = await page.goto(link);
  equal(answer.status(), 200);
  equal(page.url(), `${origin}/`);
});
await check("the cookie is for this page alone", async () => {
  const cookie = (await context.cookies()).find((one) => one.name === `webos-console-${port}`);
  equal(`${cookie?.httpOnly} ${cookie?.sameSite}`, "true Strict");
});
await check("the home and the lent nodes are shown, the home serving", async () => {
  await node((await state()).nodes[0].name).and(inPhase("home")).waitFor();
  equal(await page.locator("li.node").count(), (await state()).nodes.length);
  return (await page.locator("h1").textContent()) !== "";
});
await check("without the token a browser reads what to do", async () => {
  const stranger = await browser.newContext();
  const visit = await stranger.newPage();
  equal((await visit.goto(`${origin}/`)).status(), 401);
  await visit.getByRole("heading", { name: "Open the console by its link" }).waitFor();
  await stranger.close();
});
await check("a wrong Host is refused", async () => {
  const visit = await context.newPage();
  equal((await visit.goto(`http://evil.example:${port}/${search}`)).status(), 421);
  await visit.close();
});
await check("a foreign page, even of this machine, gets nothing and starts nothing", foreignPage);
await check("the surge button starts a surge", async () => {
  await page.getByLabel("Clients").fill(String(CLIENTS));
  await page.getByLabel("Seconds").fill(String(SURGE_S));
  await page.getByRole("button", { name: "Start surge" }).click();
  await page.getByRole("button", { name: "Stop surge" }).waitFor();
  equal((await state()).surge?.clients, CLIENTS);
});
await check("a surrogate appears as serving, its lease counting down", async () => {
  await inPhase("serving").first().waitFor();
  const lease = inPhase("serving").first().locator(".lease-text");
  const before = await lease.textContent();
  await page.waitForFunction(([first, text]) => document.querySelector(first)?.textContent !== text, [
    'li.node[data-phase="serving"] .lease-text',
    before,
  ]);
  await page.locator('#events li[data-kind="recruited"]').first().waitFor();
});
await check("requests are counted on the page", async () => {
  await page.waitForFunction(() => /[1-9]/.test(document.getElementById("f-rps").textContent));
});
await check("killing the home says what goes on and what does not, and Escape cancels", async () => {
  await inPhase("home").getByRole("button", { name: /^Kill/ }).click();
  const dialog = page.getByRole("dialog");
  for (const text of ["What goes on", "What does not", "503"]) await dialog.getByText(text).waitFor();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  await inPhase("home").waitFor();
});
const victim = await inPhase("serving").first().getAttribute("data-node", { timeout: 5000 }).catch(() => null);
await check(`killing a serving surrogate (${victim}) shows it as down`, async () => {
  await node(victim).getByRole("button", { name: `Kill ${victim}` }).click();
  await page.getByRole("dialog").getByRole("button", { name: `Kill ${victim}` }).click();
  await node(victim).and(inPhase("down")).waitFor();
  await node(victim).getByText("Down", { exact: true }).waitFor();
  await page.locator('#events li[data-kind="killed"]', { hasText: victim }).first().waitFor();
});
await check("reviving it by keyboard shows it back", async () => {
  await node(victim).getByRole("button", { name: `Revive ${victim}` }).focus();
  await page.keyboard.press("Enter");
  await page.locator(`li.node[data-node="${victim}"]:not([data-phase="down"])`).waitFor();
  await page.locator('#events li[data-kind="revived"]', { hasText: victim }).first().waitFor();
  return (await state()).nodes.find((one) => one.name === victim).pid !== null;
});
await check("the stop button ends the surge", async () => {
  await page.getByRole("button", { name: "Stop surge" }).click();
  await page.getByRole("button", { name: "Start surge" }).waitFor();
  equal((await state()).surge, null);
});
await check("rights, tokens and audit records are shown when somebody looks", async () => {
  await page.getByText("Rights and audit").click();
  await page.locator("#lists caption", { hasText: "site.demo.localhost/www" }).waitFor();
  await page.locator("#lists td", { hasText: "/user/" }).first().waitFor();
  await page.locator("#audit tbody tr").first().waitFor();
  equal(await page.locator("#tokens tbody tr").count(), 1);
});
await check("a token is revoked after a question, which Escape answers with no", async () => {
  const take = page.getByRole("button", { name: /^Revoke the token/ });
  await take.click();
  await page.keyboard.press("Escape");
  equal(await page.locator("#tokens tbody tr").count(), 1);
  await take.click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await page.locator("#tokens", { hasText: "You have none" }).waitFor();
  await page.locator("#events", { hasText: "is worthless now" }).waitFor();
});
await check("a transfer certificate is revoked after a question, and is gone from the page", async () => {
  await page.locator("#transfers code").waitFor();
  await page.getByRole("button", { name: /^Revoke the transfer certificate/ }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("may not use the transfer certificate").waitFor();
  await page.keyboard.press("Escape");
  equal(await page.locator("#transfers tbody tr").count(), 1);
  await page.getByRole("button", { name: /^Revoke the transfer certificate/ }).click();
  await dialog.getByRole("button", { name: "Revoke" }).click();
  await page.locator("#transfers", { hasText: "Nothing is lent now" }).waitFor();
});
await check("a member is revoked after a question; the first node and oneself cannot be", async () => {
  const member = (name) => page.locator("#members tbody tr", { hasText: name });
  await member("user/bob").and(page.locator('[data-standing="active"]')).waitFor();
  for (const text of ["first node", "you"]) equal(await page.locator("#members td:last-child", { hasText: text }).count(), 1);
  await member("user/bob").getByRole("button", { name: /^Revoke/ }).click();
  await page.getByRole("dialog").getByText("webos realm invite user bob --again").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await member("user/bob").and(page.locator('[data-standing="revoked"]')).waitFor();
  await page.locator("#events", { hasText: "/user/bob" }).first().waitFor();
});
await check("nothing is wider than a phone of 360 px", async () => {
  await page.setViewportSize({ width: 360, height: 740 });
  // Charts follow the window one frame later, or more where the machine is busy.
  await page.waitForFunction(() => document.documentElement.scrollWidth <= 360).catch(() => {});
  equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
});
await check("the page had no errors and no breach of its policy", async () => {
  if (complaints.length) throw new Error(complaints.join(" | "));
});
await browser.close();
console.log(failures ? `${failures} failed` : "all passed");
process.exitCode = failures ? 1 : 0;

/** A page on another port is the same *site* to a browser, so the strict cookie goes along: Origin must do. */
async function foreignPage() {
  const server = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<!doctype html>"));
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const visit = await context.newPage();
  try {
    await visit.goto(`http://127.0.0.1:${server.address().port}/`);
    const got = await visit.evaluate(async (console) => {
      const attempt = (path, options) => fetch(console + path, { credentials: "include", ...options }).then(() => "came through", () => "refused");
      const read = await attempt("/api/state", {});
      await attempt("/api/surge", { method: "POST", mode: "no-cors", body: '{"clients":1,"seconds":1}' });
      await attempt("/api/calm", { method: "POST", mode: "no-cors" });
      const script = await new Promise((done) => {
        const element = document.createElement("script");
        element.onload = () => done("came through");
        element.onerror = () => done("refused");
        element.src = `${console}/console.js`;
        document.head.append(element);
      });
      return [read, script].join();
    }, origin);
    equal(got, "refused,refused");
    equal((await state()).surge, null);
    // A browser hides the status from the foreign page; asked with the same cookie and Origin, it shows.
    const headers = { Origin: new URL(visit.url()).origin };
    for (const path of ["/", "/api/state"]) equal((await context.request.get(origin + path, { headers })).status(), 403);
    equal((await context.request.post(`${origin}/api/calm`, { headers })).status(), 403);
  } finally {
    await visit.close();
    server.close();
  }
}
