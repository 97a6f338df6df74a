"""Lines as SVG, on linear or logarithmic axes."""

import math

COLOURS = ["#1f6feb", "#d1242f", "#9a6700", "#1a7f37", "#8250df", "#57606a"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 440, 70, 20, 20, 50

Points = list[tuple[float, float]]


class Axis:
    """Maps values to positions between `start` and `end`, with ticks at round values."""

    def __init__(self, values: list[float], start: float, end: float, log: bool) -> None:
        self.start, self.end, self.log = start, end, log
        if log:
            low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
            self.low, self.high = low, max(high, low + 1)
            self.ticks = [10.0**e for e in range(low, self.high + 1)]
            return
        span = max(max(values) - min(values), 1e-9)
        step = next(s * 10.0**e for e in range(-9, 9) for s in (1, 2, 5) if span / (s * 10.0**e) <= 10)
        self.low, self.high = math.floor(min(values) / step) * step, math.ceil(max(values) / step - 1e-9) * step
        self.ticks = [self.low + i * step for i in range(round((self.high - self.low) / step) + 1)]

    def place(self, value: float) -> float:
        at = math.log10(value) if self.log else value
        return self.start + (at - self.low) / (self.high - self.low) * (self.end - self.start)


def curves(lines: dict[str, Points], labels: tuple[str, str], log_x: bool = False, log_y: bool = False) -> str | None:
    """The lines by name; None if there is nothing to draw."""
    lines = {name: sorted(points) for name, points in lines.items() if len(points) > 1}
    points = [p for line in lines.values() for p in line]
    if not points:
        return None
    x = Axis([p[0] for p in points], LEFT, WIDTH - RIGHT, log_x)
    y = Axis([p[1] for p in points], HEIGHT - BOTTOM, TOP, log_y)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
           'font-size="12"><rect width="100%" height="100%" fill="white"/>']
    for tick in y.ticks:
        at = y.place(tick)
        svg.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tick:.10g}</text>')
    for tick in x.ticks:
        at = x.place(tick)
        svg.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>'
                   f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:.10g}</text>')
    svg.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">{labels[0]}</text>'
               f'<text transform="translate(16 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{labels[1]}</text>')
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{x.place(a):.1f},{y.place(b):.1f}" for a, b in line)
        svg.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        svg += [f'<circle cx="{x.place(a):.1f}" cy="{y.place(b):.1f}" r="3" fill="{colour}"/>' for a, b in line]
        svg.append(f'<text x="{LEFT + 12}" y="{HEIGHT - BOTTOM - 12 - 18 * i}" fill="{colour}">{name}</text>')
    return "\n".join([*svg, "</svg>"])
