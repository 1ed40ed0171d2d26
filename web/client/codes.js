/**
 * What the numbers mean: whether a client that was closed, refused or unsubscribed should come back.
 * Ranges are those of the Centrifuge client protocol v2.
 */

/** Nothing closed us: the link broke, or we let it go. */
export const BROKEN = 1006;
/** The message is larger than the other side takes (RFC 6455 §7.4.1); sending it again would not help. */
const TOO_BIG = 1009;
/** Reasons of our own, below 1000 so that they cannot be mistaken for a close frame's. */
export const STOPPED = 0;
export const TIMED_OUT = 1;
export const NO_PING = 2;
export const MALFORMED = 3;
export const GAP = 4;
export const OFFLINE = 5;
export const NO_TOKEN = 6;

export const TOKEN_EXPIRED = 109;
export const CONNECTION_EXPIRED = 3005;
export const SUBSCRIPTION_EXPIRED = 2501;
export const STATE_INVALIDATED = 3014;

/**
 * Whether to connect again after a close with this code.
 * @param {number} code
 */
export function comesBack(code) {
  if (code === TOO_BIG) return false;
  return code < 3500 || (code >= 4000 && code < 4500) || code >= 5000;
}

/**
 * Whether a command that failed so is worth repeating with a new connection or a new token.
 * @param {{code: number, temporary?: boolean}} error
 */
export function worthRepeating(error) {
  return error.code < 100 || error.code === TOKEN_EXPIRED || error.temporary === true;
}

/**
 * Whether to subscribe again after the server ended one subscription.
 * @param {number} code
 */
export function resubscribes(code) {
  return code >= 2500;
}
