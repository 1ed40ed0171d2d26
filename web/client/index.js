/** What the browser client offers. `bell.js` is a module of its own: it defines an element when it is imported. */

export { Refused, Tocsin, TocsinError } from "./client.js";
export { firstThatWorks } from "./fallback.js";
export { sse } from "./sse.js";
export { pushToThisBrowser } from "./webpush.js";
export { websocket } from "./websocket.js";
