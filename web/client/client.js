/**
 * The client: one connection to a Tocsin gateway that comes back by itself and misses nothing.
 *
 *     const tocsin = new Tocsin({ getToken: () => fetch("/my-token").then((answer) => answer.text()) });
 *     tocsin.on("inbox", ({ data, offset }) => show(data.title, data.body, () => tocsin.inbox.read(offset)));
 *     tocsin.on("marks", ({ unseen }) => badge(unseen));
 *     tocsin.subscribe("news:sport");
 *     tocsin.connect();
 *
 * All it decides is decided by the machine; here are the sockets, the timer and the browser's own events.
 */

import { Emitter } from "./emitter.js";
import { firstThatWorks } from "./fallback.js";
import { Inbox } from "./inbox.js";
import { Machine } from "./machine.js";
import { devicesBy, followsBy, preferencesBy } from "./personal.js";
import { tells } from "./protocol.js";
import { sse } from "./sse.js";
import { websocket } from "./websocket.js";

/**
 * @typedef {import("./protocol.js").Json} Json
 * @typedef {import("./events.js").State} State
 * @typedef {import("./events.js").Event} MachineEvent
 * @typedef {import("./transport.js").Transport} Transport
 *
 * @typedef {object} Options
 * @property {string} [url] the gateway, such as https://push.example.org; the page's own origin when left out
 * @property {() => string | Promise<string>} getToken gives a token (JWT or ticket) whenever a new one is needed;
 *   throws `Refused` when there will be none, anything else when it may be tried again
 * @property {"auto" | "websocket" | "sse" | Transport} [transport] auto: WebSocket, and SSE where that does not open
 * @property {string} [name] told to the server, for its logs; at most 16 characters
 * @property {EventTarget} [network] says `online` and `offline`; the window when left out
 *
 * @typedef {object} Arrived a publication
 * @property {string} topic
 * @property {any} data of a notification: id, type, title, body, data, category, created_at
 * @property {Json | null} info of the client that published it, if a client did
 * @property {number} offset 0: it has no place in the topic's history
 * @property {string} epoch
 * @property {boolean} recovered it was missed, and made up for
 *
 * @typedef {Arrived & {unread: boolean}} Notified a notification in the inbox
 *
 * @typedef {object} Events
 * @property {{state: State, previous: State, code?: number, reason?: string, delay?: number, client?: string}} state
 *   delay: milliseconds until the next attempt
 * @property {Notified} inbox
 * @property {Arrived} publication
 * @property {{topic: string, arrival: "first" | "recovered" | "lost"}} subscribed
 * @property {{topic: string, code: number, reason: string, final: boolean}} unsubscribed final: it is not tried again
 * @property {{topic: string, count: number, epoch: string, offset: number}} recovered nothing is missing; count: how many
 *   were made up for, each of them delivered before this
 * @property {{topic: string, count: number, epoch: string, offset: number}} resync history no longer reaches back to where
 *   we were: something was missed, and what the page shows should be fetched anew
 * @property {{topic: string, user: string, client: string}} join
 * @property {{topic: string, user: string, client: string}} leave
 * @property {{data: unknown}} message
 * @property {import("./inbox.js").Changed} marks the number of unread or unseen notifications changed, or what is known
 *   of some: they were read, archived or withdrawn, on whatever device
 * @property {{topic: string, offset: number, epoch: string}} withdrawn a publication was taken back
 */

/** What the client protocol calls the user's own topic. */
const INBOX = "inbox";

/** Thrown by `getToken` when there will be no token: the client stops trying. */
export class Refused extends Error {}

/** A command that failed. `code` is the protocol's (103 permission denied, 108 not available …), below 100 our own. */
export class TocsinError extends Error {
  /** @param {{code: number, message: string, temporary?: boolean}} error */
  constructor({ code, message, temporary = false }) {
    super(message);
    this.name = "TocsinError";
    this.code = code;
    this.temporary = temporary;
  }
}

