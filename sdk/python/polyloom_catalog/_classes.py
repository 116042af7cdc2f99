"""Classes as types: dataclasses, TypedDicts, NamedTuples, enums, NewTypes and type variables.

Each that an annotation leads to is collected once, with its fields and a JSON Schema.
"""

from __future__ import annotations

import ast

from polyloom_catalog._docs import Doc
from polyloom_catalog._literals import NotLiteral, literal, shown
from polyloom_catalog._metadata import field as metadata
from polyloom_catalog._problems import NO_TYPE, UNTYPABLE, Refusal
from polyloom_catalog._reach import digest
from polyloom_catalog._resolve import Definition, dotted
from polyloom_catalog._shape import Field, Shape, choices, nullable, union, whole, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Optional

    from polyloom_catalog._annotations import Annotations, Variables
    from polyloom_catalog._source import Module

ENUMS = frozenset(f"enum.{name}" for name in ("Enum", "IntEnum", "StrEnum", "ReprEnum"))
FLAGS = frozenset(("enum.Flag", "enum.IntFlag"))
TUPLES = frozenset(("typing.NamedTuple", "collections.namedtuple"))
MOST_FIELDS = 1024
LONGEST_NAME = 200
# Decorators that make classes with fields, and calls that say more of a field, by library.
_DECORATORS = {("dataclasses", "dataclass"): "dataclass", ("pydantic", "dataclass"): "dataclass"}
_DECORATORS.update(
    ((library, name), "attrs")
    for library in ("attr", "attrs")
    for name in "s attrs define frozen mutable dataclass".split()
)
_FIELDS = {
    "dataclass": {("dataclasses", "field"), ("pydantic", "Field")},
    "attrs": {
        (library, name) for library in ("attr", "attrs") for name in ("ib", "attrib", "field")
    },
    "model": {("pydantic", "Field")},
}


