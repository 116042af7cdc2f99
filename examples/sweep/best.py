"""The fits by their error on points they have not seen."""

ranked = sorted(results, key=lambda it: (it["error"], it["degree"], it["smooth"], it["sample"]))
best = ranked[0]
lines = [f"{it['error']:.4f}  sample {it['sample']}  degree {it['degree']}  smooth {it['smooth']}" for it in ranked]
table = "\n".join(lines)
