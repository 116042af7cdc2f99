"""What a function does to the process that all that comes after it needs: kept from it.

`builtins`, the streams, polyloom's own modules, where modules are looked for, and that the process
goes on. It is no wall: code that wants to get at the rest can, and spoils nothing but its own cell.
"""

from __future__ import annotations

import builtins
import os
import sys
from _thread import get_ident

from polyloom._function import CallError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Guard:
    """Around code of the file `code`, which is called for its function `name`."""

    def __init__(self, code: str, name: str) -> None:
        self.code = code
        self.name = name

    def __enter__(self) -> None:
        self.names = vars(builtins)
        self.before = self.names.copy()
        self.package: Any = sys.modules["polyloom"]
        self.path = sys.path[:]
        self.streams = sys.stdout, sys.stderr
        self.leave = os._exit
        self.process, self.thread = os.getpid(), get_ident()
        os._exit = self._left  # type: ignore[assignment]

    def __exit__(self, *_: object) -> None:
        self.names.update(self.before)
        if self.names.keys() != self.before.keys():
            for name in self.names.keys() - self.before.keys():
                del self.names[name]
        os._exit = self.leave
        sys.path += [place for place in self.path if place not in sys.path]
        if sys.stdout is None or sys.stderr is None:
            sys.stdout, sys.stderr = self.streams
        if sys.modules.get("polyloom") is not self.package:
            own = [it for it in vars(self.package).values() if isinstance(it, type(sys))]
            for module in (builtins, sys, self.package, *own):
                sys.modules.setdefault(module.__name__, module)

    def _left(self, status: int) -> None:
        """In place of `os._exit`: a fork ends, the cell's own process says where it was to."""
        if os.getpid() != self.process or get_ident() != self.thread:
            self.leave(status)
        frame: Any = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != self.code:
            frame = frame.f_back
        message = f"`{self.name}` ended its process by `os._exit({status!r})`"
        raise CallError("", message, "exit", frame and frame.f_lineno)
