"""Where modules lie: those of the project below its root, and those that are installed.

Installed ones are found where the interpreter would find them, but never imported, nor is code in
`.pth` files run. A stub (`.pyi`) of an installed module says more than that, and is read in its
place. Every module is read once; how many, and how many bytes, is bounded.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES

from polyloom_catalog._problems import row
from polyloom_catalog._source import Module, SourceError, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from polyloom_catalog._problems import Problems

MOST_FILES = 2000
MOST_BYTES = 32 << 20


class Library:
    """All modules that were asked for."""

    def __init__(self, root: str, problems: Problems) -> None:
        self.root = root
        self.real = os.path.realpath(root)
        self.problems = problems
        self.read = 0
        self._modules: dict[str, Optional[Module]] = {}
        self._wrong: dict[str, dict[str, Any]] = {}
        self._folders: dict[str, frozenset[str]] = {}
        self._path = [place for place in sys.path if os.path.isabs(place)]
        if "site" not in sys.modules:
            self._path += installed()

    def module(self, name: str) -> Optional[Module]:
        """The module of this dotted name, where there is one and it can be read.

        What is wrong with a file of the project is a problem of whoever asks.
        """
        if name in self._modules:
            if name in self._wrong:
                self.problems.take([self._wrong[name]])
            return self._modules[name]
        self._modules[name] = None  # while it is looked for
        found = self.find(name)
        if found is not None:
            try:
                self._take(found)
            except SourceError as error:
                if found.project:
                    self._wrong[name] = row(
                        error.code, error.message, found.shown, error.place, help=error.help
                    )
                    self.problems.take([self._wrong[name]])
                found = None
        self._modules[name] = found
        return found

    def _take(self, module: Module) -> None:
        if self.read >= MOST_BYTES or len(self._modules) > MOST_FILES:
            raise SourceError(
                "PY012", f"too much to read: {MOST_FILES} files, {MOST_BYTES >> 20} MiB"
            )
        if module.project and not self.inside(module.path):
            raise SourceError("PY014", "is a link to a place outside of the flow's folder")
        try:
            read(module)
        except RecursionError:
            raise SourceError("PY010", "is nested too deep", (1, 1, 1)) from None
        self.read += len(module.data)

    def inside(self, path: str) -> bool:
        """Whether a path of the project is still below its root when links are followed."""
        real = os.path.realpath(path)
        return real == self.real or real.startswith(self.real.rstrip("/") + "/")

    def find(self, name: str) -> Optional[Module]:
        """Where the module of this name is, unread."""
        parts = name.split(".")
        if not all(part and part not in (".", "..") and "/" not in part for part in parts):
            return None
        found = self._within(self.root, parts, name, True)
        if found is not None:
            return found
        for folder in self._path:
            found = self._within(folder, [parts[0] + "-stubs", *parts[1:]], name, False)
            found = found or self._within(folder, parts, name, False)
            if found is not None:
                return found
        return None

    def compiled(self, name: str) -> bool:
        """Whether the module is there, but not as source."""
        if name in sys.builtin_module_names:
            return True
        parts = name.split(".")
        for folder in [self.root, *self._path]:
            base = os.path.join(folder, *parts[:-1])
            entries = self._entries(base)
            if any(parts[-1] + suffix in entries for suffix in EXTENSION_SUFFIXES):
                return True
        return False

    def there(self, name: str) -> bool:
        """Whether there may be a module of this name: source, compiled, or a folder of some."""
        if self.find(name) is not None or self.compiled(name):
            return True
        first, *rest = name.split(".")
        if first in ("polyloom", "__main__"):
            return True  # every cell has them
        for folder in [self.root, *self._path]:
            entries = self._entries(folder)
            ours = folder == self.root
            if any(entry.startswith("__editable__") for entry in entries):
                return True  # which brings a finder of its own
            if first in entries and (
                not ours or os.path.isdir(os.path.join(folder, *name.split(".")))
            ):
                return True
        return first in sys.builtin_module_names and not rest

    def _within(self, top: str, parts: list[str], name: str, project: bool) -> Optional[Module]:
        folder = top
        for part in parts[:-1]:
            if part not in self._entries(folder):
                return None
            folder = f"{folder}/{part}"
        last = parts[-1]
        entries = self._entries(folder)
        # What goes with a call, and what it is keyed by, is what runs.
        kinds = (".py", ".pyi") if project else (".pyi", ".py")
        if last in entries:
            inner = self._entries(f"{folder}/{last}")
            for suffix in kinds:
                file = f"__init__{suffix}"
                if file in inner:
                    path = f"{folder}/{last}/{file}"
                    return Module(name, path, self._shown(path, project), project, True)
        for suffix in kinds:
            if last + suffix in entries:
                path = f"{folder}/{last}{suffix}"
                return Module(name, path, self._shown(path, project), project, False)
        return None

    def _shown(self, path: str, project: bool) -> str:
        return path[len(self.root) :].lstrip("/") if project else path

    def _entries(self, folder: str) -> frozenset[str]:
        found = self._folders.get(folder)
        if found is None:
            try:
                found = frozenset(os.listdir(folder))
            except (OSError, ValueError):
                found = frozenset()
            self._folders[folder] = found
        return found


def installed() -> list[str]:
    """The folders of what is installed, of an interpreter that was started with `-S`.

    As `site` has them, but for lines of `.pth` files that are code.
    """
    import site  # only defines, after -S

    prefixes = [sys.prefix]
    home = os.path.dirname(sys.executable)
    for folder in (home, os.path.dirname(home)):
        try:
            with open(f"{folder}/pyvenv.cfg", encoding="utf-8", errors="replace") as file:
                words = file.read().lower().replace(" ", "").split("\n")
        except OSError:
            continue
        prefixes = [os.path.dirname(home)]
        if "include-system-site-packages=true" in words:
            prefixes.append(sys.base_prefix)
        break
    found: list[str] = []
    for folder in site.getsitepackages(prefixes):
        found.append(folder)
        try:
            names = sorted(name for name in os.listdir(folder) if name.endswith(".pth"))
        except OSError:
            continue
        for name in names[:100]:
            try:
                with open(f"{folder}/{name}", encoding="utf-8", errors="replace") as file:
                    lines = file.read(64 << 10).split("\n")
            except OSError:
                continue
            for line in lines:
                if line.strip() and not line.startswith(("#", "import ", "import\t")):
                    found.append(os.path.normpath(os.path.join(folder, line.strip())))
    return list(dict.fromkeys(found))
