/** A bell's panel: the inbox, filtered and paged, and what can be done with it. */

import { el, svg } from "../dom.js";
import { Listing } from "./listing.js";
import { Row } from "./row.js";

/**
 * @typedef {import("../client.js").Tocsin} Tocsin
 * @typedef {import("../inbox.js").Item} Item
 * @typedef {import("./listing.js").Shown} Shown
 */

const PAGE = 20;
const MINUTE = 60_000;
const FILTERS = /** @type {const} */ (["current", "unread", "archived"]);

export class BellList {
  #bell;
  #client;
  #words;
  #listing = new Listing("current");
  /** @type {Map<number, Row>} */
  #rows = new Map();
  /** The row that Tab reaches. */
  /** @type {Row | null} */
  #current = null;
  #loading = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #clock;
  #end = el("div", { class: "end" });
  #list = el("ul", { part: "list" });
  #state = el("div", { part: "empty", class: "state", hidden: "" });
  #scroll = el("div", { class: "scroll" }, this.#list, this.#state, this.#end);
  #note = el("p", { class: "note", role: "alert", hidden: "" });
  #allRead;
  #near = new IntersectionObserver(([seen]) => seen?.isIntersecting && void this.#load(), { root: this.#scroll, rootMargin: "200px" });
  element;

  /**
   * @param {Element} bell what tells the page of clicks
   * @param {Tocsin} client
   * @param {import("./words.js").Words} words
   */
  constructor(bell, client, words) {
    this.#bell = bell;
    this.#client = client;
    this.#words = words;
    this.#allRead = el("button", { type: "button", part: "mark-all", class: "all-read" }, words.markAll);
    this.#allRead.addEventListener("click", () => this.#do(client.inbox.read()));
    this.element = el("section", { part: "panel", class: "panel", role: "dialog", "aria-label": words.notifications, tabindex: "-1" }, this.#head(), this.#bar(), this.#scroll, this.#note);
    this.#list.addEventListener("keydown", (event) => this.#key(event));
    this.#list.addEventListener("focusin", ({ target }) => this.#reach([...this.#rows.values()].find(({ element }) => element.contains(/** @type {Node} */ (target))) ?? null));
  }

  #head() {
    const close = el("button", { type: "button", class: "icon", part: "close", "aria-label": this.#words.close, title: this.#words.close });
    close.append(svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, svg("path", { d: "M5 5l10 10M15 5L5 15" })));
    close.addEventListener("click", () => /** @type {any} */ (this.#bell).hide());
    return el("header", { part: "header", class: "head" }, el("h2", {}, this.#words.notifications), close);
  }

  #bar() {
    const filter = el("fieldset", { part: "filter", class: "filter" }, el("legend", { class: "hidden" }, this.#words.notifications));
    for (const shown of FILTERS) {
      const radio = el("input", { type: "radio", name: "shown", value: shown });
      radio.checked = shown === "current";
      radio.addEventListener("change", () => this.#show(shown));
      filter.append(el("label", {}, radio, el("span", {}, this.#words[shown])));
    }
    return el("div", { class: "bar" }, filter, this.#allRead);
  }

  // Being opened and closed -----------------------------------------------------------------------------------------

  /** @param {DOMRect} bell where the bell is; the panel goes where there is room */
  place(bell) {
    const width = this.element.getBoundingClientRect().width;
    const leftwards = getComputedStyle(this.element).direction === "ltr";
    const room = leftwards ? bell.right : document.documentElement.clientWidth - bell.left;
    this.element.classList.toggle("from-start", room < width + 8);
  }

  begin() {
    this.#clock = setInterval(() => this.#tellTimes(), MINUTE);
    this.#near.observe(this.#end);
    this.#show(this.#listing.shown);
    this.connection();
    this.#counted();
    this.element.focus();
  }

  end() {
    clearInterval(this.#clock);
    this.#near.disconnect();
    this.#note.hidden = true;
  }

  // What happens ----------------------------------------------------------------------------------------------------

  /** @param {Item} item */
  arrived(item) {
    if (!this.element.isConnected || !this.#listing.arrive(item)) return;
    this.#list.prepend(this.#draw(item).element);
    this.#settle();
  }

  /** @param {import("../inbox.js").Changed} changed */
  marked({ changed, all }) {
    if (!this.element.isConnected) return;
    this.#counted();
    const became = changed.map((marked) => ({ offset: marked.offset, what: this.#listing.mark(marked) }));
    for (const { offset, what } of became) {
      if (what === "changed") this.#rows.get(offset)?.draw();
      else if (what === "gone") this.#remove(offset);
    }
    if (all || became.some(({ what }) => what === "missing")) this.#show(this.#listing.shown);
  }

  /** The connection came or went. */
  connection() {
    if (this.#client.state === "connected") {
      if (!this.#note.classList.contains("trouble")) this.#note.hidden = true;
    } else this.#say(this.#words.away, false);
  }

  #counted() {
    this.#allRead.hidden = this.#client.inbox.counts.unread === 0;
  }

  // The list --------------------------------------------------------------------------------------------------------

  /**
   * From the newest on, as the server has it now; until it answers what was there stays.
   * @param {Shown} shown
   */
  #show(shown) {
    const other = shown !== this.#listing.shown;
    this.#listing = new Listing(shown);
    this.#loading = false;
    if (other) this.#clear();
    void this.#load();
  }

  #clear() {
    this.#rows.clear();
    this.#current = null;
    this.#list.replaceChildren();
    this.#scroll.scrollTop = 0;
  }

  /** The next page; the first one replaces what is shown. */
  async #load() {
    const listing = this.#listing;
    const anew = !listing.begun;
    if (this.#loading || !listing.more) return;
    this.#loading = true;
    this.#waiting();
    const before = anew ? {} : { before: listing.before ?? 1 };
    const page = await this.#client.inbox.list({ limit: PAGE, state: listing.shown, ...before }).catch(() => null);
    if (listing !== this.#listing) return;
    this.#loading = false;
    if (page === null) return this.#failed();
    const added = listing.append(page.items, page.more);
    const focused = anew ? [...this.#rows].find(([, row]) => row.element.contains(this.#active)) : undefined;
    if (anew) this.#clear();
    const wanted = anew ? listing.items : added;
    this.#list.append(...wanted.map((item) => this.#draw(item).element));
    if (focused) (this.#rows.get(focused[0]) ?? this.#current)?.focus();
    this.#settle();
    this.#lookAgain();
  }

  /** The end may be in sight still, which an observer tells only once. */
  #lookAgain() {
    this.#near.unobserve(this.#end);
    if (this.#listing.more && this.element.isConnected) this.#near.observe(this.#end);
  }

  get #active() {
    return /** @type {ShadowRoot} */ (this.element.getRootNode()).activeElement;
  }

  /** @param {Item} item */
  #draw(item) {
    const row = new Row(item, this.#words, {
      open: (opened, event) => this.#opened(opened, event),
      read: ({ offset, read }) => this.#do(read ? this.#client.inbox.unread(offset) : this.#client.inbox.read(offset)),
      archive: ({ offset, archived }) => this.#do(archived ? this.#client.inbox.unarchive(offset) : this.#client.inbox.archive(offset)),
    });
    this.#rows.set(item.offset, row);
    row.tell(Date.now(), this.#language);
    row.reachable(false);
    return row;
  }

  /** @param {number} offset */
  #remove(offset) {
    const row = this.#rows.get(offset);
    if (row === undefined) return;
    const focused = row.element.contains(this.#active);
    const next = this.#neighbour(row, 1) ?? this.#neighbour(row, -1);
    this.#rows.delete(offset);
    row.element.remove();
    if (this.#current === row) this.#current = null;
    if (focused) (next ?? this.element).focus();
    this.#settle();
    this.#lookAgain();
  }

  /** Nothing is under way: show what there is, or that there is nothing. */
  #settle() {
    this.element.removeAttribute("aria-busy");
    const empty = this.#rows.size === 0;
    this.#end.replaceChildren();
    this.#state.hidden = !empty;
    if (empty) this.#state.replaceChildren(emptyBell(), this.#words.nothing[this.#listing.shown]);
    else if (this.#current === null) this.#reach(this.#ordered()[0] ?? null);
  }

  #waiting() {
    this.element.setAttribute("aria-busy", "true");
    this.#state.hidden = true;
    const blanks = this.#rows.size === 0 ? 3 : 1;
    this.#end.replaceChildren(...Array.from({ length: blanks }, () => el("div", { class: "blank", role: "presentation" })));
  }

  #failed() {
    this.#settle();
    const again = el("button", { type: "button", part: "again", class: "again" }, this.#words.again);
    again.addEventListener("click", () => void this.#load());
    this.#state.hidden = true;
    this.#end.replaceChildren(el("div", { part: "error", class: "state", role: "alert" }, this.#words.failed, again));
  }

  #tellTimes() {
    for (const row of this.#rows.values()) row.tell(Date.now(), this.#language);
  }

  get #language() {
    return this.#bell.closest("[lang]")?.getAttribute("lang") || undefined;
  }

  // Doing -----------------------------------------------------------------------------------------------------------

  /**
   * @param {Item} item
   * @param {globalThis.Event} event the click
   */
  #opened(item, event) {
    const opened = new CustomEvent("tocsin-open", { detail: item, bubbles: true, composed: true, cancelable: true });
    if (!this.#bell.dispatchEvent(opened)) event.preventDefault();
    if (!item.read) this.#do(this.#client.inbox.read(item.offset));
  }

  /** @param {Promise<unknown>} deed */
  #do(deed) {
    this.#note.hidden = true;
    deed.then(() => this.connection(), (error) => this.#say(this.#words.undone(error.message), true));
  }

  /**
   * @param {string} text
   * @param {boolean} trouble
   */
  #say(text, trouble) {
    this.#note.textContent = text;
    this.#note.classList.toggle("trouble", trouble);
    this.#note.hidden = false;
  }

  // Keyboard --------------------------------------------------------------------------------------------------------

  /** @param {KeyboardEvent} event */
  #key(event) {
    const ordered = this.#ordered();
    const row = ordered.find(({ element }) => element.contains(/** @type {Node} */ (event.target)));
    if (row === undefined) return;
    const next = { ArrowDown: this.#neighbour(row, 1), ArrowUp: this.#neighbour(row, -1), Home: ordered[0], End: ordered.at(-1) }[event.key];
    if (next === undefined || next === null) return;
    event.preventDefault();
    next.focus();
  }

  #ordered() {
    return this.#listing.items.map(({ offset }) => this.#rows.get(offset)).filter((row) => row !== undefined);
  }

  /**
   * @param {Row} row
   * @param {1 | -1} step
   */
  #neighbour(row, step) {
    const element = step === 1 ? row.element.nextElementSibling : row.element.previousElementSibling;
    return [...this.#rows.values()].find((one) => one.element === element) ?? null;
  }

  /** @param {Row | null} row */
  #reach(row) {
    if (row === this.#current) return;
    this.#current?.reachable(false);
    row?.reachable(true);
    this.#current = row;
  }
}

function emptyBell() {
  return svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: "M6 16.500c1-1.200 1.300-2.800 1.400-5.500C7.600 7.600 9.300 5.500 12 5.500s4.400 2.100 4.600 5.500c.1 2.700.4 4.300 1.400 5.500zM10 19a2.100 2.100 0 0 0 4 0" }));
}
