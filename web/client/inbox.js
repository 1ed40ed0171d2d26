/** The read state of one person's inbox, shared with the other tabs (and panes) that show the same inbox. */

import { isObject } from "./protocol.js";
import { Unread } from "./unread.js";

/**
 * @typedef {object} Tabs what tabs talk through: a BroadcastChannel, or nothing
 * @property {(message: unknown) => void} postMessage
 * @property {((event: any) => void) | null} onmessage
 * @property {() => void} close
 */

export class Inbox {
  #unread = new Unread();
  #tabs;
  #changed;

  /**
   * @param {Tabs | null} tabs null: this tab keeps its read state to itself
   * @param {(detail: {count: number, read: string[]}) => void} changed read: keys that have become read
   */
  constructor(tabs, changed) {
    this.#tabs = tabs;
    this.#changed = changed;
    if (tabs === null) return;
    tabs.onmessage = ({ data }) => this.#heard(data);
    tabs.postMessage({ hello: true });
  }

  get count() {
    return this.#unread.count;
  }

  /**
   * @param {string} key
   * @returns {boolean} whether it is unread
   */
  arrived(key) {
    const unread = this.#unread.add(key);
    if (unread) this.#changed({ count: this.count, read: [] });
    return unread;
  }

  /** @param {string[]} [keys] all, when left out */
  markRead(keys = this.#unread.keys()) {
    this.#apply(keys);
    this.#tabs?.postMessage({ read: keys });
  }

  close() {
    this.#tabs?.close();
  }

  /** @param {unknown} message */
  #heard(message) {
    if (!isObject(message)) return;
    if (message.hello === true) this.#tabs?.postMessage({ read: this.#unread.known() });
    else if (Array.isArray(message.read)) this.#apply(message.read.map(String));
  }

  /** @param {string[]} keys */
  #apply(keys) {
    const read = this.#unread.read(keys);
    if (read.length > 0) this.#changed({ count: this.count, read });
  }
}
