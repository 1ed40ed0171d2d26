/** How long things may take, in milliseconds, and when a token is renewed. */

export const CONNECT_MS = 10_000;
export const CALL_MS = 8_000;
/** How much longer than promised a ping may take before the link counts as dead. */
export const PING_GRACE_MS = 10_000;
/** A connection that lasted this long was a good one: the next failure starts from the shortest wait again. */
export const GOOD_MS = 5_000;
export const REFRESH_RETRY_MS = 5_000;
/** A token is renewed this much before its end, or at nine tenths of a short life. */
const REFRESH_EARLY_MS = 10_000;

/**
 * @param {number | null} at
 * @param {number} now
 */
export function due(at, now) {
  return at !== null && at <= now;
}

/**
 * When to renew by what the server said, or null when nothing expires.
 * @param {{expires?: boolean, ttl?: number}} result ttl: in seconds
 * @param {number} now
 */
export function renewal({ expires, ttl }, now) {
  return expires && ttl ? now + Math.max(ttl * 900, ttl * 1000 - REFRESH_EARLY_MS) : null;
}
