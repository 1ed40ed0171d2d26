/** The notifications that a list shows: pages put together, what arrives on top, what no longer belongs taken out. Pure. */

/**
 * @typedef {import("../inbox.js").Item} Item
 * @typedef {import("../marks.js").Marked} Marked
 * @typedef {"current" | "unread" | "archived"} Shown
 */

/** @type {Record<Shown, (item: Marked) => boolean>} */
const BELONGS = {
  current: (item) => !item.archived,
  unread: (item) => !item.read && !item.archived,
  archived: (item) => item.archived,
};

export class Listing {
  /** Newest first. */
  /** @type {Item[]} */
  items = [];
  /** Whether there are older ones. */
  more = true;
  /** Whether the server has said what is in it. */
  begun = false;
  shown;

  /** @param {Shown} shown */
  constructor(shown) {
    this.shown = shown;
  }

  /** Where the next page begins; undefined: at the newest. */
  get before() {
    return this.items.at(-1)?.offset;
  }

  /**
   * @param {Item[]} items
   * @param {boolean} more
   * @returns {Item[]} those that were not there
   */
  append(items, more) {
    this.begun = true;
    this.more = more;
    const news = items.filter((item) => this.#belongs(item) && !this.#find(item.offset));
    this.items = [...this.items, ...news].sort((a, b) => b.offset - a.offset);
    return news;
  }

  /**
   * @param {Item} item that has just come
   * @returns {boolean} whether it is shown
   */
  arrive(item) {
    if (!this.#belongs(item) || this.#find(item.offset)) return false;
    this.items = [item, ...this.items];
    return true;
  }

  /**
   * Something became of a notification.
   * @param {Marked} marked
   * @returns {"changed" | "gone" | "missing" | "elsewhere"} missing: it should be in the list now and is not
   */
  mark(marked) {
    const item = this.#find(marked.offset);
    const belongs = this.#belongs(marked);
    if (item === undefined) return belongs && this.#reaches(marked.offset) ? "missing" : "elsewhere";
    Object.assign(item, marked);
    if (belongs) return "changed";
    this.items = this.items.filter((one) => one !== item);
    return "gone";
  }

  /** @param {Marked} item */
  #belongs(item) {
    return !item.withdrawn && BELONGS[this.shown](item);
  }

  /** @param {number} offset */
  #find(offset) {
    return this.items.find((item) => item.offset === offset);
  }

  /** @param {number} offset */
  #reaches(offset) {
    return !this.more || (this.before !== undefined && offset > this.before);
  }
}
