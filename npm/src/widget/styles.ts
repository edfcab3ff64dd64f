/**
 * The element's styles. A constructed sheet needs no `unsafe-inline` in a page's content security
 * policy.
 */
export const STYLES = `
:host {
  --_accent: var(--tidewire-accent, light-dark(#0b6b8a, #56c4e4));
  --_on-accent: var(--tidewire-on-accent, light-dark(#ffffff, #04222d));
  --_own: var(--tidewire-own, light-dark(#0b6b8a, #1a6480));
  --_on-own: var(--tidewire-on-own, #ffffff);
  --_bg: var(--tidewire-bg, light-dark(#ffffff, #12181d));
  --_raised: var(--tidewire-raised, light-dark(#f1f5f7, #1d262d));
  --_fg: var(--tidewire-fg, light-dark(#16222a, #e6edf1));
  --_muted: var(--tidewire-muted, light-dark(#586a75, #97a9b4));
  --_border: var(--tidewire-border, light-dark(#d9e2e7, #2c3840));
  --_warn: light-dark(#8a5300, #f0b45a);
  --_bad: light-dark(#b3261e, #ff8f87);
  --_good: light-dark(#157347, #5fd39a);
  --_radius: var(--tidewire-radius, 16px);
  color-scheme: light dark;
  display: block;
  box-sizing: border-box;
  inline-size: 100%;
  block-size: min(576px, 100vh);
  block-size: min(576px, 100dvh);
  min-block-size: min(288px, 100dvh);
  font-family: var(--tidewire-font, system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif);
  /* Never smaller than what phones show without zooming in, whatever the page makes of its root. */
  --_size: max(16px, 1rem);
  font-size: var(--_size);
  line-height: 1.45;
  container-type: inline-size;
}
:host([hidden]) { display: none; }
:host([theme="light"]) { color-scheme: light; }
:host([theme="dark"]) { color-scheme: dark; }
*, *::before, *::after { box-sizing: border-box; }
.panel {
  display: flex;
  flex-direction: column;
  block-size: 100%;
  overflow: hidden;
  color: var(--_fg);
  background: var(--_bg);
  border: 1px solid var(--_border);
  border-radius: var(--_radius);
}
.header {
  display: flex;
  align-items: center;
  gap: 12px;
  padding: 14px 18px 12px;
  border-block-end: 1px solid var(--_border);
}
.badge {
  flex: none;
  display: grid;
  place-items: center;
  inline-size: 38px;
  block-size: 38px;
  border-radius: 12px;
  color: var(--_on-accent);
  background: var(--_accent);
}
.titles { min-inline-size: 0; flex: 1; }
h2 { margin: 0; font-size: calc(1 * var(--_size)); font-weight: 650; line-height: 1.3; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.status { display: flex; align-items: baseline; gap: 7px; min-block-size: 24px; font-size: calc(0.8125 * var(--_size)); color: var(--_muted); font-variant-numeric: tabular-nums; }
.status .dot { flex: none; align-self: flex-start; margin-block-start: calc(0.7em - 3px); inline-size: 8px; block-size: 8px; border-radius: 50%; background: var(--_muted); }
.status[data-tone="good"] .dot { background: var(--_good); }
.status[data-tone="busy"] .dot { background: var(--_warn); animation: pulse 1.4s ease-in-out infinite; }
.status[data-tone="warn"] .dot { background: var(--_warn); }
.status[data-tone="warn"] .words, .status[data-tone="busy"] .words { color: var(--_warn); }
.status[data-tone="bad"] .dot { background: var(--_bad); }
.status[data-tone="bad"] .words { color: var(--_bad); }
.notice {
  display: flex;
  align-items: center;
  gap: 10px;
  padding: 9px 18px;
  font-size: calc(0.8125 * var(--_size));
  color: var(--_fg);
  background: color-mix(in srgb, var(--_warn) 13%, var(--_bg));
  border-block-end: 1px solid var(--_border);
}
.notice[data-tone="bad"] { background: color-mix(in srgb, var(--_bad) 12%, var(--_bg)); }
.notice .words { flex: 1; }
.stage { position: relative; flex: 1; min-block-size: 0; }
.log { block-size: 100%; overflow-y: auto; overscroll-behavior: contain; padding: 14px 18px 12px; scrollbar-width: thin; scrollbar-color: var(--_border) transparent; }
.empty { block-size: 100%; display: flex; flex-direction: column; align-items: center; justify-content: center; gap: 6px; text-align: center; text-wrap: balance; color: var(--_muted); padding: 24px; }
.empty strong { color: var(--_fg); font-weight: 600; font-size: calc(1.0625 * var(--_size)); }
.empty svg { inline-size: 34px; block-size: 34px; color: var(--_accent); margin-block-end: 6px; }
.end { block-size: 1px; margin-block-start: -1px; }
.row { position: relative; display: flex; flex-direction: column; align-items: flex-start; margin-block-start: 14px; }
.gap[hidden] + .row { margin-block-start: 0; }
.row.grouped { margin-block-start: 4px; }
.row.own { align-items: flex-end; }
.day { align-self: center; margin-block: 6px 12px; padding: 2px 12px; border-radius: 999px; font-size: calc(0.75 * var(--_size)); color: var(--_muted); background: var(--_raised); }
.by { max-inline-size: 100%; overflow-wrap: anywhere; margin-inline: 4px; margin-block-end: 4px; font-size: calc(0.75 * var(--_size)); font-weight: 600; color: var(--_muted); }
.row.grouped .by { display: none; }
.own .by { position: absolute; inline-size: 1px; block-size: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.row.own.grouped .by { display: block; }
.gap { margin-block-end: 10px; padding: 2px 12px 12px; border-block-end: 1px dashed var(--_border); font-size: calc(0.8125 * var(--_size)); color: var(--_muted); text-align: center; text-wrap: balance; }
.bubble {
  max-inline-size: min(88%, 640px);
  padding: 9px 14px;
  border-radius: 16px;
  border-end-start-radius: 5px;
  background: var(--_raised);
  white-space: pre-wrap;
  overflow-wrap: anywhere;
}
.own .bubble { border-end-start-radius: 16px; border-end-end-radius: 5px; color: var(--_on-own); background: var(--_own); }
.own[data-state="saving"] .bubble, .own[data-state="queued"] .bubble { color: var(--_fg); background: color-mix(in srgb, var(--_accent) 20%, var(--_bg)); }
.own[data-state="failed"] .bubble { color: var(--_fg); background: color-mix(in srgb, var(--_bad) 12%, var(--_bg)); box-shadow: inset 0 0 0 1px var(--_bad); }
.row[data-state="stopped"] .bubble, .row[data-state="interrupted"] .bubble { background: transparent; box-shadow: inset 0 0 0 1px var(--_border); }
.row[data-state="error"] .bubble { background: color-mix(in srgb, var(--_bad) 9%, var(--_bg)); box-shadow: inset 0 0 0 1px color-mix(in srgb, var(--_bad) 45%, transparent); }
.bubble:empty { display: none; }
.row[data-state="streaming"] .bubble { display: block; }
.row[data-state="streaming"] .bubble::after { content: ""; display: inline-block; inline-size: 7px; block-size: 1.05em; margin-inline-start: 3px; vertical-align: -0.18em; border-radius: 2px; background: var(--_accent); animation: blink 1.1s steps(2, jump-none) infinite; }
.row[data-state="streaming"][data-paused] .bubble::after { animation: none; opacity: 0.35; }
.meta { display: flex; align-items: center; flex-wrap: wrap; gap: 5px; margin-block-start: 3px; margin-inline: 4px; font-size: calc(0.75 * var(--_size)); color: var(--_muted); }
.own .meta { justify-content: flex-end; }
.meta svg { flex: none; inline-size: 14px; block-size: 14px; }
.meta .mark { display: inline-flex; align-items: flex-start; gap: 4px; }
.meta .mark svg { margin-block-start: 0.1em; }
.row[data-state="queued"] .mark, .row[data-state="saving"] .mark, .row[data-state="interrupted"] .mark, .row[data-paused] .mark { color: var(--_warn); }
.row[data-state="failed"] .mark, .row[data-state="error"] .mark { color: var(--_bad); }
.row[data-state="sent"] .mark svg { color: var(--_accent); }
button { font: inherit; color: inherit; cursor: pointer; }
.small { min-block-size: 26px; padding: 2px 11px; border: 1px solid var(--_border); border-radius: 999px; background: var(--_bg); color: var(--_fg); font-size: calc(0.75 * var(--_size)); font-weight: 600; }
.small:hover { background: var(--_raised); }
.earlier { display: block; margin: 0 auto 12px; }
.earlier[hidden] { display: none; }
.jump { position: absolute; inset-block-end: 12px; inset-inline: 0; margin-inline: auto; inline-size: fit-content; display: flex; align-items: center; gap: 6px; min-block-size: 32px; padding: 4px 15px; border: 0; border-radius: 999px; color: var(--_on-accent); background: var(--_accent); font-size: calc(0.8125 * var(--_size)); font-weight: 600; box-shadow: 0 4px 16px rgb(0 0 0 / 0.22); }
.below { min-block-size: 26px; padding: 0 22px 4px; font-size: calc(0.8125 * var(--_size)); color: var(--_muted); }
.typing { display: flex; align-items: center; gap: 8px; }
.typing .words { min-inline-size: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.dots { flex: none; display: flex; gap: 3px; }
.dots i { inline-size: 5px; block-size: 5px; border-radius: 50%; background: var(--_accent); animation: pulse 1.4s ease-in-out infinite; }
.dots i:nth-child(2) { animation-delay: 0.2s; }
.dots i:nth-child(3) { animation-delay: 0.4s; }
.footer { padding: 10px 12px 12px; border-block-start: 1px solid var(--_border); }
.hint { padding: 0 8px 8px; font-size: calc(0.8125 * var(--_size)); color: var(--_warn); }
.hint[data-tone="bad"] { color: var(--_bad); }
.composer { display: flex; align-items: flex-end; gap: 6px; padding: 5px; border: 1px solid var(--_border); border-radius: 22px; background: var(--_raised); }
.composer:focus-within { border-color: var(--_accent); box-shadow: 0 0 0 1px var(--_accent); }
textarea { flex: 1; min-inline-size: 0; max-block-size: calc(6 * 1.45em + 14px); padding: 7px 11px; border: 0; outline: 0; resize: none; background: none; color: inherit; font: inherit; line-height: 1.45; overflow-y: auto; scrollbar-width: thin; }
textarea::placeholder { color: var(--_muted); opacity: 1; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.round { flex: none; display: grid; place-items: center; inline-size: 36px; block-size: 36px; padding: 0; border: 0; border-radius: 50%; color: var(--_on-accent); background: var(--_accent); transition: opacity 0.15s, transform 0.1s; }
.round:active { transform: scale(0.94); }
.round:disabled { opacity: 0.4; cursor: default; transform: none; }
.stop { display: flex; align-items: center; gap: 7px; inline-size: auto; padding-inline: 13px; border-radius: 999px; color: var(--_fg); background: var(--_bg); box-shadow: inset 0 0 0 1px var(--_border); font-size: calc(0.8125 * var(--_size)); font-weight: 600; }
.round svg { inline-size: 18px; block-size: 18px; }
.stop svg { inline-size: 16px; block-size: 16px; fill: currentColor; color: var(--_bad); }
:focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px; }
textarea:focus-visible { outline: none; }
[hidden] { display: none !important; }
.unseen { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@keyframes blink { from { opacity: 1; } to { opacity: 0.1; } }
@keyframes pulse { 50% { opacity: 0.3; } }
@container (max-width: 380px) {
  .header { padding-inline: 14px; }
  .log { padding-inline: 12px; }
  .notice { padding-inline: 14px; }
  .below { padding-inline: 16px; }
  .bubble { max-inline-size: 92%; }
  .stop { padding-inline: 11px; }
  .stop .word { display: none; }
}
@media (prefers-reduced-motion: reduce) {
  *, *::before, *::after { animation: none !important; transition: none !important; }
}
@media (forced-colors: active) {
  .bubble, .composer, .small, .round, .jump { border: 1px solid ButtonText; }
  .composer:focus-within { outline: 2px solid Highlight; outline-offset: 2px; }
  .status .dot { forced-color-adjust: none; }
  .dots i { background: CanvasText; }
  .row[data-state="streaming"] .bubble::after { background: CanvasText; }
}
`;
