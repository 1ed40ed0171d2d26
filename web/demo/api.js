/** What a development gateway offers its own page: tokens, publishing, and the real feed. */

import { Refused } from "../client/index.js";

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<any>}
 */
async function ask(path, init) {
  const response = await fetch(path, { cache: "no-store", ...init });
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const why = body.detail ?? body.title ?? `HTTP ${response.status}`;
  throw response.status >= 400 && response.status < 500 ? new Refused(why) : new Error(why);
}

/**
 * @param {string} method
 * @param {unknown} body
 */
function json(method, body) {
  return { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
}

/** @param {string} user */
export async function tokenFor(user) {
  return String((await ask(`/dev/token?user=${encodeURIComponent(user)}`)).token);
}

/**
 * @param {{type: string, to: {users?: string[], topics?: string[]}, title?: string, body?: string, data?: unknown}} event
 *   and any other field of an event
 * @returns {Promise<{id: string}>}
 */
export function publish(event) {
  return ask("/dev/publish", json("POST", event));
}

/**
 * Somebody with an address of their own.
 * @param {string} user
 * @returns {Promise<{email: string}>}
 */
export function person(user) {
  return ask(`/dev/people/${encodeURIComponent(user)}`, { method: "POST" });
}

/**
 * @typedef {object} Rang what came to a phone
 * @property {string} title
 * @property {string} body
 * @property {number} at Unix time in seconds
 * @property {boolean} [withdrawn]
 */

export const phone = {
  /**
   * @param {string} user
   * @returns {Promise<{endpoint: string, keys: {p256dh: string, auth: string}}>} a subscription, as a browser has one
   */
  register: (user) => ask(`/dev/phone/${encodeURIComponent(user)}`, { method: "POST" }),
  /**
   * @param {string} user
   * @returns {Promise<{items: Rang[]}>}
   */
  items: (user) => ask(`/dev/phone/${encodeURIComponent(user)}`),
};

/**
 * @typedef {object} Mail
 * @property {string} id
 * @property {string | string[]} to
 * @property {string} subject
 * @property {string} text
 * @property {string | null} html
 * @property {Record<string, string>} headers
 * @property {number} at Unix time in seconds
 */

export const mailbox = {
  /** @returns {Promise<{mails: Mail[]}>} newest last */
  mails: () => ask("/dev/mailbox"),
  clear: () => ask("/dev/mailbox", { method: "DELETE" }),
};

export const tracking = {
  /**
   * What became of an event for a person.
   * @param {string} id
   * @param {string} user
   * @returns {Promise<import("./trail.js").Tracked>}
   */
  trail: (id, user) => ask(`/dev/events/${encodeURIComponent(id)}?user=${encodeURIComponent(user)}`),
  /** @param {string} id */
  withdraw: (id) => ask(`/dev/events/${encodeURIComponent(id)}`, { method: "DELETE" }),
};

/**
 * @typedef {object} FeedStatus
 * @property {boolean} running
 * @property {number} [step]
 * @property {number} [of] how many steps there are
 * @property {string} [reason] why it does not run
 */

export const feed = {
  /** @returns {Promise<FeedStatus>} */
  status: () => ask("/dev/feed"),
  /**
   * @param {{interval: number, users: string[]}} options interval: seconds between two months
   * @returns {Promise<FeedStatus>}
   */
  start: (options) => ask("/dev/feed", json("POST", options)),
  /** @returns {Promise<FeedStatus>} */
  stop: () => ask("/dev/feed", { method: "DELETE" }),
};
