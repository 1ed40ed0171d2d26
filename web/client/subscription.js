/**
 * Where one topic (or the inbox) stands: its cursor, what may be delivered, and what must be asked for again.
 * Every publication with an offset passes here once and only once.
 */

/** @typedef {import("./protocol.js").Publication} Publication */
/** @typedef {import("./protocol.js").SubscribeResult} SubscribeResult */

/**
 * @typedef {"first" | "recovered" | "lost"} Arrival
 *   first: a new position, nothing was asked; recovered: nothing is missing; lost: something is, history went too far
 */

export class Subscription {
  /** @type {"idle" | "token" | "asking" | "live" | "waiting"} */
  standing = "idle";
  recoverable = false;
  epoch = "";
  offset = 0;
  token = "";
  attempt = 0;
  /** When to ask again, in milliseconds, or null. */
  /** @type {number | null} */
  retryAt = null;
  /** When to renew the subscription's own token, or null. */
  /** @type {number | null} */
  refreshAt = null;

  /**
   * @param {string} topic
   * @param {boolean} needsToken whether this topic has a token of its own
   */
  constructor(topic, needsToken = false) {
    this.topic = topic;
    this.needsToken = needsToken;
  }

  /** What to ask for: from here on, or what was missed since the cursor. */
  position() {
    return this.recoverable ? { recover: true, epoch: this.epoch, offset: this.offset } : {};
  }

  /**
   * The server's answer to a subscribe.
   * @param {SubscribeResult} result
   * @returns {{arrival: Arrival, fresh: Publication[]}} fresh: what was missed, to be delivered now, in order
   */
  accept(result) {
    const asked = this.recoverable;
    const before = this.offset;
    this.standing = "live";
    this.attempt = 0;
    this.retryAt = null;
    this.recoverable = result.recoverable === true;
    this.epoch = result.epoch ?? "";
    this.offset = result.offset ?? 0;
    const publications = result.publications ?? [];
    if (!asked) return { arrival: "first", fresh: this.#advance(publications, this.offset) };
    // Its epoch may be another, after a failover: that the offsets before still count is what the server knows.
    if (result.recovered !== true) return { arrival: "lost", fresh: this.#advance(publications, this.offset) };
    const fresh = this.#advance(publications, before);
    // A server that says "recovered" and leaves a hole must not make us say so too.
    const whole = fresh.every((publication, i) => publication.offset === before + 1 + i);
    return { arrival: whole && this.offset === before + fresh.length ? "recovered" : "lost", fresh };
  }

  /**
   * A live publication: deliver it, drop it, or recover because something before it is missing.
   * @param {Publication} publication
   * @returns {"fresh" | "duplicate" | "gap"}
   */
  take(publication) {
    const offset = publication.offset ?? 0;
    if (offset === 0) return "fresh";
    if (offset <= this.offset) return "duplicate";
    if (this.recoverable && offset > this.offset + 1) return "gap";
    this.offset = offset;
    return "fresh";
  }

  /** The connection is gone; the cursor stays. */
  pause() {
    this.standing = "idle";
    this.retryAt = null;
    this.refreshAt = null;
  }

  /** Forget the cursor: the next subscribe starts where the topic then is. */
  forget() {
    this.recoverable = false;
    this.epoch = "";
    this.offset = 0;
  }

  /**
   * @param {Publication[]} publications
   * @param {number} from
   */
  #advance(publications, from) {
    const fresh = publications.filter((publication) => (publication.offset ?? 0) > from);
    const last = fresh.at(-1)?.offset ?? 0;
    this.offset = Math.max(this.offset, last);
    return fresh;
  }
}
