/** One person's settings: what they want to hear of, where, and when not. Every change is saved at once. */

import { el, find } from "./dom.js";
import { NAMES, byChannel, digestOf, digestPatch, quietFor } from "./choices.js";

/**
 * @typedef {import("../client/client.js").Tocsin} Tocsin
 * @typedef {import("../client/personal.js").Choices} Choices
 * @typedef {import("../client/personal.js").CategoryChoice} CategoryChoice
 */

const LOCALES = ["en", "de", "es", "fr", "it", "ja", "nl", "pl", "pt-BR"];
const DIGESTS = /** @type {const} */ ([["", "as usual"], ["off", "each at once"], ["60", "every minute"], ["3600", "every hour"], ["86400", "once a day"]]);
const HOUR = 60;

export class Settings {
  #dialog;
  #whose;
  #user;
  #told;
  #table;
  #quiet;
  #from;
  #to;
  #zone;
  #locale;
  /** @type {Choices | null} */
  #choices = null;

  /**
   * @param {DocumentFragment} markup the dialog, not yet in the page
   * @param {() => {user: string, client: Tocsin}} whose
   */
  constructor(markup, whose) {
    this.#dialog = find(markup, "dialog", HTMLDialogElement);
    this.#user = find(this.#dialog, ".settings-user", HTMLElement);
    this.#told = find(this.#dialog, ".settings-told", HTMLElement);
    this.#table = find(this.#dialog, "table", HTMLTableElement);
    this.#quiet = find(this.#dialog, ".quiet-on", HTMLInputElement);
    this.#from = find(this.#dialog, ".quiet-from", HTMLInputElement);
    this.#to = find(this.#dialog, ".quiet-to", HTMLInputElement);
    this.#zone = find(this.#dialog, ".zone", HTMLSelectElement);
    this.#locale = find(this.#dialog, ".locale", HTMLSelectElement);
    this.#whose = whose;
    this.#wire();
    document.body.append(this.#dialog);
  }

  get #client() {
    return this.#whose().client;
  }

  /** For whoever the pane is now. */
  async open() {
    this.#user.textContent = this.#whose().user;
    this.#say("", false);
    this.#dialog.showModal();
    await this.#ask(() => this.#client.preferences.get());
  }

