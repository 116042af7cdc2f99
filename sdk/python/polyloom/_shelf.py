"""Libraries that were loaded ahead of a cell, out of its sight until it imports them.

A zygote loads what the cell is known to have loaded last time (`Shelf.load`) and hides it again:
it is in no list of modules and no module's attribute. An import of the cell's finds it here, and
brings what the library's own code imports with it, as to load it would. So a cell sees what it
would see without all this; one that first changed what a library may look at when it is loaded
(variables, the places in which modules are looked for) is told so, and is run again in a process
of its own.

The same finder takes note of what a cell loads and how long that takes at least. It does not know
what a cell is, nor what becomes of its notes.
"""

from __future__ import annotations

import builtins
import os
import sys

# `importlib` itself takes longer to load than all of this.
from _frozen_importlib import ModuleSpec
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType
    from typing import Any, Optional

# Loading is not begun after so many seconds: the first cell waits for it.
LONGEST = 2.0
# What took less is not worth it; what is here may be a little faster than it was.
WORTH_MS, STILL_WORTH_MS = 20.0, 10.0
MOST_NAMES = 32


class _Loader:
    """Puts one module back where an import wants it."""

    def __init__(self, shelf: Shelf, module: ModuleType) -> None:
        self._shelf, self._module = shelf, module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
        self._shelf.bring(module.__name__, module)


