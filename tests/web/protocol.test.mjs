import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, encode, isObject } from "../../web/client/protocol.js";

test("commands become one message, a line each", () => {
  assert.equal(encode([{ id: 1, connect: {} }, {}]), '{"id":1,"connect":{}}\n{}');
  assert.equal(encode([]), "");
});

test("a message is read line by line, blank ones skipped", () => {
  const [ping, reply, push] = decode('{}\n\r\n{"id":2,"rpc":{"data":1}}\n{"push":{"channel":"a:b","pub":{"data":1}}}\n');
  assert.deepEqual(ping, { kind: "ping" });
  assert.deepEqual(reply, { kind: "reply", id: 2, error: null, body: { id: 2, rpc: { data: 1 } } });
  assert.deepEqual(push, { kind: "push", channel: "a:b", push: { channel: "a:b", pub: { data: 1 } } });
});

test("an error has a code, a message and whether it will pass", () => {
  const [plain, passing] = decode('{"id":1,"error":{"code":103}}\n{"id":2,"error":{"code":100,"message":"x","temporary":true}}');
  assert.deepEqual(plain.error, { code: 103, message: "", temporary: false });
  assert.deepEqual(passing.error, { code: 100, message: "x", temporary: true });
});

test("a push without a channel has an empty one", () => {
  assert.equal(decode('{"push":{"message":{"data":1}}}')[0].channel, "");
});

for (const text of ["x", "[]", "1", "null", '{"id":0,"x":1}', '{"push":1}', '{"id":1,"error":1}', '{"id":1,"error":{}}']) {
  test(`not a message of the protocol: ${text}`, () => assert.deepEqual(decode(text), [{ kind: "malformed" }]));
}

test("only objects are objects", () => {
  assert.deepEqual([{}, [], null, 1, "x"].map(isObject), [true, false, false, false, false]);
});