/** @extends {Emitter<Events>} */
export class Tocsin extends Emitter {
  /** The user's notifications: lists, counts, and marks on them. */
  inbox = new Inbox(this.rpc.bind(this), (changed) => this.emit("marks", changed));
  /** What the user wants to hear, where and when. */
  preferences = preferencesBy(this.rpc.bind(this));
  /** Where else the user can be reached. */
  devices = devicesBy(this.rpc.bind(this));
  /** Topics whose events come to the inbox, also while nobody is subscribed. */
  follows = followsBy(this.rpc.bind(this));
  #machine;
  #base;
  #getToken;
  #transport;
  #network;
  /** @type {import("./transport.js").Link | null} */
  #link = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Map<string, () => string | Promise<string>>} */
  #topicTokens = new Map();
  #stopListening = new AbortController();
  /** @type {import("./events.js").Effect[]} */
  #todo = [];
  #performing = false;

  /** @param {Options} options */
  constructor({ url = location.origin, getToken, transport = "auto", name, network = globalThis }) {
    super();
    this.#machine = new Machine(name === undefined ? { random: Math.random } : { random: Math.random, name });
    this.#base = url.replace(/^ws/, "http").replace(/\/+$/, "");
    this.#getToken = getToken;
    this.#transport = choose(transport);
    this.#network = network;
    this.#listen();
  }

  // What a page does ------------------------------------------------------------------------------------------------

  /** Connect, and stay connected until `disconnect()`. */
  connect() {
    this.#feed({ on: "start" });
  }

  /** Disconnect; cursors are kept, so `connect()` makes up for what came meanwhile. */
  disconnect() {
    this.#feed({ on: "stop" });
  }

  /** Disconnect for good. */
  close() {
    this.disconnect();
    this.#stopListening.abort();
  }

  /** @returns {State} */
  get state() {
    return this.#machine.state;
  }

  /**
   * Subscribe to a topic, now and after every reconnect. What happens is told by `subscribed` and `unsubscribed`.
   * @param {string} topic
   * @param {{getToken?: () => string | Promise<string>}} [options] getToken: for topics that need a token of their own
   */
  subscribe(topic, { getToken } = {}) {
    if (getToken) this.#topicTokens.set(topic, getToken);
    this.#feed({ on: "subscribe", topic, needsToken: getToken !== undefined });
  }

  /** @param {string} topic */
  unsubscribe(topic) {
    this.#topicTokens.delete(topic);
    this.#feed({ on: "unsubscribe", topic });
  }

  /**
   * Publish to a topic whose rules let clients do so.
   * @param {string} topic
   * @param {unknown} data
   */
  async publish(topic, data) {
    await this.#call("publish", { channel: topic, data });
  }

  /**
   * Tell the server something that has no answer; lost while there is no connection.
   * @param {unknown} data
   */
  send(data) {
    this.#feed({ on: "tell", data });
  }

