/** One notification in a bell's list: what it says, a dot while it is unread, and what can be done with it. */

import { el, svg } from "../dom.js";
import { ago, exactly, linkOf } from "./words.js";

/**
 * @typedef {import("../inbox.js").Item} Item
 *
 * @typedef {object} Hands what a row's buttons do
 * @property {(item: Item, event: Event) => void} open
 * @property {(item: Item) => void} read read it, or make it unread
 * @property {(item: Item) => void} archive archive it, or move it back
 */

const ICONS = {
  read: ["M4 10.500l4 4 8-9"],
  unread: ["M10 6.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 1 0 0-7z"],
  archive: ["M3 4h14v3.500H3z", "M4.500 7.500V16h11V7.500", "M8 10.500h4"],
  unarchive: ["M3 11v5h14v-5", "M10 12V3.500", "M6.500 7L10 3.500 13.500 7"],
};

export class Row {
  item;
  element;
  #words;
  #time = el("time", { part: "time", class: "time" });
  #open;
  #read;
  #archive;

  /**
   * @param {Item} item
   * @param {import("./words.js").Words} words
   * @param {Hands} hands
   */
  constructor(item, words, hands) {
    this.item = item;
    this.#words = words;
    const { title = "", type, body = "", data, created_at } = item.notification;
    const link = linkOf(data, document.baseURI);
    const said = el("span", { class: "said" }, el("span", { part: "title", class: "title", dir: "auto" }, title || type));
    if (body) said.append(el("span", { part: "body", class: "body", dir: "auto" }, body));
    const inside = [el("span", { class: "dot", part: "dot" }), said, this.#time];
    this.#open = link === null ? el("button", { type: "button" }, ...inside) : el("a", { href: link }, ...inside);
    this.#open.className = "open";
    this.#open.setAttribute("part", "open");
    this.#open.addEventListener("click", (event) => hands.open(this.item, event));
    this.#read = action(() => hands.read(this.item));
    this.#archive = action(() => hands.archive(this.item));
    this.element = el("li", { part: "item", class: "item" }, this.#open, el("span", { class: "actions" }, this.#read, this.#archive));
    this.#time.dateTime = created_at;
    this.draw();
  }

  /** What became of it, drawn. */
  draw() {
    const { read, archived } = this.item;
    this.element.classList.toggle("unread", !read);
    this.element.part.toggle("item-unread", !read);
    face(this.#read, read ? "unread" : "read", read ? this.#words.markUnread : this.#words.markRead);
    face(this.#archive, archived ? "unarchive" : "archive", archived ? this.#words.unarchive : this.#words.archive);
    this.#open.setAttribute("aria-description", read ? "" : this.#words.unread);
  }

  /**
   * @param {number} now Unix time in milliseconds
   * @param {string | undefined} language
   */
  tell(now, language) {
    const { created_at } = this.item.notification;
    this.#time.textContent = ago(created_at, now, language, this.#words.now);
    this.#time.title = exactly(created_at, language);
  }

  /** @param {boolean} reachable by Tab: one row of a list is, and arrows lead to the others */
  reachable(reachable) {
    for (const control of [this.#open, this.#read, this.#archive]) control.tabIndex = reachable ? 0 : -1;
  }

  focus() {
    this.#open.focus();
  }
}

/** @param {() => void} act */
function action(act) {
  const button = el("button", { type: "button", part: "action", class: "action" });
  button.addEventListener("click", act);
  return button;
}

/**
 * @param {HTMLElement} button
 * @param {keyof typeof ICONS} icon
 * @param {string} label
 */
function face(button, icon, label) {
  if (button.getAttribute("aria-label") === label) return;
  button.setAttribute("aria-label", label);
  button.title = label;
  const paths = ICONS[icon].map((d) => svg("path", { d }));
  button.replaceChildren(svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, ...paths));
}
