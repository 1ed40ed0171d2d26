/** Who is in a topic: a name for each person, however many connections they hold. */

import { el } from "./dom.js";

export class People {
  #list;
  /** @type {Map<string, string>} client → user */
  #clients = new Map();

  /** @param {Element} list */
  constructor(list) {
    this.#list = list;
  }

  /** @param {{user: string, client: string}[]} clients everyone there is */
  set(clients) {
    this.#clients = new Map(clients.map(({ user, client }) => [client, user]));
    this.#draw();
  }

  /** @param {{user: string, client: string}} one */
  join({ user, client }) {
    this.#clients.set(client, user);
    this.#draw();
  }

  /** @param {{client: string}} one */
  leave({ client }) {
    if (this.#clients.delete(client)) this.#draw();
  }

  #draw() {
    const users = [...new Set(this.#clients.values())].sort();
    this.#list.replaceChildren(...users.map((user) => el("li", {}, user)));
  }
}
