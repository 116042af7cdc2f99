"""What annotations mean at run time: texts are evaluated, with the names of type checkers, too.

Imports neither `typing` nor `inspect`: who annotates with them has loaded them, and most functions
need neither. Knows no values.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

_PLAIN = {"int": int, "float": float, "str": str, "bool": bool, "bytes": bytes, "None": None}


class Unreadable(Exception):
    """An annotation that raises: whose it is, its text, and what it raised."""

    def __init__(self, name: str, text: str, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.name = name
        self.text = text


class Unresolved:
    """In place of an annotation that raised."""

    def __init__(self, error: Unreadable) -> None:
        self.error = error


class Scope:
    """Where the names of annotations are looked up."""

    def __init__(self, module: str, names: Optional[dict[str, Any]] = None) -> None:
        self.module = module
        self.names: dict[str, Any] = dict(vars(sys.modules.get(module, object)))
        if names is not None:
            self.names = names
        self.variables: dict[Any, Any] = {}
        """What stands for the variables of a generic class."""
        self._late: Optional[dict[str, Any]] = None

    def resolve(self, hint: Any, name: str) -> Any:
        """The object that an annotation means, or an `Unresolved`."""
        text = hint if isinstance(hint, str) else getattr(hint, "__forward_arg__", None)
        if not isinstance(text, str):
            return hint
        if text in _PLAIN and text not in self.names:
            return _PLAIN[text]
        try:
            return eval(text, self.names)
        except Exception:
            pass
        try:
            return eval(text, {**self.names, **self._late_names()})
        except Exception as error:
            return Unresolved(Unreadable(name, text, error))

    def _late_names(self) -> dict[str, Any]:
        """What the module imports under `if TYPE_CHECKING:`, as far as it is there."""
        if self._late is None:
            self._late = {}
            path = self.names.get("__file__")
            if isinstance(path, str):
                _run_late(path, self.names, self._late)
        return self._late


def _run_late(path: str, names: dict[str, Any], late: dict[str, Any]) -> None:
    import ast

    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return
    for node in tree.body:
        test = getattr(node, "test", None)
        flag = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
        if not isinstance(node, ast.If) or flag != "TYPE_CHECKING":
            continue
        for line in node.body:
            if isinstance(line, (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)):
                found = dict(names)
                found.update(late)
                before = dict(found)
                try:
                    exec(compile(ast.Module([line], []), path, "exec"), found)
                except Exception:
                    continue  # a name that is needed is told to be missing
                late.update({k: v for k, v in found.items() if before.get(k, late) is not v})


def annotations_of(owner: Any, name: str) -> dict[str, Any]:
    """The annotations of a function or a class as they were written, or evaluated."""
    if sys.version_info < (3, 10) and isinstance(owner, type):
        return dict(vars(owner).get("__annotations__") or {})  # else they are the base's
    try:
        found = getattr(owner, "__annotations__", None)
    except Exception as error:  # from 3.14 on they are evaluated only here
        try:
            from annotationlib import Format, get_annotations  # type: ignore[import-not-found, unused-ignore]

            found = get_annotations(owner, format=Format.STRING)
        except ImportError:
            raise Unreadable(name, "", error) from error
    return dict(found) if isinstance(found, dict) else {}


def fields_of(cls: type) -> dict[str, Any]:
    """The annotated fields of a class and of what it is derived from."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__ in ("typing", "builtins"):
            continue
        module = Scope(base.__module__).names
        scope = Scope(base.__module__, {**module, base.__name__: base})
        for name, hint in annotations_of(base, base.__name__).items():
            found[name] = scope.resolve(hint, f"{cls.__name__}.{name}")
    return found
