/** Recent latencies as a line the size of a word. */

import { svg } from "./dom.js";

const WIDTH = 96;
const HEIGHT = 24;
/** The scale never shrinks below this many milliseconds, or noise would look like news. */
const FLOOR = 10;

export class Sparkline {
  #line = svg("polyline", { class: "spark-line" });
  #dot = svg("circle", { class: "spark-dot", r: 2.4 });

  /** @param {Element} parent */
  constructor(parent) {
    parent.append(svg("svg", { viewBox: `-3 -3 ${WIDTH + 6} ${HEIGHT + 6}`, width: WIDTH, height: HEIGHT }, this.#line, this.#dot));
    this.draw([]);
  }

  /** @param {readonly number[]} values oldest first */
  draw(values) {
    const top = Math.max(FLOOR, ...values);
    const step = WIDTH / Math.max(values.length - 1, 1);
    // A square root keeps one slow delivery from flattening all the others.
    const points = values.map((value, i) => [i * step, HEIGHT * (1 - Math.sqrt(value / top))]);
    this.#line.setAttribute("points", points.map(([x = 0, y = 0]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "));
    const [x = 0, y = 0] = points.at(-1) ?? [];
    this.#dot.setAttribute("cx", x.toFixed(1));
    this.#dot.setAttribute("cy", y.toFixed(1));
    this.#dot.classList.toggle("absent", points.length === 0);
  }
}
