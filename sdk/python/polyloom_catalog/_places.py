"""Where functions are asked of: files, those of folders, and modules that are installed.

Knows paths and what is wrong with them; opens no file.
"""

from __future__ import annotations

import os

from polyloom_catalog._problems import LOCATION, NOT_FOUND, TOO_LARGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from polyloom_catalog._library import Library
    from polyloom_catalog._problems import Problems

MOST_MODULES = 1000
_HELP = "a location is `./FILE.py`, `./FOLDER`, or a module that is installed"


class Place:
    """A file below the root, or with no path a module that is installed."""

    __slots__ = ("location", "objects", "path", "size")

    def __init__(self, location: str, path: Optional[str], size: int) -> None:
        self.location = location
        self.path = path
        self.size = size
        self.objects: list[Optional[str]] = []
        """What is asked of it: names of functions, None for all."""


class Places:
    """Targets, taken to places: each place once."""

    def __init__(self, library: Library, problems: Problems) -> None:
        self.library = library
        self.problems = problems
        self._found: dict[str, Place] = {}

    def of(self, targets: list[dict[str, Any]]) -> list[Place]:
        """The places of all targets, in their order."""
        for target in targets:
            self._target(str(target.get("location", "")), target.get("object"))
        return list(self._found.values())

    def _target(self, location: str, object: Optional[str]) -> None:
        if not location.startswith("./"):
            self._add(location, None, object)
            return
        path = location[2:].rstrip("/")
        parts = path.split("/") if path else []
        if ".." in parts or "" in parts or "\0" in path:
            self._misplaced(location, "is not below the flow's folder")
            return
        full = f"{self.library.root}/{path}" if path else self.library.root
        if not self.library.inside(full):
            self._misplaced(location, "is outside of the flow's folder")
        elif os.path.isdir(full):
            if object is not None and os.path.exists(f"{full}/__init__.py"):
                self._file(location, f"{path}/__init__.py".lstrip("/"), object)
            else:
                self._folder(full, path, location)
        elif path.endswith((".py", ".pyi")):
            self._file(location, path, object)
        elif not os.path.lexists(full):
            message = f"`{location}` is not there"
            self.problems.add(NOT_FOUND, message, file=path, help=_HELP, location=location)
        else:
            self._misplaced(location, "is no Python file")

    def _misplaced(self, location: str, why: str) -> None:
        message = f"`{location}` {why}"
        self.problems.add(LOCATION, message, file=location, help=_HELP, location=location)

    def _folder(self, full: str, path: str, location: str) -> None:
        found = 0
        for folder, folders, files in os.walk(full):
            folders[:] = sorted(
                name
                for name in folders
                if name.isidentifier()
                and not name.startswith("_")
                and not os.path.exists(f"{folder}/{name}/pyvenv.cfg")
            )
            for name in sorted(files):
                if not name.endswith(".py") or (name[0] == "_" and name != "__init__.py"):
                    continue
                found += 1
                if found > MOST_MODULES:
                    message = f"`{location}` has more than {MOST_MODULES} modules"
                    help = "name them one by one"
                    self.problems.add(TOO_LARGE, message, file=path, help=help, location=location)
                    return
                inner = os.path.relpath(os.path.join(folder, name), self.library.root)
                if name[:-3].isidentifier():
                    self._file(f"./{inner}", inner, None)
        if not found:
            message = f"`{location}` has no Python file"
            self.problems.add(NOT_FOUND, message, file=path or ".", location=location)

    def _file(self, location: str, path: str, object: Optional[str]) -> None:
        name = path.rpartition(".")[0]
        if "." in name or not name:
            self._misplaced(location, "has a `.` in its name, which no module can have")
        elif not os.path.lexists(f"{self.library.root}/{path}"):
            self.problems.add(NOT_FOUND, f"`{location}` is not there", file=path, location=location)
        else:
            self._add(location, path, object)

    def _add(self, location: str, path: Optional[str], object: Optional[str]) -> None:
        place = self._found.get(location)
        if place is None:
            size = 0
            if path is not None:
                try:
                    size = os.stat(f"{self.library.root}/{path}").st_size
                except OSError:
                    pass  # whoever opens it says so
            place = self._found[location] = Place(location, path, size)
        if object not in place.objects:
            place.objects.append(object)
