"""What nearly every cell does, done once by a copy of a zygote while there is no cell yet.

A copy shares its zygote's memory until it writes to it, and to use an object is to write to it: a
page of 4 KiB is copied then, in microseconds, of which a cell needs some hundred pages. Nothing of
a rehearsal is left but these copies.
"""

from __future__ import annotations

import _socket
import os
import sys

from polyloom import _frames as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from polyloom._worker import Worker

SOURCE = "import sys\ndef f(a: int, *, b: int = 1) -> int:\n    return [b, a][0]\nx = f(1)"


def rehearse(worker: Worker, calls: bool, has_come: Callable[[], bool]) -> None:
    """Do what nearly every cell does, and what a call of a function does, where the next is one.

    A cell that has come is not kept waiting: it does these things itself.
    """
    if has_come():
        return
    try:
        __import__("polyloom.rehearsal")
    except ImportError:
        pass
    try:
        function = cell(worker)["f"]
        if calls and not has_come():
            call(function)
    except Exception:
        pass  # the cell will see


def cell(worker: Worker) -> dict[str, Any]:
    """The names that a cell has made, which the worker was asked for as the host does it."""
    main, argv, path, was = sys.modules["__main__"], [*sys.argv], [*sys.path], dict(vars(worker))
    ours, theirs = _socket.socketpair()
    host, own = wire.Connection(theirs), wire.adopt(ours.detach(), _Yielding())
    try:
        host.send_preamble()
        agreed = worker.about()["features"]
        host.send(wire.HELLO_OK, 0, {"major": 1, "minor": 0, "features": agreed})
        body: dict[str, Any] = {"cell": "a", "code": __file__, "source": SOURCE, "argv": []}
        host.send(wire.EXEC, 1, body)
        worker.connection = own
        worker.serve()
        with open(__file__, "rb") as file:
            file.read(1)
        return vars(sys.modules["__main__"])
    finally:
        sys.modules["__main__"], sys.argv[:], sys.path[:] = main, argv, path
        vars(worker).update(was)
        own.sock.close()
        theirs.close()


class _Yielding(wire.Connection):
    """Gives way at each message: another copy's cell may have begun on this processor."""

    def send_encoded(self, kind: int, exec_id: int, data: bytes) -> None:
        os.sched_yield()
        super().send_encoded(kind, exec_id, data)

    def receive(self) -> wire.Frame:
        os.sched_yield()
        return super().receive()


class _Execution:
    """As much of one as a call looks at."""

    cell = code = ""
    seed = None

    def __init__(self, value: bytes) -> None:
        slot = {"type": "int", "path": "", "encoding": "msgpack", "value": value}
        self.inputs = {"a": slot, "b": slot}
        self.outputs = {"result": {"type": "int"}}
        self._pid = os.getpid()


def call(function: Any) -> dict[str, Any]:
    """The outputs of one call of a function, which are written nowhere."""
    from polyloom._call import Call
    from polyloom._guard import Guard
    from polyloom._msgpack import encode
    from polyloom._types import parse
    from polyloom._values import conform

    execution: Any = _Execution(encode(1))
    outputs = Call(execution, function, "f", Guard("", "f")).run()
    for value in outputs.values():
        encode(conform(value, parse("int"), "result"))
    return outputs
