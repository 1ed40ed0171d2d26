/** What the settings mean, and how a choice becomes a patch of the preferences. Pure. */

/** @typedef {import("../client/personal.js").Preferences} Preferences */

/** @type {Record<string, string>} Channels, for people. */
export const NAMES = { live: "Screen", push: "Phone", email: "E-mail", sms: "SMS", webhook: "Webhook" };

/** Most notifications that wait for one digest. */
const DIGEST_MAX = 50;

/**
 * @param {Record<string, {on: boolean, locked: boolean}>} choices
 * @param {string} channel
 */
export function byChannel(choices, channel) {
  return choices[channel] ?? { on: true, locked: false };
}

/**
 * @param {Preferences} preferences
 * @param {string} category
 * @param {string} channel
 * @returns {string} "" as the category has it, "off", or seconds
 */
export function digestOf({ digest }, category, channel) {
  const choice = digest?.[category]?.[channel];
  if (choice === undefined) return "";
  return choice === "off" ? "off" : String(choice.window);
}

/**
 * @param {string} category
 * @param {string} channel
 * @param {string} value what `digestOf` says
 */
export function digestPatch(category, channel, value) {
  const choice = value === "" ? null : value === "off" ? "off" : { window: Number(value), max: DIGEST_MAX };
  return { digest: { [category]: { [channel]: choice } } };
}

/**
 * Quiet hours that have begun already.
 * @param {number} minutes
 * @param {Date} now
 */
export function quietFor(minutes, now) {
  const end = new Date(now.getTime() + minutes * 60_000);
  return { from: clock(now), to: clock(end) };
}

/** @param {Date} time */
function clock(time) {
  return [time.getHours(), time.getMinutes()].map((part) => String(part).padStart(2, "0")).join(":");
}

/**
 * How an event goes out, as fields of the event.
 * @param {{category: string, ladder: string, wait: string, collapse: boolean}} how
 * @param {number} now Unix time in milliseconds
 */
export function fieldsOf({ category, ladder, wait, collapse }, now) {
  const steps = LADDERS[ladder];
  return {
    ...(category === "" ? {} : { category }),
    ...(steps === undefined ? {} : { ladder: steps }),
    ...(wait === "" ? {} : { at: new Date(now + Number(wait) * 1_000).toISOString() }),
    ...(collapse ? { collapse_key: "demo" } : {}),
  };
}

/** @typedef {{via: string, after?: number, unless?: "acked" | "read"}} Step */

/** @type {Record<string, Step[]>} */
const LADDERS = {
  live: [{ via: "live" }],
  "until-acked": [{ via: "live" }, { via: "push", after: 5, unless: "acked" }, { via: "email", after: 10, unless: "acked" }],
  "until-read": [{ via: "live" }, { via: "push", after: 5, unless: "read" }, { via: "email", after: 10, unless: "read" }],
  email: [{ via: "live" }, { via: "email" }],
};
