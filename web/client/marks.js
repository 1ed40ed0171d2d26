/**
 * What is known of an inbox: which of its notifications are unread, archived, seen or withdrawn, and how many. Pure.
 *
 * What the server says is the truth, and each truth has a date: the inbox offset at which it held. What was asked of
 * the server and not yet answered lies on top of it, so a page shows a mark at once; when the server refuses, the mark
 * is taken off again and what was below shows, whatever happened to it meanwhile.
 */

/**
 * @typedef {"read" | "unread" | "archive" | "unarchive" | "seen"} Deed
 *
 * @typedef {object} Flags
 * @property {boolean} read
 * @property {boolean} archived
 * @property {boolean} seen it was read, or the bell was opened after it came
 * @property {boolean} withdrawn
 *
 * @typedef {Flags & {offset: number}} Marked
 *
 * @typedef {{unread: number, unseen: number}} Counts unseen: how many of those that are unread
 *
 * @typedef {object} Known of one notification; absent: nothing was heard of that
 * @property {boolean} [unread]
 * @property {boolean} [archived]
 * @property {boolean} [withdrawn]
 * @property {number} asOf the offset at which this held
 *
 * @typedef {object} Change asked of the server, not yet answered
 * @property {Deed} deed
 * @property {Set<number>} offsets of which it is not yet known that it was done
 * @property {number} upto all notifications up to this offset too; 0: none
 *
 * @typedef {object} Told the data of a `tocsin.state` publication
 * @property {number[]} [read]
 * @property {number[]} [unread]
 * @property {number[]} [archived]
 * @property {number[]} [unarchived]
 * @property {number[]} [withdrawn]
 * @property {number} [seen] up to which offset
 * @property {number} [unread_count]
 * @property {number} [unseen_count]
 */

/** More than a page will ever show; beyond it those that were heard of first are forgotten. */
const KEPT = 2_000;

/** @typedef {Omit<Known, "asOf">} Marking */

/** @type {Record<Deed, Marking>} */
const DONE = {
  read: { unread: false },
  unread: { unread: true },
  archive: { unread: false, archived: true },
  unarchive: { archived: false },
  seen: {},
};

/** What the server calls what we asked for. */
const TOLD = /** @type {const} */ ({ read: "read", unread: "unread", archived: "archive", unarchived: "unarchive" });

export class Marks {
  /** @type {Map<number, Known>} */
  #known = new Map();
  /** @type {Counts} */
  #counts = { unread: 0, unseen: 0 };
  /** The offset up to which the counts are right. */
  #countedTo = 0;
  #seenTo = 0;
  /** @type {Set<Change>} */
  #asked = new Set();

