/** What transcripts do not show: time, tokens that fail, links that die, and everything a page may do in between. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Machine, TRANSITIONS } from "../../web/client/machine.js";

/** @type {Machine} */
let machine;
let now;
let link;
let random;

beforeEach(() => {
  now = 1_000;
  link = 0;
  random = 0;
  machine = new Machine({ random: () => random, name: "test" });
});

/** Feeds an event and gives what must be done, but for state changes, which `states` gives. */
function feed(event) {
  const effects = machine.feed(event, now);
  for (const effect of effects) if (effect.do === "open") link = effect.link;
  return effects;
}

const hear = (...messages) => feed({ on: "received", link, text: messages.map((m) => JSON.stringify(m)).join("\n") });
const commands = (effects) =>
  effects.flatMap((effect) => (effect.do === "open" || effect.do === "send" ? effect.message.split("\n").map((line) => JSON.parse(line)) : []));
const emitted = (effects, name) => effects.filter((effect) => effect.do === "emit" && effect.event === name).map(({ detail }) => detail);
const done = (effects, what) => effects.filter((effect) => effect.do === what);

const INBOX = { inbox: { recoverable: true, epoch: "e1", offset: 3 } };
let id;

function connected(result = {}) {
  feed({ on: "start" });
  const [{ id: first }] = commands(feed({ on: "token", topic: null, token: "T" }));
  id = first;
  return hear({ id, connect: { client: "c1", ping: 25, pong: true, subs: INBOX, ...result } });
}

/** Lets the deadline come. */
function wait() {
  now = machine.deadline;
  assert.notEqual(now, Infinity, "nothing is waited for");
  return feed({ on: "tick" });
}

test("from nothing to connected", () => {
  assert.deepEqual(done(feed({ on: "start" }), "authorize"), [{ do: "authorize", topic: null }]);
  assert.equal(machine.state, "authorizing");
  const opening = feed({ on: "token", topic: null, token: "T" });
  assert.equal(machine.state, "connecting");
  assert.deepEqual(commands(opening), [{ id: 1, connect: { token: "T", name: "test" } }]);
  const welcome = hear({ id: 1, connect: { client: "c1", subs: INBOX } });
  assert.equal(machine.state, "connected");
  assert.deepEqual(emitted(welcome, "state"), [{ state: "connected", previous: "connecting", client: "c1" }]);
  assert.deepEqual(emitted(welcome, "subscribed"), [{ topic: "inbox", arrival: "first" }]);
});

test("every state has its way out, and a wrong turn is a bug", () => {
  for (const [state, ways] of Object.entries(TRANSITIONS)) assert.ok(Object.keys(ways).length > 0, state);
  machine.state = "ended";
  machine.feed({ on: "stop" }, now);
  assert.equal(machine.state, "idle");
  machine.state = "connected";
  TRANSITIONS.connected = {};
  try {
    assert.throws(() => machine.feed({ on: "stop" }, now), /no transition from connected by stop/);
  } finally {
    TRANSITIONS.connected = { lost: "waiting", refused: "ended", stop: "idle" };
  }
});

test("starting twice and stopping twice are one", () => {
  connected();
  assert.deepEqual(feed({ on: "start" }), []);
  feed({ on: "stop" });
  assert.deepEqual(feed({ on: "stop" }), []);
});

test("stop and start again: the inbox is recovered", () => {
  connected();
  feed({ on: "stop" });
  assert.deepEqual(commands(feed({ on: "start" }))[0].connect.subs, { inbox: { recover: true, epoch: "e1", offset: 3 } });
});

// Waiting ---------------------------------------------------------------------------------------------------------

