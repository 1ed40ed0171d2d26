/** Several transports as one: when a link breaks before it has said a word, the next attempt takes the next transport. */

/**
 * @param {import("./transport.js").Transport[]} transports best first
 * @returns {import("./transport.js").Transport}
 */
export function firstThatWorks(...transports) {
  let turn = 0;
  return (base, first, ears) => {
    const transport = transports[turn % transports.length];
    if (transport === undefined) throw new Error("no transports");
    let heard = false;
    return transport(base, first, {
      message: (text) => {
        heard = true;
        ears.message(text);
      },
      closed: (code, reason) => {
        if (!heard) turn += 1;
        ears.closed(code, reason);
      },
    });
  };
}
