/**
 * How a bell looks. A page changes it by custom properties (`--tocsin-…`) and by `::part()`; a style sheet object needs
 * no `unsafe-inline` in the page's policy.
 */

const CSS = `
:host {
  --_accent: var(--tocsin-accent, #8f5310);
  --_on-accent: var(--tocsin-on-accent, #fffdf8);
  --_paper: var(--tocsin-paper, #fffdf8);
  --_sunk: var(--tocsin-sunk, #f6f2e9);
  --_ink: var(--tocsin-ink, #1d2327);
  --_muted: var(--tocsin-muted, #5f6260);
  --_line: var(--tocsin-line, #e2dac9);
  --_danger: var(--tocsin-danger, #a5321c);
  --_radius: var(--tocsin-radius, 14px);
  --_shadow: var(--tocsin-shadow, 0 2px 6px rgb(20 20 20 / 8%), 0 18px 44px -12px rgb(20 20 20 / 28%));
  position: relative; display: inline-block; block-size: fit-content; font: var(--tocsin-font, inherit); line-height: 1.4; color: var(--_ink);
}
:host([hidden]) { display: none; }
@supports (color: light-dark(#000, #fff)) {
  :host {
    --_accent: var(--tocsin-accent, light-dark(#8f5310, #e0a458));
    --_on-accent: var(--tocsin-on-accent, light-dark(#fffdf8, #1a1206));
    --_paper: var(--tocsin-paper, light-dark(#fffdf8, #1b2126));
    --_sunk: var(--tocsin-sunk, light-dark(#f6f2e9, #242b31));
    --_ink: var(--tocsin-ink, light-dark(#1d2327, #e9e6df));
    --_muted: var(--tocsin-muted, light-dark(#5f6260, #a2a69f));
    --_line: var(--tocsin-line, light-dark(#e2dac9, #333b42));
    --_danger: var(--tocsin-danger, light-dark(#a5321c, #f0907b));
  }
}
*, *::before, *::after { box-sizing: border-box; }
[hidden] { display: none !important; }
button, a { font: inherit; color: inherit; text-decoration: none; }
button { padding: 0; border: 0; background: none; cursor: pointer; }
:focus-visible { outline: 2.5px solid var(--_accent); outline-offset: 2px; }
svg { display: block; inline-size: 1em; block-size: 1em; fill: none; stroke: currentColor; stroke-width: 1.7; stroke-linecap: round; stroke-linejoin: round; }
.hidden { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

.ring { position: relative; display: grid; place-items: center; inline-size: 2.5rem; block-size: 2.5rem; border-radius: 50%; }
.ring:hover, .ring[aria-expanded="true"] { background: var(--_sunk); }
.ring svg { inline-size: 1.45rem; block-size: 1.45rem; }
.ring .clapper { fill: currentColor; stroke: none; }
.ring .sway { transform-origin: 50% 12%; }
.ring.ringing .sway { animation: sway 700ms ease-out; }
@keyframes sway { 15% { rotate: 14deg; } 40% { rotate: -10deg; } 65% { rotate: 5deg; } 85% { rotate: -2deg; } }
.badge {
  position: absolute; inset-block-start: 0.1rem; inset-inline-end: 0; min-inline-size: 1.15rem; padding-inline: 0.28rem;
  border-radius: 1rem; background: var(--_accent); color: var(--_on-accent); box-shadow: 0 0 0 2px var(--_paper);
  font-size: 0.6875rem; font-weight: 700; line-height: 1.15rem; text-align: center; font-variant-numeric: tabular-nums;
}

.panel {
  position: absolute; z-index: var(--tocsin-layer, 30); inset-block-start: calc(100% + 0.5rem); inset-inline-end: 0;
  display: grid; grid-template-rows: auto auto minmax(0, 1fr) auto; inline-size: 24rem; max-inline-size: calc(100vw - 2rem);
  max-block-size: min(34rem, calc(100vh - 7rem)); overflow: hidden; border: 1px solid var(--_line);
  border-radius: var(--_radius); background: var(--_paper); box-shadow: var(--_shadow); animation: unfold 140ms ease-out;
}
.panel.from-start { inset-inline: 0 auto; }
.panel:focus { outline: none; }
@keyframes unfold { from { opacity: 0; translate: 0 -4px; } }
.head { display: flex; align-items: center; gap: 0.5rem; padding: 0.75rem 0.75rem 0.25rem 1rem; }
.head:dir(rtl) { padding-inline: 1rem 0.75rem; }
h2 { flex: 1; margin: 0; font-size: 1.0625rem; font-weight: 650; }
.icon { display: grid; place-items: center; inline-size: 2rem; block-size: 2rem; border-radius: 50%; color: var(--_muted); font-size: 1.1rem; }
.icon:hover { background: var(--_sunk); color: var(--_ink); }
.bar { display: flex; flex-wrap: wrap; align-items: center; gap: 0.25rem 0.5rem; padding: 0.25rem 1rem 0.6rem; font-size: 0.8125rem; }
.filter { display: inline-flex; gap: 2px; margin: 0; padding: 2px; border: 0; border-radius: 9px; background: var(--_sunk); }
.filter label { position: relative; cursor: pointer; }
.filter input { position: absolute; inset: 0; margin: 0; opacity: 0; cursor: pointer; }
.filter span { display: block; padding: 0.2rem 0.65rem; border-radius: 7px; color: var(--_muted); }
.filter label:hover span { color: var(--_ink); }
.filter input:checked + span { background: var(--_paper); color: var(--_ink); box-shadow: 0 0 0 1px var(--_line); }
.filter input:focus-visible + span { outline: 2.5px solid var(--_accent); outline-offset: 1px; }
.all-read { margin-inline-start: auto; padding: 0.2rem 0.1rem; border-radius: 6px; color: var(--_muted); text-decoration: underline; text-decoration-color: var(--_line); text-underline-offset: 3px; }
.all-read:hover { color: var(--_ink); }

.scroll { overflow-y: auto; overscroll-behavior: contain; scrollbar-width: thin; border-block-start: 1px solid var(--_line); }
ul { margin: 0; padding: 0; list-style: none; }
.item { position: relative; border-block-end: 1px solid var(--_line); }
.item:last-child { border-block-end: 0; }
.open { display: grid; grid-template-columns: 0.75rem minmax(0, 1fr) auto; gap: 0.15rem 0.5rem; inline-size: 100%; padding: 0.7rem 1rem 0.7rem 0.6rem; text-align: start; }
.open:dir(rtl) { padding-inline: 0.6rem 1rem; }
.open:hover, .item:has(:focus-visible) .open { background: var(--_sunk); }
.open:focus-visible { outline-offset: -3px; border-radius: 6px; }
.dot { inline-size: 0.5rem; block-size: 0.5rem; margin-block-start: 0.42rem; border-radius: 50%; }
.unread .dot { background: var(--_accent); }
.said { display: grid; gap: 0.1rem; min-inline-size: 0; }
.title { overflow-wrap: anywhere; }
.unread .title { font-weight: 650; }
.body { display: -webkit-box; overflow: hidden; color: var(--_muted); font-size: 0.84rem; overflow-wrap: anywhere; -webkit-line-clamp: 3; line-clamp: 3; -webkit-box-orient: vertical; }
.time { padding-block-start: 0.15rem; color: var(--_muted); font-size: 0.75rem; white-space: nowrap; }
.actions { position: absolute; inset-block-start: 0.4rem; inset-inline-end: 0.6rem; display: flex; gap: 1px; border-radius: 8px; background: var(--_sunk); opacity: 0; }
.item:hover .actions, .item:has(:focus-visible) .actions { opacity: 1; }
.action { display: grid; place-items: center; inline-size: 1.9rem; block-size: 1.9rem; border-radius: 8px; color: var(--_muted); font-size: 1rem; }
.action:hover { background: var(--_paper); color: var(--_ink); }
@media (hover: none) {
  .open { min-block-size: 4.5rem; padding-inline-end: 1rem; }
  .body { padding-inline-end: 3rem; }
  .actions { inset-block: auto 0.35rem; background: none; opacity: 1; }
  .item:has(:focus-visible) .open { background: none; }
}

.state { display: grid; justify-items: center; gap: 0.7rem; margin: 0; padding: 2.6rem 1.5rem; color: var(--_muted); text-align: center; }
.state svg { inline-size: 2.2rem; block-size: 2.2rem; opacity: 0.5; stroke-width: 1.2; }
.again { padding: 0.35rem 0.9rem; border: 1px solid var(--_line); border-radius: 9px; color: var(--_ink); }
.again:hover { background: var(--_sunk); }
.blank { padding: 0.9rem 1rem; }
.blank::before, .blank::after { content: ""; display: block; block-size: 0.7rem; border-radius: 4px; background: var(--_line); opacity: 0.6; animation: wait 1.1s ease-in-out infinite alternate; }
.blank::before { inline-size: 55%; margin-block-end: 0.5rem; }
.blank::after { inline-size: 80%; }
@keyframes wait { to { opacity: 0.25; } }
.note { margin: 0; padding: 0.5rem 1rem; border-block-start: 1px solid var(--_line); background: var(--_sunk); color: var(--_muted); font-size: 0.8125rem; }
.note.trouble { color: var(--_danger); }

@media (max-width: 480px) {
  .panel, .panel.from-start { position: fixed; inset: auto 0.5rem 0.5rem; inline-size: auto; max-inline-size: none; max-block-size: min(36rem, 82vh); }
  @keyframes unfold { from { opacity: 0; translate: 0 12px; } }
}
@media (prefers-reduced-motion: reduce) {
  *, *::before, *::after { animation: none !important; transition: none !important; scroll-behavior: auto !important; }
}
@media (forced-colors: active) {
  .badge, .unread .dot { background: Highlight; color: HighlightText; }
}
`;

/** @type {CSSStyleSheet | undefined} */
let sheet;

/** One sheet for all bells of the page. */
export function style() {
  if (sheet === undefined) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}
