/** A person's trail of a notification as a line of steps, for people. Pure. */

import { NAMES } from "./choices.js";

/**
 * @typedef {object} Trace
 * @property {string} at RFC 3339
 * @property {string} kind
 * @property {string} [channel]
 * @property {string} [reason]
 * @property {number} [attempt]
 *
 * @typedef {object} Person
 * @property {Trace[]} trail oldest first
 * @property {{channel: string, due: string}[]} waiting steps that are still to come; due: RFC 3339
 *
 * @typedef {object} Tracked
 * @property {string} state accepted, scheduled, published, withdrawn, buried, expired
 * @property {string} [at] when it is due, while it waits for that; RFC 3339
 * @property {string[]} [buried] why it is among the dead letters
 * @property {Person | null} recipient
 * @property {string} summary in words; "" where nothing is known
 *
 * @typedef {object} ShownStep
 * @property {string} name
 * @property {string} when
 * @property {string} why
 * @property {"good" | "out" | "bad" | "spared" | "next"} kind
 */

/** What happened, and how it looks. `%` stands for the channel. */
/** @type {Record<string, readonly [text: string, kind: ShownStep["kind"]]>} */
const KINDS = {
  written: ["On screen", "good"],
  acked: ["Arrived", "good"],
  read: ["Read", "good"],
  unread: ["Unread again", "out"],
  archived: ["Archived", "good"],
  unarchived: ["Back in the inbox", "out"],
  queued: ["% is next", "out"],
  skipped: ["No %", "spared"],
  deferred: ["% waits", "out"],
  cancelled: ["No % needed", "spared"],
  digested: ["% gathers", "out"],
  sent: ["% sent", "good"],
  delivered: ["% delivered", "good"],
  failed: ["% failed", "bad"],
  retry: ["% tries again", "bad"],
  gone: ["% is gone", "bad"],
  expired: ["% too late", "bad"],
  withdrawn: ["Withdrawn", "spared"],
};

/**
 * @param {Tracked} found
 * @param {number} since when it was sent; Unix time in milliseconds
 * @param {number} now
 * @returns {ShownStep[]} oldest first, what is to come last
 */
export function stepsOf({ state, at, buried = [], recipient }, since, now) {
  /** @type {ShownStep[]} */
  const steps = [{ name: "Accepted", when: "", why: "", kind: "good" }];
  for (const trace of (recipient?.trail ?? []).filter(telling)) {
    const [text, look] = KINDS[trace.kind] ?? [trace.kind, "out"];
    const when = after((Date.parse(trace.at) - since) / 1_000);
    steps.push({ name: capital(text.replace("%", named(trace.channel ?? ""))), when, why: reasonOf(trace), kind: look });
  }
  for (const why of buried) steps.push({ name: "Buried", when: "", why, kind: "bad" });
  if (state === "withdrawn" && !recipient?.trail.some(({ kind }) => kind === "withdrawn")) steps.push({ name: "Withdrawn", when: "", why: "", kind: "spared" });
  const waiting = [...(recipient?.waiting ?? []).map(({ channel, due }) => ({ name: named(channel), due })), ...(at ? [{ name: "goes out", due: at }] : [])];
  for (const { name, due } of waiting) steps.push({ name: capital(name), when: until((Date.parse(due) - now) / 1_000), why: "", kind: "next" });
  return steps;
}

/**
 * Whether it says more than what comes after it: that a sender has it is no news once the sender has said something.
 * @param {Trace} trace
 * @param {number} index
 * @param {Trace[]} trail
 */
function telling({ kind, channel }, index, trail) {
  return kind !== "queued" || !trail.slice(index + 1).some((later) => later.channel === channel);
}

/** @param {Trace} trace */
function reasonOf({ kind, reason = "", attempt = 0 }) {
  const by = kind === "sent" && reason !== "" ? "by " : "";
  const tries = attempt > 1 ? ` (attempt ${attempt})` : "";
  return `${by}${plain(reason)}${tries}`;
}

/** @param {number} seconds to come */
function until(seconds) {
  const left = Math.ceil(seconds);
  if (left <= 0) return "now";
  return left < 120 ? `in ${left} s` : `in ${Math.round(left / 60)} min`;
}

/** @param {string} channel */
function named(channel) {
  return NAMES[channel]?.toLowerCase().replace("sms", "SMS") ?? channel;
}

/** @param {string} text */
function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * A sentence of the server's for people: times of day instead of dates.
 * @param {string} summary
 */
export function told(summary) {
  return summary.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (time) => SECONDS.format(Date.parse(time)));
}

const SECONDS = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/**
 * A reason for people: a time in it is given as one.
 * @param {string} reason
 */
function plain(reason) {
  return reason.replace(/until (\d{9,})(\.\d+)?/, (_, seconds) => `until ${CLOCK.format(Number(seconds) * 1_000)}`);
}

const CLOCK = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** @param {number} seconds since the beginning */
function after(seconds) {
  if (seconds < 0.0005) return "at once";
  if (seconds < 1) return `after ${Math.max(1, Math.round(seconds * 1_000))} ms`;
  if (seconds < 90) return `after ${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return `after ${Math.round(seconds / 60)} min`;
}
