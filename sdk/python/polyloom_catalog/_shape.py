"""What an annotation says: the type of a port, its JSON Schema, and what is told about it."""

from __future__ import annotations

from polyloom_catalog._problems import TOO_LARGE_TYPE, UNTYPABLE, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

LONGEST = 16 << 10
DEEPEST = 30
MOST_MEMBERS = 32
"""The host's bounds of a type's text, its nesting, and ours of the members of a union."""


class Shape:
    """A type of a port, with everything that the catalog says of it."""

    __slots__ = (
        "doc",
        "fields",
        "items",
        "kind",
        "loose",
        "members",
        "optional",
        "output",
        "schema",
        "stream",
        "tags",
        "text",
        "unit",
        "why",
        "widget",
    )

    def __init__(self, text: str, schema: dict[str, Any]) -> None:
        if len(text) > LONGEST:
            raise Refusal(
                TOO_LARGE_TYPE, f"the type is longer than {LONGEST >> 10} KiB: {text:.60}…"
            )
        self.text = text
        self.schema: dict[str, Any] = schema
        if not schema and not is_value(text):
            self.schema = {"x-polyloom": text}
        self.optional = False
        """`None` is meant, too, but is no part of the text."""
        self.fields: Optional[list[Field]] = None
        """Of a class with named fields, as the whole result of a function."""
        self.kind = ""
        """Of a class: `dataclass`, `typeddict`, `namedtuple`."""
        self.loose = False
        """Whether fields may be left out."""
        self.why = ""
        """Of a class with files among its fields: what is said where it has to be a value."""
        self.items: Optional[list[Shape]] = None
        """Of a tuple of fixed length."""
        self.stream: Optional[Shape] = None
        """What a generator yields."""
        self.members: Optional[list[Shape]] = None
        """Of a union."""
        self.widget: Optional[dict[str, Any]] = None
        self.doc = ""
        self.unit: Optional[str] = None
        self.tags: list[str] = []
        self.output = ""

    def copy(self) -> Shape:
        """One that may be changed."""
        other = Shape(self.text, dict(self.schema))
        for name in (
            "optional",
            "fields",
            "items",
            "members",
            "kind",
            "loose",
            "why",
            "stream",
            "widget",
            "doc",
            "unit",
            "output",
        ):
            setattr(other, name, getattr(self, name))
        other.tags = list(self.tags)
        return other

    @property
    def value(self) -> bool:
        """Whether it can be within a list, a map, a record or a union."""
        return is_value(self.text)


class Field:
    """A field of a class."""

    __slots__ = ("default", "doc", "may_be_left_out", "name", "shape")

    def __init__(self, name: str, shape: Shape, may_be_left_out: bool) -> None:
        self.name = name
        self.shape = shape
        self.may_be_left_out = may_be_left_out
        self.default: tuple[bool, Any, str] = (False, None, "")
        self.doc = shape.doc


def is_value(text: str) -> bool:
    """Whether a type is one of values, not of files."""
    return not text.startswith(("tensor<", "table", "image", "file", "dir"))


_STORED = ("tensor<", "table", "image", "file")
"""What files a folder may be a list of."""


def word(text: str) -> bool:
    """Whether a text can be a name in an enum or a record."""
    return text.isascii() and text.replace("_", "a").isalnum()


def listed(of: Shape, unique: bool = False) -> Shape:
    """A list of these: of values, or as a folder of files, each of this type."""
    if of.text.startswith(_STORED) and not (unique or of.optional):
        return Shape("dir", {"type": "array", "items": of.schema})
    _need_value(of, "a list")
    schema: dict[str, Any] = {"type": "array", "items": whole(of)}
    if unique:
        schema["uniqueItems"] = True
    return Shape(f"list<{nullable(of).text}>", schema)


def mapped(of: Shape) -> Shape:
    """A map of these."""
    _need_value(of, "a map")
    schema = {"type": "object", "additionalProperties": whole(of)}
    return Shape(f"map<{nullable(of).text}>", schema)


def choices(names: list[str]) -> Shape:
    """One text of these: an enum where the texts can be names in it."""
    if all(word(name) for name in names) and len(names) <= 1024:
        return Shape("enum{" + ",".join(names) + "}", {"enum": names})
    shape = Shape("str", {"enum": names})
    shape.widget = {"kind": "choices", "choices": names}
    return shape


def taken(of: Shape) -> Shape:
    """What is given or is within another: where fields may be left out, a record has too many."""
    if not of.loose or not of.text.startswith("record{"):
        return of
    other = of.copy()
    other.text = "map<any>"
    return other


def nullable(of: Shape) -> Shape:
    """The same, with `null` in its text where None is meant."""
    of = taken(of)
    if not of.optional:
        return of
    if not of.value:
        raise Refusal(UNTYPABLE, f"`{of.text}` or None can only be a parameter with a default")
    texts = [member.text for member in of.members or [of]]
    return Shape("|".join(sorted([*texts, "null"])), whole(of))


def whole(of: Shape) -> dict[str, Any]:
    """The schema, with null where None is meant."""
    if not of.optional:
        return of.schema
    return {"anyOf": [of.schema, {"type": "null"}]}


def union(members: list[Shape]) -> Shape:
    """One of several: values, or one file, table or tensor and None."""
    optional = any(member.optional or member.text == "null" for member in members)
    rest: dict[str, Shape] = {}
    for member in members:
        for one in member.members or [taken(member)]:
            rest.setdefault(one.text, one)
    rest.pop("null", None)
    if len(rest) > MOST_MEMBERS:
        raise Refusal(TOO_LARGE_TYPE, f"a union of more than {MOST_MEMBERS} types")
    if "any" in rest:
        rest = {"any": rest["any"]}
    if set(rest) == {"file", "str"}:
        rest.pop("str")  # `str | Path` is what takes a path
    kept = list(rest.values())
    enums = [shape for shape in kept if shape.text.startswith("enum{")]
    if len(enums) > 1:
        names: dict[str, None] = {}
        for shape in enums:
            names.update(dict.fromkeys(shape.text[5:-1].split(",")))
        kept = [choices(list(names)), *(shape for shape in kept if shape not in enums)]
    if not kept:
        return Shape("null", {"type": "null"})
    if len(kept) == 1:
        single = kept[0].copy()
        single.optional = optional and single.text != "any"
        return single
    other = [shape.text for shape in kept if not shape.value]
    if other:
        texts = " | ".join(shape.text for shape in kept)
        raise Refusal(
            UNTYPABLE,
            f"`{texts}` is no type of a port: only values can be one of several types",
            "annotate with one of them, or write a function for each",
        )
    schemas: list[dict[str, Any]] = []
    for shape in kept:
        if shape.schema not in schemas:
            schemas.append(shape.schema)
    merged = Shape("|".join(sorted(shape.text for shape in kept)), {"anyOf": schemas})
    merged.members = kept
    merged.optional = optional
    return merged


def _need_value(of: Shape, what: str) -> None:
    if of.stream is not None or not of.value:
        raise Refusal(
            UNTYPABLE,
            f"{what} of `{of.text}` is no type of a port: {what} holds values",
            "files and tensors each have a port of their own, or are in a list",
        )
    if depth(of.text) > DEEPEST:
        raise Refusal(TOO_LARGE_TYPE, f"the type is nested deeper than {DEEPEST}")


def depth(text: str) -> int:
    """How deep a type is nested."""
    deep = most = 0
    for char in text:
        if char in "<{":
            deep += 1
            most = max(most, deep)
        elif char in ">}":
            deep -= 1
    return most
