/**
 * A link over plain HTTP, for networks that let no WebSocket through: what the server says comes as an event stream,
 * what we say goes as POSTs that name the session.
 *
 * The stream is read by `fetch` and not by EventSource, which could only send the token as a part of the URL, where
 * every log on the way would keep it.
 */

import { BROKEN } from "./codes.js";
import { EventStream } from "./eventstream.js";

/** @typedef {import("./transport.js").Ears} Ears */
/** @typedef {import("./transport.js").Route} Route */

/**
 * @param {typeof fetch} [request] what does the requests
 * @returns {import("./transport.js").Transport}
 */
export function sse(request = (input, init) => fetch(input, init)) {
  return (base, first, ears) => {
    const link = new SseLink(base, request, ears);
    void link.read(first);
    return link;
  };
}

class SseLink {
  #base;
  #request;
  #ears;
  #abort = new AbortController();
  #closed = false;
  #posting = false;
  /** @type {string[]} */
  #waiting = [];

  /**
   * @param {string} base
   * @param {typeof fetch} request
   * @param {Ears} ears
   */
  constructor(base, request, ears) {
    this.#base = base;
    this.#request = request;
    this.#ears = ears;
  }

  /**
   * The stream, from its request to its end.
   * @param {string} first
   */
  async read(first) {
    try {
      const response = await this.#request(`${this.#base}/connection/sse`, {
        method: "POST",
        body: first,
        headers: { Accept: "text/event-stream", "Content-Type": "application/json" },
        cache: "no-store",
        signal: this.#abort.signal,
      });
      if (!response.ok || response.body === null) return this.#end(`HTTP ${response.status}`);
      await this.#listen(response.body.getReader());
      this.#end("end of stream");
    } catch {
      // A stream that breaks is how networks fail; that it did is all there is to tell.
      this.#end("broken");
    }
  }

  /** @param {ReadableStreamDefaultReader<Uint8Array>} reader */
  async #listen(reader) {
    const utf8 = new TextDecoder();
    const stream = new EventStream();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const data of stream.feed(utf8.decode(value, { stream: true }))) {
        if (this.#closed) return;
        this.#ears.message(data);
      }
    }
  }

  /**
   * @param {string} message
   * @param {Route} route
   */
  send(message, route) {
    this.#waiting.push(message);
    if (!this.#posting) void this.#post(route);
  }

  /**
   * One POST at a time, or they could overtake each other; what gathers meanwhile goes together in the next.
   * @param {Route} route
   */
  async #post(route) {
    this.#posting = true;
    while (this.#waiting.length > 0 && !this.#closed) {
      const body = JSON.stringify({ ...route, data: this.#waiting.splice(0).join("\n") });
      try {
        const headers = { "Content-Type": "application/json" };
        const response = await this.#request(`${this.#base}/emulation`, { method: "POST", body, headers, signal: this.#abort.signal });
        if (!response.ok) this.#end(`HTTP ${response.status}`);
      } catch {
        this.#end("broken");
      }
    }
    this.#posting = false;
  }

  close() {
    this.#closed = true;
    this.#abort.abort();
  }

  /** @param {string} reason */
  #end(reason) {
    if (this.#closed) return;
    this.close();
    this.#ears.closed(BROKEN, reason);
  }
}
