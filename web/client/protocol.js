/**
 * The wire: JSON objects joined by line breaks, both ways (Centrifuge client protocol v2, JSON). Decoding never
 * throws: what is not a message of the protocol becomes one that says so.
 */

/**
 * @typedef {Record<string, unknown>} Json
 *
 * @typedef {object} Publication
 * @property {unknown} [data]
 * @property {boolean} [removed] it was withdrawn: nothing is left of it but its offset
 * @property {number} [offset] place in the topic's history, from 1; absent: it has none
 * @property {Json} [info] of the client that published, if a client did
 *
 * @typedef {object} SubscribeResult
 * @property {boolean} [recoverable]
 * @property {boolean} [recovered] everything since the asked position is in `publications`
 * @property {boolean} [was_recovering]
 * @property {string} [epoch]
 * @property {number} [offset]
 * @property {Publication[]} [publications]
 * @property {boolean} [expires]
 * @property {number} [ttl] seconds
 *
 * @typedef {object} ConnectResult
 * @property {string} [client]
 * @property {Record<string, SubscribeResult>} [subs]
 * @property {number} [ping] seconds between the server's pings
 * @property {boolean} [pong] whether it wants an answer to them
 * @property {boolean} [expires]
 * @property {number} [ttl] seconds
 * @property {string} [session] of an emulated transport
 * @property {string} [node] of an emulated transport
 *
 * @typedef {{code: number, message: string, temporary?: boolean}} ReplyError
 *
 * @typedef {{kind: "ping"}
 *   | {kind: "reply", id: number, error: ReplyError | null, body: Json}
 *   | {kind: "push", channel: string, push: Json}
 *   | {kind: "malformed"}} Message
 */

/**
 * Commands to one message.
 * @param {Json[]} commands
 */
export function encode(commands) {
  return commands.map((command) => JSON.stringify(command)).join("\n");
}

/**
 * One message to what it says, in order.
 * @param {string} text
 * @returns {Message[]}
 */
export function decode(text) {
  return text.split("\n").filter((line) => line.trim() !== "").map(decodeOne);
}

/**
 * @param {string} line
 * @returns {Message}
 */
function decodeOne(line) {
  const message = parse(line);
  if (message === null) return { kind: "malformed" };
  if (typeof message.id === "number" && message.id > 0) return asReply(message.id, message);
  if (isObject(message.push)) {
    const channel = typeof message.push.channel === "string" ? message.push.channel : "";
    return { kind: "push", channel, push: message.push };
  }
  return Object.keys(message).length === 0 ? { kind: "ping" } : { kind: "malformed" };
}

/**
 * @param {number} id
 * @param {Json} body
 * @returns {Message}
 */
function asReply(id, body) {
  const { error } = body;
  if (error === undefined) return { kind: "reply", id, error: null, body };
  if (!isObject(error) || typeof error.code !== "number") return { kind: "malformed" };
  return {
    kind: "reply",
    id,
    error: { code: error.code, message: String(error.message ?? ""), temporary: error.temporary === true },
    body,
  };
}

/**
 * @param {string} line
 * @returns {Json | null}
 */
function parse(line) {
  try {
    const value = JSON.parse(line);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/**
 * @param {unknown} value
 * @returns {value is Json}
 */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Whether a publication is the server's word on what became of others, and nothing to show. A client that is allowed to
 * publish cannot forge one: what it says comes with who it is.
 * @param {Publication} publication
 */
export function tells({ data, info }) {
  return info === undefined && isObject(data) && data.type === "tocsin.state";
}
