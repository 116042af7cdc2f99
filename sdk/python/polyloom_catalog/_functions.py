"""One function as a row of the catalog: its ports, what it gives back, and what is said of it."""

from __future__ import annotations

import ast
import re

from polyloom_catalog._docs import Doc
from polyloom_catalog._known import PLAIN
from polyloom_catalog._problems import (
    CLASH,
    DECORATOR,
    MAY_BE_MISSING,
    NO_PORT_NAME,
    TOO_LARGE_TYPE,
    UNTYPABLE,
    UNTYPED_PARAMETER,
    UNTYPED_RETURN,
    Refusal,
)
from polyloom_catalog._shape import Field, Shape, listed, mapped, nullable, taken, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from polyloom_catalog._annotations import Annotations
    from polyloom_catalog._problems import Problems
    from polyloom_catalog._source import Function, Module

RESERVED = frozenset(
    ["con", "prn", "aux", "nul"] + [f"{name}{at}" for name in ("com", "lpt") for at in range(1, 10)]
)
# Decorators that leave the signature as it stands, by the last part of their names.
KEEPS = frozenset(
    "cache lru_cache wraps final overload override deprecated no_type_check njit jit vectorize"
    " guvectorize typechecked beartype jaxtyped validate_call singledispatch".split()
)
CHANGES = frozenset(["contextlib.contextmanager", "contextlib.asynccontextmanager"])


MOST_PORTS = 256
LEFT = "it keeps its default"
_PORT = re.compile("[a-z][a-z0-9_]{0,63}").fullmatch


def port_name(name: str) -> str:
    """Why a name is none of a port, or nothing."""
    if _PORT(name) and name not in RESERVED:
        return ""
    if not ("a" <= name[:1] <= "z"):
        return "it begins with a small letter"
    if len(name) > 64:
        return "it has at most 64 characters"
    if not all(char in "abcdefghijklmnopqrstuvwxyz0123456789_" for char in name):
        return "it has small letters, digits and `_`"
    return "it is reserved on some platforms" if name in RESERVED else ""


class Left(Exception):
    """Why a parameter is no port: it keeps its default."""


class Functions:
    """Turns definitions into entries."""

    def __init__(self, annotations: Annotations, problems: Problems, allow_untyped: bool) -> None:
        self.annotations = annotations
        self.problems = problems
        self.allow = allow_untyped

    def entry(
        self, module: Module, node: Function, name: str, location: str = ""
    ) -> Optional[dict[str, Any]]:
        """Everything of the entry that the function says itself; None where it is refused.

        `location` is where it is asked for.
        """
        return _Reading(self, module, node, name, location).entry()


