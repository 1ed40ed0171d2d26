/** The client's side of a transcript: the machine with a harness instead of sockets, timers and an application. */

import assert from "node:assert/strict";

import { Machine } from "../../web/client/machine.js";

/** Transcripts leave out the pings of idle times; a client must hear some, or it takes the server for dead. */
const IDLE_PING_MS = 20_000;
const BROKEN = 1006;

export class Replay {
  machine = new Machine({ random: () => 0 });
  now = 0;
  events = [];
  settled = [];
  /** Commands said and not yet claimed by the transcript. */
  #said = [];
  #link = 0;
  #tokens = new Map();
  #calls = 0;

  /** Every step, and then nothing may be left unsaid or be said too much. */
  run(steps) {
    for (const step of steps) this.step(step);
    assert.deepEqual(this.#said, [], "the client says more than the transcript");
  }

  step(step) {
    const hears = ["c", "s", "close", "cut", "app"].some((member) => member in step);
    if (hears && step.at !== undefined) this.#wait(step.at * 1_000);
    if ("app" in step) this.#app(step.app);
    else if ("c" in step) [step.c].flat().forEach((command) => this.#expect(command));
    else if ("s" in step) this.feed({ on: "received", link: this.#link, text: JSON.stringify(step.s) });
    else if ("close" in step) this.feed({ on: "closed", link: this.#link, ...step.close });
    else if ("cut" in step) this.#cut();
  }

  feed(event) {
    for (const effect of this.machine.feed(event, this.now)) this.#perform(effect);
  }

  #perform(effect) {
    if (effect.do === "open") {
      this.#link = effect.link;
      this.#say(effect.message);
    } else if (effect.do === "send") this.#say(effect.message);
    else if (effect.do === "emit") this.events.push([effect.event, effect.detail]);
    else if (effect.do === "settle") this.settled.push(effect);
    else if (effect.do === "authorize") this.#authorize(effect.topic);
  }

  #say(message) {
    this.#said.push(...message.split("\n").map((line) => JSON.parse(line)));
  }

  #authorize(topic) {
    const token = this.#tokens.get(topic);
    this.feed(token === undefined ? { on: "noToken", topic, final: true } : { on: "token", topic, token });
  }

  #app(action) {
    const [[verb, argument]] = Object.entries(action);
    if (verb === "connect") {
      this.#tokens.set(null, argument.token);
      this.feed({ on: "start" });
    } else if (verb === "token") this.#tokens.set(null, argument);
    else if (verb === "subscribe") {
      const needsToken = argument.token !== undefined;
      if (needsToken) this.#tokens.set(argument.channel, argument.token);
      this.feed({ on: "subscribe", topic: argument.channel, needsToken });
    } else if (verb === "unsubscribe") this.feed({ on: "unsubscribe", topic: argument.channel });
    else if (verb === "send") this.feed({ on: "tell", data: argument.data });
    else this.feed({ on: "call", key: (this.#calls += 1), method: verb, params: argument });
  }

  /** The client must have said it, or says it once its timers have had their turn. */
  #expect(command) {
    for (let patience = 3; this.#said.length === 0 && this.machine.deadline <= this.now && patience > 0; patience -= 1) {
      this.feed({ on: "tick" });
    }
    const said = this.#said.shift();
    assert.notEqual(said, undefined, `the client does not say ${JSON.stringify(command)}`);
    assertContains(said, command);
  }

  #cut() {
    this.feed({ on: "closed", link: this.#link, code: BROKEN, reason: "cut" });
    this.feed({ on: "tick" });
  }

  #wait(until) {
    while (this.now + IDLE_PING_MS < until) {
      this.now += IDLE_PING_MS;
      const before = this.#said.length;
      this.feed({ on: "received", link: this.#link, text: "{}" });
      assert.deepEqual(this.#said.splice(before), [{}]);
    }
    this.now = until;
    if (this.machine.deadline <= this.now) this.feed({ on: "tick" });
  }
}

/** All members of `wanted` are in `found` and equal. */
function assertContains(found, wanted) {
  const shown = `said ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`;
  assert.deepEqual(Object.keys(found).sort(), Object.keys(wanted).sort(), shown);
  for (const [member, value] of Object.entries(wanted)) {
    if (typeof value !== "object" || value === null) assert.deepEqual(found[member], value, shown);
    else for (const [inner, expected] of Object.entries(value)) assert.deepEqual(found[member][inner], expected, shown);
  }
}
