// Numbers for people: always with their unit, never longer than their column.

const NONE = "–";
const SPACE = "\u00a0";

/** @param {number} value @param {number} digits */
const fixed = (value, digits) => value.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** @param {number} value one decimal below ten */
const short = (value) => fixed(value, value > 0 && value < 9.95 ? 1 : 0);

/** @param {number | null | undefined} value */
export const rate = (value) => (value == null ? NONE : `${short(value)}${SPACE}/s`);

/** @param {number | null | undefined} value */
export const count = (value) => (value == null ? NONE : fixed(value, 0));

/** @param {number | null | undefined} value */
export const decimal = (value) => (value == null ? NONE : short(value));

/** @param {number | null | undefined} ms */
export function latency(ms) {
  if (ms == null) return NONE;
  return ms < 9999.5 ? `${short(ms)}${SPACE}ms` : `${fixed(ms / 1000, 1)}${SPACE}s`;
}

/** @param {number | null | undefined} bytes decimal units, because links are stated in Mbit/s */
export function bytesRate(bytes) {
  if (bytes == null) return NONE;
  const units = ["B/s", "kB/s", "MB/s", "GB/s"];
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? fixed(value, 0) : fixed(value, value < 99.95 ? 1 : 0)}${SPACE}${units[unit]}`;
}

/** @param {number} ms one decimal, never below zero */
export const seconds = (ms) => `${fixed(Math.max(0, ms) / 1000, 1)}${SPACE}s`;

/** @param {number} ms whole seconds, minutes from two on */
export function span(ms) {
  const whole = Math.max(0, Math.floor(ms / 1000));
  if (whole < 120) return `${whole}${SPACE}s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 120) return `${minutes}${SPACE}min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}${SPACE}h ${minutes % 60}${SPACE}min` : `${Math.floor(hours / 24)}${SPACE}days`;
}

const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** @param {number} ms wall clock */
export const clock = (ms) => clockFormat.format(ms);

/** @param {number} number @param {string} one @param {string} many */
export const plural = (number, one, many) => `${count(number)}${SPACE}${number === 1 ? one : many}`;