  /**
   * @param {string} method
   * @param {unknown} [data]
   * @returns {Promise<any>}
   */
  async rpc(method, data = {}) {
    return (await this.#call("rpc", { method, data })).data;
  }

  /**
   * What a topic, or `inbox`, remembers.
   * @param {string} topic
   * @param {{limit?: number, since?: {epoch: string, offset: number}, reverse?: boolean}} [page]
   * @returns {Promise<{publications: import("./protocol.js").Publication[], epoch: string, offset: number}>}
   */
  async history(topic, page = {}) {
    const { publications = [], epoch = "", offset = 0 } = /** @type {any} */ (await this.#call("history", { channel: topic, limit: 100, ...page }));
    return { publications: publications.filter((/** @type {any} */ publication) => !tells(publication)), epoch, offset };
  }

  /**
   * Who is there: one entry per connection.
   * @param {string} topic
   * @returns {Promise<{user: string, client: string}[]>}
   */
  async presence(topic) {
    const { presence = {} } = /** @type {any} */ (await this.#call("presence", { channel: topic }));
    return Object.entries(presence).map(([client, info]) => ({ client, user: String(/** @type {any} */ (info).user ?? "") }));
  }

  // What the machine does -------------------------------------------------------------------------------------------

  /** @param {MachineEvent} event */
  #feed(event) {
    const effects = this.#machine.feed(event, performance.now());
    clearTimeout(this.#timer);
    const wait = this.#machine.deadline - performance.now();
    // Longer waits than a timer can count are cut; the machine then simply has nothing to do yet.
    if (wait < Infinity) this.#timer = setTimeout(() => this.#feed({ on: "tick" }), Math.min(Math.max(wait, 0), 2 ** 31 - 1));
    this.#todo.push(...effects);
    if (this.#performing) return;
    // A listener may call us; what that leads to is done after what is under way, so messages keep their order.
    this.#performing = true;
    for (let effect = this.#todo.shift(); effect !== undefined; effect = this.#todo.shift()) this.#perform(effect);
    this.#performing = false;
  }

  /** @param {import("./events.js").Effect} effect */
  #perform(effect) {
    switch (effect.do) {
      case "authorize": return void this.#authorize(effect.topic);
      case "open": return this.#open(effect.link, effect.message);
      case "send": return this.#link?.send(effect.message, this.#machine.route);
      case "close": return this.#close();
      case "emit": return this.#tell(effect.event, effect.detail);
      case "settle": return /** @type {Pending} */ (effect.key).settle(effect.result, effect.error);
    }
  }

  /**
   * @param {number} link
   * @param {string} message
   */
  #open(link, message) {
    this.#link = this.#transport(this.#base, message, {
      message: (text) => this.#feed({ on: "received", link, text }),
      closed: (code, reason) => this.#feed({ on: "closed", link, code, reason }),
    });
  }

  #close() {
    this.#link?.close();
    this.#link = null;
  }

  /** @param {string | null} topic */
  async #authorize(topic) {
    const getToken = topic === null ? this.#getToken : this.#topicTokens.get(topic);
    /** @type {MachineEvent} */
    let event = { on: "noToken", topic, final: getToken === undefined };
    try {
      const token = getToken === undefined ? "" : await getToken();
      if (token !== "") event = { on: "token", topic, token };
    } catch (error) {
      event = { on: "noToken", topic, final: error instanceof Refused };
    }
    this.#feed(event);
  }

  /**
   * @param {string} event
   * @param {any} detail
   */
  #tell(event, detail) {
    if (event === "told") return this.inbox.told(detail);
    if (event === "inbox") return this.emit("inbox", { ...detail, unread: !this.inbox.arrived(detail).read });
    if (event === "withdrawn" && detail.topic === INBOX) this.inbox.withdrawn(detail);
    this.emit(/** @type {keyof Events} */ (event), detail);
    if (event === "subscribed" && detail.topic === INBOX && detail.arrival !== "recovered") void this.inbox.refresh(detail.arrival === "lost");
  }

  /**
   * @param {string} method
   * @param {Json} params
   * @returns {Promise<Json>}
   */
  #call(method, params) {
    return new Promise((resolve, reject) => {
      this.#feed({ on: "call", key: new Pending(resolve, reject), method, params });
    });
  }

  #listen() {
    const { signal } = this.#stopListening;
    // Outside of a browser nobody says such things.
    this.#network.addEventListener?.("online", () => this.#feed({ on: "online" }), { signal });
    this.#network.addEventListener?.("offline", () => this.#feed({ on: "offline" }), { signal });
    if (typeof document === "undefined") return;
    const awake = () => document.visibilityState === "visible" && this.#feed({ on: "awake" });
    document.addEventListener("visibilitychange", awake, { signal });
  }
}

/** A call whose promise waits for its reply. */
class Pending {
  #resolve;
  #reject;

  /**
   * @param {(result: Json) => void} resolve
   * @param {(error: TocsinError) => void} reject
   */
  constructor(resolve, reject) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /**
   * @param {Json | null} result
   * @param {{code: number, message: string, temporary?: boolean} | null} error
   */
  settle(result, error) {
    if (error !== null) this.#reject(new TocsinError(error));
    else this.#resolve(result ?? {});
  }
}

/**
 * @param {NonNullable<Options["transport"]>} transport
 * @returns {Transport}
 */
function choose(transport) {
  if (typeof transport === "function") return transport;
  if (transport === "websocket") return websocket();
  if (transport === "sse") return sse();
  return firstThatWorks(websocket(), sse());
}
