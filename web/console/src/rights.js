// Who may do what, what was decided last, and taking something back. Asked for while the panel is open: nothing of it
// costs anybody anything before. Every foreign name goes onto the page as text.
import * as api from "./api.js";
import { byId, make, write } from "./dom.js";
import { clock, span } from "./format.js";

/** @typedef {{who: string, rights: string}} Entry */
/** @typedef {{id: string, subject: string, grants: string[], until: number}} Token */
/** @typedef {{who: string, until: number, standing: "active" | "cordoned" | "revoked", kept: string | null}} Member */
/** @typedef {{id: string, issuer: string, subject: string, audience: string, grants: string[], until: number, links: number, depth: number, purses: string[]}} Transfer */
/**
 * @typedef {object} Record
 * @property {string} node
 * @property {number} seq
 * @property {number} at
 * @property {"granted" | "refused" | "changed"} outcome
 * @property {string | null} who
 * @property {string | null} right
 * @property {string} resource
 * @property {string} reason
 * @property {string[]} links
 * @property {number} count
 */
/**
 * @typedef {object} Rights
 * @property {number} now
 * @property {{place: string, entries: Entry[]}[]} lists
 * @property {{group: string, members: [string, number | null][]}[]} groups
 * @property {Member[]} members
 * @property {Transfer[]} transfers
 * @property {Token[]} tokens
 * @property {Record[]} audit newest first
 * @property {string[]} missing
 */
/** @typedef {{kind: "entry", place: string, who: string, rights: string} | {kind: "token" | "transfer", id: string} | {kind: "principal", who: string}} Revocation */

/** How often an open panel asks anew. */
const AGAIN_MS = 5000;

/** @param {(action: Promise<string>, failed: string) => Promise<void>} report */
export function rightsPanel(report) {
  const panel = /** @type {HTMLDetailsElement} */ (byId("rights"));
  const ask = revokeDialog(async (what) => {
    await report(api.revoke(what), "Nothing was revoked");
    await look();
  });
  let timer = 0;
  /** What is drawn now, so that nothing is drawn anew under somebody's focus for nothing. */
  let drawn = "";

  async function look() {
    clearTimeout(timer);
    if (!panel.open) return;
    if (document.visibilityState === "visible") {
      try {
        const rights = await api.rights();
        missing(rights.missing);
        const content = JSON.stringify({ ...rights, now: 0 });
        if (content !== drawn) {
          drawn = content;
          draw(rights, ask);
        }
      } catch (error) {
        missing([`Rights cannot be shown now: ${error instanceof Error ? error.message : error}`]);
      }
    }
    timer = window.setTimeout(look, AGAIN_MS);
  }
  panel.addEventListener("toggle", look);
}

/** @param {string[]} sentences */
function missing(sentences) {
  const place = byId("rights-missing");
  place.hidden = !sentences.length;
  write(place, sentences.join(" "));
}

/** @param {Rights} rights @param {(title: string, text: string, what: Revocation) => void} ask */
function draw(rights, ask) {
  const lists = rights.lists.map(({ place, entries }) =>
    table(place, ["Who", "Rights", "Action"], entries.map(({ who, rights: held }) => {
      const what = /** @type {Revocation} */ ({ kind: "entry", place, who, rights: held });
      const text = `${who} will not hold ${held} on ${place} and everything below it any more, from the next request on.`;
      return row([who, held, button(`Revoke ${held} of ${who} on ${place}`, () => ask("Revoke these rights?", text, what))]);
    })));
  fill("lists", lists, "No list can be shown now.");
  const groups = rights.groups.map(({ group, members }) =>
    table(group, ["Member", "Until"], members.map(([who, until]) => row([who, until == null ? "no end" : clock(until)]))));
  fill("groups", groups, "Nobody was recruited yet: the group of the serving nodes is made then.");
  const members = rights.members.map((member) => memberRow(member, rights.now, ask));
  fill("members", members.length ? [table(rights.members[0].who.split("/", 3).join("/"), ["Who", "Ends in", "Standing", "Action"], members)] : [], "The register of the realm cannot be shown now.");
  const transfers = rights.transfers.map((transfer) => transferRow(transfer, rights.now, ask));
  fill("transfers", transfers.length ? [table("", ["Lent", "Allows", "Left", "Action"], transfers)] : [], "Nothing is lent now. “webos transfer create” lends some of your rights to a server.");
  const tokens = rights.tokens.map((token) => {
    const text = `The token ${token.id} is worthless at once; programs that use it are refused.`;
    const take = button(`Revoke the token ${token.id}`, () => ask("Revoke this token?", text, { kind: "token", id: token.id }));
    return row([token.id, token.grants.join("; "), `for ${span(token.until - rights.now)}`, take]);
  });
  fill("tokens", tokens.length ? [table("", ["Token", "Gives", "Left", "Action"], tokens)] : [], "You have none. “webos token create” makes one.");
  const records = rights.audit.map((record) => {
    const who = record.who ?? "somebody without a certificate";
    const links = record.links.length ? ` (under ${record.links.join(", ")})` : "";
    const times = record.count > 1 ? `, ${record.count} times` : "";
    const line = row([clock(record.at), `${record.node} ${record.seq}`, record.outcome + times, who + links, `${record.right ? `${record.right} on ` : ""}${record.resource}`, record.reason]);
    line.dataset.outcome = record.outcome;
    line.children[2].classList.add("outcome");
    return line;
  });
  fill("audit", records.length ? [table("", ["Time", "Record", "Outcome", "Who", "What", "Why"], records)] : [], "Nothing was refused or changed yet.");
}

