"""What an executor is: who it says it is, and what it can be asked. Knows no wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Union

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polyloom_sdk._context import Context, Exec
    from polyloom_sdk._functions import Call, Function

ALWAYS = ("cancel.soft", "display", "progress")
"""Features that every executor has."""
BY_HOOK = {
    "prepare": "prepare",
    "session": "reset",
    "snapshot": "restore",
    "kept": "restore",
    "complete": "complete",
    "durable": "load",
    "catalog": "catalog",
    "call": "call",
}
"""Features that an executor has which defines the hook."""


@dataclass(frozen=True)
class Completions:
    """What an input may go on with."""

    start: int
    """The character, counted from 0, from which on a match stands in place of what was typed."""
    matches: Sequence[str] = ()
    """Whole words, the likeliest first."""
    open: bool = False
    """Whether the input is not over: another line belongs to it."""


@dataclass(frozen=True)
class Saved:
    """What came through: all names that there are, in one of both."""

    saved: Sequence[str]
    unsaved: Mapping[str, str] = field(default_factory=dict)
    """Why the others did not."""


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
    also: tuple[str, ...] = ()
    """Features that it has without a hook: `interactive` (it looks at `exec.interactive`) and
    `source` (it takes the code from `exec.source` alone)."""

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
        return About(self.id, self.version, (*ALWAYS, *own, *self.also))

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

    def complete(self, code: str, cursor: int) -> Completions:
        """What may follow in `code` at a character of it. Nobody's code should be run for that."""
        return Completions(cursor)

    def save(self, out: Path) -> Saved:
        """Write what cells left into an empty folder, as far as that can be."""
        return Saved((), {})

    def load(self, path: Path) -> Saved:
        """Take over what `save` wrote, from a folder. What is in there may be anybody's."""
        return Saved((), {})

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
