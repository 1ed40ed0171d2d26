import assert from "node:assert/strict";
import { test } from "node:test";

import { Emitter } from "../../web/client/emitter.js";

test("listeners hear what they listen to, until they stop", () => {
  const emitter = new Emitter();
  const heard = [];
  const stop = emitter.on("a", (detail) => heard.push(detail));
  emitter.emit("a", 1);
  emitter.emit("b", 2);
  stop();
  emitter.emit("a", 3);
  assert.deepEqual(heard, [1]);
});

test("a listener that throws keeps nobody else from hearing, and its fault is reported", () => {
  const emitter = new Emitter();
  const heard = [];
  const later = [];
  const { queueMicrotask } = globalThis;
  globalThis.queueMicrotask = (run) => later.push(run);
  try {
    emitter.on("a", () => {
      throw new Error("mine");
    });
    emitter.on("a", (detail) => heard.push(detail));
    emitter.emit("a", 1);
  } finally {
    globalThis.queueMicrotask = queueMicrotask;
  }
  assert.deepEqual(heard, [1]);
  assert.throws(later[0], /mine/);
});
