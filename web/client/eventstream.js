/** Bytes of `text/event-stream` to the data of its events, however they are cut (WHATWG HTML §9.2.6). */

export class EventStream {
  #rest = "";
  /** @type {string[]} */
  #data = [];

  /**
   * @param {string} text the next piece
   * @returns {string[]} data of the events that it completes
   */
  feed(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    /** @type {string[]} */
    const events = [];
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length > 0) events.push(this.#data.join("\n"));
        this.#data = [];
      } else if (line.startsWith("data:")) {
        this.#data.push(line.slice(line[5] === " " ? 6 : 5));
      }
    }
    return events;
  }
}
