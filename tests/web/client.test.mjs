/** The shell around the machine: a server on the other end of an injected transport, and nothing else made up. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Refused, Tocsin, TocsinError } from "../../web/client/index.js";

/** A gateway that says what it is told to, and a network that can fail. */
class Server {
  links = [];
  said = [];
  network = new EventTarget();
  answers = { rpc: () => ({ data: {} }), connect: () => ({ subs: { inbox: { recoverable: true, epoch: "e1", offset: 0 } } }), subscribe: () => ({}) };

  transport = (base, first, ears) => {
    const link = { base, ears, open: true };
    this.links.push(link);
    queueMicrotask(() => this.#hear(link, first));
    return { send: (message) => this.#hear(link, message), close: () => (link.open = false) };
  };

  tell(...messages) {
    this.links.at(-1).ears.message(messages.map((message) => JSON.stringify(message)).join("\n"));
  }

  #hear(link, text) {
    for (const command of text.split("\n").map((line) => JSON.parse(line))) {
      this.said.push(command);
      const { id, ...rest } = command;
      const [method] = Object.keys(rest);
      const answer = this.answers[method]?.(rest[method]);
      if (answer !== undefined) queueMicrotask(() => link.ears.message(JSON.stringify(answer.error ? { id, ...answer } : { id, [method]: answer })));
    }
  }
}

/** @type {Server} */
let server;
/** @type {Tocsin} */
let client;

function create(options = {}) {
  client = new Tocsin({ url: "wss://push.example/", getToken: () => "T", transport: server.transport, network: server.network, ...options });
  return client;
}

const next = (event, emitter = client) => new Promise((resolve) => {
  const stop = emitter.on(event, (detail) => {
    stop();
    resolve(detail);
  });
});

async function reach(state) {
  while (client.state !== state) await next("state");
}

beforeEach(() => {
  server = new Server();
});
afterEach(() => client.close());

test("connects, with the token, to where it is told", async () => {
  create({ name: "page" }).connect();
  await reach("connected");
  assert.equal(server.links[0].base, "https://push.example");
  assert.deepEqual(server.said[0], { id: 1, connect: { token: "T", name: "page" } });
});

test("offline and online are the network's to say", async () => {
  create().connect();
  await reach("connected");
  server.network.dispatchEvent(new Event("offline"));
  assert.equal(client.state, "waiting");
  assert.equal(server.links[0].open, false);
  server.network.dispatchEvent(new Event("online"));
  await reach("connected");
  assert.deepEqual(server.said.findLast(({ connect }) => connect).connect.subs, { inbox: { recover: true, epoch: "e1", offset: 0 } });
});

test("a lost link is tried again by itself", async () => {
  create().connect();
  await reach("connected");
  server.links[0].ears.closed(3001, "shutdown");
  await reach("connected");
  assert.equal(server.links.length, 2);
});

test("a page that is shown again does not wait any longer", async () => {
  const page = new EventTarget();
  page.visibilityState = "hidden";
  globalThis.document = page;
  try {
    create().connect();
    await reach("connected");
    server.network.dispatchEvent(new Event("offline"));
    page.dispatchEvent(new Event("visibilitychange"));
    assert.equal(client.state, "waiting");
    page.visibilityState = "visible";
    page.dispatchEvent(new Event("visibilitychange"));
    await reach("connected");
  } finally {
    delete globalThis.document;
  }
});

test("calls: publish, rpc, history, presence", async () => {
  server.answers.publish = () => ({});
  server.answers.rpc = ({ data }) => ({ data: { got: data } });
  server.answers.history = () => ({ publications: [{ offset: 1, data: 1 }, { offset: 2, data: { type: "tocsin.state" } }], epoch: "e", offset: 1 });
  server.answers.presence = () => ({ presence: { c1: { user: "bob", client: "c1" } } });
  create().connect();
  await client.publish("a:b", { x: 1 });
  assert.deepEqual(await client.rpc("m", 7), { got: 7 });
  assert.deepEqual(await client.rpc("m"), { got: {} });
  assert.deepEqual(await client.history("inbox", { limit: 1 }), { publications: [{ offset: 1, data: 1 }], epoch: "e", offset: 1 });
  assert.deepEqual(await client.presence("a:b"), [{ client: "c1", user: "bob" }]);
  server.answers.history = server.answers.presence = () => ({});
  assert.deepEqual(await client.history("a:b"), { publications: [], epoch: "", offset: 0 });
  assert.deepEqual(await client.presence("a:b"), []);
  client.send({ fire: 1 });
  assert.deepEqual(server.said.at(-1), { send: { data: { fire: 1 } } });
});

test("a call that fails throws what the server said", async () => {
  server.answers.rpc = () => ({ error: { code: 104, message: "method not found" } });
  create().connect();
  await assert.rejects(client.rpc("m"), (error) => error instanceof TocsinError && error.code === 104 && !error.temporary);
});

test("what a listener does is sent after what led to it, so ids rise", async () => {
  create();
  client.subscribe("a:1");
  client.on("state", ({ state }) => state === "connected" && client.subscribe("a:3"));
  client.connect();
  client.subscribe("a:2");
  await next("subscribed");
  while (server.said.filter(({ subscribe }) => subscribe).length < 3) await next("subscribed");
  assert.deepEqual(server.said.filter(({ subscribe }) => subscribe).map(({ id }) => id), [2, 3, 4]);
});

test("no token: tried again, or not at all", async () => {
  let times = 0;
  create({ getToken: () => {
    times += 1;
    throw times === 1 ? new Error("busy") : new Refused("no");
  } }).connect();
  await reach("ended");
  assert.equal(times, 2);
  client.close();
  create({ getToken: async () => "" }).connect();
  await reach("waiting");
});

test("a topic's own token", async () => {
  create().connect();
  await reach("connected");
  client.subscribe("a:b", { getToken: async () => "S" });
  await next("subscribed");
  assert.deepEqual(server.said.at(-1).subscribe, { channel: "a:b", token: "S" });
  client.unsubscribe("a:b");
  assert.deepEqual(server.said.at(-1).unsubscribe, { channel: "a:b" });
});

test("outside of a browser nobody says online or offline", async () => {
  create({ network: undefined }).connect();
  await reach("connected");
});

for (const transport of ["auto", "websocket", "sse"]) {
  test(`transport ${transport} is one of ours`, () => {
    assert.equal(create({ transport }).state, "idle");
  });
}
