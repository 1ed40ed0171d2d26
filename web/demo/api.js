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

/** @param {{type: string, to: {users?: string[], topics?: string[]}, title?: string, body?: string, data?: unknown}} event */
export function publish(event) {
  return ask("/dev/publish", json("POST", event));
}

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