  /** The highest offset of which anything was heard. */
  get top() {
    return Math.max(this.#countedTo, this.#seenTo);
  }

  // What the server says --------------------------------------------------------------------------------------------

  /**
   * A notification came.
   * @param {number} offset
   */
  arrived(offset) {
    this.#learn(offset, { unread: true, archived: false, asOf: offset, ...this.#known.get(offset) });
    if (offset <= this.#countedTo) return;
    this.#countedTo = offset;
    this.#counts = { unread: this.#counts.unread + 1, unseen: this.#counts.unseen + 1 };
  }

  /**
   * The server told what became of notifications, on some device.
   * @param {number} offset of the telling
   * @param {Told} told
   */
  told(offset, told) {
    for (const [name, deed] of Object.entries(TOLD)) {
      for (const one of told[/** @type {keyof typeof TOLD} */ (name)] ?? []) {
        this.#mark(one, DONE[deed], offset);
        this.#confirm(deed, one);
      }
    }
    for (const one of told.withdrawn ?? []) this.withdrawn(one, offset);
    if (told.seen !== undefined) this.#seenTo = Math.max(this.#seenTo, told.seen);
    this.counted(offset, { unread: told.unread_count, unseen: told.unseen_count });
  }

  /**
   * @param {number} offset
   * @param {number} [asOf]
   */
  withdrawn(offset, asOf = Math.max(offset, this.#countedTo)) {
    this.#mark(offset, { withdrawn: true, unread: false }, asOf);
  }

  /**
   * A page of the inbox was listed.
   * @param {number} asOf the inbox's top offset when it was
   * @param {{offset: number, read: boolean, archived: boolean, seen?: boolean}[]} items
   */
  listed(asOf, items) {
    for (const { offset, read, archived, seen } of items) {
      const known = this.#known.get(offset) ?? { asOf };
      const listed = { unread: !read, archived, asOf };
      this.#learn(offset, known.asOf <= asOf ? { ...known, ...listed } : { ...listed, ...known });
      if (seen) this.#seenTo = Math.max(this.#seenTo, offset);
    }
  }

  /**
   * @param {number} asOf the inbox's top offset when it was counted
   * @param {{unread?: number | undefined, unseen?: number | undefined}} counts
   */
  counted(asOf, { unread, unseen }) {
    if (asOf < this.#countedTo) return;
    this.#countedTo = asOf;
    this.#counts = { unread: unread ?? this.#counts.unread, unseen: unseen ?? this.#counts.unseen };
  }

  /** Nothing that was known holds any more. */
  forget() {
    this.#known.clear();
    this.#counts = { unread: 0, unseen: 0 };
    this.#countedTo = this.#seenTo = 0;
  }

  // What we ask of it -----------------------------------------------------------------------------------------------

  /**
   * @param {Deed} deed
   * @param {Iterable<number>} offsets
   * @param {number} [upto] and all up to this offset
   * @returns {Change} to be settled or undone
   */
  ask(deed, offsets, upto = 0) {
    const change = { deed, offsets: new Set(offsets), upto };
    // By name, so that each of them can be confirmed by what the server tells of it.
    if (deed !== "seen") for (const [offset, known] of this.#known) if (offset <= upto && known.unread) change.offsets.add(offset);
    this.#asked.add(change);
    return change;
  }

  /**
   * The server did it.
   * @param {Change} change
   */
  settle(change) {
    if (!this.#asked.delete(change)) return;
    this.#counts = this.#countWith(this.#counts, this.#known, change);
    for (const offset of change.offsets) if (this.#known.has(offset)) this.#mark(offset, DONE[change.deed], this.#countedTo);
    if (change.deed === "seen") this.#seenTo = Math.max(this.#seenTo, change.upto);
  }

  /**
   * The server did not do it.
   * @param {Change} change
   */
  undo(change) {
    this.#asked.delete(change);
  }

  // What a page shows -----------------------------------------------------------------------------------------------

  /**
   * @param {number} offset
   * @returns {Marked}
   */
  of(offset) {
    const { unread = false, archived = false, withdrawn = false } = this.#view(offset);
    return { offset, read: !unread, archived, seen: !unread || offset <= this.#seenView, withdrawn };
  }

  /** All that is known. */
  all() {
    return [...this.#known.keys()].map((offset) => this.of(offset));
  }

  /** @returns {Counts} */
  get counts() {
    let counts = this.#counts;
    if (this.#asked.size === 0) return counts;
    /** @type {Map<number, Known>} */
    const known = new Map(this.#known);
    for (const change of this.#asked) {
      counts = this.#countWith(counts, known, change);
      for (const offset of change.offsets) {
        const before = known.get(offset);
        if (before !== undefined) known.set(offset, { ...before, ...DONE[change.deed] });
      }
    }
    return counts;
  }

  get #seenView() {
    return Math.max(this.#seenTo, ...[...this.#asked].filter(({ deed }) => deed === "seen").map(({ upto }) => upto));
  }

  /** @param {number} offset */
  #view(offset) {
    let known = this.#known.get(offset) ?? { asOf: 0 };
    for (const { deed, offsets } of this.#asked) if (offsets.has(offset)) known = { ...known, ...DONE[deed] };
    return known;
  }

  /**
   * The counts, were a change done.
   * @param {Counts} counts
   * @param {Map<number, Known>} known
   * @param {Change} change
   * @returns {Counts}
   */
  #countWith({ unread, unseen }, known, { deed, offsets, upto }) {
    const above = (/** @type {number} */ mark) => [...known].filter(([offset, one]) => offset > mark && one.unread === true).length;
    if (deed === "seen") return { unread, unseen: above(upto) };
    if (deed === "read" && upto > 0) return { unread: above(upto), unseen: above(Math.max(upto, this.#seenView)) };
    const after = DONE[deed].unread;
    const turned = [...offsets].filter((offset) => after !== undefined && known.get(offset)?.unread === !after);
    const fresh = turned.filter((offset) => offset > this.#seenView);
    const by = (/** @type {number[]} */ some) => (after ? some.length : -some.length);
    return { unread: Math.max(0, unread + by(turned)), unseen: Math.max(0, unseen + by(fresh)) };
  }

  /**
   * @param {number} offset
   * @param {Marking} marks
   * @param {number} asOf
   */
  #mark(offset, marks, asOf) {
    const known = this.#known.get(offset) ?? { asOf: 0 };
    if (known.asOf <= asOf) this.#learn(offset, { ...known, ...marks, asOf });
  }

  /**
   * @param {number} offset
   * @param {Known} known
   */
  #learn(offset, known) {
    this.#known.set(offset, known);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= KEPT) return;
      this.#known.delete(oldest);
    }
  }

  /**
   * What the server told needs our asking no longer; else its late answer could undo what another device did since.
   * @param {Deed} deed
   * @param {number} offset
   */
  #confirm(deed, offset) {
    for (const change of this.#asked) {
      if (change.deed === deed && change.offsets.delete(offset) && change.offsets.size === 0) change.upto = 0;
    }
  }
}
