"""What can be wrong with source: codes, places, and the list of what was found.

A `Refusal` is raised where something is no port's type, and becomes a problem where it is known
which function it spoils.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from typing import Any, Optional

    from polyloom_catalog._source import Module

UNTYPED_PARAMETER = "PY001"
UNTYPED_RETURN = "PY002"
UNTYPABLE = "PY003"
UNKNOWN_NAME = "PY004"
NO_TYPE = "PY005"
CIRCULAR = "PY006"
TOO_LARGE_TYPE = "PY007"
CLASH = "PY008"
NO_PORT_NAME = "PY009"
SYNTAX = "PY010"
UNREADABLE = "PY011"
TOO_LARGE = "PY012"
NOT_FOUND = "PY013"
LOCATION = "PY014"
COMPILED = "PY015"
DECORATOR = "PY016"
MAY_BE_MISSING = "PY017"
HIDES = "PY018"
METADATA = "PY019"
IMPORT = "PY020"
INTERNAL = "PY021"

MOST_PROBLEMS = 2000
"""More problems than these help nobody."""


class Refusal(Exception):
    """An annotation, or something it leads to, that is no type of a port."""

    def __init__(self, code: str, message: str, help: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help = help
        self.node: Optional[ast.AST] = None

    def at(self, node: ast.AST) -> Refusal:
        """The same, placed at `node` unless it has a place."""
        if self.node is None:
            self.node = node
        return self


def row(
    code: str,
    message: str,
    file: str = "",
    place: tuple[int, int, int] = (0, 0, 0),
    *,
    object: str = "",
    help: str = "",
    warning: bool = False,
    location: str = "",
) -> dict[str, Any]:
    """A problem as it is told: at a line and columns of a file, from 1.

    `location` is what was asked for, where the problem is none of a place that was read.
    """
    told = {
        "code": code,
        "severity": "warning" if warning else "error",
        "message": message,
        "file": file,
        "line": place[0],
        "col": place[1],
        "end_col": place[2],
        "object": object,
        "help": help,
    }
    return {**told, "location": location} if location else told


class Problems:
    """The list of problems, each once."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self._known: set[tuple[Any, ...]] = set()

    def add(
        self,
        code: str,
        message: str,
        module: Optional[Module] = None,
        node: Optional[ast.AST] = None,
        *,
        object: str = "",
        help: str = "",
        file: str = "",
        place: tuple[int, int, int] = (0, 0, 0),
        warning: bool = False,
        location: str = "",
    ) -> None:
        """Add one, at a node of a module or at a line and columns of a file."""
        if module is not None:
            file = module.shown
            if node is not None:
                place = module.place(node)
        told = {"object": object, "help": help, "location": location}
        self.take([row(code, message, file, place, warning=warning, **told)])

    def take(self, rows: list[dict[str, Any]]) -> None:
        """Add what others found."""
        for one in rows:
            known = tuple(one.values())
            if known in self._known or len(self.found) > MOST_PROBLEMS:
                continue
            self._known.add(known)
            if len(self.found) == MOST_PROBLEMS:
                message = f"more than {MOST_PROBLEMS} problems"
                one = row(TOO_LARGE, message, help="the rest is left out")
            self.found.append(one)
