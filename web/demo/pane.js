/** One person: a client of their own, and everything it tells. */

import { TocsinBell } from "../client/bell.js";
import { Tocsin, sse, websocket } from "../client/index.js";
import { tokenFor } from "./api.js";
import { el, find, onceAFrame, replaying } from "./dom.js";
import { Elsewhere } from "./elsewhere.js";
import { Feed } from "./feed.js";
import { Latencies, latency, spell } from "./latency.js";
import { People } from "./people.js";
import { Plug } from "./plug.js";
import { Settings } from "./settings.js";
import { Sparkline } from "./sparkline.js";
import { describe, report, stateWords } from "./words.js";

/** @typedef {import("../client/client.js").Arrived} Arrived */

const TRANSPORTS = /** @type {const} */ ([["websocket", "WebSocket", websocket], ["sse", "SSE", sse]]);
const CALM = "Pull the plug, send something, and put it back.";
/** How much of history a fresh page shows. */
const EARLIER = 20;

export class Pane {
  user;
  topic;
  elsewhere;
  #changed;
  #arrived;
  #categories;
  #root;
  #plug = new Plug(websocket());
  #latencies = new Latencies();
  /** @type {Tocsin} */
  #client;
  /** @type {{since: number, counts: Map<string, number>, lost: boolean} | null} */
  #outage = null;
  #parts;
  #pulse;
  #drawPace = onceAFrame(() => {
    this.#parts.spark.draw(this.#latencies.last);
    this.#parts.pace.textContent = `median ${spell(this.#latencies.within(0.5))}`;
  });

  /**
   * @param {object} options
   * @param {DocumentFragment} options.markup the pane, not yet in the page
   * @param {DocumentFragment} options.settings its dialog, not yet in the page
   * @param {string} options.user
   * @param {string} options.topic
   * @param {() => void} options.changed the user or the topic is another one
   * @param {(milliseconds: number | null) => void} options.arrived with how long it took; null: it was recovered
   * @param {(all: {name: string, title: string}[]) => void} options.categories told of those that there are
   */
  constructor({ markup, settings, user, topic, changed, arrived, categories }) {
    this.user = user;
    this.topic = topic;
    this.#changed = changed;
    this.#arrived = arrived;
    this.#categories = categories;
    this.#root = find(markup, ".pane", HTMLElement);
    this.#parts = this.#gather();
    this.#pulse = replaying(this.#parts.cable, "pulsing");
    this.elsewhere = new Elsewhere(this.#root, () => this.#client);
    this.#wire(new Settings(settings, () => ({ user: this.user, client: this.#client })));
    this.#client = this.#begin();
  }

  get element() {
    return this.#root;
  }

  #gather() {
    const inbox = find(this.#root, ".inbox", HTMLElement);
    const topic = find(this.#root, ".topic", HTMLElement);
    return {
      name: find(this.#root, ".name-input", HTMLInputElement),
      state: find(this.#root, ".state-text", HTMLElement),
      cable: find(this.#root, ".cable", SVGSVGElement),
      plug: find(this.#root, ".plug", HTMLButtonElement),
      bell: find(this.#root, ".pane-bell", TocsinBell),
      pace: find(this.#root, ".pace-text", HTMLElement),
      spark: new Sparkline(find(this.#root, ".spark", HTMLElement)),
      banner: find(this.#root, ".banner", HTMLParagraphElement),
      badge: find(inbox, ".badge", HTMLElement),
      markAll: find(inbox, ".mark-all", HTMLButtonElement),
      topic: find(topic, ".topic-input", HTMLInputElement),
      people: new People(find(topic, ".people", HTMLElement)),
      inboxFeed: new Feed(inbox, { empty: "", onRead: (key) => this.#markRead(offsetOf(key)) }),
      topicFeed: new Feed(topic, { empty: "" }),
    };
  }

  /** @param {Settings} settings */
  #wire(settings) {
    const { name, topic, plug, markAll } = this.#parts;
    name.addEventListener("change", () => this.#rename(name.value.trim()));
    topic.addEventListener("change", () => this.#move(topic.value.trim()));
    plug.addEventListener("click", () => this.#switchPlug());
    find(this.#root, ".gear", HTMLButtonElement).addEventListener("click", () => void settings.open());
    markAll.addEventListener("click", () => this.#markRead());
    const choice = find(this.#root, ".transport", HTMLFieldSetElement);
    const group = `transport-${this.user}`;
    for (const [value, label, make] of TRANSPORTS) {
      const radio = el("input", { type: "radio", name: group, value });
      radio.checked = value === "websocket";
      radio.addEventListener("change", () => this.#travelBy(make));
      choice.append(el("label", {}, radio, el("span", {}, label)));
    }
  }

  // The client ------------------------------------------------------------------------------------------------------

  /** A client for the user of now. */
  #begin() {
    const { user } = this;
    const { inboxFeed, topicFeed, people, name, topic, bell } = this.#parts;
    const client = new Tocsin({ getToken: () => tokenFor(user), transport: this.#plug.transport, network: this.#plug });
    client.on("state", (detail) => this.#stateChanged(detail));
    client.on("inbox", (item) => this.#show(inboxFeed, item, item.unread, keyOf(item)));
    client.on("publication", (item) => this.#show(topicFeed, item, false, keyOf(item)));
    client.on("marks", ({ unread, changed }) => this.#marked(unread, changed));
    client.on("withdrawn", (item) => topicFeed.mark(keyOf(item), { unread: false, withdrawn: true }));
    client.on("subscribed", ({ topic, arrival }) => void this.#subscribed(client, topic, arrival === "first"));
    client.on("recovered", ({ topic, count }) => this.#recovered(topic, count, false));
    client.on("resync", ({ topic, count }) => this.#recovered(topic, count, true));
    client.on("unsubscribed", ({ topic, reason }) => topic === this.topic && topicFeed.say(`Not in ${topic}: ${reason}.`));
    client.on("join", (who) => who.topic === this.topic && people.join(who));
    client.on("leave", (who) => who.topic === this.topic && people.leave(who));
    name.value = user;
    topic.value = this.topic;
    this.#root.setAttribute("aria-label", user);
    inboxFeed.say(`Nothing for ${user} yet.`);
    topicFeed.say(`Nothing in ${this.topic} yet.`);
    this.#marked(0, []);
    this.#say(CALM, "calm");
    bell.client = client;
    client.subscribe(this.topic);
    client.connect();
    // What it asks waits for the connection; the client is ours only once we have returned.
    queueMicrotask(() => {
      void this.elsewhere.begin(user);
      void client.preferences.get().then(({ categories }) => this.#categories(categories), ignore);
    });
    return client;
  }

  /** @param {string} user */
  #rename(user) {
    if (user === "" || user === this.user) return void (this.#parts.name.value = this.user);
    this.#client.close();
    this.user = user;
    this.#outage = null;
    this.#parts.inboxFeed.clear();
    this.#parts.topicFeed.clear();
    this.#parts.people.forget();
    this.#client = this.#begin();
    this.#changed();
  }

  /** @param {string} topic */
  #move(topic) {
    const { topicFeed, people } = this.#parts;
    if (topic === "" || topic === this.topic) return void (this.#parts.topic.value = this.topic);
    this.#client.unsubscribe(this.topic);
    this.topic = topic;
    topicFeed.clear();
    topicFeed.say(`Nothing in ${topic} yet.`);
    people.forget();
    this.#client.subscribe(topic);
    this.#changed();
  }

  /** @param {() => import("../client/transport.js").Transport} make */
  #travelBy(make) {
    this.#plug.through = make();
    this.#client.disconnect();
    this.#client.connect();
  }

  // What it tells ---------------------------------------------------------------------------------------------------

  /** @param {import("../client/client.js").Events["state"]} detail */
  #stateChanged(detail) {
    if (detail.previous === "connected") this.#outage = { since: performance.now(), counts: new Map(), lost: false };
    this.#root.dataset.state = this.#plug.pulled ? "unplugged" : detail.state;
    this.#parts.state.textContent = stateWords(detail, this.#plug.pulled);
  }

  /**
   * @param {Tocsin} client
   * @param {string} topic
   * @param {boolean} first
   */
  async #subscribed(client, topic, first) {
    const feed = topic === "inbox" ? this.#parts.inboxFeed : this.#parts.topicFeed;
    if (topic !== "inbox" && topic === this.topic) {
      this.#parts.people.ask();
      void client.presence(topic).then((all) => topic === this.topic && this.#parts.people.set(all), ignore);
    }
    if (!first) return;
    const earlier = topic === "inbox" ? listed(client) : remembered(client, topic);
    const items = await earlier.catch(() => []);
    if (client !== this.#client || (topic !== "inbox" && topic !== this.topic)) return;
    for (const { data, ...item } of items) feed.add({ ...describe(data), ...item, took: null, how: "earlier" });
  }

  /**
   * @param {Feed} feed
   * @param {Arrived} item
   * @param {boolean} unread
   * @param {string} key
   */
  #show(feed, item, unread, key) {
    if (feed === this.#parts.topicFeed && item.topic !== this.topic) return;
    const words = describe(item.data);
    const took = latency(words.createdAt, performance.timeOrigin + performance.now());
    if (!feed.add({ ...words, key, took, how: item.recovered ? "recovered" : "live", unread })) return;
    this.#pulse();
    this.#arrived(item.recovered ? null : took);
    if (item.recovered || took === null) return;
    this.#latencies.add(took);
    this.#drawPace();
  }

  /**
   * @param {string} topic
   * @param {number} count
   * @param {boolean} lost
   */
  #recovered(topic, count, lost) {
    if (this.#outage === null) return;
    this.#outage.counts.set(topic, count);
    this.#outage.lost ||= lost;
    this.#say(report({ ...this.#outage, seconds: (performance.now() - this.#outage.since) / 1_000 }), lost ? "lost" : "back");
  }

  /**
   * @param {number} unread
   * @param {import("../client/marks.js").Marked[]} changed
   */
  #marked(unread, changed) {
    const { badge, markAll, inboxFeed } = this.#parts;
    for (const { offset, read, withdrawn } of changed) inboxFeed.mark(keyOf({ epoch: this.#client.inbox.epoch, offset }), { unread: !read, withdrawn });
    badge.textContent = String(unread);
    badge.setAttribute("aria-label", `${unread} unread`);
    badge.hidden = markAll.hidden = unread === 0;
  }

  /** @param {number} [offset] all, when left out */
  #markRead(offset) {
    this.#client.inbox.read(offset === undefined ? undefined : [offset]).catch((error) => this.#say(`Not marked: ${error.message}.`, "lost"));
  }

  // The plug --------------------------------------------------------------------------------------------------------

  #switchPlug() {
    if (this.#plug.pulled) this.#plug.putBack();
    else this.#plug.pull();
    const { pulled } = this.#plug;
    this.#root.classList.toggle("unplugged", pulled);
    this.#parts.plug.textContent = pulled ? "Put it back" : "Pull the plug";
    if (pulled) this.#say(`${this.user} is cut off. What is sent meanwhile waits.`, "away");
  }

  /**
   * @param {string} text
   * @param {"calm" | "away" | "back" | "lost"} kind
   */
  #say(text, kind) {
    const { banner } = this.#parts;
    banner.textContent = text;
    banner.dataset.kind = kind;
  }
}

/** @param {{epoch: string, offset: number}} item */
function keyOf({ epoch, offset }) {
  return offset === 0 ? "" : `${epoch}:${offset}`;
}

/** @param {string} key */
function offsetOf(key) {
  return Number(key.slice(key.lastIndexOf(":") + 1));
}

/**
 * What came to the inbox earlier.
 * @param {Tocsin} client
 */
async function listed(client) {
  const { items, epoch } = await client.inbox.list({ limit: EARLIER });
  return items.map(({ offset, read, notification }) => ({ data: notification, key: keyOf({ epoch, offset }), unread: !read }));
}

/**
 * What was said in a topic earlier.
 * @param {Tocsin} client
 * @param {string} topic
 */
async function remembered(client, topic) {
  const { publications, epoch } = await client.history(topic, { limit: EARLIER, reverse: true });
  const left = publications.filter(({ removed }) => !removed);
  return left.map(({ data, offset = 0 }) => ({ data, key: keyOf({ epoch, offset }), unread: false }));
}

function ignore() {
  // Who is there, and which categories there are, is nice to know, no more.
}
