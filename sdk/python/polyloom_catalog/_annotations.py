"""From an annotation to the type of a port."""

from __future__ import annotations

import ast

from polyloom_catalog import _metadata
from polyloom_catalog._classes import Classes
from polyloom_catalog._known import (
    DTYPES,
    LISTS,
    MAPS,
    OTHER_DTYPES,
    PLAIN,
    REFUSED,
    SETS,
    STREAMS,
    THROUGH,
    TUPLES,
)
from polyloom_catalog._literals import NotLiteral, literal, shown
from polyloom_catalog._problems import CIRCULAR, NO_TYPE, TOO_LARGE_TYPE, UNTYPABLE, Refusal
from polyloom_catalog._resolve import Definition, Resolver, dotted
from polyloom_catalog._shape import MOST_MEMBERS, Shape, choices, listed, mapped, nullable, union

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional, Union

    from polyloom_catalog._source import Module

    Variables = dict[str, Union[ast.expr, Shape, None]]

DEEPEST = 40
MOST_CHOICES = 1024
OTHER = frozenset(OTHER_DTYPES.split())


class Annotations:
    """Reads annotations. Aliases, classes and type variables are read once each."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.classes = Classes(self)
        self._depth = 0
        self._aliases: dict[str, Optional[Shape]] = {}
        self._texts: dict[tuple[str, bytes], Shape] = {}
        self._variables: list[Variables] = []

    def read(self, module: Module, node: ast.expr, variables: Any = None) -> Shape:
        """The shape that an annotation says, `variables` being type parameters of a function."""
        text = b"" if variables else module.segment(node)
        known = self._texts.get((module.path, text)) if text else None
        if known is not None:
            return known
        self._variables.append(variables or {})
        try:
            shape = self.shape(module, node)
            if text:
                self._texts[module.path, text] = shape
            return shape
        except RecursionError:
            raise Refusal(TOO_LARGE_TYPE, "is nested too deep").at(node) from None
        finally:
            self._variables.pop()

    def shape(self, module: Module, node: ast.expr) -> Shape:
        """The shape, within what is being read."""
        self._depth += 1
        try:
            if self._depth > DEEPEST:
                raise Refusal(TOO_LARGE_TYPE, f"is nested deeper than {DEEPEST}")
            return self._shape(module, node)
        except Refusal as refusal:
            raise refusal.at(node) from None
        finally:
            self._depth -= 1

    def _shape(self, module: Module, node: ast.expr) -> Shape:
        if isinstance(node, ast.Constant):
            if node.value is None:
                return Shape("null", {"type": "null"})
            if isinstance(node.value, str):
                return self.shape(module, _quoted(node))
        elif isinstance(node, (ast.Name, ast.Attribute)):
            variable = self._variable(module, node)
            if variable is not None:
                return variable
            return self.named(self.resolver.node(module, node), [], module, node)
        elif isinstance(node, ast.Subscript):
            inner: ast.expr = node.slice
            args = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
            return self.named(self.resolver.node(module, node.value), args, module, node)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return self.union(module, _members(node))
        raise Refusal(NO_TYPE, f"`{shown(node):.60}` is no expression of a type")

    def _variable(self, module: Module, node: ast.expr) -> Optional[Shape]:
        if isinstance(node, ast.Name):
            for names in reversed(self._variables):
                if node.id in names:
                    bound = names[node.id]
                    if isinstance(bound, Shape):
                        return bound.copy()
                    if bound is None:
                        return Shape("any", {})
                    if isinstance(bound, ast.Tuple):
                        return self.union(module, bound.elts)
                    return self.shape(module, bound)
        return None

    def union(self, module: Module, nodes: list[ast.expr]) -> Shape:
        """One of several."""
        if len(nodes) > 4 * MOST_MEMBERS:
            raise Refusal(TOO_LARGE_TYPE, f"a union of more than {MOST_MEMBERS} types")
        return union([self.shape(module, node) for node in nodes])

    def named(
        self, found: Union[str, Definition], args: list[ast.expr], module: Module, node: ast.expr
    ) -> Shape:
        """The shape of a name with what stands in brackets behind it."""
        if isinstance(found, Definition):
            return self.defined(found, args, module)
        if found in LISTS:
            of = self.shape(module, args[0]) if args else Shape("any", {})
            return listed(of, found in SETS)
        if found in MAPS:
            return self._map(module, args)
        if found == "collections.Counter" or found == "typing.Counter":
            return mapped(Shape("int", {"type": "integer"}))
        if found in TUPLES:
            return self._tuple(module, args)
        if found == "typing.Union":
            return self.union(module, args)
        if found == "typing.Optional" and args:
            return self.union(module, [args[0], ast.Constant(None)])
        if found == "typing.Literal":
            return self._literal(module, args)
        if found == "typing.Annotated" and args:
            return self._annotated(module, args)
        if found in THROUGH and args:
            return self.shape(module, args[0])
        if found == "typing.AnyStr":
            return union([Shape(*PLAIN["builtins.str"]), Shape(*PLAIN["builtins.bytes"])])
        if found in STREAMS:
            return self._stream(module, args, found)
        if found.startswith("numpy."):
            return self._numpy(module, found, args)
        if found in PLAIN:
            text, schema = PLAIN[found]
            return Shape(text, dict(schema))
        name = shown(node) if len(args) < 9 else found
        why = REFUSED.get(found, "")
        raise Refusal(UNTYPABLE, f"`{name:.60}` is no type of a port", why)

    def given(
        self,
        parameters: Callable[[Definition], list[str]],
        found: Definition,
        args: list[ast.expr],
        module: Module,
    ) -> Variables:
        """What the type variables of a definition are where `args` stand behind its name."""
        names = parameters(found) if args else []
        if names and len(args) > len(names):
            message = f"`{found.name}` takes {len(names)} types, not {len(args)}"
            raise Refusal(NO_TYPE, message)
        return {name: self.shape(module, arg) for name, arg in zip(names, args)}

    def within(self, variables: Variables) -> list[Variables]:
        """Begin with what a definition has of type variables, and no other; what was before."""
        before, self._variables = self._variables, [variables]
        return before

    def back(self, before: list[Variables]) -> None:
        """Go on with what was before."""
        self._variables = before

    def defined(self, found: Definition, args: list[ast.expr], module: Module) -> Shape:
        """The shape of what is defined in source."""
        if found.binding.kind == "class":
            return self.classes.shape(
                found, self.given(self.classes.parameters, found, args, module)
            )
        if found.binding.kind == "value" and args:
            before = self.within(self.given(self.classes.free, found, args, module))
            try:
                return self._alias(found)
            finally:
                self.back(before)
        if found.binding.kind == "value":
            key = found.dotted
            if key in self._aliases:
                shape = self._aliases[key]
                if shape is None:
                    raise Refusal(CIRCULAR, f"`{found.name}` is defined by itself")
                return shape.copy()
            self._aliases[key] = None
            before = self.within({})
            try:
                shape = self._alias(found)
            finally:
                self.back(before)
                self._aliases.pop(key, None)
            self._aliases[key] = shape
            return shape.copy()
        raise Refusal(NO_TYPE, f"`{found.name}` is a function, no type")

    def _alias(self, found: Definition) -> Shape:
        value = getattr(found.binding.node, "value", None)
        if not isinstance(value, ast.expr):
            raise Refusal(NO_TYPE, f"`{found.name}` is no type")
        if isinstance(value, ast.Call):
            called = self.classes.called(found, value)
            if called is not None:
                return called
        try:
            return self.shape(found.module, value)
        except Refusal as refusal:
            message = f"`{found.name}` ({found.module.shown}:{getattr(value, 'lineno', 1)}): "
            code = CIRCULAR if refusal.code == CIRCULAR else refusal.code
            raise Refusal(code, message + refusal.message, refusal.help) from None

    def _map(self, module: Module, args: list[ast.expr]) -> Shape:
        if len(args) != 2:
            return mapped(Shape("any", {}))
        key = self.shape(module, args[0])
        if key.text not in ("str", "any", "color") and not key.text.startswith("enum{"):
            raise Refusal(UNTYPABLE, f"a map with keys of `{key.text}`: keys are texts").at(args[0])
        return mapped(self.shape(module, args[1]))

    def _tuple(self, module: Module, args: list[ast.expr]) -> Shape:
        if not args:
            return listed(Shape("any", {}))
        if len(args) == 2 and isinstance(args[1], ast.Constant) and args[1].value is ...:
            return listed(self.shape(module, args[0]))
        items = [self.shape(module, arg) for arg in args if not isinstance(arg, ast.Tuple)]
        if not items:
            return listed(Shape("any", {}))
        if all(item.value for item in items):
            shape = listed(union([nullable(item) for item in items]))
            schemas = [item.schema for item in items]
            if all(schema == schemas[0] for schema in schemas):
                shape.schema = {"type": "array", "items": schemas[0]}
            else:
                shape.schema = {"type": "array", "prefixItems": schemas}
            shape.schema.update(minItems=len(items), maxItems=len(items))
        else:
            shape = Shape("dir", {})  # a parameter of this type is refused
        shape.items = items
        return shape

    def _literal(self, module: Module, args: list[ast.expr]) -> Shape:
        values: list[Any] = []
        if len(args) > MOST_CHOICES:
            raise Refusal(TOO_LARGE_TYPE, f"a choice of more than {MOST_CHOICES} values")
        for arg in args:
            try:
                value = literal(arg, lambda node: self.classes.member(module, node))
            except NotLiteral:
                raise Refusal(NO_TYPE, f"`Literal[{shown(arg):.40}]` is no value").at(arg) from None
            if not any(type(value) is type(other) and value == other for other in values):
                values.append(value)
        shapes: list[Shape] = []
        texts = [value for value in values if isinstance(value, str)]
        if texts:
            shapes.append(choices(texts))
        for kind, name in ((bool, "bool"), (int, "int")):
            some = [value for value in values if type(value) is kind]
            if some:
                shape = Shape(*PLAIN[f"builtins.{name}"])
                shape.schema = {"enum": some}
                shape.widget = {"kind": "choices", "choices": some} if name == "int" else None
                shapes.append(shape)
        if None in values:
            shapes.append(Shape("null", {"type": "null"}))
        if not shapes:
            raise Refusal(NO_TYPE, "`Literal` without a text or a number")
        return union(shapes)

    def _annotated(self, module: Module, args: list[ast.expr]) -> Shape:
        shape = self.shape(module, args[0]).copy()
        for node in args[1:]:
            if isinstance(node, ast.Constant):
                if isinstance(node.value, str) and not shape.doc:
                    shape.doc = node.value
                continue
            head = node.func if isinstance(node, ast.Call) else node
            try:
                found = self.resolver.node(module, head)
            except Refusal:
                continue  # of somebody else
            origin, _, name = found.rpartition(".") if isinstance(found, str) else ("", "", "")
            if _metadata.is_field(dotted(found)) and isinstance(node, ast.Call):
                shape = _metadata.field(shape, node)
            if origin in ("polyloom", "annotated_types", "typing") and name in _metadata.KNOWN:
                shape = _metadata.apply(
                    shape, name, node, lambda part: self.classes.member(module, part)
                )
        return shape

    def _stream(self, module: Module, args: list[ast.expr], found: str) -> Shape:
        of = self.shape(module, args[0]) if args else Shape("any", {})
        shape = Shape("dir", {}) if of.text == "dir" else listed(of)
        shape.stream = of
        return shape

    def _numpy(self, module: Module, found: str, args: list[ast.expr]) -> Shape:
        name = found.rpartition(".")[2]
        if found in ("numpy.ndarray", "numpy.typing.NDArray"):
            dtype, dims = "any", ""
            if name == "NDArray" and args:
                dtype = self._dtype(module, args[0])
            elif name == "ndarray" and len(args) == 2:
                inner = args[1]
                if isinstance(inner, ast.Subscript):
                    dtype = self._dtype(module, inner.slice)
                dims = self._dims(module, args[0])
            return Shape(f"tensor<{dtype}{dims}>", {})
        if found in PLAIN:
            text, schema = PLAIN[found]
            return Shape(text, dict(schema))
        dtype = DTYPES.get(name, "")
        if dtype and dtype != "any":
            kind = "float" if dtype[0] == "f" else "int"
            return Shape(*PLAIN[f"builtins.{kind}"])
        if dtype:
            return Shape(*PLAIN["builtins.float"])
        if name.startswith("_ArrayLike"):  # as numpy's own stubs have them
            return Shape("tensor<any>", {})
        raise Refusal(UNTYPABLE, f"`{found}` is no type of a port", REFUSED.get(found, ""))

    def _dtype(self, module: Module, node: ast.expr) -> str:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = _quoted(node)
        if isinstance(node, ast.BinOp):
            return "any"
        if isinstance(node, ast.Subscript):
            node = node.value
        found = self.resolver.node(module, node)
        if isinstance(found, Definition):
            return "any"  # a type variable, or an alias of several
        name = found.rpartition(".")[2]
        if found in ("typing.Any", "typing.Union", "builtins.object"):
            return "any"
        if found in ("builtins.bool", "builtins.int", "builtins.float"):
            return {"bool": "bool", "int": "i64", "float": "f64"}[name]
        if name in DTYPES and found.startswith("numpy."):
            return DTYPES[name]
        kinds = "bool, i8 to i64, u8 to u64, f32 and f64"
        raise Refusal(UNTYPABLE, f"`{found}` is no dtype of a tensor", f"tensors have {kinds}")

    def _dims(self, module: Module, node: ast.expr) -> str:
        """The axes of `tuple[H, W, Literal[3]]`: sizes, names of types, else numbered."""
        if not isinstance(node, ast.Subscript):
            return ""
        sizes = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if any(isinstance(size, ast.Constant) and size.value is ... for size in sizes):
            return ""
        return ",[" + ",".join(self._dim(module, size, at) for at, size in enumerate(sizes)) + "]"

    def _dim(self, module: Module, node: ast.expr, at: int) -> str:
        try:
            if isinstance(node, ast.Subscript):
                if self.resolver.node(module, node.value) == "typing.Literal":
                    size = literal(node.slice)
                    return str(size) if type(size) is int and size >= 0 else f"d{at}"
            elif isinstance(node, ast.Name):
                name = node.id.lower()
                named = isinstance(self.resolver.node(module, node), Definition)
                if named and name.isascii() and name.isalnum():
                    return name
        except (Refusal, NotLiteral):
            pass
        return f"d{at}"


def _quoted(node: ast.Constant) -> ast.expr:
    """The expression within quotes, placed where they are."""
    text = str(node.value)
    if len(text) > 10_000:
        raise Refusal(TOO_LARGE_TYPE, "is longer than 10,000 characters").at(node)
    try:
        inner = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Refusal(NO_TYPE, f"`{text:.60}` is no expression of a type").at(node) from None
    for part in ast.walk(inner):
        if isinstance(part, ast.expr):
            ast.copy_location(part, node)
    return inner


def _members(node: ast.expr) -> list[ast.expr]:
    """The members of `A | B | C`."""
    found: list[ast.expr] = []
    left = [node]
    while left:
        one = left.pop()
        if isinstance(one, ast.BinOp) and isinstance(one.op, ast.BitOr):
            left += [one.right, one.left]
        else:
            found.append(one)
    return found
