/** Commands that await a reply: ids that rise for as long as the client lives, and a deadline for each. */

/**
 * @typedef {object} Call
 * @property {"connect" | "subscribe" | "refresh" | "sub_refresh" | "call"} purpose
 * @property {string} method the field of the reply that carries the result
 * @property {import("./subscription.js").Subscription | null} subscription of a subscribe or sub_refresh
 * @property {unknown} key how whoever asked is found again; only for a call
 * @property {number} by when to give up, in milliseconds
 */

export class Calls {
  #last = 0;
  /** @type {Map<number, Call>} */
  #pending = new Map();

  /**
   * @param {Call} call
   * @returns {number} the id to send
   */
  add(call) {
    this.#last += 1;
    this.#pending.set(this.#last, call);
    return this.#last;
  }

  /**
   * @param {number} id
   * @returns {Call | null} null: nobody asked, or it came too late
   */
  take(id) {
    const call = this.#pending.get(id) ?? null;
    this.#pending.delete(id);
    return call;
  }

  /** Everything that awaits a reply, forgotten. */
  drain() {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    return all;
  }

  /**
   * Those whose time is over, forgotten.
   * @param {number} now
   */
  overdue(now) {
    const late = [...this.#pending].filter(([, call]) => call.by <= now);
    for (const [id] of late) this.#pending.delete(id);
    return late.map(([, call]) => call);
  }

  /** When the next one is overdue, or Infinity. */
  get deadline() {
    return Math.min(...[...this.#pending.values()].map((call) => call.by));
  }
}
