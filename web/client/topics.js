/** All subscriptions of a client: those it asked for, and its own (the inbox) that the server makes by itself. */

import { fullJitter } from "./backoff.js";
import * as codes from "./codes.js";
import { isObject, tells } from "./protocol.js";
import { Subscription } from "./subscription.js";
import { CALL_MS, CONNECT_MS, REFRESH_RETRY_MS, due, renewal } from "./times.js";

/** @typedef {import("./calls.js").Call} Call */
/** @typedef {import("./effects.js").Effects} Effects */
/** @typedef {import("./protocol.js").Publication} Publication */
/** @typedef {import("./protocol.js").ReplyError} ReplyError */
/** @typedef {import("./protocol.js").SubscribeResult} SubscribeResult */

export class Topics {
  /** @type {Map<string, Subscription>} */
  #asked = new Map();
  /** @type {Map<string, Subscription>} */
  #own = new Map();
  #effects;
  #random;

  /**
   * @param {Effects} effects where what must be done goes
   * @param {() => number} random in [0, 1)
   */
  constructor(effects, random) {
    this.#effects = effects;
    this.#random = random;
  }

  /**
   * @param {string} name
   * @param {boolean} needsToken
   * @returns {Subscription | null} null: there is one already
   */
  add(name, needsToken) {
    if (this.#asked.has(name)) return null;
    const topic = new Subscription(name, needsToken);
    this.#asked.set(name, topic);
    return topic;
  }

  /** @param {string} name */
  remove(name) {
    return this.#asked.delete(name);
  }

  /** @param {string} name */
  isOwn(name) {
    return this.#own.has(name);
  }

  /** Cursors of our own subscriptions, for the connect command. */
  positions() {
    const known = [...this.#own].filter(([, own]) => own.recoverable);
    return Object.fromEntries(known.map(([name, own]) => [name, own.position()]));
  }

  /** The connection is gone. */
  pause() {
    for (const subscription of this.#all()) subscription.pause();
  }

  /** No cursor is worth anything any more. */
  forget() {
    for (const subscription of this.#all()) subscription.forget();
  }

  get deadline() {
    return Math.min(...[...this.#asked.values()].flatMap((topic) => [topic.retryAt ?? Infinity, topic.refreshAt ?? Infinity]));
  }

  /** @param {number} now */
  tick(now) {
    for (const topic of this.#asked.values()) {
      if (due(topic.retryAt, now)) this.ask(topic, now);
      if (!due(topic.refreshAt, now)) continue;
      topic.refreshAt = null;
      this.#effects.add({ do: "authorize", topic: topic.topic });
    }
  }

  // Asking ----------------------------------------------------------------------------------------------------------

  /** @param {number} now */
  askAll(now) {
    for (const topic of this.#asked.values()) this.ask(topic, now);
  }

  /**
   * Those that could not be asked for in the first message: added, or given their token, while it was under way.
   * @param {number} now
   */
  askRest(now) {
    for (const topic of this.#asked.values()) {
      if (topic.standing === "idle" || (topic.standing === "token" && topic.token !== "")) this.ask(topic, now);
    }
  }

  /**
   * @param {Subscription} topic
   * @param {number} now
   */
  ask(topic, now) {
    topic.retryAt = null;
    if (topic.needsToken && topic.token === "") {
      topic.standing = "token";
      this.#effects.add({ do: "authorize", topic: topic.topic });
      return;
    }
    topic.standing = "asking";
    const token = topic.token === "" ? {} : { token: topic.token };
    this.#effects.command(
      { purpose: "subscribe", method: "subscribe", subscription: topic, key: null, by: now + CALL_MS + CONNECT_MS },
      { channel: topic.topic, ...token, ...topic.position() },
    );
  }

  /**
   * A topic's own token has come.
   * @param {string} name
   * @param {string} token
   * @param {boolean} connected
   * @param {number} now
   */
  authorize(name, token, connected, now) {
    const topic = this.#asked.get(name);
    if (!topic) return;
    topic.token = token;
    if (!connected) return;
    if (topic.standing === "token") this.ask(topic, now);
    else if (topic.standing === "live") {
      const by = now + CALL_MS;
      this.#effects.command({ purpose: "sub_refresh", method: "sub_refresh", subscription: topic, key: null, by }, { channel: name, token });
    }
  }

  // Answers ---------------------------------------------------------------------------------------------------------

  /**
   * @param {Subscription} topic
   * @param {Call["purpose"]} purpose
   * @param {SubscribeResult} result
   * @param {number} now
   */
  answered(topic, purpose, result, now) {
    // It may have been unsubscribed, even subscribed anew, since it asked.
    if (this.#asked.get(topic.topic) !== topic) return;
    topic.refreshAt = topic.needsToken ? renewal(result, now) : null;
    if (purpose === "subscribe") this.#arrived(topic, result);
  }

  /**
   * @param {Subscription} topic
   * @param {Call["purpose"]} purpose
   * @param {ReplyError} error
   * @param {number} now
   */
  denied(topic, purpose, error, now) {
    if (this.#asked.get(topic.topic) !== topic) return;
    const again = codes.worthRepeating(error);
    if (purpose === "sub_refresh") topic.refreshAt = again ? now + REFRESH_RETRY_MS : null;
    else this.refuse(topic.topic, error, again, now);
  }

  /**
   * A topic is not, or no longer, subscribed.
   * @param {string} name
   * @param {ReplyError} error
   * @param {boolean} again whether to ask once more, after a while
   * @param {number} now
   */
  refuse(name, error, again, now) {
    const topic = this.#asked.get(name);
    if (!topic) return;
    if (error.code === codes.TOKEN_EXPIRED || error.code === codes.SUBSCRIPTION_EXPIRED) topic.token = "";
    const retry = again && (error.code !== codes.TOKEN_EXPIRED || topic.needsToken);
    this.#effects.emit("unsubscribed", { topic: name, code: error.code, reason: error.message, final: !retry });
    if (!retry) return void this.#asked.delete(name);
    topic.standing = "waiting";
    topic.refreshAt = null;
    topic.retryAt = now + fullJitter(topic.attempt, this.#random());
    topic.attempt += 1;
  }

  /**
   * What the server subscribed us to when we connected.
   * @param {Record<string, SubscribeResult>} subs
   */
  adopt(subs) {
    for (const name of this.#own.keys()) if (!Object.hasOwn(subs, name)) this.#own.delete(name);
    for (const [name, result] of Object.entries(subs)) {
      const subscription = this.#own.get(name) ?? new Subscription(name);
      this.#own.set(name, subscription);
      this.#arrived(subscription, result);
    }
  }

  /** @param {string} name */
  disown(name) {
    this.#own.delete(name);
  }

  // Publications ----------------------------------------------------------------------------------------------------

  /**
   * @param {string} channel
   * @param {Publication} publication
   * @returns {boolean} false: one before it is missing
   */
  published(channel, publication) {
    const subscription = this.#own.get(channel) ?? this.#asked.get(channel);
    if (!subscription || subscription.standing !== "live") return true;
    const verdict = subscription.take(publication);
    if (verdict === "fresh") this.#deliver(subscription, publication, false);
    return verdict !== "gap";
  }

  /**
   * @param {Subscription} subscription
   * @param {SubscribeResult} result
   */
  #arrived(subscription, result) {
    const { topic } = subscription;
    const { arrival, fresh } = subscription.accept(result);
    this.#effects.emit("subscribed", { topic, arrival });
    for (const publication of fresh) this.#deliver(subscription, publication, true);
    if (arrival === "first") return;
    const count = fresh.filter((publication) => !publication.removed && !tells(publication)).length;
    const { epoch, offset } = subscription;
    this.#effects.emit(arrival === "recovered" ? "recovered" : "resync", { topic, count, epoch, offset });
  }

  /**
   * @param {Subscription} subscription
   * @param {Publication} publication
   * @param {boolean} recovered
   */
  #deliver({ topic, epoch }, publication, recovered) {
    const { data, info, offset = 0, removed } = publication;
    const own = this.#own.has(topic);
    if (removed) return this.#effects.emit("withdrawn", { topic, offset, epoch });
    if (tells(publication) && !own) return this.#takenBack(topic, epoch, data);
    const event = own ? (tells(publication) ? "told" : "inbox") : "publication";
    this.#effects.emit(event, { topic, data, info: info ?? null, offset, epoch, recovered });
  }

  /**
   * What a topic tells of itself.
   * @param {string} topic
   * @param {string} epoch
   * @param {any} told
   */
  #takenBack(topic, epoch, told) {
    const offsets = isObject(told.data) && Array.isArray(told.data.withdrawn) ? told.data.withdrawn : [];
    for (const offset of offsets) this.#effects.emit("withdrawn", { topic, offset: Number(offset), epoch });
  }

  #all() {
    return [...this.#asked.values(), ...this.#own.values()];
  }
}
