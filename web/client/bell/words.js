/** What a bell says, and how it says when something was. Pure. */

export const WORDS = {
  notifications: "Notifications",
  /** @param {number} count */
  fresh: (count) => `${count} new`,
  current: "All",
  unread: "Unread",
  archived: "Archived",
  markAll: "Mark all as read",
  markRead: "Mark as read",
  markUnread: "Mark as unread",
  archive: "Archive",
  unarchive: "Move back to the inbox",
  close: "Close",
  loading: "Loading",
  again: "Try again",
  failed: "The list could not be loaded.",
  /** @param {string} why */
  undone: (why) => `That was not done: ${why}.`,
  away: "Not connected. This list may be old.",
  nothing: { current: "Nothing here yet.", unread: "You have read everything.", archived: "Nothing is archived." },
  now: "now",
};

/** @typedef {typeof WORDS} Words */

const MOST = 99;

/** @param {number} count */
export function badge(count) {
  return count > MOST ? `${MOST}+` : String(count);
}

/** @type {readonly [limit: number, unit: Intl.RelativeTimeFormatUnit, seconds: number][]} */
const UNITS = [
  [3_600, "minute", 60],
  [86_400, "hour", 3_600],
  [604_800, "day", 86_400],
];

/**
 * How long ago, in few words: `now`, `5m ago`, `3h ago`, and a date for what is older than a week.
 * @param {string} createdAt RFC 3339
 * @param {number} now Unix time in milliseconds
 * @param {string | undefined} language
 * @param {string} [justNow]
 */
export function ago(createdAt, now, language, justNow = WORDS.now) {
  const at = Date.parse(createdAt);
  if (Number.isNaN(at)) return "";
  const seconds = Math.max(0, (now - at) / 1_000);
  if (seconds < 60) return justNow;
  for (const [limit, unit, length] of UNITS) {
    if (seconds >= limit) continue;
    return new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "narrow" }).format(-Math.floor(seconds / length), unit);
  }
  const sameYear = new Date(at).getFullYear() === new Date(now).getFullYear();
  const year = sameYear ? {} : { year: /** @type {const} */ ("numeric") };
  return new Intl.DateTimeFormat(language, { day: "numeric", month: "short", ...year }).format(at);
}

/**
 * The same, for those who want to know exactly.
 * @param {string} createdAt
 * @param {string | undefined} language
 */
export function exactly(createdAt, language) {
  const at = Date.parse(createdAt);
  return Number.isNaN(at) ? "" : new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "medium" }).format(at);
}

/**
 * Where a notification leads: `data.url`, if a page may go there by a click.
 * @param {any} data of the notification
 * @param {string} base address of the page
 * @returns {string | null}
 */
export function linkOf(data, base) {
  const url = typeof data?.url === "string" && URL.canParse(data.url, base) ? new URL(data.url, base) : null;
  return url !== null && (url.protocol === "https:" || url.protocol === "http:") ? url.href : null;
}
