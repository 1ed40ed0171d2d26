import assert from "node:assert/strict";
import { test } from "node:test";

import { Inbox } from "../../web/client/inbox.js";
import { Unread } from "../../web/client/unread.js";

test("what arrives is unread until it is read, once", () => {
  const unread = new Unread();
  assert.ok(unread.add("e:1") && unread.add("e:2"));
  assert.deepEqual(unread.read(["e:1"]), ["e:1"]);
  assert.deepEqual(unread.read(["e:1"]), []);
  assert.deepEqual([unread.count, unread.keys(), unread.known()], [1, ["e:2"], ["e:1"]]);
});

test("what was read elsewhere before it arrived is not unread", () => {
  const unread = new Unread();
  unread.read(["e:1"]);
  assert.equal(unread.add("e:1"), false);
});

test("what is kept is bounded", () => {
  const unread = new Unread();
  for (let i = 0; i < 1_500; i += 1) unread.add(`e:${i}`);
  assert.deepEqual([unread.count, unread.keys()[0]], [1_000, "e:500"]);
});

/** Tabs that hear each other, as a BroadcastChannel's do: all but oneself, later. */
function room() {
  const all = [];
  return () => {
    const tab = { onmessage: null, close: () => all.splice(all.indexOf(tab), 1) };
    tab.postMessage = (data) => all.filter((other) => other !== tab).forEach((other) => queueMicrotask(() => other.onmessage?.({ data })));
    all.push(tab);
    return tab;
  };
}

const settle = () => new Promise((resolve) => setTimeout(resolve));

test("tabs agree, also those that open late", async () => {
  const enter = room();
  const told = [];
  const one = new Inbox(enter(), () => {});
  const two = new Inbox(enter(), (detail) => told.push(detail));
  one.arrived("e:1");
  two.arrived("e:1");
  two.arrived("e:2");
  one.markRead();
  await settle();
  assert.deepEqual([one.count, two.count], [0, 1]);
  assert.deepEqual(told.at(-1), { count: 1, read: ["e:1"] });
  const late = new Inbox(enter(), () => {});
  await settle();
  assert.equal(late.arrived("e:1"), false);
  two.close();
  one.markRead(["e:2"]);
  await settle();
  assert.equal(two.count, 1);
});

test("alone, or among tabs that talk nonsense", () => {
  const told = [];
  const alone = new Inbox(null, (detail) => told.push(detail));
  alone.arrived("e:1");
  alone.markRead(["e:1"]);
  alone.close();
  assert.deepEqual(told, [{ count: 1, read: [] }, { count: 0, read: ["e:1"] }]);
  const tab = { postMessage: () => {}, onmessage: null, close: () => {} };
  const inbox = new Inbox(tab, () => {});
  for (const data of [null, 7, "x", {}, { read: 7 }]) tab.onmessage({ data });
  assert.equal(inbox.count, 0);
});