  #wire() {
    this.#dialog.addEventListener("click", ({ target }) => target === this.#dialog && this.#dialog.close());
    find(this.#dialog, ".settings-close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    const saveQuiet = () => void this.#save({ quiet_hours: this.#quiet.checked ? { from: this.#from.value, to: this.#to.value } : null });
    for (const input of [this.#quiet, this.#from, this.#to]) input.addEventListener("change", saveQuiet);
    find(this.#dialog, ".quiet-now", HTMLButtonElement).addEventListener("click", () => {
      const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
      void this.#save({ timezone, quiet_hours: quietFor(HOUR, new Date()) });
    });
    this.#zone.addEventListener("change", () => void this.#save({ timezone: this.#zone.value || null }));
    this.#locale.addEventListener("change", () => void this.#save({ locale: this.#locale.value || null }));
    const languages = new Intl.DisplayNames("en", { type: "language" });
    fill(this.#zone, [["", "as the sender thinks"], ...["UTC", ...Intl.supportedValuesOf("timeZone")].map((zone) => /** @type {const} */ ([zone, zone]))]);
    fill(this.#locale, [["", "as the sender thinks"], ...LOCALES.map((locale) => /** @type {const} */ ([locale, languages.of(locale) ?? locale]))]);
  }

  /** @param {Record<string, unknown>} patch */
  #save(patch) {
    return this.#ask(() => this.#client.preferences.set(patch), "Saved.");
  }

  /**
   * @param {() => Promise<Choices>} request
   * @param {string} [done] what to say when it is
   */
  async #ask(request, done = "") {
    try {
      this.#choices = await request();
      this.#say(done, false);
    } catch (error) {
      this.#say(`Not done: ${error instanceof Error ? error.message : "unknown reason"}.`, true);
    }
    // Also after a failure: what was clicked must not look as if it held.
    if (this.#choices !== null) this.#draw(this.#choices);
  }

  /**
   * @param {string} text
   * @param {boolean} trouble
   */
  #say(text, trouble) {
    this.#told.textContent = text;
    this.#told.classList.toggle("trouble", trouble);
  }

  // Drawing ---------------------------------------------------------------------------------------------------------

  /** @param {Choices} choices */
  #draw({ preferences, categories, channels }) {
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.what : undefined;
    const quiet = preferences.quiet_hours ?? null;
    this.#quiet.checked = quiet !== null;
    if (quiet !== null) [this.#from.value, this.#to.value] = [quiet.from, quiet.to];
    this.#from.disabled = this.#to.disabled = quiet === null;
    choose(this.#zone, preferences.timezone ?? "");
    choose(this.#locale, preferences.locale ?? "");
    const head = el("tr", {}, el("th", { scope: "col" }, "About"), ...channels.map((channel) => el("th", { scope: "col" }, NAMES[channel] ?? channel)), el("th", { scope: "col" }, "E-mail comes"));
    const all = el("tr", { class: "everything" }, el("th", { scope: "row" }, "Everything"), ...channels.map((channel) => this.#master(channel, preferences.channels?.[channel] !== false)), el("td"));
    this.#table.replaceChildren(el("thead", {}, head), el("tbody", {}, all, ...categories.map((category) => this.#row(category, channels))));
    if (focused) this.#table.querySelector(`[data-what="${CSS.escape(focused)}"]`)?.dispatchEvent(new CustomEvent("refocus"));
  }

  /**
   * @param {string} channel
   * @param {boolean} on
   */
  #master(channel, on) {
    const name = NAMES[channel] ?? channel;
    return this.#cell(name, `Everything by ${name}`, `* ${channel}`, { on, locked: false }, (checked) => ({ channels: { [channel]: checked } }));
  }

  /**
   * @param {CategoryChoice} category
   * @param {string[]} channels
   */
  #row({ name, title, required, channels: choices }, channels) {
    const heading = el("th", { scope: "row" }, title || name || "Anything else");
    if (required) heading.append(el("span", { class: "must" }, "always comes"));
    const cells = channels.map((channel) => {
      const label = NAMES[channel] ?? channel;
      return this.#cell(label, `${title || name} by ${label}`, `${name} ${channel}`, byChannel(choices, channel), (on) => ({ categories: { [name]: { [channel]: on } } }));
    });
    return el("tr", {}, heading, ...cells, this.#digest(name, title));
  }

  /**
   * @param {string} label of the column, shown where there are no columns
   * @param {string} name of the switch
   * @param {string} what it is known by
   * @param {{on: boolean, locked: boolean}} choice
   * @param {(on: boolean) => Record<string, unknown>} patch
   */
  #cell(label, name, what, { on, locked }, patch) {
    const input = el("input", { type: "checkbox", role: "switch", class: "switch", "aria-label": name, "data-what": what });
    input.checked = on;
    input.disabled = locked;
    if (locked) input.title = "This cannot be turned off.";
    input.addEventListener("change", () => void this.#save(patch(input.checked)));
    input.addEventListener("refocus", () => input.focus());
    return el("td", { "data-label": label }, input);
  }

  /**
   * @param {string} category
   * @param {string} title
   */
  #digest(category, title) {
    const select = el("select", { "aria-label": `How often e-mail about ${title || category || "anything else"} comes`, "data-what": `${category} digest` });
    fill(select, DIGESTS);
    choose(select, digestOf(this.#choices?.preferences ?? {}, category, "email"));
    select.addEventListener("change", () => void this.#save(digestPatch(category, "email", select.value)));
    select.addEventListener("refocus", () => select.focus());
    return el("td", { class: "digest", "data-label": "E-mail comes" }, select);
  }
}

/**
 * @param {HTMLSelectElement} select
 * @param {readonly (readonly [value: string, text: string])[]} options
 */
function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
}

/**
 * @param {HTMLSelectElement} select
 * @param {string} value one that the list does not offer is added to it
 */
function choose(select, value) {
  if (![...select.options].some((option) => option.value === value)) select.append(el("option", { value }, value));
  select.value = value;
}
