import assert from "node:assert/strict";
import { test } from "node:test";

import { fullJitter } from "../../web/client/backoff.js";
import { comesBack, resubscribes, worthRepeating } from "../../web/client/codes.js";

test("the wait is anywhere between nothing and a bound that doubles up to the cap", () => {
  for (let attempt = 0; attempt < 2_000; attempt += 1) {
    const bound = Math.min(20_000, 500 * 2 ** attempt);
    assert.equal(fullJitter(attempt, 0), 0);
    assert.equal(fullJitter(attempt, 0.5), Math.floor(bound / 2));
    assert.ok(fullJitter(attempt, 0.999) < bound);
  }
});

test("the bounds can be others", () => assert.equal(fullJitter(9, 0.5, { base: 10, cap: 100 }), 50));

test("the number of a close says whether to come back", () => {
  const back = [0, 1000, 1001, 1006, 1012, 3000, 3001, 3008, 3499, 4000, 4499, 5000];
  const gone = [1009, 3500, 3501, 3999, 4500, 4999];
  assert.deepEqual(back.filter((code) => !comesBack(code)), []);
  assert.deepEqual(gone.filter(comesBack), []);
});

test("an error is worth repeating when it is ours, temporary, or cured by a new token", () => {
  assert.ok(worthRepeating({ code: 1 }) && worthRepeating({ code: 109 }) && worthRepeating({ code: 111, temporary: true }));
  assert.ok(!worthRepeating({ code: 103 }));
});

test("from 2500 on one subscribes again", () => assert.deepEqual([2000, 2499, 2500, 2501].map(resubscribes), [false, false, true, true]));
