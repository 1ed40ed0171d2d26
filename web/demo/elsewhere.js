/** Where a person is reached when they are not here: a telephone that is made up, and a mailbox. */

import { pushToThisBrowser } from "../client/index.js";
import { person, phone } from "./api.js";
import { el, find } from "./dom.js";
import { addressesOf, preview } from "./mail.js";

/**
 * @typedef {import("../client/client.js").Tocsin} Tocsin
 * @typedef {import("./api.js").Mail} Mail
 * @typedef {import("./api.js").Rang} Rang
 */

const TIME = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
/** More than anybody scrolls back. */
const KEPT = 30;

export class Elsewhere {
  #phone;
  #screen;
  #mails;
  #letters;
  #link;
  #note;
  #button;
  #client;
  #user = "";
  #email = "";
  #pushes = -1;
  #mailCount = -1;

  /**
   * @param {Element} pane
   * @param {() => Tocsin} client
   */
  constructor(pane, client) {
    this.#client = client;
    this.#phone = find(pane, ".phone", HTMLElement);
    this.#screen = find(pane, ".phone-screen", HTMLOListElement);
    this.#mails = find(pane, ".mailbox", HTMLElement);
    this.#letters = find(pane, ".letters", HTMLOListElement);
    this.#link = find(pane, ".mailbox-link", HTMLAnchorElement);
    this.#note = find(pane, ".browser-note", HTMLElement);
    this.#button = find(pane, ".browser-push", HTMLButtonElement);
    this.#button.hidden = !("serviceWorker" in navigator && "PushManager" in window);
    this.#button.addEventListener("click", () => void this.#ringHere());
  }

  /**
   * Give somebody a phone and an address.
   * @param {string} user
   */
  async begin(user) {
    this.#user = user;
    this.#email = "";
    this.#pushes = this.#mailCount = -1;
    this.#note.textContent = "";
    this.showMails([]);
    this.#showPushes([]);
    try {
      const { email } = await person(user);
      if (user !== this.#user) return;
      this.#email = email;
      this.#link.href = `mailbox.html?to=${encodeURIComponent(email)}`;
      this.#link.title = email;
      const { endpoint, keys } = await phone.register(user);
      await this.#client().devices.add({ provider: "webpush", target: endpoint, keys, app: "phone" });
    } catch (error) {
      if (user === this.#user) this.#note.textContent = `No phone: ${error instanceof Error ? error.message : "unknown reason"}.`;
    }
  }

  /** Look at the phone. */
  async look() {
    const user = this.#user;
    if (user === "") return;
    const { items } = await phone.items(user);
    if (user === this.#user) this.#showPushes(items);
  }

  /** @param {Mail[]} all newest last, of whomever */
  showMails(all) {
    const mine = all.filter((mail) => addressesOf(mail).includes(this.#email));
    if (mine.length === this.#mailCount) return;
    const grown = this.#mailCount >= 0 && mine.length > this.#mailCount;
    this.#mailCount = mine.length;
    this.#letters.replaceChildren(...mine.slice(-KEPT).reverse().map((mail) => this.#letter(mail)));
    this.#mails.classList.toggle("has-none", mine.length === 0);
    if (grown) this.#letters.firstElementChild?.classList.add("fresh");
  }

  /** @param {Mail} mail */
  #letter(mail) {
    const { id, subject, at } = mail;
    const link = el("a", { href: `mailbox.html?to=${encodeURIComponent(this.#email)}#${encodeURIComponent(id)}`, target: "_blank", rel: "noopener" });
    link.append(el("span", { class: "letter-subject" }, subject), el("span", { class: "letter-text" }, preview(mail)), el("time", {}, TIME.format(at * 1_000)));
    return el("li", {}, link);
  }

  /** @param {Rang[]} all */
  #showPushes(all) {
    const items = [...all].sort((a, b) => a.at - b.at);
    const told = items.map(({ title, at, withdrawn }) => `${title} ${at} ${withdrawn}`).join();
    if (this.#phone.dataset.told === told) return;
    this.#phone.dataset.told = told;
    const grown = this.#pushes >= 0 && items.length > this.#pushes;
    this.#pushes = items.length;
    this.#screen.replaceChildren(...items.slice(-KEPT).reverse().map(pushed));
    this.#phone.classList.toggle("has-none", items.length === 0);
    if (!grown) return;
    this.#screen.firstElementChild?.classList.add("fresh");
    this.#phone.classList.remove("buzzing");
    void this.#phone.offsetWidth;
    this.#phone.classList.add("buzzing");
  }

  async #ringHere() {
    try {
      const registration = await navigator.serviceWorker.register("service-worker.js");
      await pushToThisBrowser(this.#client(), registration);
      this.#note.textContent = `This browser rings for ${this.#user} too.`;
    } catch (error) {
      this.#note.textContent = `Not here: ${error instanceof Error ? error.message : "unknown reason"}.`;
    }
  }
}

/** @param {Rang} item */
function pushed({ title, body, at, withdrawn }) {
  const element = el("li", {}, el("span", { class: "push-title" }, title), el("time", {}, TIME.format(at * 1_000)));
  if (body) element.append(el("span", { class: "push-body" }, body));
  if (withdrawn) element.classList.add("withdrawn");
  return element;
}
