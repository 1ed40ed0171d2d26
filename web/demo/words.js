/** What a publication says, for people. Pure: whatever anybody sent becomes strings. */

/**
 * @param {any} data of a publication: a notification, or anything at all that a client published
 * @returns {{title: string, body: string, createdAt: string}} createdAt: "" when nobody said
 */
export function describe(data) {
  if (typeof data !== "object" || data === null) return { title: String(data), body: "", createdAt: "" };
  const title = text(data.title) || text(data.type);
  if (title === "") return { title: JSON.stringify(data), body: "", createdAt: "" };
  return { title, body: text(data.body), createdAt: text(data.created_at) };
}

/** @param {unknown} value */
function text(value) {
  return typeof value === "string" ? value : "";
}

/**
 * @param {number} count
 * @param {string} one
 * @param {string} many
 */
function plural(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}

/**
 * What came of an outage.
 * @param {{seconds: number, counts: ReadonlyMap<string, number>, lost: boolean}} outage counts: recovered per topic
 */
export function report({ seconds, counts, lost }) {
  const away = seconds < 1 ? "a moment" : plural(Math.round(seconds), "second", "seconds");
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  if (lost) return `Back after ${away}. It was too long: history no longer reaches that far, so something was missed.`;
  if (total === 0) return `Back after ${away}. Nothing had come meanwhile.`;
  const some = [...counts].filter(([, count]) => count > 0);
  const where = some.map(([topic, count]) => `${count} in ${topic === "inbox" ? "the inbox" : topic}`).join(", ");
  return `Back after ${away}. ${total} recovered (${where}), none missed.`;
}

/**
 * How the connection is, in a word or two.
 * @param {{state: string, reason?: string, delay?: number}} detail delay: milliseconds until the next attempt
 * @param {boolean} pulled
 */
export function stateWords({ state, reason, delay }, pulled) {
  if (pulled) return "unplugged";
  if (state === "connected") return "connected";
  if (state === "waiting") return `${reason || "lost"}; next try in ${((delay ?? 0) / 1_000).toFixed(1)} s`;
  if (state === "ended") return `refused: ${reason || "no reason given"}`;
  return state === "idle" ? "off" : "connecting";
}
