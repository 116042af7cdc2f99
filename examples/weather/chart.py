"""Draws daily highs, their trend and the report as one SVG picture, with the standard library alone."""
from html import escape

WIDTH, HEIGHT = 1000, 440
LEFT, RIGHT, TOP, BOTTOM = 56, 800, 64, 400
GREY, INK, DOT, LINE = "#667085", "#1d2939", "#84b6e0", "#c8442f"

low = min(temps) // 5 * 5
high = -(-max(temps) // 5) * 5


def x(day):
    return LEFT + day * (RIGHT - LEFT) / (len(temps) - 1)


def y(value):
    return TOP + (high - value) * (BOTTOM - TOP) / (high - low)


def write(at, down, words, **style):
    styles = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
    return f'<text x="{at:.1f}" y="{down:.1f}"{styles}>{escape(words)}</text>'


def path(points, **style):
    styles = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
    return f'<path d="{points}" fill="none"{styles}/>'


title, *rows = text.splitlines()
parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
parts.append(write(LEFT, 32, "Daily highs in Seattle", font_size=20, font_weight="bold", fill=INK))

# The grid: a line for every 5 degrees, a stripe for every other year.
januaries = [day for day, date in enumerate(dates) if date[5:] == "01-01"] + [len(dates) - 1]
for number, (start, end) in enumerate(zip(januaries, januaries[1:])):
    if number % 2 == 0:
        stripe = f'x="{x(start):.1f}" width="{x(end) - x(start):.1f}" y="{TOP}" height="{BOTTOM - TOP}"'
        parts.append(f'<rect {stripe} fill="#f5f7fa"/>')
    parts.append(write((x(start) + x(end)) / 2, BOTTOM + 22, dates[start][:4], text_anchor="middle", fill=GREY))
for value in range(int(low), int(high) + 1, 5):
    parts.append(path(f"M{LEFT} {y(value):.1f}H{RIGHT}", stroke="#e4e7ec"))
    if value % 10 == 0:
        parts.append(write(LEFT - 8, y(value) + 4, f"{value} °C", text_anchor="end", fill=GREY))

# A dot is a line of no length with a round end: a third of the bytes of a circle.
dots = "".join(f"M{x(day):.1f} {y(t):.1f}h0" for day, t in enumerate(temps))
line = "L".join(f"{x(day):.1f} {y(t):.1f}" for day, t in enumerate(trend))
parts.append(path(dots, stroke=DOT, stroke_width=3.2, stroke_linecap="round"))
parts.append(path(f"M{LEFT} {y(mean):.1f}H{RIGHT}", stroke=GREY, stroke_dasharray="5 4"))
parts.append(path(f"M{line}", stroke=LINE, stroke_width=2.4, stroke_linejoin="round"))

# The legend, right-aligned with the plot, then the report's lines beside it.
for at, style, words in [
    (RIGHT - 292, {"stroke": DOT, "stroke_width": 5, "stroke_linecap": "round"}, "a day"),
    (RIGHT - 226, {"stroke": LINE, "stroke_width": 2.4}, "moving average"),
    (RIGHT - 70, {"stroke": GREY, "stroke_dasharray": "5 4"}, "mean"),
]:
    short = 0 if words == "a day" else 24
    parts.append(path(f"M{at} 42h{short}", **style))
    parts.append(write(at + short + 10, 46, words, fill=GREY))
panel = [write(RIGHT + 30, TOP + 14 + 20 * row, words) for row, words in enumerate([title.partition(": ")[2], *rows])]
parts.append(f'<g font-family="monospace" font-size="13" fill="{INK}" xml:space="preserve">{"".join(panel)}</g>')

chart = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
    f'font-family="system-ui, sans-serif" font-size="13">{"".join(parts)}</svg>\n'
)
