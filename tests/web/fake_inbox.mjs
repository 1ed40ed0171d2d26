/**
 * A gateway's inbox for tests: what the RPCs answer and what all of the person's connections are told, as
 * docs/protocol.md has it. It runs under Node and in a browser.
 */

export class FakeInbox {
  epoch = "e1";
  offset = 0;
  /** @type {Map<number, {notification: object, read: boolean, archived: boolean}>} */
  items = new Map();
  seen = 0;
  /** Hears every publication: `(pub) => …`. */
  listeners = new Set();
  /** What was asked: `[method, params]`. */
  asked = [];
  /** Set to an error to refuse what would change anything. */
  refusal = null;

  /** A notification comes. */
  ring(notification) {
    this.offset += 1;
    const whole = { id: `n${this.offset}`, type: "note", created_at: new Date().toISOString(), ...notification };
    this.items.set(this.offset, { notification: whole, read: false, archived: false });
    this.#publish(whole);
    return this.offset;
  }

  withdraw(...offsets) {
    for (const offset of offsets) this.items.delete(offset);
    this.#tell({ withdrawn: offsets });
  }

  get counts() {
    const all = [...this.items];
    const unread = all.filter(([, item]) => !item.read);
    return { unread: unread.length, unseen: unread.filter(([offset]) => offset > this.seen).length };
  }

  /** @returns the reply's data, or `{error}` */
  call(method, params = {}) {
    this.asked.push([method, params]);
    if (method === "inbox.list") return this.#list(params);
    if (method === "inbox.count") return { ...this.counts, total: this.items.size };
    if (this.refusal !== null) return { error: this.refusal };
    const offsets = params.offsets ?? [...this.items.keys()].filter((offset) => offset <= params.upto);
    if (method === "read") return this.#mark(offsets, { read: true }, "read");
    if (method === "unread") return this.#mark(offsets, { read: false }, "unread");
    if (method === "archive") return this.#mark(offsets, { archived: true, read: true }, "archived");
    if (method === "unarchive") return this.#mark(offsets, { archived: false }, "unarchived");
    if (method === "seen") {
      const newest = Math.max(...offsets, 0);
      if (newest > this.seen) {
        this.seen = newest;
        this.#tell({ seen: newest });
      }
      return this.counts;
    }
    return method === "ack" ? {} : { error: { code: 104, message: "method not found" } };
  }

  #list({ before = Infinity, limit = 100, state = "current" }) {
    const wanted = { current: (item) => !item.archived, all: () => true, unread: (item) => !item.read, archived: (item) => item.archived }[state];
    const found = [...this.items].reverse().filter(([offset, item]) => offset < before && wanted(item));
    const items = found.slice(0, limit).map(([offset, item]) => ({ offset, ...item, seen: item.read || offset <= this.seen }));
    return { epoch: this.epoch, offset: this.offset, items, ...this.counts, more: found.length > limit };
  }

  #mark(offsets, marks, name) {
    const changed = offsets.filter((offset) => {
      const item = this.items.get(offset);
      return item !== undefined && Object.entries(marks).some(([mark, value]) => item[mark] !== value);
    });
    for (const offset of changed) Object.assign(this.items.get(offset), marks);
    if (changed.length > 0) this.#tell({ [name]: changed });
    return this.counts;
  }

  #tell(data) {
    this.offset += 1;
    const { unread, unseen } = this.counts;
    this.#publish({ id: `s${this.offset}`, type: "tocsin.state", data: { ...data, unread_count: unread, unseen_count: unseen } });
  }

  #publish(data) {
    for (const listener of [...this.listeners]) listener({ offset: this.offset, data });
  }
}

/** A transport whose other end is such an inbox and nothing else. */
export function transportTo(inbox) {
  return (base, first, ears) => {
    let open = true;
    const say = (message) => queueMicrotask(() => open && ears.message(JSON.stringify(message)));
    const hear = (text) => text.split("\n").forEach((line) => {
      const { id, connect, rpc } = JSON.parse(line);
      if (connect) {
        const since = connect.subs?.inbox;
        say({ id, connect: { client: "c1", subs: { inbox: joined(inbox, since) } } });
        inbox.listeners.add(listener);
      } else if (rpc) {
        const data = inbox.call(rpc.method, rpc.data);
        say(data.error ? { id, error: data.error } : { id, rpc: { data } });
      }
    });
    const listener = (pub) => say({ push: { channel: "inbox", pub } });
    const close = () => {
      open = false;
      inbox.listeners.delete(listener);
    };
    queueMicrotask(() => hear(first));
    return { send: hear, close };
  };
}

function joined(inbox, since) {
  const position = { recoverable: true, epoch: inbox.epoch, offset: inbox.offset };
  return since ? { ...position, recovered: since.offset === inbox.offset, was_recovering: true } : position;
}
