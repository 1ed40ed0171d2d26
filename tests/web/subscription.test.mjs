import assert from "node:assert/strict";
import { test } from "node:test";

import { Subscription } from "../../web/client/subscription.js";

const pub = (offset) => ({ offset, data: { n: offset } });

/** One that stands at (e1, 5). */
function standing() {
  const subscription = new Subscription("a:b");
  subscription.accept({ recoverable: true, epoch: "e1", offset: 5 });
  return subscription;
}

test("a new one asks for nothing and starts where the topic is", () => {
  const subscription = new Subscription("a:b");
  assert.deepEqual(subscription.position(), {});
  assert.deepEqual(subscription.accept({ recoverable: true, epoch: "e1", offset: 5 }), { arrival: "first", fresh: [] });
  assert.deepEqual(subscription.position(), { recover: true, epoch: "e1", offset: 5 });
});

test("what is not recoverable is never asked for", () => {
  const subscription = new Subscription("a:b");
  subscription.accept({});
  assert.deepEqual(subscription.position(), {});
  assert.equal(subscription.accept({}).arrival, "first");
});

test("live publications: the next one, one known, one too far", () => {
  const subscription = standing();
  assert.equal(subscription.take(pub(6)), "fresh");
  assert.equal(subscription.take(pub(6)), "duplicate");
  assert.equal(subscription.take(pub(8)), "gap");
  assert.equal(subscription.take({ data: 1 }), "fresh");
  assert.equal(subscription.offset, 6);
});

test("offsets of a topic without recovery may jump", () => {
  const subscription = new Subscription("a:b");
  subscription.accept({ offset: 1 });
  assert.equal(subscription.take(pub(9)), "fresh");
});

for (const offset of [5, 8]) {
  test(`recovered, whether the reply's offset is ours or the top (${offset})`, () => {
    const subscription = standing();
    const publications = [pub(6), pub(7), pub(8)];
    const reply = { recoverable: true, recovered: true, epoch: "e1", offset, publications };
    assert.deepEqual(subscription.accept(reply), { arrival: "recovered", fresh: publications });
    assert.equal(subscription.offset, 8);
  });
}

test("recovered publications that we have are dropped", () => {
  const subscription = standing();
  const { fresh } = subscription.accept({ recoverable: true, recovered: true, epoch: "e1", offset: 6, publications: [pub(5), pub(6)] });
  assert.deepEqual(fresh, [pub(6)]);
});

test("recovered after a failover: the epoch is another, the offsets before it still count", () => {
  const subscription = standing();
  const { arrival, fresh } = subscription.accept({ recoverable: true, recovered: true, epoch: "e1-2gabc", offset: 6, publications: [pub(6)] });
  assert.deepEqual([arrival, fresh], ["recovered", [pub(6)]]);
  assert.deepEqual(subscription.position(), { recover: true, epoch: "e1-2gabc", offset: 6 });
});

const BROKEN_PROMISES = {
  "a hole in the middle": { epoch: "e1", offset: 8, publications: [pub(6), pub(8)] },
  "a hole in front": { epoch: "e1", offset: 7, publications: [pub(7)] },
  "a tail that is missing": { epoch: "e1", offset: 7, publications: [pub(6)] },
  "nothing, though the top is higher": { epoch: "e1", offset: 7 },
};
for (const [name, reply] of Object.entries(BROKEN_PROMISES)) {
  test(`"recovered" is not believed: ${name}`, () => {
    assert.equal(standing().accept({ recoverable: true, recovered: true, ...reply }).arrival, "lost");
  });
}

test("not recovered: a new position, honestly", () => {
  const subscription = standing();
  assert.deepEqual(subscription.accept({ recoverable: true, epoch: "e9", offset: 400 }), { arrival: "lost", fresh: [] });
  assert.deepEqual(subscription.position(), { recover: true, epoch: "e9", offset: 400 });
});

test("a pause keeps the cursor, forgetting does not", () => {
  const subscription = standing();
  subscription.pause();
  assert.deepEqual(subscription.position(), { recover: true, epoch: "e1", offset: 5 });
  subscription.forget();
  assert.deepEqual(subscription.position(), {});
});
