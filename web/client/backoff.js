/**
 * How long to wait before the next attempt: full jitter, so that clients that lost one server together do not
 * come back together.
 */

/**
 * @param {number} attempt how many attempts failed already, from 0
 * @param {number} random in [0, 1)
 * @param {{base: number, cap: number}} [limits] both in milliseconds
 * @returns {number} milliseconds, anywhere between 0 and base·2^attempt, at most cap
 */
export function fullJitter(attempt, random, { base, cap } = { base: 500, cap: 20_000 }) {
  // Beyond 2^30 a shift would overflow; the cap is long reached by then.
  return Math.floor(random * Math.min(cap, base * 2 ** Math.min(attempt, 30)));
}
