/** The demo page's pure parts. The rest of it is driven in a browser. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { digestOf, digestPatch, byChannel, fieldsOf, quietFor } from "../../web/demo/choices.js";
import { Latencies, latency, spell } from "../../web/demo/latency.js";
import { Plug } from "../../web/demo/plug.js";
import { addressesOf, framed, preview } from "../../web/demo/mail.js";
import { suggestAnother, suggestion } from "../../web/demo/samples.js";
import { stepsOf, told } from "../../web/demo/trail.js";
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

test("a choice becomes a patch, and a preference a choice", () => {
  assert.deepEqual(digestPatch("news", "email", "60"), { digest: { news: { email: { window: 60, max: 50 } } } });
  assert.deepEqual(["off", ""].map((value) => digestPatch("", "email", value).digest[""].email), ["off", null]);
  const digest = { news: { email: { window: 3600, max: 9 }, push: "off" } };
  assert.deepEqual([["news", "email"], ["news", "push"], ["news", "sms"], ["x", "email"]].map(([name, via]) => digestOf({ digest }, name, via)), ["3600", "off", "", ""]);
  assert.equal(digestOf({}, "news", "email"), "");
  assert.deepEqual([byChannel({ push: { on: false, locked: true } }, "push").on, byChannel({}, "push").on], [false, true]);
});

test("quiet for an hour, also over midnight", () => {
  assert.deepEqual(quietFor(60, new Date(2026, 0, 1, 9, 5, 59)), { from: "09:05", to: "10:05" });
  assert.deepEqual(quietFor(60, new Date(2026, 0, 1, 23, 30)), { from: "23:30", to: "00:30" });
});

test("how it goes out, as fields of an event", () => {
  const nothing = { category: "", ladder: "", wait: "", collapse: false };
  assert.deepEqual(fieldsOf(nothing, 0), {});
  const all = fieldsOf({ category: "orders", ladder: "live", wait: "10", collapse: true }, 0);
  assert.deepEqual(all, { category: "orders", ladder: [{ via: "live" }], at: "1970-01-01T00:00:10.000Z", collapse_key: "demo" });
});

test("a trail as steps", () => {
  const at = (ms) => new Date(ms).toISOString();
  const trail = [
    { at: at(0), kind: "written" },
    { at: at(40), kind: "deferred", channel: "push", reason: "quiet hours until 1780000000" },
    { at: at(50), kind: "queued", channel: "sms" },
    { at: at(6_000), kind: "failed", channel: "sms", reason: "no route", attempt: 3 },
    { at: at(200_000), kind: "sent", channel: "email", reason: "mailbox", attempt: 1 },
    { at: at(200_000), kind: "queued", channel: "push" },
    { at: at(200_000), kind: "unheard-of" },
  ];
  const waiting = [{ channel: "email", due: at(205_000) }, { channel: "webhook", due: at(0) }, { channel: "sms", due: at(9e5) }];
  const steps = stepsOf({ state: "published", recipient: { trail, waiting } }, 0, 200_000);
  assert.deepEqual(steps.map(({ name, when, kind }) => [name, when, kind]), [
    ["Accepted", "", "good"],
    ["On screen", "at once", "good"],
    ["Phone waits", "after 40 ms", "out"],
    ["SMS failed", "after 6.0 s", "bad"],
    ["E-mail sent", "after 3 min", "good"],
    ["Phone is next", "after 3 min", "out"],
    ["Unheard-of", "after 3 min", "out"],
    ["E-mail", "in 5 s", "next"],
    ["Webhook", "now", "next"],
    ["SMS", "in 12 min", "next"],
  ]);
  assert.match(steps[2].why, /^quiet hours until \d\d:\d\d$/);
  assert.deepEqual([steps[3].why, steps[4].why], ["no route (attempt 3)", "by mailbox"]);
});

test("steps of what nobody has yet, or any more", () => {
  const names = (found) => stepsOf(found, 0, 0).map(({ name, when }) => `${name} ${when}`.trim());
  assert.deepEqual(names({ state: "accepted", recipient: null }), ["Accepted"]);
  assert.deepEqual(names({ state: "scheduled", at: "1970-01-01T00:00:10Z", recipient: null }), ["Accepted", "Goes out in 10 s"]);
  assert.deepEqual(names({ state: "buried", buried: ["why"], recipient: null }), ["Accepted", "Buried"]);
  assert.deepEqual(names({ state: "withdrawn", recipient: null }), ["Accepted", "Withdrawn"]);
  const trail = [{ at: "1970-01-01T00:00:20Z", kind: "withdrawn" }];
  assert.deepEqual(names({ state: "withdrawn", recipient: { trail, waiting: [] } }), ["Accepted", "Withdrawn after 20 s"]);
});

test("a summary tells the time of day", () => {
  assert.match(told("Read at 2026-11-23T02:03:04.567Z."), /^Read at \d\d:03:04\.$/);
  assert.equal(told(""), "");
});

test("mail for its frame", () => {
  assert.match(framed("<p>Hello"), /^<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src 'none';[^"]*"><base target="_blank"><p>Hello$/);
  assert.deepEqual(addressesOf({ to: ["Ann <Ann@x.test>", " b@x.test "] }), ["ann@x.test", "b@x.test"]);
  assert.equal(preview({ subject: "S", text: "\nS\n\n first  \nsecond" }), "first");
  assert.equal(preview({ subject: "S", text: "" }), "");
  assert.deepEqual(addressesOf({ to: "a@x.test" }), ["a@x.test"]);
});
