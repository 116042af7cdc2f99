"""What an import statement that is being typed may go on with.

Imports nothing that is not there: a module's code runs when the statement does. Knows no messages.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.machinery import ModuleSpec
    from typing import Optional

MOST_SOURCE = 1 << 20
"""A longer module is not read for its names."""


def importable(typed: str) -> Optional[set[str]]:
    """The words that may follow in the last statement of `typed`; None where that is no import."""
    statement = typed.rpartition("\n")[2].rpartition(";")[2].lstrip()
    keyword, space, rest = statement.partition(" ")
    if not space or keyword not in ("import", "from"):
        return None
    if keyword == "import":
        return _next(rest.rpartition(",")[2], {"as"})
    module, space, rest = rest.lstrip().partition(" ")
    if not space:
        return _next(module, set())
    keyword, space, rest = rest.lstrip().partition(" ")
    if not space:
        return {"import"} if not keyword else set()
    part = rest.replace("(", ",").rpartition(",")[2].split()
    return set() if len(part) > 1 else {"as"} if part else _names(module)


def _next(part: str, after: set[str]) -> set[str]:
    """After `part`, which names a module or the beginning of one."""
    words = part.split()
    if not words:
        return _children("")
    if part[-1].isspace():
        return after if len(words) == 1 else set()
    return _children(words[0].rstrip(".")) if len(words) == 1 else set()


def _children(of: str) -> set[str]:
    """The modules of a package, or those that need none."""
    from importlib.machinery import all_suffixes

    found = set()
    prefix = f"{of}." if of else ""
    for name in list(sys.modules):
        if name.startswith(prefix):
            found.add(name[len(prefix) :].partition(".")[0])
    if not of:
        found |= {*sys.builtin_module_names, *getattr(sys, "stdlib_module_names", ())}
    suffixes = sorted(all_suffixes(), key=len, reverse=True)
    for name, is_folder in _entries(_folders(of)):
        end = next((it for it in suffixes if name.endswith(it)), "")
        if is_folder or end:
            found.add(name[: len(name) - len(end)])
    hidden = ("__main__", "__init__", "__pycache__")
    return {name for name in found if name.isidentifier() and name not in hidden}


def _entries(folders: Iterable[str]) -> Iterable[tuple[str, bool]]:
    import os

    for folder in folders:
        try:
            with os.scandir(folder or ".") as entries:
                yield from ((entry.name, entry.is_dir()) for entry in entries)
        except OSError:
            pass  # an archive, or no longer there


def _folders(of: str) -> Iterable[str]:
    if not of:
        return sys.path
    spec = _spec(of)
    return (spec.submodule_search_locations or ()) if spec is not None else ()


def _spec(module: str) -> Optional[ModuleSpec]:
    """Where a module is, found without running the packages that it is in."""
    from importlib.machinery import BuiltinImporter, PathFinder

    first, *rest = module.split(".")
    found = BuiltinImporter.find_spec(first) or PathFinder.find_spec(first)
    for part in rest:
        if found is None or found.submodule_search_locations is None:
            return None
        # By its own name alone: a package without `__init__.py` looks for its parent as loaded.
        found = PathFinder.find_spec(part, found.submodule_search_locations)
    return found


def _names(module: str) -> set[str]:
    """What can be imported from a module: by its word where it is loaded, else by its source."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        return {*dir(loaded)} | _children(module)
    spec = _spec(module)
    if spec is None:
        return set()
    names = _children(module)
    if spec.origin is not None and spec.origin.endswith(".py"):
        with open(spec.origin, "rb") as file:
            names |= _defined(file.read(MOST_SOURCE))
    elif module in getattr(sys, "stdlib_module_names", ()) and not names:
        from importlib import import_module

        # One of Python's own that is no source: `math` for one.
        names |= {*dir(import_module(module))}
    return names


def _defined(source: bytes) -> set[str]:
    import ast

    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(it.asname or it.name).partition(".")[0] for it in node.names}
        else:
            stored = (it for it in ast.walk(node) if isinstance(it, ast.Name))
            found |= {it.id for it in stored if isinstance(it.ctx, ast.Store)}
    return found - {"*"}
