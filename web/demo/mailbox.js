/** The mailbox page: every mail that was sent, its parts and its headers. */

import { mailbox } from "./api.js";
import { el, find } from "./dom.js";
import { addressesOf, framed } from "./mail.js";
import { polling } from "./poll.js";

/** @typedef {import("./api.js").Mail} Mail */

const TIME = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const PARTS = /** @type {const} */ ([["html", "HTML"], ["text", "Text"], ["headers", "Headers"]]);

const list = find(document, "#list", HTMLOListElement);
const none = find(document, "#none", HTMLElement);
const to = find(document, "#to", HTMLSelectElement);
const article = find(document, "#mail", HTMLElement);
const parts = find(document, "#parts", HTMLFieldSetElement);
const frame = find(document, "#html", HTMLIFrameElement);

/** @type {Mail[]} newest first */
let mails = [];
let told = "";
let part = "html";
/** @type {Mail | null} */
let open = null;

for (const [value, label] of PARTS) {
  const radio = el("input", { type: "radio", name: "part", value });
  radio.checked = value === part;
  radio.addEventListener("change", () => {
    part = value;
    showPart();
  });
  parts.append(el("label", {}, radio, el("span", {}, label)));
}
to.addEventListener("change", () => {
  const address = new URL(location.href);
  address.search = to.value === "" ? "" : `?to=${encodeURIComponent(to.value)}`;
  history.replaceState(null, "", address);
  show();
});
find(document, "#clear", HTMLButtonElement).addEventListener("click", async () => {
  await mailbox.clear().catch(() => undefined);
  await look();
});
addEventListener("hashchange", show);
offer([]);
const look = polling(async () => {
  const found = (await mailbox.mails()).mails;
  const now = JSON.stringify(found.map(({ id }) => id));
  if (now === told) return;
  told = now;
  mails = found.reverse();
  offer(mails.flatMap(addressesOf));
  show();
});

/** @param {string[]} addresses that mail went to */
function offer(addresses) {
  const wanted = new URLSearchParams(location.search).get("to") ?? to.value;
  const all = [...new Set([...addresses, ...(wanted === "" ? [] : [wanted])])].sort();
  to.replaceChildren(el("option", { value: "" }, "everybody"), ...all.map((address) => el("option", { value: address }, address)));
  to.value = wanted;
}

function show() {
  const shown = mails.filter((mail) => to.value === "" || addressesOf(mail).includes(to.value));
  const asked = decodeURIComponent(location.hash.slice(1));
  const mail = shown.find(({ id }) => id === asked) ?? shown[0] ?? null;
  none.hidden = shown.length > 0;
  const focused = document.activeElement instanceof HTMLElement && list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  list.replaceChildren(...shown.map((one) => entry(one, one === mail)));
  if (focused !== null) /** @type {HTMLElement | null} */ (list.querySelector(`a[href="${CSS.escape(focused)}"]`))?.focus();
  article.hidden = mail === null;
  if (mail !== null && mail.id !== open?.id) read(mail);
  open = mail;
}

/**
 * @param {Mail} mail
 * @param {boolean} current
 */
function entry(mail, current) {
  const time = el("time", { datetime: new Date(mail.at * 1_000).toISOString() }, CLOCK.format(mail.at * 1_000));
  const link = el("a", { href: `#${encodeURIComponent(mail.id)}` }, el("span", { class: "subject" }, mail.subject || "(no subject)"), time, el("span", { class: "from" }, addressesOf(mail).join(", ")));
  if (current) link.setAttribute("aria-current", "true");
  return el("li", {}, link);
}

/** @param {Mail} mail */
function read(mail) {
  find(document, "#subject", HTMLElement).textContent = mail.subject || "(no subject)";
  find(document, "#people", HTMLElement).textContent = `to ${addressesOf(mail).join(", ")}, ${TIME.format(mail.at * 1_000)}`;
  find(document, "#text", HTMLElement).textContent = mail.text;
  const headers = Object.entries(mail.headers).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]);
  find(document, "#headers", HTMLElement).replaceChildren(...headers);
  frame.srcdoc = framed(mail.html ?? "");
  const [html] = parts.querySelectorAll("input");
  if (html) html.disabled = !mail.html;
  showPart(mail);
}

/** @param {Mail | null} [mail] */
function showPart(mail = open) {
  const shown = part === "html" && !mail?.html ? "text" : part;
  for (const [value] of PARTS) find(document, `#${value}`, HTMLElement).hidden = value !== shown;
  for (const radio of parts.querySelectorAll("input")) radio.checked = radio.value === shown;
}
