import assert from "node:assert/strict";
import { test } from "node:test";

import { EventStream } from "../../web/client/eventstream.js";

const TEXT = '\r\ndata: {"id":1}\n\n: a comment\n\ndata:{}\nid: 7\n\nevent: x\n\ndata: two\r\ndata: lines\r\n\r\n';
const EVENTS = ['{"id":1}', "{}", "two\nlines"];

test("events in one piece", () => assert.deepEqual(new EventStream().feed(TEXT), EVENTS));

test("events cut anywhere", () => {
  for (let cut = 0; cut <= TEXT.length; cut += 1) {
    const stream = new EventStream();
    assert.deepEqual([...stream.feed(TEXT.slice(0, cut)), ...stream.feed(TEXT.slice(cut))], EVENTS, `at ${cut}`);
  }
});

test("events a character at a time", () => {
  const stream = new EventStream();
  assert.deepEqual([...TEXT].flatMap((character) => stream.feed(character)), EVENTS);
});

test("what is not finished is not told", () => assert.deepEqual(new EventStream().feed("data: half\n"), []));
