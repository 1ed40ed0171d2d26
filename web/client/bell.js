/**
 * `<tocsin-bell>`: a bell with a badge, and behind it the inbox. A page gives it a client and is done:
 *
 *     import "/tocsin/bell.js";
 *     document.querySelector("tocsin-bell").client = tocsin;
 */

import { BellList } from "./bell/list.js";
import { style } from "./bell/style.js";
import { WORDS, badge } from "./bell/words.js";
import { el, svg } from "./dom.js";

/** @typedef {import("./client.js").Tocsin} Tocsin */

export class TocsinBell extends HTMLElement {
  #words = WORDS;
  /** @type {Tocsin | null} */
  #client = null;
  /** @type {BellList | null} */
  #list = null;
  /** What stops listening, to the client and to the page. */
  /** @type {AbortController | null} */
  #here = null;
  #badge = el("span", { part: "badge", class: "badge", "aria-hidden": "true", hidden: "" });
  #ring = el("button", { type: "button", part: "button", class: "ring", "aria-haspopup": "dialog", "aria-expanded": "false" }, bellIcon(), this.#badge);
  #news = el("p", { class: "hidden", role: "status" });
  #root = this.attachShadow({ mode: "open" });

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [style()];
    this.#root.append(this.#ring, this.#news);
    this.#ring.addEventListener("click", () => (this.open ? this.hide() : this.show()));
    this.#root.addEventListener("keydown", (event) => this.#key(/** @type {KeyboardEvent} */ (event)));
  }

  /** Whose inbox it is; null: nobody's. */
  get client() {
    return this.#client;
  }

  set client(client) {
    this.hide();
    this.#client = client;
    this.#list = null;
    if (this.isConnected) this.#listen();
  }

  /** What it says; members that are left out stay as they are. */
  get words() {
    return this.#words;
  }

  set words(words) {
    this.hide();
    this.#words = { ...WORDS, ...words };
    this.#list = null;
    this.#count();
  }

  get open() {
    return this.#list?.element.isConnected === true;
  }

  /** Open the panel: what came is seen from now on. */
  show() {
    if (this.#client === null || this.open) return;
    this.#list ??= new BellList(this, this.#client, this.#words);
    this.#root.append(this.#list.element);
    this.#ring.setAttribute("aria-expanded", "true");
    this.#list.place(this.#ring.getBoundingClientRect());
    this.#list.begin();
    this.#see();
  }

  hide() {
    if (!this.open) return;
    const focused = this.#list?.element.contains(this.#root.activeElement);
    this.#list?.end();
    this.#list?.element.remove();
    this.#ring.setAttribute("aria-expanded", "false");
    // The keyboard stays at the bell; a click elsewhere has taken it away already.
    if (focused) this.#ring.focus();
  }

  connectedCallback() {
    this.#listen();
  }

  disconnectedCallback() {
    this.hide();
    this.#here?.abort();
    this.#here = null;
  }

  // What happens ----------------------------------------------------------------------------------------------------

  #listen() {
    this.#here?.abort();
    this.#here = new AbortController();
    const { signal } = this.#here;
    document.addEventListener("pointerdown", (event) => event.composedPath().includes(this) || this.hide(), { signal });
    document.addEventListener("visibilitychange", () => this.#see(), { signal });
    const client = this.#client;
    if (client !== null) {
      const stops = [
        client.on("inbox", (item) => this.#arrived(item)),
        client.on("marks", (changed) => this.#marked(changed)),
        client.on("state", () => this.#list?.connection()),
      ];
      signal.addEventListener("abort", () => stops.forEach((stop) => stop()));
    }
    this.#count();
  }

  /** @param {import("./client.js").Notified} item */
  #arrived({ data, offset, unread, recovered }) {
    if (!unread) return;
    this.#list?.arrived({ ...(/** @type {Tocsin} */ (this.#client).inbox.of(offset)), notification: data });
    this.#news.textContent = String(data.title ?? data.type);
    if (!recovered) this.#swing();
    this.#see();
  }

  /** @param {import("./inbox.js").Changed} changed */
  #marked(changed) {
    this.#list?.marked(changed);
    this.#count();
  }

  /** Who looks at the open panel has seen what is in it. */
  #see() {
    if (!this.open || document.visibilityState !== "visible" || this.#client?.inbox.counts.unseen === 0) return;
    // Whether it is seen decides a number, no more; the next look tries again.
    this.#client?.inbox.seen().catch(() => undefined);
  }

  #count() {
    const unseen = this.#client?.inbox.counts.unseen ?? 0;
    this.#badge.textContent = badge(unseen);
    this.#badge.hidden = unseen === 0;
    this.#ring.setAttribute("aria-label", unseen === 0 ? this.#words.notifications : `${this.#words.notifications}, ${this.#words.fresh(unseen)}`);
  }

  #swing() {
    this.#ring.classList.remove("ringing");
    // Reading a size makes the browser notice the removal.
    void this.#ring.offsetWidth;
    this.#ring.classList.add("ringing");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key !== "Escape" || !this.open) return;
    event.stopPropagation();
    this.hide();
  }
}

function bellIcon() {
  const body = svg("path", { d: "M12 3.200a1.300 1.300 0 0 1 1.300 1.300v.500c2.700.600 4.400 2.900 4.600 6 .200 3.400.800 5 2.300 6.300.500.400.200 1.200-.400 1.200H4.200c-.600 0-.900-.800-.400-1.200 1.500-1.300 2.100-2.900 2.300-6.300.200-3.100 1.900-5.400 4.600-6v-.500A1.300 1.300 0 0 1 12 3.200z" });
  const clapper = svg("path", { class: "clapper", d: "M9.800 20h4.400a2.200 2.200 0 0 1-4.400 0z" });
  return svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("g", { class: "sway" }, body, clapper));
}

customElements.define("tocsin-bell", TocsinBell);
