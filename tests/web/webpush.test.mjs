/** A browser as a device, with a browser that is made up. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { bytesOf, pushToThisBrowser } from "../../web/client/webpush.js";

/** 65 bytes: an uncompressed point begins with 4. */
const KEY = Buffer.from([4, ...Array(64).keys()]).toString("base64url");

/** @type {any[]} */
let added;
/** @type {string[]} */
let done;
let permission = "granted";

/** A browser's push manager: one subscription at a time, bound to its key. */
class Manager {
  there = null;

  async getSubscription() {
    return this.there;
  }

  async subscribe({ userVisibleOnly, applicationServerKey }) {
    assert.ok(userVisibleOnly);
    done.push("subscribe");
    this.there = {
      options: { applicationServerKey: applicationServerKey.buffer },
      unsubscribe: async () => {
        done.push("unsubscribe");
        this.there = null;
      },
      toJSON: () => ({ endpoint: "https://push.example/1", keys: { p256dh: "P", auth: "A" } }),
    };
    return this.there;
  }
}

const tocsin = (key) => ({ devices: { key: async () => key, add: async (device) => added.push(device) } });

beforeEach(() => {
  added = [];
  done = [];
  permission = "granted";
  globalThis.Notification = { requestPermission: async () => permission };
});
afterEach(() => delete globalThis.Notification);

test("a browser is subscribed once, and told each time", async () => {
  const pushManager = new Manager();
  await pushToThisBrowser(tocsin(KEY), { pushManager });
  await pushToThisBrowser(tocsin(KEY), { pushManager });
  assert.deepEqual(done, ["subscribe"]);
  const { timezone, ...device } = added[1];
  assert.deepEqual([added.length, device], [2, { provider: "webpush", target: "https://push.example/1", keys: { p256dh: "P", auth: "A" } }]);
  assert.equal(typeof timezone, "string");
});

test("a server with another key needs another subscription", async () => {
  const pushManager = new Manager();
  await pushToThisBrowser(tocsin(KEY), { pushManager });
  const other = Buffer.from([4, ...Array(64).keys()].reverse()).toString("base64url");
  await pushToThisBrowser(tocsin(other), { pushManager });
  await pushToThisBrowser(tocsin(Buffer.from([4]).toString("base64url")), { pushManager });
  assert.deepEqual(done, ["subscribe", "unsubscribe", "subscribe", "unsubscribe", "subscribe"]);
});

test("what stands in the way is said", async () => {
  const registration = { pushManager: new Manager() };
  await assert.rejects(pushToThisBrowser(tocsin(null), registration), /no Web Push/);
  permission = "denied";
  await assert.rejects(pushToThisBrowser(tocsin(KEY), registration), /not allowed/);
  assert.deepEqual([done, added], [[], []]);
});

test("base64url to bytes", () => assert.deepEqual([...bytesOf("-_8")], [251, 255]));
