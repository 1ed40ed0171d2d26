/** A link over a WebSocket. */

import { BROKEN } from "./codes.js";

/**
 * @param {(url: string) => WebSocket} [make] what makes the socket
 * @returns {import("./transport.js").Transport}
 */
export function websocket(make = (url) => new WebSocket(url)) {
  return (base, first, ears) => {
    const socket = make(`${base.replace(/^http/, "ws")}/connection/websocket`);
    let silent = false;
    socket.onopen = () => socket.send(first);
    socket.onmessage = (event) => {
      if (!silent) ears.message(String(event.data));
    };
    // An error is always followed by a close, which says all there is to know.
    socket.onclose = (event) => {
      if (silent) return;
      silent = true;
      ears.closed(event.code || BROKEN, event.reason);
    };
    return {
      send: (message) => socket.send(message),
      close: () => {
        silent = true;
        socket.close();
      },
    };
  };
}