class Classes:
    """All classes that annotations lead to."""

    def __init__(self, annotations: Annotations) -> None:
        self.annotations = annotations
        self.types: dict[str, dict[str, Any]] = {}
        self._shapes: dict[str, Optional[Shape]] = {}
        self._refused: dict[str, Refusal] = {}
        self._members: dict[str, list[str]] = {}
        self._key = ""
        """Under what name the class that is read is collected."""

    def shape(self, found: Definition, variables: Variables) -> Shape:
        """The shape of a class, and what its type variables are here."""
        key = found.dotted
        if variables:
            args = ", ".join(arg.text for arg in variables.values() if isinstance(arg, Shape))
            short = args if len(args) <= LONGEST_NAME else digest(args)
            key = f"{key}[{short}]"
        if key in self._refused:
            before = self._refused[key]
            raise Refusal(before.code, before.message, before.help)
        if key in self._shapes:
            shape = self._shapes[key]
            if shape is None:  # within itself
                return Shape("any", {"$ref": f"#/types/{key}"})
            return shape.copy()
        self._shapes[key] = None
        outer = self.annotations.within({**_bounds(found), **variables})
        kept, self._key = self._key, key
        try:
            shape = self._read(found)
        except Refusal as refusal:
            self._refused[key] = refusal
            raise Refusal(refusal.code, refusal.message, refusal.help) from None
        finally:
            self._shapes.pop(key, None)
            self.annotations.back(outer)
            self._key = kept
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
        if kind in ("dataclass", "attrs", "model", "typeddict", "namedtuple"):
            return self.record(found, kind, self._fields(found, kind, 0))
        help = "types are dataclasses, TypedDicts, NamedTuples, enums, attrs and pydantic's models"
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
        name = found.dotted
        if self._key.startswith(f"{name}["):
            name = self._key
        self.types[name] = {
            "name": name[len(found.module.name) + 1 :],
            "module": found.module.name,
            "kind": kind,
            "type": None if shape.why else shape.text,
            "schema": {"title": found.name, **schema},
            "fields": told,
            "doc": text,
            "file": found.module.shown,
            "line": getattr(node, "lineno", 1),
        }
        shape.schema = {"$ref": f"#/types/{name}"}
        return shape

    def parameters(self, found: Definition) -> list[str]:
        """The names of a class's type variables, in their order."""
        node = found.binding.node
        bases = [base for base in getattr(node, "bases", ()) if isinstance(base, ast.Subscript)]
        for base in bases:
            if self._known(found.module, base.value) in ("typing.Generic", "typing.Protocol"):
                bases = [base]
                break
        return list(_bounds(found)) or self._variables(found.module, bases)

    def free(self, found: Definition) -> list[str]:
        """The names of the type variables in an alias, in their order."""
        value = getattr(found.binding.node, "value", None)
        return list(_bounds(found)) or self._variables(found.module, [value] if value else [])

    def _variables(self, module: Module, nodes: Sequence[ast.AST]) -> list[str]:
        names: dict[str, None] = {}
        parts = [part for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)]
        for part in sorted(parts, key=lambda part: (part.lineno, part.col_offset)):
            try:
                what = self.annotations.resolver.node(module, part)
            except Refusal:
                continue
            value = (
                getattr(what.binding.node, "value", None) if isinstance(what, Definition) else None
            )
            if isinstance(what, Definition) and isinstance(value, ast.Call):
                if self._known(what.module, value.func) == "typing.TypeVar":
                    names[part.id] = None
        return list(names)

    def kind(self, found: Definition, depth: int = 0) -> str:
        """What a class is: one of the kinds of types, `flag`, `protocol`, or empty."""
        node = found.binding.node
        if not isinstance(node, ast.ClassDef) or depth > 30:
            return ""
        for decorator in node.decorator_list:
            head = decorator.func if isinstance(decorator, ast.Call) else decorator
            kind = _DECORATORS.get(self._library(found.module, head), "")
            if kind:
                return kind
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
            if dotted(what).startswith("pydantic") and dotted(what).endswith(".BaseModel"):
                return "model"
            if isinstance(what, Definition):
                kind = self.kind(what, depth + 1)
                if kind in ("enum", "typeddict", "flag", "model"):
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

    def _library(self, module: Module, node: ast.expr) -> tuple[str, str]:
        """The library that a name is of, and its last part."""
        try:
            name = dotted(self.annotations.resolver.node(module, node))
        except Refusal:
            return "", ""
        return name.partition(".")[0], name.rpartition(".")[2]

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
                args = _arguments(base)
                given = self.annotations.given(self.parameters, above, args, found.module)
                before = self.annotations.within({**_bounds(above), **given})
                try:
                    inherited = self._fields(above, kind, depth + 1)
                finally:
                    self.annotations.back(before)
                fields.update((each.name, each) for each in inherited)
        total = not any(
            word.arg == "total" and isinstance(word.value, ast.Constant) and not word.value.value
            for word in node.keywords
        )
        docs = Doc(ast.get_docstring(node, clean=False) or "").params
        for at, line in enumerate(node.body):
            if kind == "attrs" and isinstance(line, ast.Assign):
                line = self._annotated(found, line)
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
        if kind == "model" and (name.startswith("_") or name == "model_config"):
            return None
        value = line.value
        said: Optional[ast.Call] = None
        if isinstance(value, ast.Call):
            if self._library(found.module, value.func) in _FIELDS.get(kind, ()):
                said = value
                words = {word.arg: word.value for word in said.keywords}
                init = words.get("init")
                if isinstance(init, ast.Constant) and init.value is False:
                    return None
                value = words.get("default") or words.get("default_factory") or words.get("factory")
                if value is None and said.args and kind != "dataclass":
                    value = said.args[0]
                if isinstance(value, ast.Constant) and value.value is ...:
                    value = None  # pydantic's word for: it has to be given
        try:
            shape = self.annotations.shape(found.module, note)
        except Refusal as refusal:
            line_at = f"{found.module.shown}:{line.lineno}"
            text = f"`{found.name}` is no type of a port, for its field `{name}` ({line_at}): "
            message = refusal.message if len(refusal.message) < 400 else refusal.message[:400] + "…"
            raise Refusal(refusal.code, text + message, refusal.help) from None
        if kind == "model" and said is not None:
            shape = metadata(shape, said)
        field = Field(name, shape, missing or value is not None)
        if value is not None:
            field.default = self.default(found.module, value)
        return field

    def _annotated(self, found: Definition, line: ast.Assign) -> ast.stmt:
        """`x = attr.ib(type=int)` as `x: int = attr.ib()`."""
        value = line.value
        if not isinstance(value, ast.Call) or not isinstance(line.targets[0], ast.Name):
            return line
        if self._library(found.module, value.func) not in _FIELDS["attrs"]:
            return line
        note = next((word.value for word in value.keywords if word.arg == "type"), None)
        if note is None:
            name = line.targets[0].id
            at = f"{found.module.shown}:{line.lineno}"
            message = f"the field `{name}` of `{found.name}` has no type ({at})"
            raise Refusal(UNTYPABLE, message, f"write `{name}: float = …`, or what it is")
        made = ast.AnnAssign(line.targets[0], note, value, 1)
        return ast.copy_location(made, line)

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


def _bounds(found: Definition) -> dict[str, Optional[ast.expr]]:
    """The type variables of `class Box[T: int]`, with their bounds."""
    params = getattr(found.binding.node, "type_params", ())
    return {each.name: getattr(each, "bound", None) for each in params}


def _arguments(node: ast.expr) -> list[ast.expr]:
    """What stands in brackets behind a name."""
    if not isinstance(node, ast.Subscript):
        return []
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
