"""What an executor is: who it says it is, and what it can be asked. Knows no wire."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Union

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polyloom_sdk._context import Context, Exec
    from polyloom_sdk._functions import Call, Function

ALWAYS = ("cancel.soft", "display", "progress")
"""Features that every executor has."""
BY_HOOK = {
    "prepare": "prepare",
    "session": "reset",
    "snapshot": "restore",
    "kept": "restore",
    "catalog": "catalog",
    "call": "call",
}
"""Features that an executor has which defines the hook."""


@dataclass(frozen=True)
class About:
    """Who an executor is and what it can do; `features` are at most those of its manifest."""

    id: str
    version: str
    features: tuple[str, ...] = ALWAYS
    runtime: str = ""


class Executor:
    """A language, or whatever else runs cells. What it defines of the hooks is what it can do."""

    id: str = ""
    """Its id, as in its manifest."""
    version: str = ""

    def exec(self, cx: Context, exec: Exec) -> None:
        """Run one cell. It fails by a `Failure` or any other exception; the executor lives on.

        A cell that is cancelled ends by a `KeyboardInterrupt` in here.
        """
        raise NotImplementedError(f"executor `{self.id}` has no `exec`")

    def describe(self) -> About:
        """Who it is. Asked once."""
        own = [
            feature
            for feature, hook in BY_HOOK.items()
            if getattr(type(self), hook) is not getattr(Executor, hook)
        ]
        return About(self.id, self.version, (*ALWAYS, *own))

    def prepare(self, code: Path) -> None:
        """Compile or import ahead of the cell with this code. What fails here is not told."""

    def reset(self) -> None:
        """Forget what earlier cells left."""

    def snapshot(self, name: str) -> None:
        """Keep what cells left, under a name. An exception says why that cannot be done."""

    def restore(self, name: str) -> None:
        """Go back to what was kept under a name. An exception says why that cannot be done."""

    def forget(self, name: str) -> None:
        """Drop what was kept under a name, if there is any."""

    def catalog(self) -> Sequence[Union[Function, dict[str, Any]]]:
        """What it offers by name: functions that cells can be calls of, for one that has `call`."""
        return ()

    def call(self, cx: Context, exec: Exec, call: Call) -> None:
        """Run a cell that is one call of a function of the catalog.

        Inputs are arguments, what it gives the outputs. A param that is left out is no input.
        """
        raise NotImplementedError(f"executor `{self.id}` has no `call`")


Runs = Callable[["Context", "Exec"], None]


class _OfFunction(Executor):
    def __init__(self, id: str, version: str, function: Runs) -> None:
        self.id = id
        self.version = version
        self._function = function
        self.__doc__ = function.__doc__

    def exec(self, cx: Context, exec: Exec) -> None:
        self._function(cx, exec)

    def __call__(self, cx: Context, exec: Exec) -> None:
        self._function(cx, exec)


def executor(id: str, version: str) -> Callable[[Runs], Executor]:
    """Make an executor of the function that runs one cell."""
    return lambda function: _OfFunction(id, version, function)
