/** What a transport is: types only. One link carries messages both ways until it closes, once. */

/**
 * @typedef {object} Ears what a link tells
 * @property {(text: string) => void} message
 * @property {(code: number, reason: string) => void} closed at most once, and never after `close()`
 *
 * @typedef {{session: string, node: string} | null} Route which session a message belongs to, where the link itself does not say
 *
 * @typedef {object} Link
 * @property {(message: string, route: Route) => void} send
 * @property {() => void} close let go; nothing is heard of it any more
 *
 * @typedef {(base: string, first: string, ears: Ears) => Link} Transport
 *   opens a link to the server at `base` (http or https, no slash at the end) and sends the first message on it
 */

export {};
