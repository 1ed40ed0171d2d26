import assert from "node:assert/strict";
import { test } from "node:test";

import { Marks } from "../../web/client/marks.js";

const flags = (marks, offset) => {
  const { read, archived, seen, withdrawn } = marks.of(offset);
  return Object.entries({ read, archived, seen, withdrawn }).filter(([, value]) => value).map(([name]) => name).join(" ");
};

function with3() {
  const marks = new Marks();
  for (const offset of [1, 2, 3]) marks.arrived(offset);
  return marks;
}

test("what arrives counts once", () => {
  const marks = with3();
  marks.arrived(3);
  assert.deepEqual([marks.counts, marks.top, flags(marks, 3)], [{ unread: 3, unseen: 3 }, 3, ""]);
});

test("what the server tells holds, counts and all", () => {
  const marks = with3();
  marks.told(4, { read: [1], archived: [2], seen: 2, unread_count: 1, unseen_count: 1 });
  assert.deepEqual([1, 2, 3].map((offset) => flags(marks, offset)), ["read seen", "read archived seen", ""]);
  assert.deepEqual(marks.counts, { unread: 1, unseen: 1 });
  marks.told(5, { unread: [1], unarchived: [2], withdrawn: [3], unread_count: 7 });
  assert.deepEqual([1, 2, 3].map((offset) => flags(marks, offset)), ["seen", "read seen", "read seen withdrawn"]);
  assert.deepEqual(marks.counts, { unread: 7, unseen: 1 });
});

test("an older truth never replaces a newer one", () => {
  const marks = with3();
  marks.told(9, { read: [2], unread_count: 2, unseen_count: 3 });
  marks.listed(8, [{ offset: 2, read: false, archived: false }, { offset: 1, read: true, archived: false, seen: true }]);
  marks.counted(8, { unread: 3, unseen: 3 });
  assert.deepEqual([flags(marks, 2), flags(marks, 1), marks.counts.unread], ["read seen", "read seen", 2]);
  marks.arrived(7);
  assert.equal(marks.counts.unread, 2);
  marks.listed(9, [{ offset: 2, read: false, archived: true }]);
  assert.equal(flags(marks, 2), "archived");
});

test("what was asked shows at once, holds when it was done, and is gone when it was refused", () => {
  const marks = with3();
  const read = marks.ask("read", [1, 99]);
  assert.deepEqual([flags(marks, 1), marks.counts.unread], ["read seen", 2]);
  marks.settle(read);
  marks.settle(read);
  assert.deepEqual([flags(marks, 1), marks.counts.unread], ["read seen", 2]);
  const archive = marks.ask("archive", [2]);
  const unread = marks.ask("unread", [1]);
  assert.deepEqual([flags(marks, 2), flags(marks, 1), marks.counts.unread], ["read archived seen", "", 2]);
  marks.undo(archive);
  marks.undo(unread);
  assert.deepEqual([flags(marks, 2), flags(marks, 1), marks.counts.unread], ["", "read seen", 2]);
  marks.settle(marks.ask("unarchive", [2]));
  assert.equal(marks.counts.unread, 2);
});

test("all up to an offset, and what comes later is not among them", () => {
  const marks = with3();
  const all = marks.ask("read", [], 3);
  marks.arrived(4);
  assert.deepEqual([flags(marks, 1), flags(marks, 4), marks.counts], ["read seen", "", { unread: 1, unseen: 1 }]);
  const seen = marks.ask("seen", [], 3);
  assert.deepEqual([flags(marks, 1), flags(marks, 4), marks.counts], ["read seen", "", { unread: 1, unseen: 1 }]);
  marks.settle(all);
  marks.settle(seen);
  assert.deepEqual([flags(marks, 1), flags(marks, 4), marks.counts], ["read seen", "", { unread: 1, unseen: 1 }]);
});

test("many more are unread than are known, until all are read", () => {
  const marks = new Marks();
  marks.listed(50, [{ offset: 50, read: false, archived: false }]);
  marks.counted(50, { unread: 40, unseen: 30 });
  const one = marks.ask("read", [50]);
  assert.equal(marks.counts.unread, 39);
  marks.undo(one);
  const all = marks.ask("read", [], 50);
  assert.equal(marks.counts.unread, 0);
  marks.undo(all);
  assert.equal(marks.counts.unread, 40);
});

