"""A least-squares polynomial with a penalty on its coefficients; exact arithmetic, so that every machine finds the same."""

from fractions import Fraction

points = sets[row["sample"]]
held = points[:: row["holdout"]]
used = [point for at, point in enumerate(points) if at % row["holdout"]]


def powers(x: int) -> list[Fraction]:
    return [Fraction(x, 1000) ** k for k in range(degree + 1)]


# The normal equations, solved by elimination.
size = degree + 1
rows = [[Fraction(0)] * (size + 1) for _ in range(size)]
for x, y in used:
    basis = powers(x)
    for i in range(size):
        for j in range(size):
            rows[i][j] += basis[i] * basis[j]
        rows[i][size] += basis[i] * Fraction(y, 1000)
for i in range(size):
    # A little is always needed: there may be fewer points than coefficients.
    rows[i][i] += Fraction(smooth, 100) + Fraction(1, 10**9)
for i in range(size):
    pivot = rows[i][i]
    rows[i] = [value / pivot for value in rows[i]]
    for k in range(size):
        if k != i and rows[k][i]:
            factor = rows[k][i]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i])]
curve = [row_[size] for row_ in rows]


def value(x: int) -> Fraction:
    return sum((c * p for c, p in zip(curve, powers(x))), Fraction(0))


error = sum(abs(value(x) - Fraction(y, 1000)) for x, y in held) / len(held)
result = {
    "sample": row["sample"],
    "degree": degree,
    "smooth": smooth,
    "error": round(float(error), 6),
    "curve": [round(float(c), 6) for c in curve],
}
