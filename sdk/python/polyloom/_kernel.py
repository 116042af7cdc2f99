"""Ports as variables in a Jupyter kernel of Python: called there before and after a cell.

Knows neither kernels nor messages: a function gets the namespace that the cell runs in, and JSON.
"""

from __future__ import annotations

import json
import sys

import polyloom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def before(namespace: dict[str, Any], text: str) -> None:
    """Set the inputs as variables, the cell's arguments as `sys.argv`, and the seed."""
    cell = json.loads(text)
    sys.argv[1:] = cell["argv"]
    polyloom.inputs.clear()
    polyloom.seed = cell["seed"]
    if polyloom.seed is not None:
        from polyloom._seed import seed_generators

        seed_generators(polyloom.seed)
    if cell["inputs"]:
        from polyloom._inputs import read_input

        for name, slot in cell["inputs"].items():
            namespace[name] = polyloom.inputs[name] = read_input(name, slot)


def after(namespace: dict[str, Any], text: str) -> None:
    """Write the variables that are named like outputs; the others may be files already."""
    cell = json.loads(text)
    slots = {name: slot for name, slot in cell["outputs"].items() if name in namespace}
    if slots:
        from polyloom._outputs import write_outputs

        write_outputs(slots, cell["out"], namespace, goes_on=True)
