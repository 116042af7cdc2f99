"""What a cell can say to polyloom besides its outputs.

Everything here also works without a worker, by writing to stderr, so that a cell's file can be run
by hand. Nothing is imported before it is needed: this file is read at the start of every cell.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from typing import Any, Optional, Union

    from polyloom._context import Context as Context
    from polyloom._execution import Execution
    from polyloom._hints import Choices as Choices
    from polyloom._hints import Code as Code
    from polyloom._hints import Color as Color
    from polyloom._hints import Dir as Dir
    from polyloom._hints import Doc as Doc
    from polyloom._hints import MultiLine as MultiLine
    from polyloom._hints import Output as Output
    from polyloom._hints import Seed as Seed
    from polyloom._hints import SeedInt as SeedInt
    from polyloom._hints import Shape as Shape
    from polyloom._hints import Slider as Slider
    from polyloom._hints import Tag as Tag
    from polyloom._hints import Unit as Unit
    from polyloom._seed import cell_seed as cell_seed
    from polyloom._table import Table as Table

__all__ = ["Context", "PortError", "Table", "artifact", "cell_seed", "display", "empty", "inputs"]
__all__ += ["log", "output", "progress", "seed"]
__version__ = "0.1.0"

inputs: dict[str, Any] = {}
"""The cell's inputs by name, for names that are no Python variable, such as `in`."""

seed: Optional[int] = None
"""The cell's seed, where it declares one; `random` and `numpy.random` are seeded with it."""

_current: Optional[Execution] = None


class PortError(Exception):
    """An input cannot be read, or an output is missing or not of its declared type."""

    def __init__(self, port: str, message: str) -> None:
        super().__init__(message)
        self.port = port


def log(text: object, level: str = "info") -> None:
    """Add a line to the cell's log; `level` is debug, info, warn or error."""
    if level not in ("debug", "info", "warn", "error"):
        raise ValueError(f"level `{level}` is none of debug, info, warn, error")
    if _current is not None:
        _current.log(str(text), level)
    else:
        print(f"{level}: {text}", file=sys.stderr)


def progress(fraction: Optional[float] = None, text: str = "") -> None:
    """Say how far the cell is: a fraction from 0 to 1, or None for unknown."""
    if fraction is not None:
        fraction = min(max(float(fraction), 0.0), 1.0)
    if _current is not None:
        _current.progress(fraction, str(text))
    else:
        done = "" if fraction is None else f"{fraction:.0%} "
        print(f"progress: {done}{text}", file=sys.stderr)


def display(value: Any) -> None:
    """Show a value beside the cell: a figure, picture, table, SVG or HTML text, or anything."""
    from polyloom._display import display

    display(value)


def artifact(name: str, data: Union[bytes, str, PathLike[str]]) -> None:
    """Keep an extra result under `name`: bytes, text, or the file or folder at a `Path`."""
    from polyloom._display import artifact

    artifact(name, data)


def output(name: str, value: Any) -> None:
    """Set an output by name, for names that are no Python variable, such as `class`."""
    if _current is None:
        print(f"output: {name} = {value!r:.200}", file=sys.stderr)
    elif name not in _current.outputs:
        raise PortError(name, f"`{name}` is not an output of this cell")
    else:
        _current.given[name] = value


def empty(shape: Union[int, Sequence[int]], dtype: Any = "f64") -> Any:
    """A tensor to be filled and given as an output, which then is in place without a copy.

    A numpy array where numpy is installed, else a memoryview. The contents are zero. `dtype` is one
    of flows (`f64`) or numpy's (`f8`, `numpy.float64`). A reshaped array is still in place; one
    that is transposed, cut or converted is written anew.
    """
    from polyloom._npy import empty

    return empty(shape, dtype, _current.out if _current is not None else None)


_PLACES = {"Context": "_context", "Table": "_table", "cell_seed": "_seed"}
"""Names that are loaded when they are first asked for."""
for (
    _name
) in "Choices Code Color Dir Doc MultiLine Output Seed SeedInt Shape Slider Tag Unit".split():
    _PLACES[_name] = "_hints"


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module `polyloom` has no attribute `{name}`")
    found = getattr(__import__(f"polyloom.{place}", fromlist=[name]), name)
    globals()[name] = found
    return found
