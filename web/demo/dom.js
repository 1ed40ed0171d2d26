/** The page's elements: finding them, and drawing no more often than the browser does. */

export { el, svg } from "../client/dom.js";

/**
 * The element that a selector finds; the page's own markup, so that it is there is not in doubt.
 * @template {Element} Kind
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function find(root, selector, kind) {
  const element = root.querySelector(selector);
  if (!(element instanceof kind)) throw new Error(`no ${selector}`);
  return element;
}

/**
 * Many calls, one run: at the browser's next frame.
 * @param {() => void} run
 * @returns {() => void}
 */
export function onceAFrame(run) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      run();
    });
  };
}

/**
 * Starts a CSS animation again from its beginning, at most once a frame.
 * @param {Element} element
 * @param {string} name the class that has the animation
 */
export function replaying(element, name) {
  return onceAFrame(() => {
    element.classList.remove(name);
    // Reading a size makes the browser notice the removal.
    void element.getBoundingClientRect();
    element.classList.add(name);
  });
}
