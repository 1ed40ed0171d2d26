/** What one event makes the machine do, gathered in order; commands of one turn become one message. */

import { Calls } from "./calls.js";
import { encode } from "./protocol.js";

/** @typedef {import("./calls.js").Call} Call */
/** @typedef {import("./events.js").Effect} Effect */
/** @typedef {import("./protocol.js").Json} Json */
/** @typedef {import("./protocol.js").ReplyError} ReplyError */

export class Effects {
  calls = new Calls();
  /** @type {Effect[]} */
  #list = [];
  /** @type {Json[]} */
  #commands = [];

  /** @param {Effect} effect */
  add(effect) {
    this.#list.push(effect);
  }

  /**
   * @param {string} event
   * @param {Json} detail
   */
  emit(event, detail) {
    this.#list.push({ do: "emit", event, detail });
  }

  /**
   * @param {unknown} key
   * @param {Json | null} result
   * @param {ReplyError | null} error
   */
  settle(key, result, error) {
    if (key !== null) this.#list.push({ do: "settle", key, result, error });
  }

  /**
   * @param {Call} call
   * @param {Json} params
   */
  command(call, params) {
    this.#commands.push({ id: this.calls.add(call), [call.method]: params });
  }

  /**
   * Say something that has no answer: a message, or `{}` to a ping.
   * @param {Json} command
   */
  say(command) {
    this.#commands.push(command);
  }

  /** Commands so far as one message, or "". */
  message() {
    const message = encode(this.#commands);
    this.#commands = [];
    return message;
  }

  /** Everything gathered, and a clean start. */
  flush() {
    const message = this.message();
    if (message !== "") this.#list.push({ do: "send", message });
    const list = this.#list;
    this.#list = [];
    return list;
  }
}
