/** Sending: to a person or a topic, once or ten times. */

import { publish } from "./api.js";
import { fieldsOf } from "./choices.js";
import { el, find } from "./dom.js";
import { suggestAnother, suggestion } from "./samples.js";

const BURST = 10;

/** @typedef {{kind: "users" | "topics", name: string}} Recipient */

export class Composer {
  #form;
  #recipients;
  #title;
  #body;
  #trouble;
  #label;
  #how;
  #sent;
  /** Whether Shift was held when the form was last asked to send. */
  #shift = false;

  /**
   * @param {HTMLFormElement} form
   * @param {(event: import("./follow.js").Sent) => void} sent told of the last of what went to a person
   */
  constructor(form, sent) {
    this.#form = form;
    this.#sent = sent;
    this.#how = {
      category: find(form, "#category", HTMLSelectElement),
      ladder: find(form, "#ladder", HTMLSelectElement),
      wait: find(form, "#wait", HTMLSelectElement),
      collapse: find(form, "#collapse", HTMLInputElement),
    };
    this.#recipients = find(form, "#recipients", HTMLElement);
    this.#title = find(form, "#title", HTMLInputElement);
    this.#body = find(form, "#body", HTMLInputElement);
    this.#trouble = find(form, "#composer-trouble", HTMLElement);
    this.#label = find(form, "#send-label", HTMLElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const ten = this.#shift || event.submitter?.id === "burst";
      void this.#send(ten ? BURST : 1);
    });
    form.addEventListener("keydown", (event) => (this.#shift = event.shiftKey), { capture: true });
    form.addEventListener("click", (event) => {
      // Enter in a field clicks the button too, with no Shift of its own; only a real click decides anew.
      if (event.detail > 0) this.#shift = event.shiftKey;
    }, { capture: true });
    this.#suggest();
    for (const type of /** @type {const} */ (["keydown", "keyup"])) addEventListener(type, (event) => this.#hint(event));
  }

  /** @param {Recipient[]} recipients who can be sent to; the choice stays where it still can */
  offer(recipients) {
    const chosen = this.#chosen;
    const labels = recipients.map(({ kind, name }) => {
      const value = JSON.stringify({ kind, name });
      const radio = el("input", { type: "radio", name: "recipient", value });
      radio.checked = value === chosen;
      return el("label", { class: kind }, radio, el("span", {}, name));
    });
    this.#recipients.replaceChildren(...labels);
    if (this.#chosen === "") find(this.#recipients, "input", HTMLInputElement).checked = true;
  }

  /** @param {readonly {name: string, title: string}[]} categories that the installation has */
  categories(categories) {
    const { category } = this.#how;
    const chosen = category.value;
    const options = categories.map(({ name, title }) => el("option", { value: name }, title || name));
    category.replaceChildren(el("option", { value: "" }, "none"), ...options.filter(({ value }) => value !== ""));
    category.value = chosen;
  }

  #suggest() {
    const { title, body } = suggestion();
    this.#title.placeholder = title;
    this.#body.placeholder = body;
  }

  get #chosen() {
    return String(new FormData(this.#form).get("recipient") ?? "");
  }

  /** @param {KeyboardEvent} event */
  #hint(event) {
    // While somebody types, Shift is just a capital letter.
    const typing = document.activeElement instanceof HTMLInputElement && document.activeElement.type !== "radio";
    this.#label.textContent = event.shiftKey && !typing ? "Send ten" : "Send";
  }

  /** @param {number} times */
  async #send(times) {
    const /** @type {Recipient} */ { kind, name } = JSON.parse(this.#chosen);
    const made = suggestion();
    const typed = this.#title.value.trim() !== "";
    const title = typed ? this.#title.value.trim() : made.title;
    const body = this.#body.value.trim() || (typed ? "" : made.body);
    this.#title.value = this.#body.value = "";
    if (!typed) suggestAnother();
    this.#suggest();
    const { category, ladder, wait, collapse } = this.#how;
    const how = fieldsOf({ category: category.value, ladder: ladder.value, wait: wait.value, collapse: collapse.checked }, Date.now());
    try {
      // One after the other: they are then in order, and ten are over in a few hundredths of a second anyway.
      for (let i = 1; i <= times; i += 1) {
        const numbered = times === 1 ? title : `${title} (${i} of ${times})`;
        const event = { type: typed ? "note" : made.type, to: { [kind]: [name] }, title: numbered, ...(body ? { body } : {}), ...how };
        const at = Date.now();
        const { id } = await publish(event);
        if (kind === "users" && i === times) this.#sent({ id, title: numbered, user: name, at });
      }
      this.#trouble.hidden = true;
    } catch (error) {
      this.#trouble.textContent = `Not sent: ${error instanceof Error ? error.message : "unknown reason"}`;
      this.#trouble.hidden = false;
    }
  }
}
