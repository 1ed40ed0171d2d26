/** One share's price over time, drawn as it comes. */

import { el, svg } from "./dom.js";

const WIDTH = 240;
const HEIGHT = 96;
const PAD = 4;
const DECADE = 10.2 * 365.25 * 86_400_000;
const MONTH = new Intl.DateTimeFormat("en", { month: "short", year: "numeric", timeZone: "UTC" });

/** @typedef {{at: number, price: number, drop: boolean}} Point at: Unix time in milliseconds */

export class Chart {
  #price = el("span", { class: "chart-price" }, "–");
  #change = el("span", { class: "chart-change" });
  #when = el("span", { class: "chart-when" });
  #area = svg("path", { class: "chart-area" });
  #line = svg("path", { class: "chart-line" });
  #drops = svg("g", { class: "chart-drops" });
  #now = svg("circle", { class: "chart-now", r: 3 });
  #svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" }, this.#area, this.#line, this.#drops, this.#now);
  /** @type {Map<number, Point>} by time, so that a price told twice is one */
  #points = new Map();
  #symbol;
  element;

  /** @param {string} symbol */
  constructor(symbol) {
    this.#symbol = symbol;
    const head = el("p", { class: "chart-head" }, el("strong", {}, symbol), this.#price, this.#change);
    this.element = el("li", { class: "chart" }, head, this.#svg, this.#when);
    this.draw();
  }

  clear() {
    this.#points.clear();
    this.draw();
  }

  /** @param {Point} point */
  add({ at, price, drop }) {
    this.#points.set(at, { at, price, drop: drop || this.#points.get(at)?.drop === true });
  }

  /** @param {number} [from] where the time axis begins, so that several charts share it */
  draw(from = Infinity) {
    const points = [...this.#points.values()].sort((a, b) => a.at - b.at);
    const last = points.at(-1);
    const place = scale(points, Math.min(from, points[0]?.at ?? Infinity));
    const path = points.map((point, i) => `${i === 0 ? "M" : "L"}${place(point).join(" ")}`).join("");
    const [x, y] = last ? place(last) : [0, HEIGHT - PAD];
    this.#line.setAttribute("d", path);
    const [left] = points[0] ? place(points[0]) : [PAD];
    this.#area.setAttribute("d", path && `${path}V${HEIGHT}H${left}Z`);
    this.#now.setAttribute("cx", String(x));
    this.#now.setAttribute("cy", String(y));
    this.#now.classList.toggle("absent", last === undefined);
    this.#drops.replaceChildren(...points.filter((point) => point.drop).map((point) => dot(place(point))));
    this.#caption(points[0], points.at(-2), last);
  }

  /**
   * @param {Point | undefined} first
   * @param {Point | undefined} previous
   * @param {Point | undefined} last
   */
  #caption(first, previous, last) {
    this.element.classList.toggle("silent", last === undefined);
    this.#price.textContent = last ? last.price.toFixed(2) : "–";
    const change = last && previous ? (last.price / previous.price - 1) * 100 : 0;
    this.#change.textContent = change === 0 ? "" : `${change > 0 ? "▲" : "▼"} ${Math.abs(change).toFixed(1)} %`;
    this.#change.classList.toggle("down", change < 0);
    this.#when.textContent = first && last ? `${MONTH.format(first.at)} – ${MONTH.format(last.at)}` : "not yet";
    const told = last ? `${this.#symbol}: ${last.price.toFixed(2)} in ${MONTH.format(last.at)}` : `${this.#symbol}: no prices yet`;
    this.#svg.setAttribute("aria-label", told);
  }
}

/**
 * @param {Point[]} points in order of time
 * @param {number} from
 * @returns {(point: Point) => [x: number, y: number]}
 */
function scale(points, from) {
  const span = Math.max(DECADE, (points.at(-1)?.at ?? 0) - from);
  const top = Math.max(...points.map((point) => point.price), 1) * 1.06;
  return ({ at, price }) => [
    round(PAD + ((at - from) / span) * (WIDTH - 2 * PAD)),
    round(HEIGHT - PAD - (price / top) * (HEIGHT - 2 * PAD)),
  ];
}

/** @param {[number, number]} place */
function dot([x, y]) {
  return svg("circle", { cx: x, cy: y, r: 2.6 });
}

/** @param {number} value */
function round(value) {
  return Math.round(value * 10) / 10;
}
