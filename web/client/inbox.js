/**
 * A person's inbox as this page sees it: pages of it, what became of each notification, and how many are unread or
 * unseen. The server keeps it; all of the person's tabs and devices are told of every change and stay in step.
 */

import { Marks } from "./marks.js";
import { isObject } from "./protocol.js";

/**
 * @typedef {import("./marks.js").Counts} Counts
 * @typedef {import("./marks.js").Deed} Deed
 * @typedef {import("./marks.js").Marked} Marked
 *
 * @typedef {object} Notification
 * @property {string} id
 * @property {string} type
 * @property {string} [title]
 * @property {string} [body]
 * @property {any} [data]
 * @property {string} [category]
 * @property {string} created_at RFC 3339
 *
 * @typedef {Marked & {notification: Notification}} Item
 *
 * @typedef {object} Page
 * @property {string} epoch
 * @property {number} offset the inbox's newest, of whatever kind
 * @property {Item[]} items newest first
 * @property {number} unread
 * @property {number} unseen
 * @property {boolean} more there are older ones
 *
 * @typedef {Counts & {changed: Marked[], all: boolean}} Changed
 *   all: what was known before holds no longer; what the page shows should be listed anew
 *
 * @typedef {number | Iterable<number>} Offsets
 */

export class Inbox {
  #marks = new Marks();
  #epoch = "";
  #rpc;
  #tell;

  /**
   * @param {(method: string, params: Record<string, unknown>) => Promise<any>} rpc
   * @param {(changed: Changed) => void} tell
   */
  constructor(rpc, tell) {
    this.#rpc = rpc;
    this.#tell = tell;
  }

  // What a page does ------------------------------------------------------------------------------------------------

  /** Which inbox it is: offsets of another epoch name other notifications. */
  get epoch() {
    return this.#epoch;
  }

  /** How many are unread, and how many came since the bell was opened. */
  get counts() {
    return this.#marks.counts;
  }

  /**
   * @param {number} offset
   * @returns {Marked} what became of a notification that came, or was listed, here
   */
  of(offset) {
    return this.#marks.of(offset);
  }

  /**
   * A page of notifications, newest first.
   * @param {{before?: number, limit?: number, state?: "current" | "all" | "unread" | "archived"}} [page] before: an
   *   offset; current: what is not archived
   * @returns {Promise<Page>}
   */
  async list(page = {}) {
    const { epoch = "", offset = 0, items = [], unread, unseen, more = false } = await this.#rpc("inbox.list", page);
    this.#change(() => {
      this.#enter(epoch);
      this.#marks.listed(offset, items);
      this.#marks.counted(offset, { unread, unseen });
    });
    const shown = items.map((/** @type {Item} */ item) => ({ ...item, ...this.#marks.of(item.offset) }));
    return { epoch, offset, items: shown.filter((/** @type {Item} */ item) => !item.withdrawn), ...this.counts, more };
  }

  /** @returns {Promise<Counts & {total: number}>} */
  count() {
    return this.#rpc("inbox.count", {});
  }

  /** @param {Offsets} [offsets] all that came so far, when left out */
  read(offsets) {
    return offsets === undefined ? this.#do("read", [], this.#marks.top) : this.#do("read", offsets);
  }

  /** @param {Offsets} offsets */
  unread(offsets) {
    return this.#do("unread", offsets);
  }

  /** @param {Offsets} offsets */
  archive(offsets) {
    return this.#do("archive", offsets);
  }

  /** @param {Offsets} offsets */
  unarchive(offsets) {
    return this.#do("unarchive", offsets);
  }

  /**
   * The bell was opened: nothing is new any more, though it may be unread.
   * @param {number} [upto] an offset
   */
  seen(upto = this.#marks.top) {
    return this.#do("seen", [], upto);
  }

  /**
   * Say that notifications arrived. The answer to the server's ping says so already; this is for a page that wants to
   * vouch for more, such as that they were shown.
   * @param {number} to an offset
   * @param {number} [from] the lowest one; `to` alone, when left out
   */
  async ack(to, from = to) {
    await this.#rpc("ack", { to, from, epoch: this.#epoch });
  }

  // What the client hears -------------------------------------------------------------------------------------------

  /**
   * A notification came.
   * @param {{data: any, offset: number, epoch: string}} publication
   * @returns {Marked}
   */
  arrived({ data, offset, epoch }) {
    if (offset === 0 || !isObject(data) || typeof data.type !== "string") {
      return { offset, read: true, archived: false, seen: true, withdrawn: false };
    }
    this.#enter(epoch);
    this.#marks.arrived(offset);
    const marked = this.#marks.of(offset);
    this.#tell({ ...this.counts, changed: [marked], all: false });
    return marked;
  }

  /**
   * The server told what became of some.
   * @param {{data: any, offset: number, epoch: string}} publication of type `tocsin.state`
   */
  told({ data, offset, epoch }) {
    this.#change(() => {
      this.#enter(epoch);
      this.#marks.told(offset, isObject(data?.data) ? data.data : {});
    });
  }

  /** @param {{offset: number, epoch: string}} publication that was taken back */
  withdrawn({ offset, epoch }) {
    this.#change(() => {
      this.#enter(epoch);
      this.#marks.withdrawn(offset);
    });
  }

  /**
   * The inbox is subscribed, and what is known of it is not known to hold.
   * @param {boolean} lost whether anything was known before
   */
  async refresh(lost) {
    if (lost) this.#forget();
    // Without the counts a page still shows what comes; the next connection asks again.
    await this.list({ limit: 1 }).catch(() => undefined);
  }

  // How -------------------------------------------------------------------------------------------------------------

  /**
   * @param {Deed} deed
   * @param {Offsets} which
   * @param {number} [upto]
   * @returns {Promise<Counts>} rejects with what the server said, and then nothing has changed
   */
  async #do(deed, which, upto) {
    const offsets = typeof which === "number" ? [which] : [...which];
    if (upto === undefined ? offsets.length === 0 : upto === 0) return this.counts;
    const change = this.#change(() => this.#marks.ask(deed, offsets, upto));
    try {
      await this.#rpc(deed, upto === undefined ? { offsets } : { upto });
      this.#change(() => this.#marks.settle(change));
    } catch (error) {
      this.#change(() => this.#marks.undo(change));
      throw error;
    }
    return this.counts;
  }

  /**
   * Do something, and tell what it changed.
   * @template Result
   * @param {() => Result} deed
   * @returns {Result}
   */
  #change(deed) {
    const counts = JSON.stringify(this.counts);
    const before = new Map(this.#marks.all().map((marked) => [marked.offset, JSON.stringify(marked)]));
    const result = deed();
    const changed = this.#marks.all().filter((marked) => before.has(marked.offset) && before.get(marked.offset) !== JSON.stringify(marked));
    if (changed.length > 0 || counts !== JSON.stringify(this.counts)) this.#tell({ ...this.counts, changed, all: false });
    return result;
  }

  /** @param {string} epoch */
  #enter(epoch) {
    if (epoch === "") return;
    if (this.#epoch !== "" && epoch !== this.#epoch) this.#forget();
    this.#epoch = epoch;
  }

  #forget() {
    this.#marks.forget();
    this.#tell({ ...this.counts, changed: [], all: true });
  }
}
