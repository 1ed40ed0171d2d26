/** The demo page: two people, one composer, one market, and what they have in common. */

import "../client/bell.js";
import { mailbox } from "./api.js";
import { Composer } from "./composer.js";
import { find, onceAFrame, replaying } from "./dom.js";
import { Follow } from "./follow.js";
import { Latencies, spell } from "./latency.js";
import { Market } from "./market.js";
import { Pane } from "./pane.js";
import { polling } from "./poll.js";

/** Other people than these by the address: `?left=carol&right=dave&topic=team:red`. */
const asked = new URLSearchParams(location.search);
const USERS = [asked.get("left") || "alice", asked.get("right") || "bob"];
const TOPIC = asked.get("topic") || "demo:lobby";

const ring = replaying(find(document, "#bell", SVGSVGElement), "ringing");
const figures = {
  count: find(document, "#figure-count", HTMLElement),
  median: find(document, "#figure-median", HTMLElement),
  p95: find(document, "#figure-p95", HTMLElement),
};
const latencies = new Latencies(500);
let delivered = 0;

const showFigures = onceAFrame(() => {
  figures.count.textContent = delivered.toLocaleString("en");
  figures.median.textContent = spell(latencies.within(0.5));
  figures.p95.textContent = spell(latencies.within(0.95));
});

/** @param {number | null} milliseconds */
function arrived(milliseconds) {
  delivered += 1;
  if (milliseconds !== null) latencies.add(milliseconds);
  showFigures();
  ring();
}

const template = find(document, "#pane-template", HTMLTemplateElement);
const dialog = find(document, "#settings-template", HTMLTemplateElement);
const follow = new Follow(find(document, "#follow", HTMLElement));
const composer = new Composer(find(document, "#composer", HTMLFormElement), (event) => follow.follow(event));

/** @type {Pane[]} */
const panes = USERS.map((user) => {
  const markup = /** @type {DocumentFragment} */ (document.importNode(template.content, true));
  const settings = /** @type {DocumentFragment} */ (document.importNode(dialog.content, true));
  return new Pane({ markup, settings, user, topic: TOPIC, changed: offerRecipients, arrived, categories: (all) => composer.categories(all) });
});

function offerRecipients() {
  const users = [...new Set(panes.map((pane) => pane.user))];
  const topics = [...new Set(panes.map((pane) => pane.topic))];
  composer.offer([
    ...users.map((name) => ({ kind: /** @type {const} */ ("users"), name })),
    ...topics.map((name) => ({ kind: /** @type {const} */ ("topics"), name })),
  ]);
}

find(document, "#panes", HTMLElement).append(...panes.map((pane) => pane.element));
offerRecipients();
polling(async () => {
  await Promise.all(panes.map((pane) => pane.elsewhere.look()));
  const { mails } = await mailbox.mails();
  for (const pane of panes) pane.elsewhere.showMails(mails);
});
new Market(find(document, ".market", HTMLElement), () => [...new Set(panes.map((pane) => pane.user))]);

find(document, "#shell", HTMLElement).textContent = [
  `curl ${location.origin}/v1/events -H 'Authorization: Bearer dev-key' \\`,
  `  -H 'Content-Type: application/json' \\`,
  `  -d '{"type":"hello","to":{"users":["alice"]},"title":"Hello from curl"}'`,
].join("\n");
