"""Texts with places. Knows no cell."""

import re


def fill(text, values):
    """`text` with what stands for each `{name}`; a name that is not there is a KeyError."""
    return re.sub(r"\{(\w+)\}", lambda found: str(values[found[1]]), text)
