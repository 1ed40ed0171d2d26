/** A browser as a device: subscribed to Web Push (W3C Push API, RFC 8030) and told to the server. */

/**
 * Subscribe this browser and tell the server. Call it in a click, for the browser asks its user for permission.
 * @param {import("./client.js").Tocsin} tocsin
 * @param {ServiceWorkerRegistration} registration of the worker that shows what is pushed
 * @throws {Error} with what stood in the way, in words for people
 */
export async function pushToThisBrowser(tocsin, registration) {
  const key = await tocsin.devices.key();
  if (key === null) throw new Error("this server sends no Web Push");
  if ((await Notification.requestPermission()) !== "granted") throw new Error("notifications are not allowed for this page");
  const subscription = await subscribed(registration.pushManager, key);
  const { endpoint, keys } = subscription.toJSON();
  const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return tocsin.devices.add({ provider: "webpush", target: endpoint, keys: { p256dh: keys?.p256dh, auth: keys?.auth }, timezone });
}

/**
 * The browser's subscription, made anew where the one there is was for another key.
 * @param {PushManager} manager
 * @param {string} key
 */
async function subscribed(manager, key) {
  const wanted = bytesOf(key);
  const there = await manager.getSubscription();
  const its = there?.options.applicationServerKey;
  if (there && its && same(new Uint8Array(its), wanted)) return there;
  await there?.unsubscribe();
  return manager.subscribe({ userVisibleOnly: true, applicationServerKey: wanted });
}

/** @param {string} base64url */
export function bytesOf(base64url) {
  const text = atob(base64url.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/**
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
function same(one, other) {
  return one.length === other.length && one.every((byte, i) => byte === other[i]);
}
