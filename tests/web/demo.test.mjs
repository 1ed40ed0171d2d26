/** The demo page's pure parts. The rest of it is driven in a browser. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Latencies, latency, spell } from "../../web/demo/latency.js";
import { Plug } from "../../web/demo/plug.js";
import { suggestAnother, suggestion } from "../../web/demo/samples.js";
import { describe, report, stateWords } from "../../web/demo/words.js";

test("shares of the last ones, and a count of all", () => {
  const latencies = new Latencies(3);
  assert.equal(latencies.within(0.5), null);
  for (const value of [900, 3, 1, 2]) latencies.add(value);
  assert.deepEqual([latencies.count, latencies.last], [4, [3, 1, 2]]);
  assert.deepEqual([0, 0.5, 0.95, 1].map((share) => latencies.within(share)), [1, 2, 3, 3]);
});

test("a latency is never negative, and unknown without a time", () => {
  const at = Date.parse("2026-01-01T00:00:00.000Z");
  assert.equal(latency("2026-01-01T00:00:00.000Z", at + 7), 7);
  assert.equal(latency("2026-01-01T00:00:00.000Z", at - 7), 0);
  assert.equal(latency("", at), null);
});

test("times for people", () => {
  const spelled = [null, 0.4, 12.4, 1_200, 12_000, 180_000, 7_200_000].map(spell);
  assert.deepEqual(spelled, ["–", "<1 ms", "12 ms", "1.2 s", "12 s", "3 min", "2 h"]);
});

test("whatever was published has words", () => {
  const created_at = "2026-01-01T00:00:00Z";
  assert.deepEqual(describe({ title: "T", body: "B", created_at }), { title: "T", body: "B", createdAt: created_at });
  assert.deepEqual(describe({ type: "door.bell", title: 7 }), { title: "door.bell", body: "", createdAt: "" });
  assert.deepEqual([null, 7, "x", [1], { x: 1 }].map((data) => describe(data).title), ["null", "7", "x", "[1]", '{"x":1}']);
});

test("what came of an outage", () => {
  const outage = (seconds, counts, lost = false) => report({ seconds, counts: new Map(counts), lost });
  assert.equal(outage(0.4, []), "Back after a moment. Nothing had come meanwhile.");
  assert.equal(outage(1, [["inbox", 0], ["a:b", 2]]), "Back after 1 second. 2 recovered (2 in a:b), none missed.");
  assert.equal(outage(12, [["inbox", 3], ["a:b", 2]]), "Back after 12 seconds. 5 recovered (3 in the inbox, 2 in a:b), none missed.");
  assert.match(outage(12, [], true), /something was missed/);
});

test("the state in a few words", () => {
  assert.equal(stateWords({ state: "connected" }, false), "connected");
  assert.equal(stateWords({ state: "connected" }, true), "unplugged");
  assert.equal(stateWords({ state: "waiting", reason: "shutdown", delay: 1_260 }, false), "shutdown; next try in 1.3 s");
  assert.equal(stateWords({ state: "waiting" }, false), "lost; next try in 0.0 s");
  assert.equal(stateWords({ state: "ended", reason: "invalid token" }, false), "refused: invalid token");
  assert.equal(stateWords({ state: "ended" }, false), "refused: no reason given");
  assert.deepEqual(["idle", "authorizing"].map((state) => stateWords({ state }, false)), ["off", "connecting"]);
});

test("suggestions go round", () => {
  const first = suggestion();
  const seen = new Set();
  do {
    seen.add(suggestion().title);
    suggestAnother();
  } while (suggestion().title !== first.title);
  assert.ok(seen.size >= 10);
});

test("a plug that is pulled lets nothing through, and says so", async () => {
  const opened = [];
  const plug = new Plug((base) => {
    opened.push(base);
    return { send: () => {}, close: () => {} };
  });
  const news = [];
  for (const event of ["offline", "online"]) plug.addEventListener(event, () => news.push(event));
  plug.transport("one", "", {});
  plug.pull();
  const closed = await new Promise((resolve) => {
    const link = plug.transport("two", "", { closed: (...how) => resolve(how) });
    link.send("x", null);
    link.close();
  });
  plug.putBack();
  plug.transport("three", "", {});
  assert.deepEqual([opened, news, closed], [["one", "three"], ["offline", "online"], [1006, "unplugged"]]);
});
