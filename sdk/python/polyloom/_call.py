"""A cell that is one call of a function: imports it, gives it the inputs, takes what it returns.

Knows modules, parameters and what may not be changed. What annotations make of values is
`_convert`'s, what becomes of the result `_results`'; the host reads signatures, never this.
"""

from __future__ import annotations

import os
import sys

from polyloom import PortError
from polyloom._annotations import Scope, Unreadable, Unresolved, annotations_of
from polyloom._bounds import is_seed
from polyloom._convert import converter, same
from polyloom._frozen import changed, frozen
from polyloom._types import Type, parse
from polyloom._values import Mismatch, conform
from polyloom._wrong import Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional

    from polyloom._execution import Execution

POSITIONAL, NORMAL, LIST, KEYWORD, MAP = range(5)
_WHOLE = {"list", "map", "record", "tensor", "table", "image"}
"""Types whose spelling says better what was expected than an annotation can."""
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


def call(execution: Execution) -> dict[str, Any]:
    """The outputs of one call, by port."""
    import builtins

    spec = execution.call or {}
    module, name = str(spec.get("module")), str(spec.get("object"))
    before = dict(vars(builtins))
    try:
        function = _find(execution, module, name)
        return _Call(execution, function, name).run()
    finally:
        if vars(builtins) != before:
            vars(builtins).clear()
            vars(builtins).update(before)


def _find(execution: Execution, module: str, name: str) -> Any:
    root = _root(execution.code, module)
    if root:
        for other in [m for m, of in sys.modules.items() if _roots and _below(of, _roots)]:
            del sys.modules[other]  # of a call before this one
        _roots[:] = [root + os.sep]
        if sys.path[:1] != [root]:
            sys.path.insert(0, root)
    try:
        __import__(module)
    except SystemExit as error:
        message = f"importing `{module}` ended the program, with status {error.code!r}"
        line = _line(error, execution.code)
        raise CallError("", message, "import", line) from error
    found = sys.modules[module]
    file = getattr(found, "__file__", None)
    if root and file != execution.code:
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
        raise CallError("", f"`{module}.{name}` is no function", "object")
    return function


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


def _line(error: BaseException, code: str) -> Optional[int]:
    """The innermost line of the file `code` that an exception came through."""
    at, line = error.__traceback__, None
    while at is not None:
        if at.tb_frame.f_code.co_filename == code:
            line = at.tb_lineno
        at = at.tb_next
    return line


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
        Parameter(each.name, int(each.kind), each.default is not empty or each.kind in (2, 4), each.default)
        for each in signature.parameters.values()
    ]


