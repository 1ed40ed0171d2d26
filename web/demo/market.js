/** The real feed: starts and stops it, and draws what it says, as one more client among the others. */

import { Tocsin } from "../client/index.js";
import { feed, tokenFor } from "./api.js";
import { Chart } from "./chart.js";
import { find, onceAFrame } from "./dom.js";

const SYMBOLS = ["AAPL", "AMZN", "GOOG", "IBM", "MSFT"];
const BOARD = "board";
/** After this long without a price, ask whether the feed still runs. */
const QUIET_MS = 3_000;

export class Market {
  #section;
  #state;
  #play;
  #speed;
  #users;
  #charts = new Map(SYMBOLS.map((symbol) => [symbol, new Chart(symbol)]));
  #running = false;
  #drops = 0;
  /** When the first price was. */
  #from = Infinity;
  #draw = onceAFrame(() => {
    for (const chart of this.#charts.values()) chart.draw(this.#from);
    if (this.#running) this.#state.textContent = this.#tally();
  });
  /** @type {Tocsin | null} */
  #client = null;
  /** @type {Promise<void> | null} */
  #listening = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #quiet;

  /**
   * @param {Element} section
   * @param {() => string[]} users whose inboxes are told of falls
   */
  constructor(section, users) {
    this.#section = section;
    this.#users = users;
    this.#state = find(section, "#market-state", HTMLElement);
    this.#play = find(section, "#market-play", HTMLButtonElement);
    this.#speed = find(section, "#market-speed", HTMLSelectElement);
    find(section, "#charts", HTMLElement).append(...[...this.#charts.values()].map((chart) => chart.element));
    this.#play.addEventListener("click", () => void this.#toggle());
    // Somebody may have started it before this page was opened.
    void this.#ask(feed.status);
  }

  async #toggle() {
    if (this.#running) return this.#ask(feed.stop);
    this.#drops = 0;
    this.#from = Infinity;
    for (const chart of this.#charts.values()) chart.clear();
    this.#state.textContent = "Tuning in …";
    // First listen, then start: prices are told once and kept nowhere.
    await this.#listen();
    await this.#ask(() => feed.start({ interval: Number(this.#speed.value), users: this.#users() }));
  }

  /** @param {() => Promise<import("./api.js").FeedStatus>} request */
  async #ask(request) {
    try {
      const { running, reason } = await request();
      this.#show(running, reason ?? "");
    } catch (error) {
      this.#show(false, error instanceof Error ? error.message : "");
    }
  }

  /**
   * @param {boolean} running
   * @param {string} reason why not
   */
  #show(running, reason) {
    const ran = this.#running;
    this.#running = running;
    this.#section.classList.toggle("running", running);
    this.#play.textContent = running ? "Stop" : "Play real prices";
    if (running) void this.#listen();
    else {
      clearTimeout(this.#quiet);
      this.#client?.close();
      this.#client = null;
      this.#listening = null;
      this.#state.textContent = reason || (ran ? `Stopped. ${this.#tally()}` : "");
    }
  }

  #tally() {
    return `${this.#drops} ${this.#drops === 1 ? "fall" : "falls"} of more than 10 %.`;
  }

  /** Resolves when every share's topic is subscribed. */
  #listen() {
    this.#listening ??= new Promise((resolve) => {
      const client = new Tocsin({ getToken: () => tokenFor(BOARD), name: "tocsin-board" });
      const missing = new Set(SYMBOLS.map(topicOf));
      client.on("publication", ({ data }) => this.#hear(data));
      client.on("subscribed", ({ topic }) => missing.delete(topic) && missing.size === 0 && resolve(undefined));
      for (const topic of missing) client.subscribe(topic);
      client.connect();
      this.#client = client;
      this.#wait();
    });
    return this.#listening;
  }

  #wait() {
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => void this.#ask(feed.status).then(() => this.#running && this.#wait()), QUIET_MS);
  }

  /** @param {any} notification */
  #hear(notification) {
    const { symbol, price, date } = notification?.data ?? {};
    const chart = this.#charts.get(symbol);
    const at = Date.parse(date);
    if (chart === undefined || typeof price !== "number" || Number.isNaN(at)) return;
    const drop = notification.type === "price.drop";
    if (drop) this.#drops += 1;
    chart.add({ at, price, drop });
    this.#from = Math.min(this.#from, at);
    this.#wait();
    this.#draw();
  }
}

/** @param {string} symbol */
function topicOf(symbol) {
  return `market:${symbol}`;
}
