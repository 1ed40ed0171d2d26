/** How long things took, in milliseconds: the last ones kept, and what they amount to. Pure. */

export class Latencies {
  /** @type {number[]} */
  #last = [];
  #count = 0;
  #kept;

  /** @param {number} [kept] how many are looked at */
  constructor(kept = 60) {
    this.#kept = kept;
  }

  /** @param {number} milliseconds */
  add(milliseconds) {
    this.#count += 1;
    this.#last.push(milliseconds);
    if (this.#last.length > this.#kept) this.#last.shift();
  }

  /** Of all that ever came. */
  get count() {
    return this.#count;
  }

  /** The last ones, oldest first. */
  get last() {
    return this.#last;
  }

  /**
   * @param {number} share from 0 to 1
   * @returns {number | null} what that share of them did not exceed; null: there are none
   */
  within(share) {
    if (this.#last.length === 0) return null;
    const sorted = [...this.#last].sort((a, b) => a - b);
    return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null;
  }
}

/**
 * @param {string} createdAt RFC 3339, whole milliseconds
 * @param {number} arrived Unix time in milliseconds
 * @returns {number | null} null: there is no such time. Two clocks may disagree, so it is never less than 0.
 */
export function latency(createdAt, arrived) {
  const created = Date.parse(createdAt);
  return Number.isNaN(created) ? null : Math.max(0, arrived - created);
}

/**
 * For people: `<1 ms`, `12 ms`, `1.2 s`, `3 min`.
 * @param {number | null} milliseconds
 */
export function spell(milliseconds) {
  if (milliseconds === null) return "–";
  if (milliseconds < 1) return "<1 ms";
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 10_000) return `${(milliseconds / 1_000).toFixed(1)} s`;
  if (milliseconds < 120_000) return `${Math.round(milliseconds / 1_000)} s`;
  if (milliseconds < 7_200_000) return `${Math.round(milliseconds / 60_000)} min`;
  return `${Math.round(milliseconds / 3_600_000)} h`;
}
