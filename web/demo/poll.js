/** Asking again and again, but only while somebody looks. */

const EVERY_MS = 1_500;

/**
 * @param {() => Promise<unknown>} ask
 * @param {number} [every] milliseconds from an answer to the next question
 * @returns {() => void} asks at once, and goes on from there
 */
export function polling(ask, every = EVERY_MS) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let asking = false;
  const now = async () => {
    clearTimeout(timer);
    if (asking || document.visibilityState !== "visible") return;
    asking = true;
    // A gateway that is away for a moment is nothing to tell here; the panes tell it.
    await ask().catch(() => undefined);
    asking = false;
    timer = setTimeout(now, every);
  };
  document.addEventListener("visibilitychange", now);
  void now();
  return now;
}
