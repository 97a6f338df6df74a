"""The README's figure: recall and queries per second of one benchmark record, as SVG for light and dark pages.

usage: python benches/figure.py docs/benchmarks/RUN [OUT]     OUT: docs/images/recall-qps.svg
"""

import json
import math
import sys
from pathlib import Path

from report import at_recall

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 76, 28, 74, 62
LABELS = {"vector_search ivf": ("vector_search", "ours"), "pgvector hnsw": ("pgvector HNSW", "theirs"),
          "pgvector ivfflat": ("pgvector IVFFlat", "others")}
# Recalls at which the figure shows the ratio of the first two contenders.
COMPARED = (0.95, 0.99)

STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 } .soft { fill: #59636e } .name { font-size: 14px; font-weight: 600 }
  .card { fill: #ffffff; stroke: #d1d9e0 } .grid { stroke: #e4e8ec } .gap { stroke: #59636e; stroke-dasharray: 3 3 }
  .ours { stroke: #0969da } .theirs { stroke: #bc4c00 } .others { stroke: #8250df }
  .dot { stroke-width: 2 } .ratio { font-weight: 600 }
  text.ours { fill: #0969da; stroke: none } text.theirs { fill: #bc4c00; stroke: none }
  text.others { fill: #8250df; stroke: none }
"""
DARK = """
  text { fill: #f0f6fc } .soft { fill: #9198a1 } .card { fill: #0d1117; stroke: #3d444d } .grid { stroke: #262c34 }
  .gap { stroke: #9198a1 } .ours { stroke: #58a6ff } .theirs { stroke: #f0883e } .others { stroke: #bc8cff }
  text.ours { fill: #58a6ff } text.theirs { fill: #f0883e } text.others { fill: #bc8cff }
"""


class Frame:
    """Recall from left to right, queries per second (logarithmic) from the bottom up."""

    def __init__(self, speeds: list[float]) -> None:
        self.low = next(t for t in reversed(ticks()) if t <= min(speeds) / 1.2)
        self.high = next(t for t in ticks() if t >= max(speeds))

    def x(self, recall: float) -> float:
        return LEFT + (recall - 0.8) / 0.2 * (WIDTH - LEFT - RIGHT)

    def y(self, speed: float) -> float:
        share = math.log(speed / self.low) / math.log(self.high / self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def grid(self) -> list[str]:
        out = []
        for tick in (t for t in ticks() if self.low <= t <= self.high):
            y = self.y(tick)
            out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                       f'<text class="soft" x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{tick:,}</text>')
        for tick in (0.8, 0.85, 0.9, 0.95, 0.99):
            x = self.x(tick)
            out.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
                       f'<text class="soft" x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{tick:g}</text>')
        out.append(f'<text class="soft" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 16}" text-anchor="middle">'
                   'recall of the ten nearest rows</text>'
                   f'<text class="soft" transform="translate(20 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
                   'text-anchor="middle">queries per second, logarithmic</text>')
        return out


def ticks() -> list[int]:
    return [m * 10**e for e in range(6) for m in (1, 2, 5)]


def curve(frame: Frame, name: str, points: list[dict]) -> list[str]:
    label, style = LABELS[name]
    places = [(frame.x(p["recall"]), frame.y(p["qps"])) for p in sorted(points, key=lambda p: p["recall"])]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    out = [f'<polyline class="{style}" points="{line}" fill="none" stroke-width="2.5" stroke-linejoin="round"/>']
    out += [f'<circle class="card {style} dot" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places]
    x, y = places[0]
    out.append(f'<text class="name {style}" x="{x:.1f}" y="{y + 38:.1f}">{label}</text>')
    return out


def ratios(frame: Frame, ours: list[dict], theirs: list[dict]) -> list[str]:
    out = []
    for recall in COMPARED:
        a, b = at_recall(ours, recall, "qps"), at_recall(theirs, recall, "qps")
        x, top, bottom = frame.x(recall), frame.y(a), frame.y(b)
        out.append(f'<line class="gap" x1="{x:.1f}" x2="{x:.1f}" y1="{top + 5:.1f}" y2="{bottom - 5:.1f}"/>'
                   f'<text class="ratio" x="{x - 8:.1f}" y="{(top + bottom) / 2 + 4:.1f}" text-anchor="end">'
                   f'{a / b:.1f}×</text>')
    return out


def draw(results: dict) -> str:
    data, machine = results["data"], results["machine"]
    names = [n for n in LABELS if len(results.get(n, {}).get("search", [])) > 1]
    speeds = [p["qps"] for n in names for p in results[n]["search"]]
    frame = Frame(speeds)
    about = (f'{data["rows"]:,} texts × {data["dimensions"]} dimensions, {data["metric"]}, ten rows, one connection, '
             f'in memory; {machine["cpu"]}, PostgreSQL {machine["postgres"]}')
    body = [f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="10"/>',
            '<text class="title" x="24" y="32">Queries per second at equal recall</text>',
            f'<text class="soft" x="24" y="52">{about}</text>', *frame.grid()]
    if len(names) > 1:
        body += ratios(frame, results[names[0]]["search"], results[names[1]]["search"])
    for name in names:
        body += curve(frame, name, results[name]["search"])
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Recall and queries per second</title>",
        f"<style>{STYLE}@media (prefers-color-scheme: dark) {{{DARK}}}</style>", *body, "</svg>", ""])


def main() -> None:
    out = Path(sys.argv[2] if len(sys.argv) > 2 else "docs/images/recall-qps.svg")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(draw(json.loads((Path(sys.argv[1]) / "results.json").read_text())))


if __name__ == "__main__":
    main()
