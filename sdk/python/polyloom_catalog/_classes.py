"""Classes as types: dataclasses, TypedDicts, NamedTuples, enums, NewTypes and type variables.

Each that an annotation leads to is collected once, with its fields and a JSON Schema.
"""

from __future__ import annotations

import ast

from polyloom_catalog._docs import Doc
from polyloom_catalog._literals import NotLiteral, literal, shown
from polyloom_catalog._problems import NO_TYPE, UNTYPABLE, Refusal
from polyloom_catalog._resolve import Definition
from polyloom_catalog._shape import Field, Shape, choices, nullable, union, whole, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from polyloom_catalog._annotations import Annotations
    from polyloom_catalog._source import Module

ENUMS = frozenset(f"enum.{name}" for name in ("Enum", "IntEnum", "StrEnum", "ReprEnum"))
FLAGS = frozenset(("enum.Flag", "enum.IntFlag"))
TUPLES = frozenset(("typing.NamedTuple", "collections.namedtuple"))
MOST_FIELDS = 1024


class Classes:
    """All classes that annotations lead to."""

    def __init__(self, annotations: Annotations) -> None:
        self.annotations = annotations
        self.types: dict[str, dict[str, Any]] = {}
        self._shapes: dict[str, Optional[Shape]] = {}
        self._refused: dict[str, Refusal] = {}
        self._members: dict[str, list[str]] = {}

    def shape(self, found: Definition) -> Shape:
        """The shape of a class."""
        key = found.dotted
        if key in self._refused:
            before = self._refused[key]
            raise Refusal(before.code, before.message, before.help)
        if key in self._shapes:
            shape = self._shapes[key]
            if shape is None:  # within itself
                return Shape("any", {"$ref": f"#/types/{key}"})
            return shape.copy()
        self._shapes[key] = None
        try:
            shape = self._read(found)
        except Refusal as refusal:
            self._shapes.pop(key)
            self._refused[key] = refusal
            raise Refusal(refusal.code, refusal.message, refusal.help) from None
        self._shapes[key] = shape
        return shape.copy()

    def _read(self, found: Definition) -> Shape:
        kind = self.kind(found)
        node = found.binding.node
        if kind == "enum":
            names = self.members(found)
            if not names:
                raise Refusal(UNTYPABLE, f"the enum `{found.name}` has no member")
            shape = choices(names)
            return self._collect(found, "enum", shape, [], dict(shape.schema))
        if kind in ("dataclass", "typeddict", "namedtuple"):
            return self.record(found, kind, self._fields(found, kind, 0))
        help = "types are dataclasses, TypedDicts, NamedTuples and enums"
        if kind == "flag":
            help = "a set of flags has no port type; take a list of an enum's members"
        elif kind == "protocol":
            help = "a protocol says what can be done with a value, not what it is"
        if isinstance(node, ast.ClassDef) and found.module.project:
            help = f"{help}; write `@dataclass` before `class {found.name}`" if not kind else help
        raise Refusal(UNTYPABLE, f"the class `{found.name}` is no type of a port", help)

    def record(self, found: Definition, kind: str, fields: list[Field]) -> Shape:
        """The shape of a class with these fields, which is collected."""
        if len(fields) > MOST_FIELDS:
            raise Refusal("PY007", f"`{found.name}` has more than {MOST_FIELDS} fields")
        texts: dict[str, str] = {}
        properties: dict[str, Any] = {}
        other = ""
        for field in fields:
            properties[field.name] = whole(field.shape)
            if not word(field.name):
                raise Refusal(UNTYPABLE, f"the field `{field.name}` of `{found.name}` is no name")
            if field.shape.value:
                texts[field.name] = nullable(field.shape).text
            else:
                other = other or f"its field `{field.name}` is a `{field.shape.text}`"
        loose = any(field.may_be_left_out for field in fields)
        text = "record{" + ",".join(f"{name}:{texts[name]}" for name in sorted(texts)) + "}"
        if other:
            # As a whole result it has a port for each field; elsewhere it is refused.
            text = "dir"
        required = [field.name for field in fields if not field.may_be_left_out]
        schema = {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
        shape = Shape(text, {})
        shape.fields = fields
        shape.kind = kind
        shape.loose = loose
        shape.why = f"`{found.name}` is no value: {other}" if other else ""
        return self._collect(found, kind, shape, fields, schema)

    def _collect(
        self, found: Definition, kind: str, shape: Shape, fields: list[Field], schema: Any
    ) -> Shape:
        node = found.binding.node
        text = ""
        if isinstance(node, ast.ClassDef):
            text = Doc(ast.get_docstring(node, clean=False) or "").text
        told = []
        for field in fields:
            row: dict[str, Any] = {"name": field.name, "type": field.shape.text}
            if field.shape.value:
                row["type"] = nullable(field.shape).text
            if field.default[0]:
                row["default"] = field.default[1]
            elif field.default[2]:
                row["default_text"] = field.default[2]
            row["doc"] = field.doc
            told.append(row)
        self.types[found.dotted] = {
            "name": found.name,
            "module": found.module.name,
            "kind": kind,
            "type": None if shape.why else shape.text,
            "schema": {"title": found.name, **schema},
            "fields": told,
            "doc": text,
            "file": found.module.shown,
            "line": getattr(node, "lineno", 1),
        }
        shape.schema = {"$ref": f"#/types/{found.dotted}"}
        return shape

    def kind(self, found: Definition, depth: int = 0) -> str:
        """What a class is: one of the kinds of types, `flag`, `protocol`, or empty."""
        node = found.binding.node
        if not isinstance(node, ast.ClassDef) or depth > 30:
            return ""
        for decorator in node.decorator_list:
            head = decorator.func if isinstance(decorator, ast.Call) else decorator
            if self._known(found.module, head) == "dataclasses.dataclass":
                return "dataclass"
        for base in node.bases:
            head = base.value if isinstance(base, ast.Subscript) else base
            if isinstance(head, ast.Call):
                head = head.func
            if not isinstance(head, (ast.Name, ast.Attribute)):
                continue
            try:
                what = self.annotations.resolver.node(found.module, head)
            except Refusal:
                continue
            if isinstance(what, Definition):
                kind = self.kind(what, depth + 1)
                if kind in ("enum", "typeddict", "flag"):
                    return kind
            elif what == "typing.TypedDict":
                return "typeddict"
            elif what in TUPLES:
                return "namedtuple"
            elif what in ENUMS:
                return "enum"
            elif what in FLAGS:
                return "flag"
            elif what == "typing.Protocol":
                return "protocol"
        return ""

    def _known(self, module: Module, node: ast.expr) -> str:
        try:
            found = self.annotations.resolver.node(module, node)
        except Refusal:
            return ""
        return found if isinstance(found, str) else ""

    def _fields(self, found: Definition, kind: str, depth: int) -> list[Field]:
        node = found.binding.node
        if not isinstance(node, ast.ClassDef) or depth > 30:
            return []
        fields: dict[str, Field] = {}
        for base in node.bases:
            head = base.value if isinstance(base, ast.Subscript) else base
            try:
                above = self.annotations.resolver.node(found.module, head)
            except Refusal:
                continue
            if isinstance(above, Definition) and self.kind(above) == kind:
                fields.update((each.name, each) for each in self._fields(above, kind, depth + 1))
        total = not any(
            word.arg == "total" and isinstance(word.value, ast.Constant) and not word.value.value
            for word in node.keywords
        )
        docs = Doc(ast.get_docstring(node, clean=False) or "").params
        for at, line in enumerate(node.body):
            if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
                continue
            field = self._field(found, kind, line, total)
            if field is None:
                continue
            field.doc = field.doc or docs.get(field.name, "")
            below = node.body[at + 1] if at + 1 < len(node.body) else None
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                if isinstance(below.value.value, str) and not field.doc:
                    field.doc = Doc(below.value.value).text
            fields[field.name] = field
        return list(fields.values())

    def _field(
        self, found: Definition, kind: str, line: ast.AnnAssign, total: bool
    ) -> Optional[Field]:
        name = line.target.id if isinstance(line.target, ast.Name) else ""
        note = line.annotation
        missing = False
        if isinstance(note, (ast.Subscript, ast.Name, ast.Attribute)):
            head = note.value if isinstance(note, ast.Subscript) else note
            outer = self._known(found.module, head)
            if outer == "typing.ClassVar":
                return None
            if outer == "dataclasses.InitVar" and isinstance(note, ast.Subscript):
                note = note.slice
            if outer == "dataclasses.KW_ONLY":
                return None
            missing = kind == "typeddict" and outer == "typing.NotRequired"
            missing = missing or (kind == "typeddict" and not total and outer != "typing.Required")
        elif kind == "typeddict":
            missing = not total
        value = line.value
        if kind == "dataclass" and isinstance(value, ast.Call):
            if self._known(found.module, value.func) == "dataclasses.field":
                words = {word.arg: word.value for word in value.keywords}
                init = words.get("init")
                if isinstance(init, ast.Constant) and init.value is False:
                    return None
                value = words.get("default") or words.get("default_factory")
        try:
            shape = self.annotations.shape(found.module, note)
        except Refusal as refusal:
            line_at = f"{found.module.shown}:{line.lineno}"
            text = f"`{found.name}` is no type of a port, for its field `{name}` ({line_at}): "
            message = refusal.message if len(refusal.message) < 400 else refusal.message[:400] + "…"
            raise Refusal(refusal.code, text + message, refusal.help) from None
        field = Field(name, shape, missing or value is not None)
        if value is not None:
            field.default = self.default(found.module, value)
        return field

    def default(self, module: Module, node: ast.expr) -> tuple[bool, Any, str]:
        """Whether a default is a value that can be told, the value, and else its text."""
        try:
            value = literal(node, lambda part: self.member(module, part))
        except NotLiteral:
            return False, None, shown(node)
        return (False, None, "None") if value is None else (True, value, "")

    def members(self, found: Definition) -> list[str]:
        """The names of an enum's members."""
        names = self._members.get(found.dotted)
        node = found.binding.node
        if names is None:
            names = []
            for line in node.body if isinstance(node, ast.ClassDef) else []:
                targets: list[ast.expr] = []
                if isinstance(line, ast.Assign):
                    targets = line.targets
                elif isinstance(line, ast.AnnAssign) and (line.value or found.module.stub):
                    targets = [line.target]
                for target in targets:
                    if isinstance(target, ast.Name) and not target.id.startswith("_"):
                        names.append(target.id)
            self._members[found.dotted] = names
        return names

    def member(self, module: Module, node: ast.expr) -> Any:
        """What a name in a default is: an enum's member by its name, or a literal behind it."""
        try:
            if isinstance(node, ast.Attribute):
                found = self.annotations.resolver.node(module, node.value)
                if isinstance(found, Definition) and self.kind(found) == "enum":
                    if node.attr in self.members(found):
                        return node.attr
                    raise NotLiteral
            found = self.annotations.resolver.node(module, node)
        except Refusal:
            raise NotLiteral from None
        value = (
            getattr(found.binding.node, "value", None) if isinstance(found, Definition) else None
        )
        if isinstance(value, ast.expr):
            return literal(value)
        raise NotLiteral

    def called(self, found: Definition, node: ast.Call) -> Optional[Shape]:
        """The shape of `X = NewType("X", int)` and what else is made by a call."""
        what = self._known(found.module, node.func)
        args = node.args
        if what == "typing.NewType" and len(args) == 2:
            base = self.annotations.shape(found.module, args[1])
            schema = dict(base.schema)
            return self._collect(found, "newtype", base.copy(), [], schema)
        if what == "typing.TypeVar":
            words = {word.arg: word.value for word in node.keywords}
            if len(args) > 1:
                return union([self.annotations.shape(found.module, arg) for arg in args[1:]])
            bound = words.get("bound")
            return self.annotations.shape(found.module, bound) if bound else Shape("any", {})
        if what == "typing.TypeAliasType" and len(args) == 2:
            return self.annotations.shape(found.module, args[1])
        if what == "typing.TypedDict" and len(args) > 1 and isinstance(args[1], ast.Dict):
            pairs = list(zip(args[1].keys, args[1].values))
            total = not any(
                word.arg == "total"
                and isinstance(word.value, ast.Constant)
                and not word.value.value
                for word in node.keywords
            )
            return self._made(found, "typeddict", pairs, total)
        if (
            what == "typing.NamedTuple"
            and len(args) > 1
            and isinstance(args[1], (ast.List, ast.Tuple))
        ):
            rows = [row.elts for row in args[1].elts if isinstance(row, ast.Tuple)]
            return self._made(
                found, "namedtuple", [(row[0], row[1]) for row in rows if len(row) == 2], True
            )
        if what in ENUMS and len(args) > 1:
            try:
                value = literal(args[1])
            except NotLiteral:
                return None
            names = value.replace(",", " ").split() if isinstance(value, str) else list(value)
            names = [row[0] if isinstance(row, list) and row else row for row in names]
            if names and all(isinstance(name, str) for name in names):
                shape = choices(names)
                return self._collect(found, "enum", shape, [], dict(shape.schema))
        if what in TUPLES:
            raise Refusal(
                UNTYPABLE, f"the fields of `{found.name}` have no types", "use `typing.NamedTuple`"
            )
        return None

    def _made(self, found: Definition, kind: str, pairs: list[Any], total: bool) -> Shape:
        fields: list[Field] = []
        for key, value in pairs:
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                raise Refusal(NO_TYPE, f"the fields of `{found.name}` are not written out")
            outer = ""
            if isinstance(value, ast.Subscript):
                outer = self._known(found.module, value.value)
            missing = outer == "typing.NotRequired" or (not total and outer != "typing.Required")
            fields.append(Field(key.value, self.annotations.shape(found.module, value), missing))
        return self.record(found, kind, fields)