class Shelf:
    """What was loaded ahead, and what was noted of the cell's imports."""

    def __init__(self) -> None:
        self.modules: dict[str, ModuleType] = {}
        self._needs: dict[str, dict[str, None]] = {}
        self._attributes: set[str] = set()
        self._added: dict[str, list[tuple[list[Any], int, Any]]] = {}
        self._took: dict[str, float] = {}
        self._loading: list[str] = []
        self._asked: set[str] = set()
        self._recording = False
        self._around: Optional[tuple[Any, ...]] = None
        self._unfit: Optional[Callable[[], None]] = None
        self._own = "/"
        self._outer = ""
        self._times: dict[str, float] = {}
        self._began = 0.0

    # In the zygote.

    def load(self, names: Sequence[str]) -> bool:
        """Load and hide; false where that changed something that can't be hidden."""
        import warnings

        seen, before = set(sys.modules), _surroundings()
        lists: list[list[Any]] = [warnings.filters, sys.meta_path]  # type: ignore[list-item]
        known = [list(each) for each in lists]
        plain = builtins.__import__

        def note_added(name: str) -> None:
            for each, old in zip(lists, known):
                for at, item in enumerate(each):
                    if not any(item is one for one in old):
                        place = at if at == 0 else len(each)
                        self._added.setdefault(name, []).append((each, place, item))
                old[:] = each

        def noted(
            name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
        ) -> Any:
            full = _absolute(name, globals, level)
            missing = full not in sys.modules
            try:
                return plain(name, globals, locals, fromlist, level)
            finally:
                importer = globals.get("__name__") if globals else None
                if type(importer) is str:
                    touched = [one for one in _touched(full, fromlist) if one in sys.modules]
                    self._needs.setdefault(importer, {}).update(dict.fromkeys(touched))
                if missing and full in sys.modules:
                    note_added(full)

        builtins.__import__ = noted
        self._recording = True
        sys.meta_path.insert(0, self)
        known[1].insert(0, self)
        deadline = perf_counter() + LONGEST
        for name in names:
            start = perf_counter()
            if start > deadline or name in sys.modules:
                continue
            try:
                noted(name)
                self._took[name] = (perf_counter() - start) * 1e3
            except ImportError:
                pass
            note_added(name)
            # So that what the next one finds loaded is noted, too.
            self._hide(seen)
        builtins.__import__ = plain
        self._recording = False
        for each in lists:
            added = [item for of in self._added.values() for its, _, item in of if its is each]
            each[:] = [item for item in each if not any(item is one for one in added)]
        warnings._filters_mutated()  # type: ignore[attr-defined]
        sys.meta_path.remove(self)
        return _surroundings() == before

    def _hide(self, visible: set[str]) -> None:
        def is_registry(name: str) -> bool:
            # What extension modules have in common was found by no import, nor would it be.
            spec = getattr(sys.modules[name], "__spec__", None)
            return spec is None and "." not in name

        hidden = [name for name in sys.modules if name not in visible and not is_registry(name)]
        for name in hidden:
            self.modules[name] = sys.modules.pop(name)
        for name in hidden:
            # Modules that code put there by itself come with their package.
            parent, _, child = name.rpartition(".")
            self._needs.setdefault(name, {})
            if name not in self._asked:
                self._needs.setdefault(name.partition(".")[0], {})[name] = None
            holder = self.modules.get(parent) or sys.modules.get(parent)
            if parent and getattr(holder, "__dict__", {}).get(child) is self.modules[name]:
                self._attributes.add(name)
                delattr(holder, child)

    # In a cell.

    def begin(self, code: str, unfit: Callable[[], None]) -> None:
        """From here on the cell imports. `unfit` is called where it must not have what is here."""
        self._own = code.rpartition("/")[0] + "/"
        self._around, self._unfit = _surroundings(), unfit
        # A rehearsal may have been before.
        self._outer = ""
        self._times.clear()
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def moved(self, root: str) -> None:
        """A folder of the cell's own is where modules are looked for first."""
        self._around = _surroundings()
        if self.modules and self._unfit is not None:
            hidden = {name.partition(".")[0] for name in self.modules}
            if hidden & {entry.partition(".")[0] for entry in os.listdir(root)}:
                self._unfit()

    def loaded(self) -> list[str]:
        """What the cell has loaded that took its time."""
        found = []
        for name, took in self._times.items():
            least = STILL_WORTH_MS if name in self._took else WORTH_MS
            if self._took.get(name, took) >= least and name in sys.modules:
                if not self._is_own(name):
                    found.append(name)
        if found:
            # A library that has started threads can't be loaded for others.
            threading = sys.modules.get("threading")
            known = threading.active_count() if threading is not None else 1
            if len(os.listdir("/proc/self/task")) > known:
                return []
        return found[:MOST_NAMES]

    def ahead(self, names: Sequence[str]) -> list[str]:
        """Those of them that were loaded before there was a cell."""
        return [name for name in names if name in self._took]

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The finder's part in an import of what is not loaded."""
        module = self.modules.get(name)
        if self._recording:
            while self._loading and not _is_loading(self._loading[-1]):
                self._loading.pop()
            if self._loading:
                self._needs.setdefault(self._loading[-1], {})[name] = None
            self._loading.append(name)
            self._asked.add(name)
        else:
            if self._around != _surroundings():
                # Nor is it noted, so that the next run does not load it ahead.
                if module is not None and self._unfit is not None:
                    self._unfit()
            else:
                self._note(name)
        if module is None:
            return None
        old = getattr(module, "__spec__", None)
        spec = ModuleSpec(name, _Loader(self, module), origin=getattr(old, "origin", None))  # type: ignore[arg-type]
        spec.submodule_search_locations = getattr(old, "submodule_search_locations", None)
        return spec

    def bring(self, name: str, module: ModuleType) -> None:
        """Put a module back into sight, with all that its code imports."""
        waiting = [name]
        while waiting:
            name = waiting.pop()
            found = self.modules.pop(name, None)
            if found is None:
                continue
            sys.modules[name] = found
            parent, _, child = name.rpartition(".")
            holder = sys.modules.get(parent) or self.modules.get(parent)
            if name in self._attributes and holder is not None:
                setattr(holder, child, found)
            for finder in list(sys.meta_path):
                came = getattr(finder, "came", None)  # one that seeds what is loaded
                if came is not None:
                    came(name, found)
            for each, place, item in self._added.get(name, ()):
                each.insert(place, item)
                if each is not sys.meta_path:
                    sys.modules["warnings"]._filters_mutated()
            if parent:
                waiting.append(parent)
            waiting.extend(self._needs.get(name, ()))

    def _note(self, name: str) -> None:
        now = perf_counter()
        outer = self._outer
        if outer and _is_loading(outer) and not self._is_own(outer):
            self._times[outer] = (now - self._began) * 1e3
            return
        self._outer, self._began = name, now
        if len(self._times) < 8 * MOST_NAMES:
            self._times.setdefault(name, 0.0)

    def _is_own(self, name: str) -> bool:
        spec = getattr(sys.modules.get(name), "__spec__", None)
        return str(getattr(spec, "origin", "")).startswith(self._own)


def _surroundings() -> tuple[Any, ...]:
    """What a library may look at when it is loaded, as far as a cell changes it."""
    places = tuple(sys.path), tuple(sys.path_hooks)
    # Not by the mapping's own methods, which decode each variable.
    variables = dict(getattr(os.environ, "_data", os.environ))
    return variables, *places, sys.excepthook, sys.displayhook, sys.getrecursionlimit()


def _is_loading(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return getattr(spec, "_initializing", False) is True


def _absolute(name: str, globals: Any, level: int) -> str:
    if not level or not globals:
        return name
    package = globals.get("__package__") or ""
    for _ in range(level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{name}" if name else package


def _touched(full: str, fromlist: Any) -> Iterator[str]:
    yield full
    parent = full.rpartition(".")[0]
    while parent:
        yield parent
        parent = parent.rpartition(".")[0]
    for item in fromlist or ():
        if item == "*":
            every = getattr(sys.modules.get(full), "__all__", ())
            yield from (f"{full}.{each}" for each in every)
        else:
            yield f"{full}.{item}"


SHELF = Shelf()
