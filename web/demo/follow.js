/** One notification, followed: what became of it for its person, step by step, and what is still to come. */

import { tracking } from "./api.js";
import { el, find } from "./dom.js";
import { stepsOf, told } from "./trail.js";

/** @typedef {{id: string, title: string, user: string, at: number}} Sent at: when; Unix time in milliseconds */

/** How long after the last news it is still asked. */
const PATIENCE_MS = 90_000;
const EVERY_MS = 700;

export class Follow {
  #section;
  #what;
  #state;
  #steps;
  #withdraw;
  /** @type {Sent | null} */
  #event = null;
  #drawn = "";
  #since = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {HTMLElement} section */
  constructor(section) {
    this.#section = section;
    this.#what = find(section, ".follow-what", HTMLElement);
    this.#state = find(section, ".follow-state", HTMLElement);
    this.#steps = find(section, ".follow-steps", HTMLOListElement);
    this.#withdraw = find(section, ".follow-withdraw", HTMLButtonElement);
    this.#withdraw.addEventListener("click", () => void this.#takeBack());
    document.addEventListener("visibilitychange", () => void this.#look());
  }

  /** @param {Sent} event */
  follow(event) {
    this.#event = event;
    this.#drawn = "";
    this.#since = performance.now();
    this.#section.hidden = false;
    this.#withdraw.hidden = false;
    this.#what.textContent = `“${event.title}” to ${event.user}`;
    this.#state.textContent = "";
    this.#steps.replaceChildren();
    void this.#look();
  }

  async #look() {
    clearTimeout(this.#timer);
    const event = this.#event;
    if (event === null || document.visibilityState !== "visible") return;
    const found = await tracking.trail(event.id, event.user).catch(() => null);
    if (event !== this.#event) return;
    if (found !== null) this.#show(found, event);
    if (performance.now() - this.#since < PATIENCE_MS) this.#timer = setTimeout(() => void this.#look(), EVERY_MS);
  }

  /**
   * @param {import("./trail.js").Tracked} found
   * @param {Sent} event
   */
  #show(found, event) {
    const steps = stepsOf(found, event.at, Date.now());
    const drawn = JSON.stringify(steps);
    this.#state.textContent = told(found.summary);
    if (drawn === this.#drawn) return;
    const before = this.#steps.children.length;
    this.#drawn = drawn;
    this.#since = performance.now();
    this.#withdraw.hidden = found.state === "withdrawn";
    const atEnd = this.#steps.scrollLeft + this.#steps.clientWidth >= this.#steps.scrollWidth - 8;
    this.#steps.replaceChildren(...steps.map(({ name, when, why, kind }, i) => {
      const item = el("li", { class: kind }, el("span", { class: "step-name" }, name), el("span", { class: "step-when" }, when));
      if (why) item.append(el("span", { class: "step-why" }, why));
      if (i < before) item.classList.add("old");
      return item;
    }));
    if (atEnd) this.#steps.scrollLeft = this.#steps.scrollWidth;
  }

  async #takeBack() {
    const event = this.#event;
    if (event === null) return;
    try {
      await tracking.withdraw(event.id);
      this.#since = performance.now();
      await this.#look();
    } catch (error) {
      this.#state.textContent = `Not withdrawn: ${error instanceof Error ? error.message : "unknown reason"}`;
    }
  }
}
