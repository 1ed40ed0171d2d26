/** Who is in a topic: a name for each person, however many connections they hold. */

import { el } from "./dom.js";

export class People {
  #list;
  /** @type {Map<string, string>} client → user */
  #clients = new Map();
  /** @type {Map<string, string | null> | null} heard since everyone was asked for: client → user; null: left */
  #heard = null;

  /** @param {Element} list */
  constructor(list) {
    this.#list = list;
  }

  /** Nobody is known to be there: it is another topic, or another's view of it. */
  forget() {
    this.#clients.clear();
    this.#heard = null;
    this.#draw();
  }

  /** Everyone is about to be asked for: what is heard from now on is newer than the answer, though it may come first. */
  ask() {
    this.#heard = new Map();
  }

  /** @param {{user: string, client: string}[]} clients everyone there was when the latest `ask` was answered */
  set(clients) {
    this.#clients = new Map(clients.map(({ user, client }) => [client, user]));
    for (const [client, user] of this.#heard ?? []) {
      if (user === null) this.#clients.delete(client);
      else this.#clients.set(client, user);
    }
    this.#heard = null;
    this.#draw();
  }

  /** @param {{user: string, client: string}} one */
  join({ user, client }) {
    this.#heard?.set(client, user);
    this.#clients.set(client, user);
    this.#draw();
  }

  /** @param {{client: string}} one */
  leave({ client }) {
    this.#heard?.set(client, null);
    if (this.#clients.delete(client)) this.#draw();
  }

  #draw() {
    const users = [...new Set(this.#clients.values())].sort();
    this.#list.replaceChildren(...users.map((user) => el("li", {}, user)));
  }
}
