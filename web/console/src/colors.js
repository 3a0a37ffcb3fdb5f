// The style sheet's colours as a canvas can use them: resolved for the theme of now, and remembered.

const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);

/** @type {Map<string, string>} */
const known = new Map();

/** @param {string} name a custom property, such as `--ink` */
export function color(name) {
  const seen = known.get(name);
  if (seen) return seen;
  probe.style.color = `var(${name})`;
  const resolved = getComputedStyle(probe).color;
  known.set(name, resolved);
  return resolved;
}

/** To be called when the theme changed. */
export const forgetColors = () => known.clear();
