"""How the report page looks: its style sheets, light or dark as the reader's system asks."""

from typing import Final

STYLE: Final = """
:root {
  --paper: #fbfaf8; --card: #fff; --ink: #1d1f23; --soft: #6b7078; --line: #e4e1db; --accent: #b3541e; --bad: #b3261e;
  --c0: #b3541e; --c1: #2b6cb0; --c2: #2f855a; --c3: #805ad5; --c4: #b7791f; --c5: #4a5568;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171a; --card: #1d2024; --ink: #e8e6e2; --soft: #9aa0a8; --line: #31353b; --accent: #f0965a;
    --bad: #ff8a80; --c0: #f0965a; --c1: #7ab8f5; --c2: #7bd3a0; --c3: #b79cf0; --c4: #e5c06b; --c5: #a9b1bd;
  }
}
* { box-sizing: border-box }
html { scroll-behavior: smooth }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
header, main { max-width: 1180px; margin: 0 auto; padding: 0 24px }
header { padding-top: 36px }
h1 { font-size: 34px; margin: 0; letter-spacing: -0.02em; overflow-wrap: anywhere }
h2 { font-size: 22px; margin: 0 0 14px; letter-spacing: -0.01em }
h3 { font-size: 16px; margin: 0 } main > section > h3 { margin: 22px 0 10px }
h4 { font-size: 14px; font-weight: 400; color: var(--soft); margin: 0 0 6px } h4 b { color: var(--ink) }
section { padding: 30px 0 6px; border-top: 1px solid var(--line); margin-top: 26px }
.sub { color: var(--soft); margin: 2px 0 10px } .sub b { color: var(--ink) }
.note { color: var(--soft); font-size: 14px; max-width: 80ch; margin: 10px 0 }
.soft { color: var(--soft) } .bad { color: var(--bad) }
.warn { border-left: 3px solid var(--accent); padding: 8px 14px; background: var(--card); margin: 0 0 18px }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-top: 18px; font-size: 14px }
a { color: var(--accent); text-decoration: none } a:hover { text-decoration: underline }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin-top: 18px }
.fact { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px }
.fact b { display: block; font-size: 26px; font-weight: 600; line-height: 1.2; font-variant-numeric: tabular-nums }
.fact span { display: block } .fact small { color: var(--soft); display: block }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-size: 14px; min-width: 50% } table.stages { width: 100% }
th { text-align: left; font-weight: 500; color: var(--soft) }
th, td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); vertical-align: middle }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap } td.wide { width: 45% }
tr.mean td { font-weight: 600 }
td small { color: var(--soft) }
.bar { background: color-mix(in srgb, var(--line) 55%, transparent); border-radius: 4px; overflow: hidden }
.bar i { display: block; height: 12px; background: var(--accent); border-radius: 4px; min-width: 3px }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(128px, 1fr)); gap: 10px }
figure { margin: 0 } figcaption { font-size: 12px; color: var(--soft); text-align: center; padding-top: 3px }
img, video { width: 100%; display: block; border-radius: 8px; background: #fff }
.grid img { border: 1px solid var(--line) }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 22px }
.three { display: grid; grid-template-columns: repeat(3, 1fr); gap: 6px }
.models, .avatars { display: grid; grid-template-columns: repeat(auto-fill, minmax(400px, 1fr)); gap: 18px }
article { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px 18px }
.turn { display: grid; grid-template-columns: 1fr 1fr; gap: 10px; margin-bottom: 10px }
.strip img { border-radius: 4px; border: 1px solid var(--line) } .strip { margin-top: 8px }
svg { width: 100%; height: auto; display: block }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft) }
svg .rule { stroke: var(--line); stroke-width: 1 }
svg rect, svg circle { fill: var(--c) }
polyline { fill: none; stroke: var(--c); stroke-linejoin: round }
.raw { opacity: 0.28; stroke-width: 1 } .smooth { stroke-width: 1.8 }
.c0 { --c: var(--c0) } .c1 { --c: var(--c1) } .c2 { --c: var(--c2) }
.c3 { --c: var(--c3) } .c4 { --c: var(--c4) } .c5 { --c: var(--c5) }
.switch { font-size: 14px; color: var(--soft); display: inline-block; margin-bottom: 10px }
.linear { display: none }
section:has(#log:not(:checked)) .linear { display: block } section:has(#log:not(:checked)) .log { display: none }
.live { width: 100%; aspect-ratio: 4 / 3; border: 1px solid var(--line); border-radius: 8px; display: block;
  margin-top: 8px; background: #fff }
details { margin: 12px 0 } summary { cursor: pointer; color: var(--accent) }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px; overflow-x: auto;
  font-size: 13px }
code { font-size: 13px }
@media (max-width: 600px) { .pairs, .models, .avatars { grid-template-columns: 1fr } td.wide { min-width: 120px } }
@media print { nav, .switch { display: none } section { break-inside: avoid } }
"""

LIVE_STYLE: Final = """
body { margin: 0 } a { display: block; height: 100vh; position: relative; background: #fff }
img { width: 100%; height: 100%; object-fit: contain; opacity: 0.75 } a:hover img { opacity: 1 }
b { position: absolute; left: 50%; top: 50%; transform: translate(-50%, -50%); font: 500 15px system-ui, sans-serif;
  color: #fff; background: rgb(20 22 25 / 72%); border-radius: 20px; padding: 7px 18px }
"""
"""Of a picture that becomes a page when it is clicked."""
