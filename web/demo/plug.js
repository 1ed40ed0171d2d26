/**
 * The plug of one pane: a transport that can be cut, and the news of it. The client is not told that it is a game:
 * it sees a network that goes away and comes back.
 */

/** @typedef {import("../client/transport.js").Transport} Transport */

const DEAD_LINE = { send: () => undefined, close: () => undefined };

/** Code of a close that no close frame announced. */
const BROKEN = 1006;

export class Plug extends EventTarget {
  pulled = false;
  /** @type {Transport} what a link is made of while it is in */
  through;

  /** @param {Transport} through */
  constructor(through) {
    super();
    this.through = through;
  }

  /** @type {Transport} */
  transport = (base, first, ears) => {
    if (!this.pulled) return this.through(base, first, ears);
    setTimeout(() => ears.closed(BROKEN, "unplugged"), 0);
    return DEAD_LINE;
  };

  pull() {
    this.pulled = true;
    this.dispatchEvent(new Event("offline"));
  }

  putBack() {
    this.pulled = false;
    this.dispatchEvent(new Event("online"));
  }
}
