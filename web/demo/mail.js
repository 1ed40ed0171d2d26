/** What a mail says, for the pages that show it. Pure. */

/** @typedef {import("./api.js").Mail} Mail */

/** Nothing of a mail runs, and nothing of it is fetched: what it looks like must come with it. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/**
 * A mail's HTML as a document of its own, for a sandboxed frame. Its links lead to new pages.
 * @param {string} html
 */
export function framed(html) {
  return `<!doctype html><meta http-equiv="Content-Security-Policy" content="${POLICY}"><base target="_blank">${html}`;
}

/**
 * To whom it went, as bare addresses in small letters.
 * @param {Pick<Mail, "to">} mail
 */
export function addressesOf({ to }) {
  return [to].flat().map((address) => (/<([^>]*)>\s*$/.exec(address)?.[1] ?? address).trim().toLowerCase());
}

/**
 * The first line that says more than the subject.
 * @param {Pick<Mail, "subject" | "text">} mail
 */
export function preview({ subject, text }) {
  const lines = text.split("\n").map((line) => line.trim());
  return lines.find((line) => line !== "" && line !== subject) ?? "";
}
