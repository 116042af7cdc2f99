"""Points of a cubic with noise, in thousandths: whole numbers are the same on every machine."""

import json

with open(sizes) as file:
    count = json.load(file)[name]

state = seed * 1000 + count


def noise() -> int:
    """A linear congruential generator: -100 to 100."""
    global state
    state = (state * 1103515245 + 12345) % (1 << 31)
    return (state >> 16) % 201 - 100


points = []
for i in range(count):
    x = -1000 + 2000 * i // (count - 1)
    if name == "gaps" and 5 <= i < 8:
        continue
    y = (x * x // 1000) * x // 1000 - x // 2
    points.append([x, y + noise()])
