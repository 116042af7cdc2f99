"""Draws an SVG picture with the standard library alone."""
from html import escape

width, height, left, top = 1000, 420, 50, 20
low, high = min(temps), max(temps)


def x(i):
    return left + i * (width - left - 20) / (len(temps) - 1)


def y(value):
    return top + (high - value) * (height - 2 * top - 20) / (high - low)


dots = "".join(
    f'<circle cx="{x(i):.1f}" cy="{y(t):.1f}" r="1.5"/>' for i, t in enumerate(temps)
)
line = " ".join(f"{x(i):.1f},{y(t):.1f}" for i, t in enumerate(trend))
years = "".join(
    f'<text x="{x(i):.1f}" y="{height - 8}">{date[:4]}</text>'
    f'<line x1="{x(i):.1f}" x2="{x(i):.1f}" y1="{top}" y2="{height - 25}" stroke="#ddd"/>'
    for i, date in enumerate(dates)
    if date.endswith("-01-01") or date.endswith("/01/01")
)
marks = "".join(
    f'<text x="{left - 8}" y="{y(t) + 4:.1f}" text-anchor="end">{t}</text>'
    for t in range(0, int(high) + 1, 10)
)
words = "".join(
    f'<text x="{width - 250}" y="{top + 15 + 15 * i}" xml:space="preserve">{escape(row)}</text>'
    for i, row in enumerate(text.splitlines())
)
chart = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
    'font-family="sans-serif" font-size="12">'
    f'<rect width="{width}" height="{height}" fill="white"/>{years}{marks}'
    f'<g fill="#9bc4e2">{dots}</g>'
    f'<line x1="{left}" x2="{width - 20}" y1="{y(mean):.1f}" y2="{y(mean):.1f}" '
    'stroke="#999" stroke-dasharray="4 4"/>'
    f'<polyline points="{line}" fill="none" stroke="#c0392b" stroke-width="2"/>'
    f'<g font-family="monospace" fill="#333">{words}</g></svg>'
)
