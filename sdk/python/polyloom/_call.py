"""A cell that is one call of a function: gives it the inputs, takes what it returns.

Knows what is an argument and what may not be changed. What annotations make of values is
`_convert`'s, what becomes of the result `_results`'; the host reads signatures, never this.
"""

from __future__ import annotations

import os

from polyloom import PortError
from polyloom._annotations import Scope, Unreadable, Unresolved, annotations_of
from polyloom._bounds import is_seed
from polyloom._convert import converter, items, same
from polyloom._frozen import changed, frozen
from polyloom._function import (
    LIST,
    MAP,
    NORMAL,
    POSITIONAL,
    CallError,
    find,
    line_in,
    parameters_of,
    place_of,
)
from polyloom._guard import Guard
from polyloom._types import Type, parse
from polyloom._values import Mismatch, conform, describe
from polyloom._wrong import Wrong, fits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any, Optional

    from polyloom._convert import Converter
    from polyloom._execution import Execution
    from polyloom._function import Parameter

_WHOLE = {"list", "map", "record", "tensor", "table", "image"}
"""Types whose spelling says better what was expected than an annotation can."""


def call(execution: Execution) -> Call:
    """A call that was made: its outputs, by port, are `given`."""
    spec = execution.call or {}
    module, name = str(spec.get("module")), str(spec.get("object"))
    guard = Guard(execution.code, name)
    with guard:
        function = find(execution.code, module, name)
    made = Call(execution, function, name, guard)
    made.given = made.run()
    return made


class Call:
    """One call, from the inputs to the outputs."""

    def __init__(self, execution: Execution, function: Any, name: str, guard: Guard) -> None:
        self.execution = execution
        self.guard = guard
        self.function = function
        self.name = name
        inner = function
        while hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        self.inner = inner
        names = getattr(inner, "__globals__", None)
        self.scope = Scope(getattr(inner, "__module__", None) or "", names)
        self.arguments: dict[str, Any] = {}
        self.given: dict[str, Any] = {}
        try:
            self.hints = annotations_of(inner, name)
        except Unreadable as error:
            raise self.error(
                "", f"the annotations of `{name}` cannot be read: {error}", "annotation"
            ) from error

    def run(self) -> dict[str, Any]:
        from polyloom import _results

        args, keywords = self.bind()
        kept = {name: frozen(value) for name, value in self.arguments.items()}
        hint: Any = None
        try:
            with self.guard:
                result = self.function(*args, **keywords)
                if hasattr(result, "__next__") or hasattr(result, "__aiter__"):
                    hint = self.scope.resolve(self.hints.get("return"), "return")
                result = _results.settle(result, hint, self.execution)
        except SystemExit as error:
            if error.code is None or error.code == 0:
                message = f"`{self.name}` ended the program before it returned"
                line = line_in(error, self.execution.code)
                raise CallError("", message, "exit", line) from error
            raise
        except (ValueError, TypeError) as error:
            self.blame(error)
            raise
        if os.getpid() != self.execution._pid:
            return {}
        for name, value in self.arguments.items():
            if changed(kept[name], value):
                message = (
                    f"argument `{name}` was changed by the function `{self.name}`: work on a copy"
                )
                raise self.error(name, message, "changed")
        hint = self.scope.resolve(self.hints.get("return"), "return")
        try:
            return _results.outputs_of(result, hint, self.execution, self.name)
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
        known = {each.name: each for each in parameters}
        for name in inputs:
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

    def spread(self, name: str, value: Any, known: Container[str], given: dict[str, Any]) -> None:
        if not isinstance(value, dict):
            raise self.error(
                name, f"argument `{name}`: expected map, found {describe(value)}", "argument"
            )
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
                fits(value, declared)
        except Wrong as error:
            expected = error.expected
            if not error.path and declared.name in _WHOLE and error._value is not None:
                expected = declared.text
            text = f"argument `{name}{error.path}`: expected {expected}, found {error.found}"
            raise self.error(name, text, "argument") from error.__cause__
        self.arguments[name] = value
        return value

    def convert_for(self, name: str, declared: Type) -> Converter:
        hint = self.scope.resolve(self.hints.get(name, same), name)
        if hint is same:
            return lambda value: _declared(value, declared)
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

    def each(self, name: str, kind: int) -> Converter:
        """`*args: T` are many of T, and so are `**kwargs: T`."""
        hint = self.scope.resolve(self.hints[name], name)
        if isinstance(hint, Unresolved):
            return items if kind == LIST else same
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
        from polyloom._blame import written

        name = written(error, self.arguments)
        if name is not None:
            from polyloom._diagnose import print_exception

            print_exception(error)
            message = f"argument `{name}` was to be changed by the function `{self.name}`: "
            line = line_in(error, self.execution.code)
            fix = "inputs are read-only, work on a copy"
            raise CallError(name, message + fix, "changed", line) from error

    def error(self, name: str, message: str, code: str) -> CallError:
        """An error at the parameter `name`, or at the function."""
        error = CallError(name, message, code)
        compiled = getattr(self.inner, "__code__", None)
        file = getattr(compiled, "co_filename", self.execution.code)
        if file.startswith(os.path.dirname(self.execution.code) + os.sep):
            error.place.update(place_of(file, getattr(compiled, "co_name", self.name), name))
        return error


def _declared(value: Any, declared: Type) -> Any:
    """A value whose annotation is not there, by the type that its port has."""
    if declared.name in ("any", "tensor", "table", "image", "file", "dir"):
        return value
    try:
        return conform(value, declared, "")
    except Mismatch:
        raise Wrong(declared.text, value) from None
