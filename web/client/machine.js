/**
 * The connection as a state machine: events in, effects out. It opens nothing, waits for nothing and reads no clock;
 * `now` is milliseconds on any clock that does not go back, and randomness is handed in.
 */

import { fullJitter } from "./backoff.js";
import * as codes from "./codes.js";
import { Effects } from "./effects.js";
import { decode, isObject } from "./protocol.js";
import { CALL_MS, CONNECT_MS, GOOD_MS, PING_GRACE_MS, REFRESH_RETRY_MS, due, renewal } from "./times.js";
import { Topics } from "./topics.js";

/**
 * @typedef {import("./protocol.js").Json} Json
 * @typedef {import("./protocol.js").ReplyError} ReplyError
 * @typedef {import("./protocol.js").ConnectResult} ConnectResult
 * @typedef {import("./calls.js").Call} Call
 * @typedef {import("./events.js").State} State
 * @typedef {import("./events.js").Event} Event
 * @typedef {import("./events.js").Effect} Effect
 */

/**
 * Where each trigger leads from each state; a pair that is not here is a bug.
 * @type {Record<State, Record<string, State>>}
 */
export const TRANSITIONS = {
  idle: { start: "authorizing" },
  authorizing: { token: "connecting", lost: "waiting", refused: "ended", stop: "idle" },
  connecting: { welcome: "connected", lost: "waiting", refused: "ended", stop: "idle" },
  connected: { lost: "waiting", refused: "ended", stop: "idle" },
  waiting: { retry: "authorizing", stop: "idle" },
  ended: { start: "authorizing", stop: "idle" },
};

/** A token that begins so is a ticket: used up by one use. */
const TICKET = "tkt_";

export class Machine {
  /** @type {State} */
  state = "idle";
  /**
   * What an emulated transport must repeat with each message; null on others.
   * @type {{session: string, node: string} | null}
   */
  route = null;

  #effects = new Effects();
  #random;
  #name;
  #topics;
  #link = 0;
  #attempt = 0;
  #token = "";
  #pong = false;
  #pingMs = 0;
  #since = 0;
  #timers = new Timers();
  /**
   * Calls made while there was no connection.
   * @type {{key: unknown, method: string, params: Json, by: number}[]}
   */
  #queue = [];

  /** @param {{random: () => number, name?: string}} options random: in [0, 1); name: told to the server, for its logs */
  constructor({ random, name = "tocsin-web" }) {
    this.#random = random;
    this.#name = name;
    this.#topics = new Topics(this.#effects, random);
  }

  /**
   * @param {Event} event
   * @param {number} now milliseconds
   * @returns {Effect[]} what must be done, in this order
   */
  feed(event, now) {
    this.#handle(event, now);
    return this.#effects.flush();
  }

  /** When to feed a `tick`, in milliseconds, or Infinity. */
  get deadline() {
    const topics = this.state === "connected" ? this.#topics.deadline : Infinity;
    return Math.min(this.#timers.next, topics, this.#effects.calls.deadline, ...this.#queue.map((call) => call.by));
  }

  /**
   * @param {Event} event
   * @param {number} now
   */
  #handle(event, now) {
    switch (event.on) {
      case "start": return this.#start(now);
      case "stop": return this.#stop();
      case "tick": return this.#tick(now);
      case "token": return this.#hasToken(event.topic, event.token, now);
      case "noToken": return this.#noToken(event.topic, event.final, now);
      case "received": return this.#received(event.link, event.text, now);
      case "closed": return event.link === this.#link ? this.#closed(event.code, event.reason, now) : undefined;
      case "online":
      case "awake": return this.#hurry(now);
      case "offline": return this.#linked ? this.#leave(true, codes.OFFLINE, "offline", now) : undefined;
      case "subscribe": return this.#subscribe(event.topic, event.needsToken, now);
      case "unsubscribe": return this.#unsubscribe(event.topic, now);
      case "tell": return this.state === "connected" ? this.#effects.say({ send: { data: event.data } }) : undefined;
      case "call": return this.#call(event, now);
    }
  }