test("a late answer does not undo what another device did since", () => {
  const marks = with3();
  const read = marks.ask("read", [1]);
  const all = marks.ask("read", [], 3);
  marks.told(4, { read: [1, 2, 3], unread_count: 0 });
  marks.told(5, { unread: [1], unread_count: 1 });
  marks.settle(read);
  marks.settle(all);
  assert.deepEqual([flags(marks, 1), marks.counts.unread], ["", 1]);
});

test("what was withdrawn is neither unread nor unseen", () => {
  const marks = with3();
  marks.withdrawn(2);
  assert.equal(flags(marks, 2), "read seen withdrawn");
  marks.ask("seen", [], 1);
  assert.equal(marks.counts.unseen, 1);
});

test("what is known is bounded, and forgotten when it no longer holds", () => {
  const marks = new Marks();
  for (let offset = 1; offset <= 3_000; offset += 1) marks.arrived(offset);
  assert.deepEqual([marks.all().length, marks.all()[0].offset, marks.counts.unread], [2_000, 1_001, 3_000]);
  marks.forget();
  assert.deepEqual([marks.all(), marks.counts, marks.top], [[], { unread: 0, unseen: 0 }, 0]);
});

/** Two devices and a server; whatever they do, in whatever order answers and tellings arrive, they end up agreeing. */
test("devices agree with the server when all is heard", () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const random = generator(seed);
    const truth = new Map();
    let offset = 0;
    const devices = [0, 1].map(() => ({ marks: new Marks(), news: [], answers: [] }));
    const publish = (apply) => devices.forEach(({ news }) => news.push(apply));
    const unread = () => [...truth.values()].filter((item) => item.unread).length;
    const deeds = { read: { unread: false }, unread: { unread: true }, archive: { unread: false, archived: true }, unarchive: { archived: false } };
    const told = { read: "read", unread: "unread", archive: "archived", unarchive: "unarchived" };
    const drain = (queue, all) => {
      while (queue.length > 0 && (all || random() < 0.6)) queue.shift()();
    };
    for (let step = 0; step < 60; step += 1) {
      const device = devices[Math.floor(random() * 2)];
      if (random() < 0.4) {
        const at = (offset += 1);
        truth.set(at, { unread: true, archived: false });
        publish((marks) => marks.arrived(at));
      } else if (truth.size > 0) {
        const deed = Object.keys(deeds)[Math.floor(random() * 4)];
        const one = [...truth.keys()][Math.floor(random() * truth.size)];
        const all = deed === "read" && random() < 0.3;
        const change = all ? device.marks.ask(deed, [], device.marks.top) : device.marks.ask(deed, [one]);
        if (random() < 0.25) device.answers.push(() => device.marks.undo(change));
        else {
          const those = all ? [...truth.keys()].filter((at) => at <= device.marks.top) : [one];
          those.forEach((at) => Object.assign(truth.get(at), deeds[deed]));
          const at = (offset += 1);
          const unread_count = unread();
          publish((marks) => marks.told(at, { [told[deed]]: those, unread_count }));
          device.answers.push(() => device.marks.settle(change));
        }
      }
      for (const each of devices) {
        const news = each.news.map((apply) => () => apply(each.marks));
        const before = news.length;
        drain(news, false);
        each.news.splice(0, before - news.length);
        drain(each.answers, false);
      }
    }
    for (const { marks, news, answers } of devices) {
      // A late answer may come after the last telling, or before it.
      if (random() < 0.5) drain(answers, true);
      news.forEach((apply) => apply(marks));
      drain(answers, true);
      assert.equal(marks.counts.unread, unread(), `seed ${seed}`);
      for (const [at, item] of truth) {
        assert.deepEqual([marks.of(at).read, marks.of(at).archived], [!item.unread, item.archived], `seed ${seed}, ${at}`);
      }
    }
  }
});

/** A small generator of numbers in [0, 1) that a seed decides (mulberry32). */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