class _Reading:
    def __init__(
        self, all: Functions, module: Module, node: Function, name: str, location: str
    ) -> None:
        self.all = all
        self.module = module
        self.node = node
        self.name = name
        self.location = location
        self.good = True
        self.context = False
        self.wrapped = False
        self.left: list[tuple[str, str, ast.AST]] = []
        """Parameters that keep their defaults, and why: of no interest where it is refused."""
        self.doc = Doc(_docstring(node))
        self.tags = list(self.doc.tags)
        self.variables = _variables(node)

    def say(
        self, code: str, message: str, node: ast.AST, help: str = "", warning: bool = False
    ) -> None:
        self.good = self.good and warning
        self.all.problems.add(
            code, message, self.module, node, object=self.name, help=help, warning=warning
        )

    def entry(self) -> Optional[dict[str, Any]]:
        arguments = self.node.args
        self._decorators()
        inputs: list[dict[str, Any]] = []
        params: list[dict[str, Any]] = []
        plain = [*arguments.posonlyargs, *arguments.args]
        defaults: list[Optional[ast.expr]] = [None] * (len(plain) - len(arguments.defaults))
        defaults += arguments.defaults
        for arg, default in zip(plain, defaults):
            self._port(arg, default, None, inputs)
        if arguments.vararg is not None:
            self._port(arguments.vararg, None, "list", inputs)
        for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults):
            self._port(arg, default, None, params)
        if arguments.kwarg is not None:
            self._port(arguments.kwarg, None, "map", params)
        outputs, generator = self._outputs()
        taken = {port["name"] for port in (*inputs, *params)}
        for port in outputs:
            if port["name"] in taken:
                name = port["name"]
                message = f"`{name}` is a parameter and an output"
                help = "give one of them another name"
                self.say(CLASH, message, self.node.returns or self.node, help)
        if len(taken) > MOST_PORTS or len(outputs) > MOST_PORTS:
            self.say(TOO_LARGE_TYPE, f"has more than {MOST_PORTS} ports", self.node)
        if not self.good:
            return None
        for code, message, node in self.left:
            self.say(code, message, node, LEFT, True)
        return {
            "title": self.name.replace("_", " ").strip().capitalize(),
            "doc": self.doc.text,
            "file": self.module.shown,
            "line": self.node.lineno,
            "col": self.module.place(self.node)[1],
            "tags": list(dict.fromkeys(self.tags)),
            "async": isinstance(self.node, ast.AsyncFunctionDef),
            "generator": generator,
            "context": self.context,
            "inputs": inputs,
            "params": params,
            "outputs": outputs,
        }

    def _decorators(self) -> None:
        if self.module.stub:
            return
        for decorator in self.node.decorator_list:
            head = decorator.func if isinstance(decorator, ast.Call) else decorator
            name = head.attr if isinstance(head, ast.Attribute) else getattr(head, "id", "")
            try:
                found = self.all.annotations.resolver.node(self.module, head)
            except Refusal:
                found = ""
            if found in CHANGES or (isinstance(found, str) and found.endswith("contextmanager")):
                self.say(
                    UNTYPABLE,
                    f"`@{name}` makes it a context manager, which is no value",
                    decorator,
                    "make a function of what is done within it",
                )
            elif name not in KEEPS and self.module.project:
                self.say(
                    DECORATOR,
                    f"`@{name}` may change what the function takes and gives",
                    decorator,
                    "it is read as it is written",
                    True,
                )

    def _port(
        self,
        arg: ast.arg,
        default: Optional[ast.expr],
        variadic: Optional[str],
        ports: list[dict[str, Any]],
    ) -> None:
        name = arg.arg
        if name == "ctx" and arg.annotation is not None and self._is_context(arg.annotation):
            self.context = True
            return
        why = port_name(name)
        if why:
            left = default is not None or variadic is not None
            message = f"`{name}` is no name of a port: {why}"
            help = LEFT if left else "give the parameter another name"
            self.say(NO_PORT_NAME, message, arg, help, left)
            return
        try:
            shape = self._typed(arg, default, variadic)
            if shape.why:
                raise Refusal(UNTYPABLE, shape.why, "give the function a parameter for each field")
            if shape.text == "dir" and shape.items is not None:
                raise Refusal(
                    UNTYPABLE,
                    "a tuple of tensors or files is no type of a port",
                    "give the function a parameter for each",
                )
            if shape.stream is not None:
                raise Refusal(
                    UNTYPABLE, "an iterator is no value", "take a `list` or an `Iterable`"
                )
            shape = taken(shape)
            if variadic == "list":
                shape = _told(shape, listed(shape))
            elif variadic == "map":
                shape = _told(shape, mapped(shape))
            required = default is None and variadic is None and shape.text != "seed"
            if shape.optional:
                if required and shape.value:
                    shape = _told(shape, nullable(shape))
                elif required:
                    required = False
        except Left as left:
            self.left.append((UNTYPED_PARAMETER, str(left), arg))
            return
        except Refusal as refusal:
            message = f"parameter `{name}`: {refusal.message}"
            # Nobody can mend what is installed: what needs not be given is not.
            spare = default is not None or variadic is not None
            if spare and (self.all.allow or not self.module.project):
                self.left.append((refusal.code, message, refusal.node or arg))
            else:
                help = refusal.help or self._wrap()
                self.say(refusal.code, message, refusal.node or arg, help)
            return
        ports.append(self._row(name, shape, arg, required, variadic, default))

    def _typed(self, arg: ast.arg, default: Optional[ast.expr], variadic: Optional[str]) -> Shape:
        if arg.annotation is not None:
            try:
                return self.all.annotations.read(self.module, arg.annotation, self.variables)
            except Refusal as refusal:
                raise refusal.at(arg.annotation) from None
        message = f"`{self.name}`: parameter `{arg.arg}` has no type"
        if not (self.all.allow or self.module.project) and (default is not None or variadic):
            raise Left(message)
        help = f"write `{arg.arg}: float` or what it is"
        if not self.module.project:
            help = self._wrap("`untyped = true` in its cell takes it as it is; or")
        self.say(UNTYPED_PARAMETER, message, arg, help, self.all.allow)
        said = _said(self.doc.types.get(arg.arg, ""))
        if said is not None:
            return said
        if isinstance(default, ast.Constant) and default.value is not None:
            known = PLAIN.get(f"builtins.{type(default.value).__name__}")
            if known is not None and known[0] == "int":
                return Shape("float|int", {"type": "number"})  # `0` may be either
            if known is not None and known[0] in ("bool", "float", "str"):
                return Shape(known[0], dict(known[1]))
        first = [*self.node.args.posonlyargs, *self.node.args.args][:1]
        if [arg] == first and default is None and "array" in self.doc.types.get("", ""):
            return Shape("tensor<any>", {})  # what gives an array takes one
        return Shape("any", {})

    def _wrap(self, first: str = "it is installed:") -> str:
        """What to do, once, where nobody can mend the function: its file is not the project's."""
        if self.module.project or self.wrapped:
            return ""
        self.wrapped = True
        node = self.node.args
        plain = [*node.posonlyargs, *node.args]
        names = [arg.arg for arg in plain[: len(plain) - len(node.defaults)]][:4]
        takes = ", ".join(f"{name}: float" for name in names)
        called = f"{self.location or self.module.name}.{self.name}({', '.join(names)})"
        return (
            f"{first} use a function of your own around it, with its types, such as"
            f" `def {self.name}({takes}) -> float: return {called}`"
        )

    def _is_context(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str) and node.value.rpartition(".")[2] == "Context"
        if isinstance(node, ast.Attribute):
            return node.attr == "Context"
        return isinstance(node, ast.Name) and node.id == "Context"

    def _row(
        self,
        name: str,
        shape: Shape,
        node: ast.AST,
        required: bool,
        variadic: Optional[str] = None,
        default: Optional[ast.expr] = None,
    ) -> dict[str, Any]:
        row: dict[str, Any] = {"name": name, "type": shape.text, "required": required}
        if default is not None:
            known, value, text = self.all.annotations.classes.default(self.module, default)
            if known:
                if shape.text == "float" and type(value) is int:
                    value = float(value)
                row["default"] = value
            else:
                row["default_text"] = text
        _, col, _ = self.module.place(node)
        row.update(
            variadic=variadic,
            schema=whole(shape) if shape.optional and shape.value else shape.schema,
            widget=shape.widget,
            doc=shape.doc or self.doc.params.get(name, ""),
            unit=shape.unit,
            line=getattr(node, "lineno", self.node.lineno),
            col=col,
        )
        return row

    def _outputs(self) -> tuple[list[dict[str, Any]], bool]:
        node = self.node.returns
        if node is None:
            help = "write `-> float` or what it gives; `-> None` for nothing"
            if not self.module.project:
                help = self._wrap("`untyped = true` in its cell takes it as it is; or")
            message = f"`{self.name}` has no return type"
            self.say(UNTYPED_RETURN, message, self.node, help, self.all.allow)
            said = _said(self.doc.types.get("", ""))
            return [self._row("result", said or Shape("any", {}), self.node, True)], False
        try:
            shape = self.all.annotations.read(self.module, node, self.variables)
            self.tags += shape.tags
            return self._given(shape, node)
        except Refusal as refusal:
            message = f"return: {refusal.message}"
            self.say(refusal.code, message, refusal.node or node, refusal.help or self._wrap())
            return [], False

    def _given(self, shape: Shape, node: ast.expr) -> tuple[list[dict[str, Any]], bool]:
        if shape.stream is not None or (shape.text.startswith("list<") and _yields(self.node)):
            if shape.stream is not None and shape.stream.optional:
                nullable(shape.stream)
            name = self._out(shape.output or "result", node)
            return [self._row(name, shape, node, True)], True
        if shape.text == "null" or shape.text == "never":
            return [], False
        if shape.kind in ("typeddict", "namedtuple") and shape.fields and not shape.optional:
            rows = []
            for field in shape.fields:
                if field.may_be_left_out and shape.kind == "typeddict":
                    raise Refusal(
                        MAY_BE_MISSING,
                        f"the field `{field.name}` may be missing, an output may not",
                        "make it required, and `None` where there is nothing",
                    )
                rows.append(self._part(self._out(field.name, node), field, node))
            return rows, False
        if shape.items is not None and not shape.optional:
            return [
                self._row(f"result_{at}", self._never_missing(item), node, True)
                for at, item in enumerate(shape.items, 1)
            ], False
        if shape.why:
            raise Refusal(UNTYPABLE, shape.why, "a TypedDict or a NamedTuple has a port for each")
        name = self._out(shape.output or "result", node)
        return [self._row(name, self._never_missing(shape), node, True)], False

    def _part(self, name: str, field: Field, node: ast.expr) -> dict[str, Any]:
        row = self._row(name, self._never_missing(field.shape), node, True)
        row["doc"] = row["doc"] or field.doc
        return row

    def _never_missing(self, shape: Shape) -> Shape:
        if shape.why:
            raise Refusal(UNTYPABLE, shape.why)
        if shape.optional and not shape.value:
            raise Refusal(
                MAY_BE_MISSING,
                f"`{shape.text}` or None may be missing, an output may not",
                "give an empty one, or raise an exception",
            )
        return _told(shape, nullable(shape)) if shape.optional else shape

    def _out(self, name: str, node: ast.expr) -> str:
        why = port_name(name)
        if why:
            raise Refusal(NO_PORT_NAME, f"`{name}` is no name of a port: {why}").at(node)
        return name


