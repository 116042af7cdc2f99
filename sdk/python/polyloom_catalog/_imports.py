"""Imports at the top of a file that can't go well: of what is not there, and in a circle.

Only what is certain is told. What is imported in a `try`, in a branch or in a function may be meant
to fail, or never come to it.
"""

from __future__ import annotations

import ast
import re
import sys

from polyloom_catalog._problems import IMPORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from polyloom_catalog._library import Library
    from polyloom_catalog._problems import Problems
    from polyloom_catalog._source import Module

_NOT_INSTALLED = f"install it for {sys.executable}, or import it where it is needed"


def failing(module: Module, library: Library, problems: Problems) -> None:
    """Tell of the imports of a project's module that fail, as warnings: nothing was imported."""
    for node in module.tree.body:
        message = help = ""
        if isinstance(node, ast.Import):
            for alias in node.names:
                if not library.there(alias.name):
                    message, help = _missing(alias.name), _NOT_INSTALLED
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            message, help = _from(module, node, library)
        if message:
            problems.add(IMPORT, message, module, node, help=help, warning=True)


def _missing(name: str) -> str:
    return f"no module `{name}` is installed"


def _from(module: Module, node: ast.ImportFrom, library: Library) -> tuple[str, str]:
    base = module.absolute(node.module, node.level)
    if base is None:
        return "this import leads above the flow's folder", "import it by its name from there"
    if not base:
        return "", ""
    there = _ours(library, base)
    if there is None:
        return ("", "") if library.there(base) else (_missing(base), _NOT_INSTALLED)
    open = there.stars or b"__getattr__" in there.data
    for alias in node.names:
        word = re.escape(alias.name.encode())
        named = alias.name == "*" or open or re.search(rb"\b" + word + rb"\b", there.data)
        if not named and not library.there(f"{base}.{alias.name}"):
            return f"`{there.shown}` has no `{alias.name}`", "define it there, or leave it out"
    circle = _circle(module, node.lineno, there, library, {module.name})
    if circle:
        return circle, "import it in the function that needs it, or put what both need in a third"
    return "", ""


def _circle(module: Module, line: int, there: Module, library: Library, seen: set[str]) -> str:
    """Whether importing `there` on a line of a module needs what only comes below that line."""
    if there.name in seen:
        return ""
    seen.add(there.name)
    for node in there.tree.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        base = there.absolute(node.module, node.level)
        if base == module.name:
            for alias in node.names:
                if _bound(module, alias.name) > line:
                    at = f"{there.shown}:{node.lineno}"
                    return f"it is imported in a circle: {at} needs `{alias.name}` of this file"
            continue
        inner = _ours(library, base) if base else None
        if inner is not None:
            found = _circle(module, line, inner, library, seen)
            if found:
                return found
    return ""


def _ours(library: Library, name: str) -> Optional[Module]:
    """A module of the project, if it can be read: else that has been told."""
    found = library.find(name)
    return library.module(name) if found is not None and found.project else None


def _bound(module: Module, name: str) -> int:
    binding = module.bindings.get(name)
    return getattr(binding.node, "lineno", 0) if binding is not None else 0