class _Call:
    """One call, from the inputs to the outputs."""

    def __init__(self, execution: Execution, function: Any, name: str) -> None:
        self.execution = execution
        self.function = function
        self.name = name
        inner = function
        while hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        self.inner = inner
        names = getattr(inner, "__globals__", None)
        self.scope = Scope(getattr(inner, "__module__", None) or "", names)
        self.arguments: dict[str, Any] = {}
        try:
            self.hints = annotations_of(inner, name)
        except Unreadable as error:
            raise self.error("", f"the annotations of `{name}` cannot be read: {error}", "annotation") from error

    def run(self) -> dict[str, Any]:
        from polyloom import _results

        args, keywords = self.bind()
        kept = {name: frozen(value) for name, value in self.arguments.items()}
        try:
            result = _results.settle(self.function(*args, **keywords), self.execution)
        except SystemExit as error:
            if error.code is None or error.code == 0:
                message = f"`{self.name}` ended the program before it returned"
                line = _line(error, self.execution.code)
                raise CallError("", message, "exit", line) from error
            raise
        except (ValueError, TypeError) as error:
            self.blame(error)
            raise
        if os.getpid() != self.execution._pid:
            return {}
        for name, value in self.arguments.items():
            if changed(kept[name], value):
                message = f"argument `{name}` was changed by the function `{self.name}`: work on a copy"
                raise self.error(name, message, "changed")
        hint = self.scope.resolve(self.hints.get("return"), "return")
        try:
            return _results.outputs_of(result, hint, self.execution.outputs, self.name)
        except PortError as error:
            raise self.error("return", str(error), "output") from error

    def bind(self) -> tuple[list[Any], dict[str, Any]]:
        """The arguments as the function wants them."""
        given: dict[str, Any] = {}
        inputs = self.execution.inputs
        parameters = parameters_of(self.inner)
        if parameters is None:
            for name, slot in inputs.items():
                given[name] = self.argument(name, slot, None)
            one = len(given) == 1
            return (list(given.values()), {}) if one else ([], given)
        known = {each.name for each in parameters}
        for name, slot in inputs.items():
            if name not in known:
                listed = ", ".join(f"`{each}`" for each in known)
                message = f"`{name}` is no parameter of `{self.name}`; there are {listed}"
                raise self.error("", message, "argument")
        # What comes before `*args` can be given by its place only.
        placed = any(each.kind == LIST and each.name in inputs for each in parameters)
        args: list[Any] = []
        for each in parameters:
            if each.name in inputs:
                value = self.argument(each.name, inputs[each.name], each)
            elif self.is_context(each):
                from polyloom._context import Context

                value = Context(self.execution.seed or 0, self.execution.cell)
            elif self.execution.seed is not None and self.is_seed(each):
                value = self.execution.seed
            elif not each.optional:
                raise self.error(each.name, f"argument `{each.name}` is missing", "argument")
            elif each.kind == POSITIONAL or (placed and each.kind == NORMAL):
                value = each.default
            else:
                continue
            if each.kind == POSITIONAL or (placed and each.kind == NORMAL):
                args.append(value)
            elif each.kind == LIST:
                args.extend(value)
            elif each.kind == MAP:
                self.spread(each.name, value, known, given)
            else:
                given[each.name] = value
        return args, given

    def spread(self, name: str, value: Any, known: set[str], given: dict[str, Any]) -> None:
        if not isinstance(value, dict):
            raise self.error(name, f"argument `{name}`: expected map, found {_found(value)}", "argument")
        for key in value:
            if key in known:
                message = f"argument `{name}` has the key `{key}`, which is a parameter itself"
                raise self.error(name, message, "argument")
        given.update(value)

    def argument(self, name: str, slot: dict[str, Any], parameter: Optional[Parameter]) -> Any:
        """The value of an input as its annotation wants it."""
        from polyloom._inputs import read_input

        declared = parse(slot.get("type") or "any")
        value = read_input(name, slot)
        if parameter is not None and parameter.kind in (LIST, MAP) and name in self.hints:
            convert = self.each(name, parameter.kind)
        else:
            convert = self.convert_for(name, declared)
        try:
            if not (value is None and parameter is not None and parameter.default is None):
                value = convert(value)
            if declared.name == "tensor" and hasattr(value, "dtype"):
                _fits(value, declared)
        except Wrong as error:
            expected = error.expected
            if not error.path and declared.name in _WHOLE and error._value is not None:
                expected = declared.text
            text = f"argument `{name}{error.path}`: expected {expected}, found {error.found}"
            raise self.error(name, text, "argument") from error.__cause__
        self.arguments[name] = value
        return value

    def convert_for(self, name: str, declared: Type) -> Callable[[Any], Any]:
        hint = self.scope.resolve(self.hints.get(name, same), name)
        if hint is same:
            return same
        try:
            return converter(hint, self.scope)
        except Unreadable as error:
            # The host has checked the value; only a class of its own has to be there.
            if any(word in declared.text for word in ("record", "enum")):
                message = f"the annotation of `{name}` cannot be evaluated: {error}"
                raise self.error(name, message, "annotation") from error
            return lambda value: _declared(value, declared)
        except Exception as error:
            message = f"the annotation of `{name}` cannot be used: {error}"
            raise self.error(name, message, "annotation") from error

    def each(self, name: str, kind: int) -> Callable[[Any], Any]:
        """`*args: T` are many of T, and so are `**kwargs: T`."""
        hint = self.scope.resolve(self.hints[name], name)
        if isinstance(hint, Unresolved):
            return same
        alias: Any = list[hint] if kind == LIST else dict[str, hint]  # type: ignore[valid-type]
        return converter(alias, self.scope)

    def is_context(self, parameter: Parameter) -> bool:
        hint = self.hints.get(parameter.name)
        if parameter.name != "ctx" or hint is None:
            return False
        if isinstance(hint, str):
            return hint.strip("\"'").rpartition(".")[2] == "Context"
        return getattr(hint, "__name__", "") == "Context"

    def is_seed(self, parameter: Parameter) -> bool:
        hint = self.hints.get(parameter.name)
        return hint is not None and is_seed(self.scope.resolve(hint, parameter.name))

    def blame(self, error: Exception) -> None:
        """Raise what names the argument, where one was to be written to."""
        if "read-only" not in str(error) or not self.arguments:
            return
        at = error.__traceback__
        seen: list[Any] = []
        while at is not None:
            if at.tb_frame.f_code.co_filename != __file__:
                seen.append(at)
            at = at.tb_next
        for place in reversed(seen):
            text = _text(place.tb_frame.f_code.co_filename, place.tb_lineno)
            for local, value in place.tb_frame.f_locals.items():
                for name, argument in self.arguments.items():
                    if local in text and _shares(value, argument):
                        message = f"argument `{name}` was to be changed by the function `{self.name}`: "
                        fix = "inputs are read-only, work on a copy"
                        line = _line(error, self.execution.code)
                        from polyloom._diagnose import print_exception

                        print_exception(error)
                        raise CallError(name, message + fix, "changed", line) from error

    def error(self, name: str, message: str, code: str) -> CallError:
        """An error at the parameter `name`, or at the function."""
        error = CallError(name, message, code)
        file = self.execution.code
        if not file:
            return error
        import ast

        try:
            with open(file, "rb") as source:
                tree = ast.parse(source.read())
        except (OSError, SyntaxError, ValueError):
            return error
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == self.name:
                of = node.args
                every = [*of.posonlyargs, *of.args, *of.kwonlyargs, of.vararg, of.kwarg]
                spot: Any = next((arg for arg in every if arg and arg.arg == name), None)
                spot = node.returns if name == "return" else spot
                error.place["line"] = (spot or node).lineno
                if spot is not None:
                    error.place["col"] = spot.col_offset + 1
                    error.place.update(end_line=spot.end_lineno, end_col=spot.end_col_offset + 1)
        return error


