/** What goes into the machine and what comes out of it: types only. */

/**
 * @typedef {import("./protocol.js").Json} Json
 * @typedef {import("./protocol.js").ReplyError} ReplyError
 *
 * @typedef {"idle" | "authorizing" | "connecting" | "connected" | "waiting" | "ended"} State
 *
 * @typedef {{on: "start"} | {on: "stop"} | {on: "tick"}
 *   | {on: "token", topic: string | null, token: string}
 *   | {on: "noToken", topic: string | null, final: boolean}
 *   | {on: "received", link: number, text: string}
 *   | {on: "closed", link: number, code: number, reason: string}
 *   | {on: "online"} | {on: "offline"} | {on: "awake"}
 *   | {on: "subscribe", topic: string, needsToken: boolean}
 *   | {on: "unsubscribe", topic: string}
 *   | {on: "tell", data: unknown}
 *   | {on: "call", key: unknown, method: string, params: Json}} Event
 *
 * @typedef {{do: "authorize", topic: string | null}
 *   | {do: "open", link: number, message: string}
 *   | {do: "send", message: string}
 *   | {do: "close"}
 *   | {do: "emit", event: string, detail: Json}
 *   | {do: "settle", key: unknown, result: Json | null, error: ReplyError | null}} Effect
 */

export {};