def _told(before: Shape, after: Shape) -> Shape:
    """The second with what is told of the first."""
    after.widget = after.widget or before.widget
    after.doc, after.unit, after.tags = before.doc, before.unit, before.tags
    after.output = before.output
    return after


def _docstring(node: Function) -> str:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return first.value.value if isinstance(first.value.value, str) else ""
    return ""


def _variables(node: Function) -> dict[str, Optional[ast.expr]]:
    """The type parameters of `def f[T: int](…)`, with their bounds."""
    return {found.name: getattr(found, "bound", None) for found in getattr(node, "type_params", ())}


def _yields(node: Function) -> bool:
    """Whether the function itself is a generator."""
    left: list[ast.AST] = list(node.body)
    while left:
        part = left.pop()
        if isinstance(part, (ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            left += ast.iter_child_nodes(part)
    return False


def _said(text: str) -> Optional[Shape]:
    """What numpy's style of docstring says of a type, where that is plain."""
    word = text.lower().split(",")[0].split(" of ")[0].strip()
    if "array" in word:
        return Shape("tensor<any>", {})
    known = {"int": "int", "float": "float", "bool": "bool", "str": "str", "scalar": "float"}
    known.update({"integer": "int", "boolean": "bool", "string": "str"})
    if word in known and " or " not in text:
        name, schema = PLAIN[f"builtins.{known[word]}"]
        return Shape(name, dict(schema))
    return None
