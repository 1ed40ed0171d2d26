/** The client's side of every transcript that the server's tests replay too. */

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { Replay } from "./replay.mjs";

const FOLDER = new URL("../transcripts/", import.meta.url);

/** @type {Map<string, {name: string, sides: string[], steps: any[]}>} */
const cases = new Map();
for (const file of readdirSync(FOLDER).filter((name) => name.endsWith(".json"))) {
  for (const one of JSON.parse(readFileSync(new URL(file, FOLDER), "utf8")).cases) {
    if (one.sides.includes("client")) cases.set(`${file.replace(".json", "")}: ${one.name}`, one);
  }
}

/** What the server published, as the client should have told it: in this order, each once, nothing withdrawn, no marks. */
function published(steps) {
  const heard = steps.flatMap((step) => {
    const message = step.s ?? {};
    const replies = [message.subscribe, ...Object.values(message.connect?.subs ?? {})];
    return [...replies.flatMap((reply) => reply?.publications ?? []), message.push?.pub ?? []].flat();
  });
  return heard.filter(({ data, removed }) => !removed && data?.type !== "tocsin.state").map(({ data }) => data);
}

test("there are transcripts", () => assert.ok(cases.size > 15, `${cases.size}`));

for (const [name, { steps }] of cases) {
  test(name, () => {
    const replay = new Replay();
    replay.run(steps);
    const told = replay.events.filter(([event]) => event === "inbox" || event === "publication");
    assert.deepEqual(told.map(([, { data }]) => data), published(steps));
    const asked = steps.filter(({ app }) => app && ["publish", "presence", "presence_stats", "history", "rpc"].some((verb) => verb in app));
    assert.equal(replay.settled.length, asked.length, "every call is settled");
  });
}

function ended(name) {
  const replay = new Replay();
  replay.run(cases.get(name).steps);
  return replay;
}

test("a terminal close is the end, another is not", () => {
  assert.equal(ended("connect: a token that is none").machine.state, "ended");
  assert.equal(ended("refresh: the successor has run out too").machine.state, "waiting");
});

test("what was recovered is marked and counted", () => {
  const { events } = ended("recovery: the inbox is recovered through connect");
  assert.deepEqual(events.filter(([event]) => event === "inbox").map(([, { offset, recovered }]) => [offset, recovered]), [[8, false], [9, true], [11, true]]);
  assert.deepEqual(events.filter(([event]) => event === "recovered").map(([, { count, offset }]) => [count, offset]), [[2, 11], [0, 11]]);
});

test("marks are told as marks, and are no notifications that were made up for", () => {
  const { events } = ended("inbox: a mark is asked for, told to all, and recovered");
  assert.deepEqual(events.filter(([event]) => event === "told").map(([, { offset, data }]) => [offset, data.data.read ?? data.data.seen]), [[3, [1]], [5, 4]]);
  assert.deepEqual(events.filter(([event]) => event === "recovered").map(([, { count, offset }]) => [count, offset]), [[1, 5]]);
});

test("what could not be recovered is said so", () => {
  const { events } = ended("recovery: too much was missed: not recovered, and the client stands at the top");
  assert.deepEqual(events.filter(([event]) => event === "resync"), [["resync", { topic: "inbox", count: 0, epoch: "e9", offset: 400 }]]);
});

test("an emulated transport's session is passed on to it", () => {
  assert.deepEqual(ended("connect: an emulated transport learns where to send its commands").machine.route, { session: "s3cret", node: "n1" });
});
