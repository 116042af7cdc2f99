"""What nearly every cell does, done once by a copy of a zygote while there is no cell yet.

A copy shares its zygote's memory until it writes to it, and to use an object is to write to it: a
page of 4 KiB is copied then, in microseconds, of which a cell needs some hundred pages. Nothing of
a rehearsal is left but these copies.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOURCE = "import sys\ndef f(a: int, *, b: int = 1) -> int:\n    return [b, a][0]\nx = f(1)"


def rehearse(calls: bool) -> None:
    """Do what a cell does; what one that is a call of a function does, where the next will be."""
    from polyloom._msgpack import decode, encode

    names: dict[str, Any] = {"__name__": "rehearsal", "a": [1, 2.5, "text", None, True, b""]}
    exec(compile(SOURCE, "/cell/code/rehearsal.py", "exec", dont_inherit=True), names)
    decode(encode({"x": names["x"]}))
    with open(__file__, "rb") as file:
        file.read(1)
    try:
        __import__("polyloom.rehearsal")
    except ImportError:
        pass
    if calls:
        try:
            call(names["f"])
        except Exception:
            pass  # the cell will see


class _Execution:
    """As much of one as a call looks at."""

    cell = code = ""
    seed = None

    def __init__(self, path: str) -> None:
        slot = {"type": "int", "path": path, "encoding": "msgpack"}
        self.inputs = {"a": slot, "b": slot}
        self.outputs = {"result": {"type": "int"}}
        self._pid = os.getpid()


def call(function: Any) -> dict[str, Any]:
    """The outputs of one call of a function, which are written nowhere."""
    from polyloom._call import Call
    from polyloom._msgpack import encode
    from polyloom._types import parse
    from polyloom._values import conform

    given = os.memfd_create("a")
    try:
        os.write(given, encode(1))
        execution: Any = _Execution(f"/proc/self/fd/{given}")
        outputs = Call(execution, function, "f").run()
    finally:
        os.close(given)
    for value in outputs.values():
        encode(conform(value, parse("int"), "result"))
    return outputs
