/**
 * Which notifications of an inbox are unread. Pure; several tabs that tell each other what they read agree, in
 * whatever order they hear it: read wins.
 */

/** More than a tab will ever show; beyond it the oldest are forgotten. */
const KEPT = 1_000;

export class Unread {
  /** @type {Set<string>} */
  #unread = new Set();
  /** Read somewhere, perhaps before it arrived here. */
  /** @type {Set<string>} */
  #read = new Set();

  /**
   * A notification arrived.
   * @param {string} key
   * @returns {boolean} whether it is unread
   */
  add(key) {
    if (this.#read.has(key)) return false;
    this.#unread.add(key);
    trim(this.#unread);
    return true;
  }

  /**
   * Notifications were read, here or in another tab.
   * @param {Iterable<string>} keys
   * @returns {string[]} those that were news to us
   */
  read(keys) {
    const news = [...keys].filter((key) => !this.#read.has(key));
    for (const key of news) {
      this.#read.add(key);
      this.#unread.delete(key);
    }
    trim(this.#read);
    return news;
  }

  /** All that is known to be read, for a tab that has just opened. */
  known() {
    return [...this.#read];
  }

  keys() {
    return [...this.#unread];
  }

  get count() {
    return this.#unread.size;
  }
}

/** @param {Set<string>} set in order of insertion */
function trim(set) {
  for (const oldest of set) {
    if (set.size <= KEPT) return;
    set.delete(oldest);
  }
}