  get #linked() {
    return this.state === "connecting" || this.state === "connected";
  }

  /**
   * @param {string} trigger
   * @param {Json} [detail]
   */
  #go(trigger, detail = {}) {
    const next = TRANSITIONS[this.state][trigger];
    if (next === undefined) throw new Error(`no transition from ${this.state} by ${trigger}`);
    const previous = this.state;
    this.state = next;
    this.#effects.emit("state", { state: next, previous, ...detail });
  }

  // Coming ----------------------------------------------------------------------------------------------------------

  /** @param {number} now */
  #start(now) {
    if (this.state !== "idle" && this.state !== "ended") return;
    this.#attempt = 0;
    this.#authorize("start", now);
  }

  /** @param {number} now */
  #hurry(now) {
    if (this.state !== "waiting") return;
    this.#attempt = 0;
    this.#authorize("retry", now);
  }

  /**
   * @param {"start" | "retry"} trigger
   * @param {number} now
   */
  #authorize(trigger, now) {
    this.#timers.retry = null;
    this.#timers.connect = now + CONNECT_MS;
    this.#go(trigger);
    if (this.#token === "") this.#effects.add({ do: "authorize", topic: null });
    else this.#open(now);
  }

  /** @param {number} now */
  #open(now) {
    const subs = this.#topics.positions();
    const recover = Object.keys(subs).length > 0 ? { subs } : {};
    this.#link += 1;
    this.#timers.connect = now + CONNECT_MS;
    this.#go("token");
    this.#effects.command(
      { purpose: "connect", method: "connect", subscription: null, key: null, by: Infinity },
      { token: this.#useToken(), name: this.#name, ...recover },
    );
    // All in the first message: one round trip, however many topics there are.
    this.#topics.askAll(now);
    this.#effects.add({ do: "open", link: this.#link, message: this.#effects.message() });
  }

  /**
   * @param {ConnectResult} result
   * @param {number} now
   */
  #welcome(result, now) {
    this.route = result.session ? { session: result.session, node: result.node ?? "" } : null;
    this.#since = now;
    this.#pong = result.pong === true;
    this.#pingMs = (result.ping ?? 0) * 1000;
    this.#timers.connect = null;
    this.#timers.refresh = renewal(result, now);
    this.#go("welcome", { client: result.client ?? "" });
    this.#heard(now);
    this.#topics.adopt(result.subs ?? {});
    this.#topics.askRest(now);
    const queue = this.#queue;
    this.#queue = [];
    for (const { key, method, params, by } of queue) {
      this.#effects.command({ purpose: "call", method, subscription: null, key, by }, params);
    }
  }

  // Going -----------------------------------------------------------------------------------------------------------

  #stop() {
    if (this.state === "idle") return;
    this.#drop(codes.STOPPED, "stopped");
    this.#go("stop", { code: codes.STOPPED, reason: "stopped" });
    for (const call of this.#queue) this.#effects.settle(call.key, null, { code: codes.STOPPED, message: "stopped" });
    this.#queue = [];
  }

  /**
   * The link was closed, by the server or by the network.
   * @param {number} code
   * @param {string} reason
   * @param {number} now
   */
  #closed(code, reason, now) {
    if (!this.#linked) return;
    if (code === codes.CONNECTION_EXPIRED || code === codes.STATE_INVALIDATED) this.#token = "";
    if (code === codes.STATE_INVALIDATED) this.#topics.forget();
    this.#leave(codes.comesBack(code), code, reason, now);
  }

  /**
   * @param {boolean} back whether to try again
   * @param {number} code
   * @param {string} reason
   * @param {number} now
   */
  #leave(back, code, reason, now) {
    if (this.state === "connected" && now - this.#since >= GOOD_MS) this.#attempt = 0;
    this.#drop(code, reason);
    if (!back) return this.#go("refused", { code, reason });
    const delay = fullJitter(this.#attempt, this.#random());
    this.#attempt += 1;
    this.#timers.retry = now + delay;
    this.#go("lost", { code, reason, delay });
  }

  /**
   * Let go of the link and of all that hung on it.
   * @param {number} code
   * @param {string} reason
   */
  #drop(code, reason) {
    if (this.#linked) this.#effects.add({ do: "close" });
    this.#link += 1;
    this.#effects.message();
    this.route = null;
    this.#timers = new Timers();
    this.#topics.pause();
    for (const call of this.#effects.calls.drain()) {
      this.#effects.settle(call.key, null, { code, message: reason, temporary: true });
    }
  }

  // Tokens ----------------------------------------------------------------------------------------------------------

  /**
   * @param {string | null} topic
   * @param {string} token
   * @param {number} now
   */
  #hasToken(topic, token, now) {
    if (topic !== null) return this.#topics.authorize(topic, token, this.state === "connected", now);
    this.#token = token;
    if (this.state === "authorizing") return this.#open(now);
    if (this.state !== "connected") return;
    const by = now + CALL_MS;
    this.#effects.command({ purpose: "refresh", method: "refresh", subscription: null, key: null, by }, { token: this.#useToken() });
  }

  /** The token, kept for the next time unless it is a ticket. */
  #useToken() {
    const token = this.#token;
    if (token.startsWith(TICKET)) this.#token = "";
    return token;
  }

  /**
   * @param {string | null} topic
   * @param {boolean} final nobody will give one: do not ask again
   * @param {number} now
   */
  #noToken(topic, final, now) {
    if (topic !== null) return this.#topics.refuse(topic, { code: codes.NO_TOKEN, message: "no token" }, !final, now);
    if (this.state === "authorizing") this.#leave(!final, codes.NO_TOKEN, "no token", now);
    else if (this.state === "connected") this.#timers.refresh = now + REFRESH_RETRY_MS;
  }

  // What arrives ----------------------------------------------------------------------------------------------------

  /**
   * @param {number} link
   * @param {string} text
   * @param {number} now
   */
  #received(link, text, now) {
    for (const message of decode(text)) {
      // Any message may end the link; what came behind it on that link is void and will be recovered.
      if (link !== this.#link) return;
      this.#heard(now);
      if (message.kind === "reply") this.#reply(message, now);
      else if (message.kind === "push") this.#push(message.channel, message.push, now);
      else if (message.kind === "malformed") this.#leave(true, codes.MALFORMED, "malformed message", now);
      else if (this.#pong) this.#effects.say({});
    }
  }

  /** @param {number} now */
  #heard(now) {
    if (this.state === "connected" && this.#pingMs > 0) this.#timers.ping = now + this.#pingMs + PING_GRACE_MS;
  }

  /**
   * @param {{id: number, error: ReplyError | null, body: Json}} reply
   * @param {number} now
   */
  #reply({ id, error, body }, now) {
    const call = this.#effects.calls.take(id);
    if (call === null) return;
    if (error !== null) return this.#failed(call, error, now);
    const result = body[call.method];
    if (!isObject(result)) return this.#leave(true, codes.MALFORMED, "malformed reply", now);
    if (call.purpose === "connect") this.#welcome(result, now);
    else if (call.purpose === "refresh") this.#timers.refresh = renewal(result, now);
    else if (call.subscription !== null) this.#topics.answered(call.subscription, call.purpose, result, now);
    else this.#effects.settle(call.key, result, null);
  }

  /**
   * @param {Call} call
   * @param {ReplyError} error
   * @param {number} now
   */
  #failed(call, error, now) {
    if (call.purpose === "connect") {
      if (error.code === codes.TOKEN_EXPIRED) this.#token = "";
      this.#leave(codes.worthRepeating(error), error.code, error.message, now);
    } else if (call.purpose === "refresh") {
      this.#timers.refresh = codes.worthRepeating(error) ? now + REFRESH_RETRY_MS : null;
    } else if (call.purpose === "subscribe" && error.code === codes.TIMED_OUT) {
      // Silence says nothing: it cannot be known whether we are subscribed, so start over.
      this.#leave(true, error.code, "no answer to subscribe", now);
    } else if (call.subscription !== null) this.#topics.denied(call.subscription, call.purpose, error, now);
    else this.#effects.settle(call.key, null, error);
  }

  /**
   * @param {string} channel
   * @param {Json} push
   * @param {number} now
   */
  #push(channel, push, now) {
    if (isObject(push.pub)) {
      if (!this.#topics.published(channel, push.pub)) this.#leave(true, codes.GAP, "a publication is missing", now);
    } else if (isObject(push.join)) this.#moved("join", channel, push.join.info);
    else if (isObject(push.leave)) this.#moved("leave", channel, push.leave.info);
    else if (isObject(push.message)) this.#effects.emit("message", { data: push.message.data });
    else if (isObject(push.unsubscribe)) this.#unsubscribed(channel, push.unsubscribe, now);
    else if (isObject(push.refresh)) this.#timers.refresh = renewal(push.refresh, now);
    else if (isObject(push.disconnect)) this.#closed(Number(push.disconnect.code), String(push.disconnect.reason ?? ""), now);
  }

  /**
   * @param {"join" | "leave"} event
   * @param {string} topic
   * @param {unknown} info
   */
  #moved(event, topic, info) {
    const { user, client } = isObject(info) ? info : {};
    this.#effects.emit(event, { topic, user: String(user ?? ""), client: String(client ?? "") });
  }

  /**
   * The server ended one subscription.
   * @param {string} name
   * @param {Json} push
   * @param {number} now
   */
  #unsubscribed(name, push, now) {
    const code = Number(push.code);
    const reason = String(push.reason ?? "");
    const again = codes.resubscribes(code);
    if (!this.#topics.isOwn(name)) return this.#topics.refuse(name, { code, message: reason }, again, now);
    // The server makes those when we connect, so they are made again by connecting again.
    if (again) return this.#leave(true, code, reason, now);
    this.#topics.disown(name);
    this.#effects.emit("unsubscribed", { topic: name, code, reason, final: true });
  }

  // Topics, calls and time ------------------------------------------------------------------------------------------

  /**
   * @param {string} name
   * @param {boolean} needsToken
   * @param {number} now
   */
  #subscribe(name, needsToken, now) {
    const topic = this.#topics.add(name, needsToken);
    if (topic !== null && this.state === "connected") this.#topics.ask(topic, now);
  }

  /**
   * @param {string} name
   * @param {number} now
   */
  #unsubscribe(name, now) {
    if (!this.#topics.remove(name) || this.state !== "connected") return;
    const by = now + CALL_MS;
    this.#effects.command({ purpose: "call", method: "unsubscribe", subscription: null, key: null, by }, { channel: name });
  }

  /**
   * @param {{key: unknown, method: string, params: Json}} call
   * @param {number} now
   */
  #call({ key, method, params }, now) {
    const by = now + CALL_MS;
    if (this.state === "connected") this.#effects.command({ purpose: "call", method, subscription: null, key, by }, params);
    else if (this.state === "idle" || this.state === "ended") {
      this.#effects.settle(key, null, { code: codes.STOPPED, message: "not connected" });
    } else this.#queue.push({ key, method, params, by });
  }

  /** @param {number} now */
  #tick(now) {
    if (due(this.#timers.retry, now)) return this.#authorize("retry", now);
    if (due(this.#timers.connect, now)) return this.#leave(true, codes.TIMED_OUT, "no answer to connect", now);
    if (due(this.#timers.ping, now)) return this.#leave(true, codes.NO_PING, "no ping", now);
    if (due(this.#timers.refresh, now)) {
      // The answer sets it anew.
      this.#timers.refresh = null;
      this.#effects.add({ do: "authorize", topic: null });
    }
    if (this.state === "connected") this.#topics.tick(now);
    const late = this.#queue.filter((call) => call.by <= now);
    this.#queue = this.#queue.filter((call) => call.by > now);
    const silence = { code: codes.TIMED_OUT, message: "timeout", temporary: true };
    for (const call of late) this.#effects.settle(call.key, null, silence);
    for (const call of this.#effects.calls.overdue(now)) this.#failed(call, silence, now);
  }
}

/** What the connection itself waits for, each in milliseconds or null. */
class Timers {
  /** @type {number | null} the next attempt */
  retry = null;
  /** @type {number | null} patience with connecting */
  connect = null;
  /** @type {number | null} patience with a server that has gone quiet */
  ping = null;
  /** @type {number | null} renewing the token */
  refresh = null;

  get next() {
    return Math.min(...[this.retry, this.connect, this.ping, this.refresh].map((at) => at ?? Infinity));
  }
}