def _declared(value: Any, declared: Type) -> Any:
    """A value whose annotation is not there, by the type that its port has."""
    if declared.name in ("tensor", "table", "image", "file", "dir"):
        return value
    try:
        return conform(value, declared, "")
    except Mismatch:
        raise Wrong(declared.text, value) from None


def _fits(value: Any, declared: Type) -> None:
    """Refuse a tensor that is not of the declared elements and shape."""
    from polyloom._npy import _DESCR

    dtype = _DESCR.get(value.dtype.str[1:])
    shape = declared.shape
    fits = declared.dtype in (None, dtype) and (
        shape is None
        or len(shape) == value.ndim
        and all(not isinstance(a, int) or a == b for a, b in zip(shape, value.shape))
    )
    if not fits:
        raise Wrong(declared.text, value)


def _found(value: Any) -> str:
    from polyloom._values import describe

    return describe(value)


def _text(file: str, line: int) -> str:
    try:
        with open(file, "rb") as source:
            return source.read().splitlines()[line - 1].decode("utf-8", "replace")
    except (OSError, IndexError):
        return ""


def _shares(value: Any, argument: Any) -> bool:
    """Whether two values show the same memory."""
    if value is argument:
        return True
    if not hasattr(value, "base") and not isinstance(value, memoryview):
        return False
    from polyloom._npy import _owner

    owner = _owner(argument)
    return owner is not argument and _owner(value) is owner
