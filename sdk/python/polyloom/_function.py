"""Finds the function that a cell is, and its parameters: modules, names, defaults.

Knows nothing of values. A plain function is looked at directly; `inspect` is loaded for the others.
"""

from __future__ import annotations

import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import SourceFileLoader

from polyloom import PortError
from polyloom._shelf import SHELF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

POSITIONAL, NORMAL, LIST, KEYWORD, MAP = range(5)
_roots: list[str] = []


class CallError(PortError):
    """Why a call failed without its code being at fault, and where that is."""

    def __init__(self, name: str, message: str, code: str, line: Optional[int] = None) -> None:
        super().__init__(name, message)
        self.place: dict[str, Any] = {"code": code, "line": line}


class Parameter:
    """One parameter of a function."""

    __slots__ = ("default", "kind", "name", "optional")

    def __init__(self, name: str, kind: int, optional: bool, default: Any) -> None:
        self.name, self.kind, self.optional, self.default = name, kind, optional, default


def find(code: str, module: str, name: str) -> Any:
    """The object `name` of a module, whose file is `code` unless it is installed."""
    root = _root(code, module)
    if root:
        if _roots:  # A look at all modules copies the memory of most where the process is a fork.
            for other in [m for m, of in sys.modules.items() if _below(of, _roots)]:
                if other != "__main__":  # of a session's other cells
                    del sys.modules[other]  # of a call before this one
        _roots[:] = [root + os.sep]
        if sys.path[:1] != [root]:
            sys.path.insert(0, root)
            SHELF.moved(root)
    try:
        # To look for what is known takes longer than to compile it.
        if not root or "." in module or not _defined(code, module):
            __import__(module)
    except SystemExit as error:
        message = f"importing `{module}` ended the program, with status {error.code!r}"
        line = line_in(error, code)
        raise CallError("", message, "import", line) from error
    found = sys.modules[module]
    file = getattr(found, "__file__", None)
    if root and file != code:
        message = f"`{module}` is the name of another module, {file or 'a part of Python'}"
        raise CallError("", f"{message}: rename the file", "import", 1)
    try:
        function = getattr(found, name)
    except AttributeError:
        known = [each for each in vars(found) if callable(vars(found)[each]) and each[0] != "_"]
        has = ", ".join(f"`{each}`" for each in known[:8]) or "none"
        message = f"`{module}` has no function `{name}`; there are {has}"
        raise CallError("", message, "object") from None
    if not callable(function):
        wrong = CallError("", f"`{module}.{name}` is no function", "object")
        wrong.place.update(place_of(code, name, "") if code else {})
        raise wrong
    return function


def _defined(code: str, name: str) -> bool:
    """Make the module `name` of its file, as an import would; whether there was none yet."""
    if name in sys.modules or name in sys.builtin_module_names or not code.endswith(f"/{name}.py"):
        return False
    with open(code, "rb") as file:
        compiled = compile(file.read(), code, "exec", dont_inherit=True)
    module: Any = type(sys)(name)
    module.__file__, module.__package__ = code, ""
    module.__loader__ = SourceFileLoader(name, code)
    spec: Any = ModuleSpec(name, module.__loader__, origin=code)
    spec.has_location = True
    spec._initializing = True  # who imports it meanwhile is told of the circle
    module.__spec__ = spec
    sys.modules[name] = module
    try:
        exec(compiled, module.__dict__)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    spec._initializing = False
    return True


def _below(module: Any, roots: list[str]) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and file.startswith(tuple(roots))


def _root(code: str, module: str) -> str:
    """The folder from which the file `code` is imported as `module`."""
    if not code:
        return ""
    path = module.replace(".", os.sep)
    for end in (f"{os.sep}{path}.py", f"{os.sep}{path}{os.sep}__init__.py"):
        if code.endswith(end):
            return code[: -len(end)]
    return os.path.dirname(code)


def line_in(error: BaseException, code: str) -> Optional[int]:
    """The innermost line of the file `code` that an exception came through."""
    at, line = error.__traceback__, None
    while at is not None:
        if at.tb_frame.f_code.co_filename == code:
            line = at.tb_lineno
        at = at.tb_next
    return line


def place_of(file: str, name: str, part: str) -> dict[str, Any]:
    """Where a parameter of a function is, or its `return` annotation; else where it begins."""
    import ast

    try:
        with open(file, "rb") as source:
            tree = ast.parse(source.read())
    except (OSError, SyntaxError, ValueError):
        return {}
    place: dict[str, Any] = {}
    for node in tree.body:
        spot: Any = None
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            of = node.args
            every = [*of.posonlyargs, *of.args, *of.kwonlyargs, of.vararg, of.kwarg]
            spot = next((arg for arg in every if arg and arg.arg == part), None)
            spot = node.returns if part == "return" else spot
        elif not any(isinstance(it, ast.Name) and it.id == name for it in _bound(node)):
            continue
        place = {"file": file, "line": (spot or node).lineno}
        if spot is not None:
            place["col"] = spot.col_offset + 1
            place.update(end_line=spot.end_lineno, end_col=spot.end_col_offset + 1)
    return place


def _bound(node: Any) -> list[Any]:
    """What a statement gives a value."""
    return getattr(node, "targets", None) or [getattr(node, "target", None)]


def parameters_of(function: Any) -> Optional[list[Parameter]]:
    """The parameters of a function, None where nobody can tell them."""
    code = getattr(function, "__code__", None)
    if type(function).__name__ != "function" or code is None:
        return _inspected(function)
    names = code.co_varnames
    count, plain = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    defaults = function.__defaults__ or ()
    keywords = function.__kwdefaults__ or {}
    found = []
    for at, name in enumerate(names[:count]):
        back = at - count + len(defaults)
        kind = POSITIONAL if at < code.co_posonlyargcount else NORMAL
        found.append(Parameter(name, kind, back >= 0, defaults[back] if back >= 0 else None))
    if code.co_flags & 4:
        found.append(Parameter(names[plain], LIST, True, ()))
    for name in names[count:plain]:
        found.append(Parameter(name, KEYWORD, name in keywords, keywords.get(name)))
    if code.co_flags & 8:
        found.append(Parameter(names[plain + bool(code.co_flags & 4)], MAP, True, {}))
    return found


def _inspected(function: Any) -> Optional[list[Parameter]]:
    import inspect

    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return None
    empty = inspect.Parameter.empty
    return [
        Parameter(
            each.name,
            int(each.kind),
            each.default is not empty or each.kind in (2, 4),
            each.default,
        )
        for each in signature.parameters.values()
    ]
