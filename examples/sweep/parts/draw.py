"""The best curve as SVG."""

width, height = 320, 200
places = []
for i in range(81):
    x = -1 + i / 40
    y = sum(c * x**k for k, c in enumerate(best["curve"]))
    places.append(f"{i * 4},{height / 2 - y * height / 2:.1f}")
line = f'<polyline fill="none" stroke="#246" stroke-width="2" points="{" ".join(places)}"/>'
picture = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{line}</svg>\n'
