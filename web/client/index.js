/** What the browser client offers. */

export { Refused, Tocsin, TocsinError } from "./client.js";
export { firstThatWorks } from "./fallback.js";
export { sse } from "./sse.js";
export { websocket } from "./websocket.js";
