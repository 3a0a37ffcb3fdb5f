// The question before a kill. Reviving needs none: it takes nothing away.
import { byId, make, write } from "./dom.js";
import { killing } from "./words.js";

/** @typedef {import("./model.js").Node} Node */

/** @param {(node: Node) => void} confirmed */
export function killDialog(confirmed) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("kill"));
  /** @type {Node | null} */
  let node = null;
  byId("kill-no").addEventListener("click", () => dialog.close());
  byId("kill-yes").addEventListener("click", () => {
    dialog.close();
    if (node) confirmed(node);
  });
  /** @param {Node} asked */
  return (asked) => {
    node = asked;
    const { title, intro, lists } = killing(asked);
    write(byId("kill-title"), title);
    write(byId("kill-yes"), `Kill ${asked.name}`);
    const parts = lists.flatMap((list) => [
      make("h3", {}, [list.title]),
      make("ul", {}, list.items.map((item) => make("li", {}, [item]))),
    ]);
    byId("kill-text").replaceChildren(make("p", {}, [intro]), ...parts);
    dialog.showModal();
    byId("kill-no").focus();
  };
}
