"""The style sheet of the report: screens from 320 px up, light and dark, and paper."""

from __future__ import annotations

STYLE = """
:root { --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --panel: #f6f8fa; --line: #d8dee4;
  --link: #0060a8; --published: #fff6e5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9aa5b1; --paper: #0f1419; --panel: #171d24; --line: #323b45;
    --link: #79b8ff; --published: #2b2413; }
  .chart img { filter: invert(1) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 3rem) 3rem; max-width: 72rem; color: var(--ink);
  background: var(--paper); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
header { border-bottom: 1px solid var(--line); }
h1 { margin: 0.3rem 0; font-size: clamp(1.5rem, 5vw, 2.1rem); line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.6rem 0 0.4rem; font-size: 1.35rem; }
header p, section > p, footer { margin: 0.3rem 0 1rem; color: var(--soft); max-width: 46rem; overflow-wrap: anywhere; }
footer { margin-top: 3rem; padding-top: 0.8rem; border-top: 1px solid var(--line); font-size: 0.85rem; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; margin: 0.8rem 0 0; padding: 0; list-style: none; }
a { color: var(--link); }
figure { margin: 1.4rem 0; }
figcaption { margin: 0.3rem 0; font-weight: 600; }
.picture figcaption, .note { color: var(--soft); font-weight: 400; font-size: 0.9rem; }
.note { margin: 0.35rem 0 0; max-width: 46rem; overflow-wrap: anywhere; }
.picture img { display: block; max-width: 100%; height: auto; border-radius: 6px; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; width: fit-content; max-width: 100%; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.36rem 0.75rem; text-align: right; white-space: nowrap; }
thead th { background: var(--panel); font-weight: 600; vertical-align: bottom; }
thead th.group { text-align: center; border-left: 1px solid var(--line); }
tbody tr { border-top: 1px solid var(--line); }
th[scope=row], thead th[rowspan], thead tr:first-child th:first-child { text-align: left; font-weight: 500;
  position: sticky; left: 0; background: var(--paper); border-right: 1px solid var(--line); }
thead tr:first-child th:first-child { background: var(--panel); font-weight: 600; }
th[scope=row] { min-width: 9rem; max-width: 17rem; white-space: normal; overflow-wrap: anywhere; }
th.text { text-align: left; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
td.narrow { white-space: nowrap; min-width: 0; }
td.code, .code td { font-family: ui-monospace, monospace; font-size: 0.85em; }
tr.published th[scope=row], tr.published td { background: var(--published); }
.source { color: var(--soft); font-size: 0.8rem; font-weight: 400; }
sub { font-size: 0.75em; line-height: 0; }
@media (max-width: 520px) {
  body { padding-inline: 0.8rem; }
  th, td { padding: 0.32rem 0.5rem; }
  th[scope=row] { min-width: 6.4rem; max-width: 7.5rem; }
  .chart { overflow-x: auto; }
  .chart img { max-width: none; }
}
@media print {
  :root { --ink: #000; --soft: #333; --paper: #fff; --panel: #f2f2f2; --line: #bbb; --published: #fbf3e2; }
  .chart img { filter: none; }
  @page { size: A4; margin: 14mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 8pt; }
  th, td { padding: 0.2rem 0.35rem; }
  th[scope=row], td.text { max-width: none; }
  .picture img { max-height: 100mm; }
  tr.published th[scope=row], tr.published td, thead th {
    -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""
