"""What every page has: a head that forbids the network, and the style."""

from html import escape

from g2rpo.report.palette import AFTER, BEFORE, GRID, INK, MUTED
from g2rpo.report.svg import SVG_STYLE

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Tells the browser to load nothing, whatever a completion may have smuggled in."""


def document(title: str, body: str, style: str = "") -> str:
    """A page that loads nothing; `style` comes on top of what every page has."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{SVG_STYLE}{STYLE}{style}</style></head><body><main>{body}</main></body></html>\n"
    )


STYLE = f"""
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #fff; color: {INK}; font: 14px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
main {{ max-width: 1232px; margin: 0 auto; padding: 24px 20px 48px; }}
h1 {{ font-size: 24px; margin: 0 0 6px; }}
h2 {{ font-size: 19px; margin: 0 0 2px; }}
h3 {{ font-size: 15px; margin: 20px 0 8px; }}
section {{ margin-top: 36px; padding-top: 20px; border-top: 1px solid {GRID}; }}
code, pre {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 12.5px; }}
.caption, .remark, .empty, .why, .facts, .command {{ color: {MUTED}; }}
.caption {{ margin: 0 0 16px; max-width: 1080px; }}
.state {{ font-size: 13px; font-weight: 400; color: {MUTED}; vertical-align: middle; }}
.state {{ border: 1px solid #c9d1d9; border-radius: 10px; padding: 1px 9px; }}
.choices {{ list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 2px 20px; color: {MUTED}; }}
.choices b {{ color: {INK}; font-weight: 600; }}
.command {{ margin: 4px 0 16px; overflow-wrap: anywhere; }}
.tiles {{ display: grid; grid-template-columns: 3fr 3fr 1.4fr 2fr; gap: 16px; }}
.tile {{ border: 1px solid {GRID}; border-radius: 6px; padding: 10px 14px; }}
.tile .name {{ color: {MUTED}; }}
.tile .value {{ font-size: 23px; font-weight: 600; line-height: 1.35; white-space: nowrap; }}
.tile .remark {{ font-size: 12.5px; }}
.up {{ color: #00694a; }}
.down {{ color: #a33b00; }}
.notes {{ margin-top: 16px; background: #fbf6e9; border: 1px solid #ead9a8; border-radius: 6px; padding: 8px 14px; }}
.notes ul {{ margin: 0; padding-left: 18px; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th {{ text-align: right; font-weight: 600; color: {MUTED}; border-bottom: 1px solid #c9d1d9; padding: 4px 8px; white-space: nowrap; }}
td {{ text-align: right; border-bottom: 1px solid {GRID}; padding: 4px 8px; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
tr.total td {{ font-weight: 600; border-bottom: none; }}
td svg.plot {{ display: inline-block; vertical-align: middle; }}
.chip {{ display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 7px; vertical-align: -1px; }}
.grid {{ display: grid; gap: 24px; }}
.grid + .grid {{ margin-top: 24px; }}
.grid.c2 {{ grid-template-columns: repeat(2, minmax(0, 1fr)); }}
.grid.c3 {{ grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 24px 20px; }}
figure {{ margin: 0; min-width: 0; }}
.card {{ border: 1px solid {GRID}; border-radius: 6px; padding: 10px 14px 12px; height: 100%; }}
.card .why {{ font-size: 12.5px; margin-bottom: 8px; overflow-wrap: anywhere; }}
.prompt {{ display: flex; gap: 14px; }}
.picture {{ flex: 0 0 176px; }}
.picture + div {{ flex: 1; min-width: 0; }}
.image {{ position: relative; line-height: 0; margin-bottom: 4px; border: 1px solid {GRID}; }}
.image img {{ width: 100%; height: auto; }}
.image .pixels {{ image-rendering: pixelated; }}
.image .empty {{ line-height: 1.4; }}
svg.boxes {{ position: absolute; inset: 0; width: 100%; height: 100%; }}
svg.boxes path {{ fill: none; vector-effect: non-scaling-stroke; }}
.question {{ margin: 0 0 8px; font-weight: 600; white-space: pre-wrap; overflow-wrap: anywhere; }}
.gold {{ margin: 0; overflow-wrap: anywhere; }}
.gold code {{ color: {INK}; background: #f3f5f7; padding: 1px 5px; border-radius: 3px; }}
.side {{ margin-top: 10px; }}
.when {{ display: inline-block; min-width: 52px; font-weight: 600; }}
.when.before {{ color: {BEFORE}; }}
.when.after {{ color: {AFTER}; }}
.verdict {{ display: inline-block; font-weight: 600; border-radius: 3px; padding: 0 7px; margin-right: 5px; }}
.verdict.right {{ background: #e0f2ea; color: #00563c; }}
.verdict.wrong {{ background: #fbe6dd; color: #8a3200; }}
.verdict.partly {{ background: #fbf3d9; color: #6b5200; }}
pre {{ margin: 4px 0 0; padding: 6px 9px; background: #f6f8fa; border-radius: 4px; max-height: 240px; overflow-y: auto; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
details {{ margin-top: 4px; color: {MUTED}; }}
details ul {{ margin: 6px 0 0; padding-left: 16px; color: {INK}; }}
footer {{ margin-top: 36px; padding-top: 14px; border-top: 1px solid {GRID}; color: {MUTED}; font-size: 12.5px; }}
footer dl {{ display: grid; grid-template-columns: 120px 1fr; gap: 2px 12px; margin: 0; }}
footer dd {{ margin: 0; overflow-wrap: anywhere; }}
"""