test("waits grow, with jitter, until a connection has proved good", () => {
  random = 0.5;
  const delays = [];
  feed({ on: "start" });
  feed({ on: "token", topic: null, token: "T" });
  for (let i = 0; i < 8; i += 1) {
    const [{ delay }] = emitted(feed({ on: "closed", link, code: 1006, reason: "" }), "state");
    delays.push(delay);
    wait();
  }
  assert.deepEqual(delays, [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
  hear({ id: 9, connect: {} });
  // Gone at once: the server may be in trouble.
  assert.equal(emitted(feed({ on: "closed", link, code: 3001, reason: "" }), "state")[0].delay, 10_000);
  wait();
  hear({ id: 10, connect: {} });
  now += 5_000;
  assert.equal(emitted(feed({ on: "closed", link, code: 3001, reason: "" }), "state")[0].delay, 250);
});

for (const event of ["online", "awake"]) {
  test(`${event} ends the waiting, and means nothing else`, () => {
    random = 0.9;
    connected();
    assert.deepEqual(feed({ on: event }), []);
    feed({ on: "offline" });
    assert.equal(machine.state, "waiting");
    assert.equal(done(feed({ on: event }), "open").length, 1);
  });
}

test("offline lets go of the link; before there is one it means nothing", () => {
  feed({ on: "start" });
  assert.deepEqual(feed({ on: "offline" }), []);
  feed({ on: "token", topic: null, token: "T" });
  assert.deepEqual(done(feed({ on: "offline" }), "close"), [{ do: "close" }]);
});

test("no answer to connect", () => {
  feed({ on: "start" });
  feed({ on: "token", topic: null, token: "T" });
  assert.equal(emitted(wait(), "state")[0].reason, "no answer to connect");
});

test("a server that goes quiet is taken for dead, one that pings is not", () => {
  connected();
  now += 30_000;
  assert.deepEqual(commands(hear({})), [{}]);
  assert.equal(machine.deadline, now + 35_000);
  assert.equal(emitted(wait(), "state")[0].reason, "no ping");
});

test("a server that wants no pong gets none, and without pings there is no deadline", () => {
  connected({ pong: false, ping: 0 });
  assert.deepEqual(hear({}), []);
  assert.equal(machine.deadline, Infinity);
});

test("what a former link says or does is not heard", () => {
  connected();
  const former = link;
  feed({ on: "offline" });
  feed({ on: "online" });
  assert.deepEqual(feed({ on: "received", link: former, text: "{}" }), []);
  assert.deepEqual(feed({ on: "closed", link: former, code: 3500, reason: "" }), []);
});

test("what stands behind the end of a link in one message is void", () => {
  connected();
  const effects = hear({ push: { channel: "inbox", pub: { offset: 9, data: 1 } } }, { push: { channel: "inbox", pub: { offset: 4, data: 1 } } });
  assert.deepEqual(emitted(effects, "inbox"), []);
  assert.equal(emitted(effects, "state")[0].reason, "a publication is missing");
  wait();
});

for (const text of ["garbage", '{"id":1,"connect":7}']) {
  test(`a server that talks nonsense is left, and tried again: ${text}`, () => {
    feed({ on: "start" });
    feed({ on: "token", topic: null, token: "T" });
    feed({ on: "received", link, text });
    assert.equal(machine.state, "waiting");
  });
}

test("an answer to nothing is ignored", () => {
  connected();
  assert.deepEqual(hear({ id: 99, rpc: {} }), []);
});

test("a disconnect push is a close, for transports that have no close code", () => {
  connected();
  const effects = hear({ push: { disconnect: { code: 3503, reason: "force disconnect" } } });
  assert.deepEqual(done(effects, "close"), [{ do: "close" }]);
  assert.equal(machine.state, "ended");
});

test("state invalidated: token and cursors are dropped", () => {
  connected();
  feed({ on: "subscribe", topic: "a:b", needsToken: false });
  hear({ id: 2, subscribe: { recoverable: true, epoch: "n1", offset: 1 } });
  feed({ on: "closed", link, code: 3014, reason: "" });
  assert.equal(done(wait(), "authorize").length, 1);
  assert.deepEqual(commands(feed({ on: "token", topic: null, token: "U" })).map(({ id: _, ...rest }) => rest), [
    { connect: { token: "U", name: "test" } },
    { subscribe: { channel: "a:b" } },
  ]);
});

// Tokens ----------------------------------------------------------------------------------------------------------

test("no token now: again later; no token ever: the end", () => {
  feed({ on: "start" });
  feed({ on: "noToken", topic: null, final: false });
  assert.equal(machine.state, "waiting");
  wait();
  feed({ on: "noToken", topic: null, final: true });
  assert.equal(machine.state, "ended");
});

test("a token is kept for the next connection, a ticket is not", () => {
  connected();
  feed({ on: "offline" });
  assert.equal(done(feed({ on: "online" }), "authorize").length, 0);
  feed({ on: "stop" });
  machine = new Machine({ random: () => 0 });
  feed({ on: "start" });
  feed({ on: "token", topic: null, token: "tkt_1" });
  feed({ on: "offline" });
  assert.equal(done(feed({ on: "online" }), "authorize").length, 1);
  const [{ id: connect }] = commands(feed({ on: "token", topic: null, token: "tkt_2" }));
  hear({ id: connect, connect: { expires: true, ttl: 30 } });
  wait();
  assert.equal(commands(feed({ on: "token", topic: null, token: "tkt_3" }))[0].refresh.token, "tkt_3");
  feed({ on: "offline" });
  assert.equal(done(feed({ on: "online" }), "authorize").length, 1);
});

for (const [code, asks] of [[3005, 1], [3001, 0]]) {
  test(`closed with ${code}: ${asks ? "another" : "the same"} token`, () => {
    connected();
    feed({ on: "closed", link, code, reason: "" });
    assert.equal(done(wait(), "authorize").length, asks);
  });
}

test("a token that comes after all is kept", () => {
  feed({ on: "token", topic: null, token: "T" });
  assert.equal(done(feed({ on: "start" }), "open").length, 1);
});

test("a token is renewed before its end, and asked for again when that fails", () => {
  connected({ expires: true, ttl: 30, ping: 0 });
  assert.equal(machine.deadline, now + 27_000);
  assert.deepEqual(wait(), [{ do: "authorize", topic: null }]);
  feed({ on: "noToken", topic: null, final: false });
  assert.equal(machine.deadline, now + 5_000);
  wait();
  const [{ id: asked }] = commands(feed({ on: "token", topic: null, token: "T2" }));
  hear({ id: asked, error: { code: 100, message: "", temporary: true } });
  wait();
  const [{ id: again }] = commands(feed({ on: "token", topic: null, token: "T2" }));
  hear({ id: again, refresh: { expires: true, ttl: 3_600 } });
  assert.equal(machine.deadline, now + 3_590_000);
  hear({ push: { refresh: { expires: true, ttl: 100 } } });
  assert.equal(machine.deadline, now + 90_000);
});

test("a renewal that is refused for good is left at that", () => {
  connected({ expires: true, ttl: 30, ping: 0 });
  wait();
  const [{ id: asked }] = commands(feed({ on: "token", topic: null, token: "T2" }));
  hear({ id: asked, error: { code: 103, message: "" } });
  assert.equal(machine.deadline, Infinity);
});

test("a late failure of a token means nothing any more", () => {
  assert.deepEqual(feed({ on: "noToken", topic: null, final: true }), []);
});

test("a refused connect: the end, or again when it is temporary", () => {
  for (const [error, state] of [[{ code: 101 }, "ended"], [{ code: 100, temporary: true }, "waiting"]]) {
    machine = new Machine({ random: () => 0 });
    feed({ on: "start" });
    feed({ on: "token", topic: null, token: "T" });
    hear({ id: 1, error });
    assert.equal(machine.state, state);
  }
});

// Topics ----------------------------------------------------------------------------------------------------------

test("topics are asked for in the first message, and those added meanwhile right after", () => {
  feed({ on: "subscribe", topic: "a:1", needsToken: false });
  feed({ on: "start" });
  const opening = commands(feed({ on: "token", topic: null, token: "T" }));
  assert.deepEqual(opening[1], { id: 2, subscribe: { channel: "a:1" } });
  assert.deepEqual(feed({ on: "subscribe", topic: "a:2", needsToken: false }), []);
  assert.deepEqual(commands(hear({ id: 1, connect: {} })), [{ id: 3, subscribe: { channel: "a:2" } }]);
  assert.deepEqual(feed({ on: "subscribe", topic: "a:2", needsToken: false }), []);
});

test("a topic's own token: asked for, used, renewed, asked for again", () => {
  connected({ ping: 0 });
  assert.deepEqual(feed({ on: "subscribe", topic: "a:b", needsToken: true }), [{ do: "authorize", topic: "a:b" }]);
  assert.deepEqual(commands(feed({ on: "token", topic: "a:b", token: "S" })), [{ id: 2, subscribe: { channel: "a:b", token: "S" } }]);
  hear({ id: 2, subscribe: { expires: true, ttl: 30 } });
  assert.deepEqual(wait(), [{ do: "authorize", topic: "a:b" }]);
  assert.deepEqual(commands(feed({ on: "token", topic: "a:b", token: "S2" })), [{ id: 3, sub_refresh: { channel: "a:b", token: "S2" } }]);
  hear({ id: 3, error: { code: 100, temporary: true } });
  assert.equal(machine.deadline, now + 5_000);
  wait();
  feed({ on: "token", topic: "a:b", token: "S3" });
  hear({ id: 4, sub_refresh: { expires: true, ttl: 100 } });
  assert.equal(machine.deadline, now + 90_000);
  const ended = hear({ push: { channel: "a:b", unsubscribe: { code: 2501, reason: "subscription expired" } } });
  assert.deepEqual(emitted(ended, "unsubscribed"), [{ topic: "a:b", code: 2501, reason: "subscription expired", final: false }]);
  assert.deepEqual(wait(), [{ do: "authorize", topic: "a:b" }]);
});

test("a topic's token that is refused for good is not renewed", () => {
  connected({ ping: 0 });
  feed({ on: "subscribe", topic: "a:b", needsToken: true });
  feed({ on: "token", topic: "a:b", token: "S" });
  hear({ id: 2, subscribe: { expires: true, ttl: 30 } });
  wait();
  feed({ on: "token", topic: "a:b", token: "S2" });
  hear({ id: 3, error: { code: 103 } });
  assert.equal(machine.deadline, Infinity);
});

test("a token for a topic may come before the connection, after it, or for nothing", () => {
  feed({ on: "subscribe", topic: "a:b", needsToken: true });
  feed({ on: "start" });
  assert.equal(done(feed({ on: "token", topic: null, token: "T" }), "authorize").length, 1);
  assert.deepEqual(feed({ on: "token", topic: "a:b", token: "S" }), []);
  assert.deepEqual(commands(hear({ id: 1, connect: {} })), [{ id: 2, subscribe: { channel: "a:b", token: "S" } }]);
  assert.deepEqual(feed({ on: "token", topic: "a:b", token: "S" }), []);
  assert.deepEqual(feed({ on: "token", topic: "no:such", token: "S" }), []);
});

test("no token for a topic: again later, or never", () => {
  connected({ ping: 0 });
  feed({ on: "subscribe", topic: "a:b", needsToken: true });
  assert.equal(emitted(feed({ on: "noToken", topic: "a:b", final: false }), "unsubscribed")[0].final, false);
  assert.deepEqual(wait(), [{ do: "authorize", topic: "a:b" }]);
  assert.equal(emitted(feed({ on: "noToken", topic: "a:b", final: true }), "unsubscribed")[0].final, true);
  assert.deepEqual(feed({ on: "noToken", topic: "a:b", final: true }), []);
});

test("a failed token of a topic makes no busy waiting while there is no connection", () => {
  feed({ on: "subscribe", topic: "a:b", needsToken: true });
  feed({ on: "start" });
  feed({ on: "token", topic: null, token: "T" });
  feed({ on: "noToken", topic: "a:b", final: false });
  assert.equal(machine.deadline, now + 10_000);
  feed({ on: "tick" });
  assert.equal(machine.state, "connecting");
});

test("a refused topic: final, unless it may pass; an expired token is cured by another, if there can be one", () => {
  connected({ ping: 0 });
  for (const [i, [needsToken, error, final]] of [[false, { code: 103 }, true], [false, { code: 109 }, true], [true, { code: 109 }, false]].entries()) {
    feed({ on: "subscribe", topic: `a:${i}`, needsToken });
    const [{ id: asked }] = needsToken ? commands(feed({ on: "token", topic: `a:${i}`, token: "S" })) : [{ id: 2 + i }];
    assert.equal(emitted(hear({ id: asked, error }), "unsubscribed")[0].final, final);
  }
});

test("silence to a subscribe means starting over", () => {
  connected({ ping: 0 });
  feed({ on: "subscribe", topic: "a:b", needsToken: false });
  assert.equal(emitted(wait(), "state")[0].reason, "no answer to subscribe");
});

test("unsubscribed and subscribed anew: the old answer is not the new one's", () => {
  connected();
  feed({ on: "subscribe", topic: "a:b", needsToken: false });
  assert.deepEqual(commands(feed({ on: "unsubscribe", topic: "a:b" })), [{ id: 3, unsubscribe: { channel: "a:b" } }]);
  feed({ on: "subscribe", topic: "a:b", needsToken: false });
  assert.deepEqual(hear({ id: 2, subscribe: { recoverable: true, epoch: "n1", offset: 1 } }, { id: 3, unsubscribe: {} }), []);
  assert.equal(emitted(hear({ id: 4, subscribe: {} }), "subscribed").length, 1);
  feed({ on: "unsubscribe", topic: "a:b" });
  assert.deepEqual(hear({ id: 5, error: { code: 103 } }), []);
});

test("the old one's refusal is not the new one's either", () => {
  connected();
  feed({ on: "subscribe", topic: "a:b", needsToken: false });
  feed({ on: "unsubscribe", topic: "a:b" });
  assert.deepEqual(hear({ id: 2, error: { code: 103 } }), []);
});

test("unsubscribing from what is not subscribed, or without a connection, says nothing", () => {
  feed({ on: "subscribe", topic: "a:b", needsToken: false });
  assert.deepEqual(feed({ on: "unsubscribe", topic: "a:b" }), []);
  assert.deepEqual(feed({ on: "unsubscribe", topic: "a:b" }), []);
});

test("publications of what is not (yet) subscribed are nobody's", () => {
  connected();
  feed({ on: "subscribe", topic: "a:b", needsToken: false });
  const pub = { offset: 1, data: 1 };
  assert.deepEqual(hear({ push: { channel: "a:b", pub } }, { push: { channel: "x:y", pub } }), []);
});

test("the server's own subscription ends: for good, or by connecting again", () => {
  connected();
  const push = (code) => ({ push: { channel: "inbox", unsubscribe: { code, reason: "r" } } });
  assert.deepEqual(emitted(hear(push(2000)), "unsubscribed"), [{ topic: "inbox", code: 2000, reason: "r", final: true }]);
  feed({ on: "stop" });
  feed({ on: "start" });
  hear({ id: 2, connect: { subs: INBOX } });
  hear(push(2500));
  assert.equal(machine.state, "waiting");
});

test("a subscription that the server no longer makes is forgotten", () => {
  connected();
  feed({ on: "offline" });
  wait();
  hear({ id: 2, connect: {} });
  feed({ on: "offline" });
  assert.equal(commands(wait())[0].connect.subs, undefined);
});

test("who comes, who goes, and what is told to this connection alone", () => {
  connected();
  const info = { user: "bob", client: "c2" };
  const effects = hear(
    { push: { channel: "a:b", join: { info } } },
    { push: { channel: "a:b", leave: {} } },
    { push: { message: { data: 7 } } },
    { push: { channel: "a:b", unheard_of: {} } },
  );
  assert.deepEqual(emitted(effects, "join"), [{ topic: "a:b", ...info }]);
  assert.deepEqual(emitted(effects, "leave"), [{ topic: "a:b", user: "", client: "" }]);
  assert.deepEqual(emitted(effects, "message"), [{ data: 7 }]);
});

// Calls -----------------------------------------------------------------------------------------------------------

const call = (key) => ({ on: "call", key, method: "rpc", params: { method: "m" } });

test("calls wait for the connection, and get their own answers", () => {
  feed({ on: "start" });
  feed(call("one"));
  feed({ on: "token", topic: null, token: "T" });
  assert.deepEqual(commands(hear({ id: 1, connect: {} })), [{ id: 2, rpc: { method: "m" } }]);
  feed(call("two"));
  const [two, one] = hear({ id: 3, error: { code: 104, message: "method not found" } }, { id: 2, rpc: { data: 1 } });
  assert.deepEqual([one.key, one.result, one.error], ["one", { data: 1 }, null]);
  assert.deepEqual([two.key, two.result, two.error.code], ["two", null, 104]);
});

test("calls fail at once where there will be no connection", () => {
  assert.equal(feed(call("one"))[0].error.message, "not connected");
  feed({ on: "start" });
  feed(call("two"));
  assert.deepEqual(done(feed({ on: "stop" }), "settle").map(({ key }) => key), ["two"]);
});

test("calls fail when their time is over, sent or not", () => {
  feed({ on: "start" });
  feed(call("unsent"));
  assert.deepEqual(done(wait(), "settle").map(({ key }) => key), ["unsent"]);
  feed({ on: "token", topic: null, token: "T" });
  hear({ id: 1, connect: {} });
  feed(call("sent"));
  const [{ key, error }] = done(wait(), "settle");
  assert.deepEqual([key, error], ["sent", { code: 1, message: "timeout", temporary: true }]);
});

test("calls under way fail with the link, for nobody knows whether they were done", () => {
  connected();
  feed(call("one"));
  const [settled] = done(feed({ on: "closed", link, code: 3001, reason: "shutdown" }), "settle");
  assert.deepEqual(settled.error, { code: 3001, message: "shutdown", temporary: true });
});

test("a message without an answer takes no id, and is lost without a connection", () => {
  assert.deepEqual(feed({ on: "tell", data: 1 }), []);
  connected();
  assert.deepEqual(commands(feed({ on: "tell", data: 1 })), [{ send: { data: 1 } }]);
});

test("what is withdrawn from a topic is told by its offset, and only the server can tell", () => {
  feed({ on: "subscribe", topic: "a:b", needsToken: false });
  connected();
  const told = { type: "tocsin.state", data: { withdrawn: [1, 2] } };
  hear({ id: 2, subscribe: { recoverable: true, epoch: "e", offset: 2 } });
  const word = hear({ push: { channel: "a:b", pub: { offset: 3, data: told } } });
  assert.deepEqual(emitted(word, "withdrawn"), [{ topic: "a:b", offset: 1, epoch: "e" }, { topic: "a:b", offset: 2, epoch: "e" }]);
  assert.deepEqual(emitted(word, "publication"), []);
  const forged = hear({ push: { channel: "a:b", pub: { offset: 4, data: told, info: { user: "eve", client: "c" } } } });
  assert.deepEqual([emitted(forged, "withdrawn"), emitted(forged, "publication").length], [[], 1]);
  for (const [offset, data] of [[5, 7], [6, { withdrawn: "all" }]]) {
    assert.deepEqual(emitted(hear({ push: { channel: "a:b", pub: { offset, data: { type: "tocsin.state", data } } } }), "withdrawn"), []);
  }
});