/** @typedef {(title: string, text: string, what: Revocation) => void} Ask */

/** @param {Member} member @param {number} now @param {Ask} ask */
function memberRow({ who, until, standing, kept }, now, ask) {
  const left = until > now ? span(until - now) : "has ended";
  const name = who.replace(/^spiffe:\/\/[^/]*\//, "");
  const text = `Every certificate of ${who} ends at once, with its connections, its leases and whatever it lent. It comes back only with a new invitation: webos realm invite ${name.replace("/", " ")} --again.`;
  const act = kept ?? (standing === "revoked" ? "–" : button(`Revoke ${who}`, () => ask("Revoke this member?", text, { kind: "principal", who })));
  const line = row([name, standing === "revoked" ? "–" : left, standing, act]);
  line.dataset.standing = standing;
  return line;
}

/** @param {Transfer} transfer @param {number} now @param {Ask} ask */
function transferRow({ id, issuer, subject, audience, grants, until, links, depth, purses }, now, ask) {
  const on = depth ? `; may be passed on over ${depth} more` : "";
  const by = issuer === subject ? `by ${subject}` : `by ${issuer} for ${subject}, link ${links}`;
  const text = `${audience} may not use the transfer certificate ${id} any more, nor may whoever it was lent on to, from the next request on. Jobs that stand on it end.`;
  return row([
    make("div", {}, [make("div", {}, [`to ${audience}`]), make("div", { class: "muted" }, [`${by}; in the purse of ${purses.join(", ")}`]), make("code", {}, [id])]),
    grants.join("; ") + on,
    `for ${span(until - now)}`,
    button(`Revoke the transfer certificate ${id}`, () => ask("Revoke this transfer certificate?", text, { kind: "transfer", id })),
  ]);
}

/** @param {string} id @param {HTMLElement[]} parts @param {string} empty */
function fill(id, parts, empty) {
  byId(id).replaceChildren(...(parts.length ? parts : [make("p", { class: "muted" }, [empty])]));
}

/** @param {string} caption @param {string[]} heads @param {HTMLTableRowElement[]} rows */
function table(caption, heads, rows) {
  const row = make("tr", { role: "row" }, heads.map((text) => make("th", { scope: "col", role: "columnheader" }, [text])));
  const parts = [make("thead", { role: "rowgroup" }, [row]), make("tbody", { role: "rowgroup" }, rows)];
  return make("table", { role: "table" }, caption ? [make("caption", {}, [caption]), ...parts] : parts);
}

/** Text of at most so many characters stays on one line. */
const SHORT = 16;

/** Roles are said because a narrow window shows rows as blocks. @param {(string | HTMLElement)[]} cells */
function row(cells) {
  const short = (/** @type {string | HTMLElement} */ cell) => typeof cell === "string" && cell.length <= SHORT;
  return make("tr", { role: "row" }, cells.map((cell) => make("td", { role: "cell", ...(short(cell) && { class: "short" }) }, [cell])));
}

/** @param {string} label @param {() => void} act */
function button(label, act) {
  const made = make("button", { type: "button", "aria-label": label }, ["Revoke"]);
  made.addEventListener("click", act);
  return made;
}

/** The question before something is taken back. @param {(what: Revocation) => void} confirmed */
function revokeDialog(confirmed) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("revoke"));
  /** @type {Revocation | null} */
  let asked = null;
  byId("revoke-no").addEventListener("click", () => dialog.close());
  byId("revoke-yes").addEventListener("click", () => {
    dialog.close();
    if (asked) confirmed(asked);
  });
  /** @param {string} title @param {string} text @param {Revocation} what */
  return (title, text, what) => {
    asked = what;
    write(byId("revoke-title"), title);
    byId("revoke-text").replaceChildren(make("p", {}, [text]));
    dialog.showModal();
    byId("revoke-no").focus();
  };
}
