/** The inbox of a whole client, against a server that keeps one. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Tocsin } from "../../web/client/index.js";
import { FakeInbox, transportTo } from "./fake_inbox.mjs";

/** @type {FakeInbox} */
let server;
/** @type {Tocsin[]} */
let clients;

const network = new EventTarget();

function create() {
  const client = new Tocsin({ url: "http://x", getToken: () => "T", transport: transportTo(server), network });
  client.told = [];
  client.on("marks", (detail) => client.told.push(detail));
  clients.push(client);
  return client;
}

const settle = () => new Promise((resolve) => setTimeout(resolve));

async function connected() {
  const client = create();
  client.connect();
  await settle();
  assert.equal(client.state, "connected");
  return client;
}

beforeEach(() => {
  server = new FakeInbox();
  clients = [];
});
afterEach(() => clients.forEach((client) => client.close()));

test("what came before this page is counted, what comes is counted on", async () => {
  server.ring({ title: "old" });
  const client = await connected();
  assert.deepEqual(client.inbox.counts, { unread: 1, unseen: 1 });
  const came = [];
  client.on("inbox", (item) => came.push(item));
  server.ring({ title: "new" });
  await settle();
  assert.deepEqual([came.map(({ data, unread }) => [data.title, unread]), client.inbox.counts], [[["new", true]], { unread: 2, unseen: 2 }]);
  assert.deepEqual(client.told.at(-1), { unread: 2, unseen: 2, all: false, changed: [{ offset: 2, read: false, archived: false, seen: false, withdrawn: false }] });
});

test("pages go back by offset", async () => {
  for (let i = 1; i <= 5; i += 1) server.ring({ title: `n${i}` });
  const client = await connected();
  const first = await client.inbox.list({ limit: 3 });
  assert.deepEqual([first.items.map(({ notification }) => notification.title), first.more, first.unread], [["n5", "n4", "n3"], true, 5]);
  const second = await client.inbox.list({ limit: 3, before: first.items.at(-1).offset });
  assert.deepEqual([second.items.map(({ offset }) => offset), second.more], [[2, 1], false]);
  assert.deepEqual(await client.inbox.count(), { unread: 5, unseen: 5, total: 5 });
});

test("every mark reaches every device", async () => {
  const [phone, laptop] = [await connected(), await connected()];
  const [a, b, c] = ["a", "b", "c"].map((title) => server.ring({ title }));
  await settle();
  await phone.inbox.read(a);
  await phone.inbox.archive([b]);
  await phone.inbox.seen();
  await settle();
  for (const { inbox } of [phone, laptop]) {
    assert.deepEqual(inbox.counts, { unread: 1, unseen: 0 });
    assert.deepEqual([inbox.of(a).read, inbox.of(b).archived, inbox.of(c).seen], [true, true, true]);
  }
  await laptop.inbox.unread([a]);
  await laptop.inbox.unarchive(b);
  await settle();
  assert.deepEqual([phone.inbox.of(a).read, phone.inbox.of(b).archived, phone.inbox.counts.unread], [false, false, 2]);
  await laptop.inbox.read();
  await settle();
  assert.deepEqual([phone.inbox.counts.unread, server.counts.unread], [0, 0]);
  assert.deepEqual((await phone.inbox.list({ state: "unread" })).items, []);
});

test("a mark shows before the server answers, and is taken back when it refuses", async () => {
  const client = await connected();
  const offset = server.ring({ title: "a" });
  await settle();
  server.refusal = { code: 111, message: "too many requests", temporary: true };
  const asked = client.inbox.read(offset);
  assert.deepEqual([client.inbox.of(offset).read, client.inbox.counts.unread], [true, 0]);
  await assert.rejects(asked, { code: 111 });
  assert.deepEqual([client.inbox.of(offset).read, client.inbox.counts.unread], [false, 1]);
  assert.deepEqual(client.told.slice(-2).map(({ unread, changed }) => [unread, changed[0].read]), [[0, true], [1, false]]);
});

test("what was withdrawn is in no list", async () => {
  const client = await connected();
  const [a, b] = ["a", "b"].map((title) => server.ring({ title }));
  await settle();
  const listing = client.inbox.list();
  server.withdraw(a);
  assert.deepEqual((await listing).items.map(({ offset }) => offset), [b]);
  await settle();
  assert.deepEqual([client.inbox.of(a).withdrawn, client.inbox.counts], [true, { unread: 1, unseen: 1 }]);
  server.listeners.forEach((tell) => tell({ offset: server.offset += 1, removed: true, data: null }));
  await settle();
  assert.equal(client.told.at(-1).changed.length, 1);
});

test("what is no notification is not counted", async () => {
  const client = await connected();
  const came = [];
  client.on("inbox", ({ unread }) => came.push(unread));
  for (const pub of [{ data: { type: "note" } }, { offset: 1, data: 7 }, { offset: 2, data: {} }]) server.listeners.forEach((tell) => tell(pub));
  await settle();
  assert.deepEqual([came, client.inbox.counts], [[false, false, false], { unread: 0, unseen: 0 }]);
  server.offset = 2;
  server.listeners.forEach((tell) => tell({ offset: server.offset += 1, data: { type: "tocsin.state" } }));
  await settle();
  assert.equal(came.length, 3);
});

test("after too long an absence everything is asked anew", async () => {
  const client = await connected();
  server.ring({ title: "a" });
  await settle();
  network.dispatchEvent(new Event("offline"));
  server.epoch = "e2";
  server.items.clear();
  server.ring({ title: "b" });
  server.ring({ title: "c" });
  network.dispatchEvent(new Event("online"));
  await settle();
  assert.ok(client.told.some(({ all }) => all));
  assert.deepEqual(client.inbox.counts, { unread: 2, unseen: 2 });
});

test("nothing to do is not asked", async () => {
  const client = await connected();
  const before = server.asked.length;
  assert.deepEqual(await client.inbox.read([]), { unread: 0, unseen: 0 });
  assert.deepEqual(await client.inbox.read(), { unread: 0, unseen: 0 });
  assert.equal(server.asked.length, before);
  await client.inbox.ack(3);
  assert.deepEqual(server.asked.at(-1), ["ack", { to: 3, from: 3, epoch: "e1" }]);
});

test("a server that keeps no inbox is no reason to fail", async () => {
  server.call = () => ({ error: { code: 104, message: "method not found" } });
  const client = await connected();
  assert.deepEqual(client.inbox.counts, { unread: 0, unseen: 0 });
  await assert.rejects(client.inbox.list(), { code: 104 });
});

test("preferences, devices and topics are calls by their names", async () => {
  server.call = (method, params) => (method === "devices.key" ? { webpush: "K" } : { method, params });
  const { preferences, devices, follows } = await connected();
  const asked = [
    [preferences.get(), "prefs.get", {}],
    [preferences.set({ locale: "de" }), "prefs.set", { locale: "de" }],
    [devices.list(), "devices.list", {}],
    [devices.add({ provider: "webpush" }), "devices.add", { provider: "webpush" }],
    [devices.remove("d1"), "devices.remove", { id: "d1" }],
    [follows.list(), "topics.list", {}],
    [follows.follow("a:b"), "topics.follow", { topic: "a:b" }],
    [follows.unfollow("a:b"), "topics.unfollow", { topic: "a:b" }],
  ];
  for (const [answer, method, params] of asked) assert.deepEqual(await answer, { method, params });
  assert.equal(await devices.key(), "K");
  server.call = () => ({});
  assert.equal(await devices.key(), null);
});
