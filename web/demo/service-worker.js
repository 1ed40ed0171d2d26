/**
 * What the browser does when it is rung, whether a page is open or not: it shows what was pushed, lets a later message
 * take the place of an earlier one of its tag, and takes away what was withdrawn.
 *
 * It asks nobody for anything: it has no token of the person's and wants none. A thin message, which says only that
 * there is something, is shown as just that, and the page that opens has the rest.
 */

/**
 * @typedef {object} Pushed what our sender says (fanout/channels/push.py)
 * @property {string} [id] the event
 * @property {string} [tag]
 * @property {string} [title]
 * @property {string} [body]
 * @property {string} [url] where a click leads
 * @property {boolean} [thin] it was too large to be pushed
 * @property {string} [withdrawn] the event to take away
 */

/**
 * @typedef {Event & {waitUntil(work: Promise<unknown>): void}} Extendable
 * @typedef {Extendable & {data: {json(): unknown} | null}} PushEvent
 * @typedef {Extendable & {notification: Notification}} ClickEvent
 * @typedef {{url: string, focus(): Promise<Page>}} Page
 * @typedef {object} Pages
 * @property {(options: {type: "window", includeUncontrolled: boolean}) => Promise<Page[]>} matchAll
 * @property {(url: string) => Promise<Page | null>} openWindow
 * @property {() => Promise<void>} claim
 */

const worker = /** @type {{registration: ServiceWorkerRegistration, clients: Pages, skipWaiting(): Promise<void>}} */ (
  /** @type {unknown} */ (self)
);
const SOMETHING = "You have a notification";

/** The work on the latest push. @type {Promise<unknown>} */
let latest = Promise.resolve();

/**
 * One after the other, as they came: who takes away must find what was to be shown before, and browsers forget what is
 * being shown while they are asked for what is shown.
 * @param {PushEvent} event
 */
function inTurn(event) {
  const work = latest.then(() => pushed(event));
  latest = work.catch(() => undefined);
  return work;
}

/** @param {PushEvent} event */
async function pushed(event) {
  const said = read(event.data);
  if (said.withdrawn !== undefined) return takeAway(said.withdrawn, said.tag);
  return worker.registration.showNotification(said.title || SOMETHING, {
    body: said.body ?? "",
    icon: "bell.svg",
    data: { id: said.id, url: said.url },
    // Without a tag there is nothing to replace, and `renotify` would be an error.
    ...(said.tag ? { tag: said.tag, renotify: true } : {}),
  });
}

/**
 * What cannot be read is still something that came: a browser expects to see it.
 * @param {{json(): unknown} | null} data
 * @returns {Pushed}
 */
function read(data) {
  try {
    const said = data?.json();
    return said !== null && typeof said === "object" ? said : {};
  } catch {
    return {};
  }
}

/**
 * @param {string} id
 * @param {string} [tag]
 */
async function takeAway(id, tag) {
  const shown = await worker.registration.getNotifications(tag ? { tag } : {});
  // A later event may have taken the place of this one, and stays.
  for (const notification of shown) if (notification.data?.id === id) notification.close();
}

/** @param {ClickEvent} event */
async function clicked(event) {
  event.notification.close();
  const wanted = address(event.notification.data?.url);
  const pages = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  const there = pages.find((page) => (wanted === null ? page.url.startsWith(worker.registration.scope) : page.url === wanted));
  return there ? there.focus() : worker.clients.openWindow(wanted ?? worker.registration.scope);
}

/**
 * A web address, or null: nothing else is opened.
 * @param {unknown} url
 */
function address(url) {
  try {
    const found = new URL(String(url ?? ""), worker.registration.scope);
    return url && (found.protocol === "https:" || found.protocol === "http:") ? found.href : null;
  } catch {
    return null;
  }
}

self.addEventListener("install", () => void worker.skipWaiting());
self.addEventListener("activate", (event) => /** @type {Extendable} */ (event).waitUntil(worker.clients.claim()));
self.addEventListener("push", (event) => {
  const push = /** @type {PushEvent} */ (event);
  push.waitUntil(inTurn(push));
});
self.addEventListener("notificationclick", (event) => {
  const click = /** @type {ClickEvent} */ (event);
  click.waitUntil(clicked(click));
});
