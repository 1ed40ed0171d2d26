/** The pure parts of the bell. The rest of it is driven in a browser. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Listing } from "../../web/client/bell/listing.js";
import { WORDS, ago, badge, exactly, linkOf } from "../../web/client/bell/words.js";

const item = (offset, flags = {}) => ({ offset, read: false, archived: false, seen: false, withdrawn: false, ...flags, notification: {} });
const offsets = (listing) => listing.items.map(({ offset }) => offset);

test("pages and what arrives make one list, each once, newest first", () => {
  const all = new Listing("current");
  assert.deepEqual([all.before, all.begun, all.more], [undefined, false, true]);
  assert.ok(all.arrive(item(9)));
  assert.equal(all.append([item(9), item(8), item(7, { archived: true }), item(6, { withdrawn: true })], true).length, 1);
  assert.equal(all.arrive(item(9)), false);
  assert.ok(all.arrive(item(10)));
  all.append([item(5)], false);
  assert.deepEqual([offsets(all), all.before, all.begun, all.more], [[10, 9, 8, 5], 5, true, false]);
});

test("what no longer belongs is gone, what belongs again is missing", () => {
  const unread = new Listing("unread");
  unread.append([item(9), item(8)], true);
  assert.equal(unread.mark(item(9, { seen: true })), "changed");
  assert.equal(unread.mark(item(9, { read: true })), "gone");
  assert.equal(unread.mark(item(9)), "missing");
  assert.equal(unread.mark(item(9, { read: true })), "elsewhere");
  assert.equal(unread.mark(item(3)), "elsewhere");
  unread.append([], false);
  assert.equal(unread.mark(item(3)), "missing");
  assert.deepEqual(offsets(unread), [8]);
  const archived = new Listing("archived");
  assert.equal(archived.arrive(item(1)), false);
  assert.equal(archived.append([item(1, { archived: true, read: true })], false).length, 1);
  assert.equal(archived.mark(item(1, { withdrawn: true, archived: true })), "gone");
});

test("an empty list with more to come misses nothing", () => assert.equal(new Listing("current").mark(item(3)), "elsewhere"));

test("how long ago, for people", () => {
  const now = Date.parse("2026-07-15T12:00:00Z");
  const before = (seconds) => ago(new Date(now - seconds * 1_000).toISOString(), now, "en");
  assert.deepEqual([-9, 5, 60, 3_599, 7_200, 86_400 * 3].map(before), ["now", "now", "1m ago", "59m ago", "2h ago", "3d ago"]);
  assert.match(before(86_400 * 30), /^Jun 1[45]$/);
  assert.match(before(86_400 * 400), /2025/);
  assert.equal(ago("whenever", now, "en"), "");
  assert.equal(ago(new Date(now).toISOString(), now, "de", "jetzt"), "jetzt");
  assert.match(exactly(new Date(now).toISOString(), "en"), /2026/);
  assert.equal(exactly("", "en"), "");
});

test("a badge has room for two digits", () => assert.deepEqual([1, 99, 100].map(badge), ["1", "99", "99+"]));

test("words that count", () => assert.deepEqual([WORDS.fresh(2), WORDS.undone("no")], ["2 new", "That was not done: no."]));

test("only addresses of the web are led to", () => {
  const base = "https://a.example/x/";
  const links = [{ url: "/y" }, { url: "http://b.example/" }, { url: "javascript:alert(1)" }, { url: "https://[" }, { url: 7 }, null];
  assert.deepEqual(links.map((data) => linkOf(data, base)), ["https://a.example/y", "http://b.example/", null, null, null, null]);
});
