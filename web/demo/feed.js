/** A list of what arrived, newest first: each thing once, however often it is told. */

import { el, find } from "./dom.js";
import { spell } from "./latency.js";

/** More than anybody scrolls back; older ones leave the page. */
const KEPT = 200;

/**
 * @typedef {object} Item
 * @property {string} key what it is known by; "" for what has no place in history
 * @property {string} title
 * @property {string} body
 * @property {number | null} took milliseconds from its creation to its arrival
 * @property {"live" | "recovered" | "earlier"} how earlier: read from history, not news
 * @property {boolean} unread
 */

export class Feed {
  #list;
  #empty;
  #onRead;
  /** @type {Map<string, HTMLLIElement>} */
  #items = new Map();
  #unkeyed = 0;

  /**
   * @param {Element} section
   * @param {{empty: string, onRead?: (key: string) => void}} options empty: what an empty list says
   */
  constructor(section, { empty, onRead }) {
    this.#list = find(section, ".items", HTMLOListElement);
    this.#empty = find(section, ".empty", HTMLParagraphElement);
    this.#onRead = onRead;
    this.say(empty);
    this.clear();
  }

  /** @param {string} text what the list says when it is empty */
  say(text) {
    this.#empty.textContent = text;
  }

  /**
   * @param {Item} item
   * @returns {boolean} false: it was there already
   */
  add(item) {
    const key = item.key || `unkeyed ${(this.#unkeyed += 1)}`;
    if (this.#items.has(key)) return false;
    const element = this.#draw(item, key);
    this.#items.set(key, element);
    if (item.how === "earlier") this.#list.append(element);
    else this.#list.prepend(element);
    if (this.#items.size > KEPT) this.#forgetOldest();
    this.#show();
    return true;
  }

  /**
   * @param {string} key
   * @param {{unread: boolean, withdrawn: boolean}} marks
   */
  mark(key, { unread, withdrawn }) {
    const element = this.#items.get(key);
    if (element === undefined) return;
    if (withdrawn) return this.#remove(key, element);
    if (element.classList.toggle("unread", unread) === (element.querySelector("button") !== null)) return;
    if (unread) return element.append(this.#button(key, element));
    const focused = element.contains(document.activeElement);
    element.querySelector("button")?.remove();
    // The button that had the focus is gone; leave the keyboard where it was.
    if (focused) (this.#list.querySelector("button") ?? this.#list).focus();
  }

  clear() {
    this.#items.clear();
    this.#list.replaceChildren();
    this.#show();
  }

  #show() {
    this.#list.hidden = this.#items.size === 0;
    this.#empty.hidden = this.#items.size > 0;
  }

  #forgetOldest() {
    const last = this.#list.lastElementChild;
    for (const [key, element] of this.#items) if (element === last) return this.#remove(key, element);
  }

  /**
   * @param {string} key
   * @param {Element} element
   */
  #remove(key, element) {
    this.#items.delete(key);
    element.remove();
    this.#show();
  }

  /**
   * @param {Item} item
   * @param {string} key
   */
  #draw(item, key) {
    const words = el("div", { class: "item-words" }, el("p", { class: "item-title" }, item.title));
    if (item.body) words.append(el("p", { class: "item-body" }, item.body));
    const element = el("li", { class: `item ${item.how}` }, words, el("p", { class: "item-took" }, ...took(item)));
    if (!item.unread) return element;
    element.classList.add("unread");
    element.append(this.#button(key, element));
    return element;
  }

  /**
   * @param {string} key
   * @param {Element} element
   */
  #button(key, element) {
    const title = element.querySelector(".item-title")?.textContent ?? "";
    const read = el("button", { type: "button", class: "item-read", "aria-label": `Mark as read: ${title}`, title: "Mark as read" });
    read.addEventListener("click", () => this.#onRead?.(key));
    return read;
  }
}

/** @param {Item} item */
function took({ how, took }) {
  if (how === "live") return [spell(took)];
  if (how === "earlier") return [el("span", { class: "tag" }, "earlier")];
  return [el("span", { class: "tag" }, "recovered"), ` after ${spell(took)}`];
}
