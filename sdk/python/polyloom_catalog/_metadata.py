"""What stands behind the type in `Annotated[T, …]`: widgets, bounds, units, docs, tags."""

from __future__ import annotations

import ast

from polyloom_catalog._literals import NotLiteral, literal
from polyloom_catalog._problems import METADATA, Refusal
from polyloom_catalog._shape import Shape, choices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

BOUNDS = {
    "Ge": "minimum",
    "Gt": "exclusiveMinimum",
    "Le": "maximum",
    "Lt": "exclusiveMaximum",
    "MultipleOf": "multipleOf",
}
FIELDS = {
    "Slider": ("min", "max", "step"),
    "Code": ("language",),
    "Unit": ("name",),
    "Doc": ("text",),
    "Output": ("name",),
    "Tag": ("name",),
    "Interval": ("gt", "ge", "lt", "le"),
    "Len": ("min_length", "max_length"),
    "MinLen": ("min_length",),
    "MaxLen": ("max_length",),
}
KNOWN = frozenset([*FIELDS, *BOUNDS, "Color", "Seed", "MultiLine", "Choices", "Shape", "Dir"])


_OF_FIELD = {
    "ge": "Ge",
    "gt": "Gt",
    "le": "Le",
    "lt": "Lt",
    "multiple_of": "MultipleOf",
    "min_length": "MinLen",
    "max_length": "MaxLen",
    "description": "Doc",
}


def is_field(dotted: str) -> bool:
    """Whether a name is pydantic's `Field`."""
    return dotted.startswith("pydantic.") and dotted.endswith(".Field")


def field(shape: Shape, node: ast.Call) -> Shape:
    """The shape with what pydantic's `Field(ge=0, description="…")` says of it."""
    shape = shape.copy()
    for word in node.keywords:
        name = _OF_FIELD.get(word.arg or "")
        if name and not (isinstance(word.value, ast.Constant) and word.value.value is None):
            call = ast.copy_location(ast.Call(node.func, [word.value], []), node)
            shape = apply(shape, name, call, _no_name)
    return shape


def _no_name(node: ast.expr) -> Any:
    raise NotLiteral


def apply(shape: Shape, name: str, node: ast.expr, value: Callable[[ast.expr], Any]) -> Shape:
    """The shape with one piece of metadata, `name` being what its class is called."""
    args: list[Any] = []
    words: dict[str, Any] = {}
    if isinstance(node, ast.Call):
        try:
            args = [literal(arg, value) for arg in node.args]
            words = {word.arg or "": literal(word.value, value) for word in node.keywords}
        except NotLiteral:
            message = f"`{name}` takes values that are written out"
            raise Refusal(METADATA, message).at(node) from None
    fields = FIELDS.get(name, ())
    if len(args) > len(fields) and (fields or name in ("Color", "Seed", "MultiLine", "Dir")):
        raise Refusal(METADATA, f"`{name}` takes {len(fields)} arguments").at(node)
    words.update(zip(fields, args))
    if name in BOUNDS:
        bound = args[0] if args else next(iter(words.values()), None)
        shape.schema[BOUNDS[name]] = _number(bound, name, node)
    elif name == "Slider":
        low, high = (_number(words.get(word), name, node) for word in ("min", "max"))
        shape.widget = {"kind": "slider", "min": low, "max": high, "step": words.get("step")}
        shape.schema.update(minimum=low, maximum=high)
        if low > high:
            raise Refusal(METADATA, f"`Slider` begins at {low} and ends at {high}").at(node)
    elif name == "Interval":
        for word, key in (("ge", "Ge"), ("gt", "Gt"), ("le", "Le"), ("lt", "Lt")):
            if words.get(word) is not None:
                shape.schema[BOUNDS[key]] = _number(words[word], name, node)
    elif name in ("Len", "MinLen", "MaxLen"):
        unit = {"str": "Length"}.get(shape.text, "Properties" if "map<" in shape.text else "Items")
        for word, key in (("min_length", "min"), ("max_length", "max")):
            if words.get(word) is not None:
                shape.schema[key + unit] = words[word]
    elif name == "Color":
        shape.widget = {"kind": "color"}
        if shape.text == "str":
            shape.text = "color"
            shape.schema["format"] = "color"
    elif name == "Seed":
        shape.widget = {"kind": "seed"}
        shape.text = "seed" if shape.text == "int" else shape.text
    elif name == "Code":
        shape.widget = {"kind": "code", "language": str(words.get("language", ""))}
    elif name == "MultiLine":
        shape.widget = {"kind": "multiline"}
    elif name == "Choices":
        shape = _choices(shape, args)
    elif name == "Unit":
        shape.unit = str(words.get("name", ""))
    elif name == "Doc":
        shape.doc = str(words.get("text", words.get("documentation", "")))
    elif name == "Tag":
        shape.tags.append(str(words.get("name", "")))
    elif name == "Output":
        shape.output = str(words.get("name", ""))
    elif name == "Dir":
        shape.text = "dir" if shape.text == "file" else shape.text
        shape.schema = {"x-polyloom": shape.text}
    elif name == "Shape" and shape.text.startswith("tensor<"):
        dims = [str(dim).strip() for dim in args]
        if len(dims) > 32 or not all(dim.isascii() and dim.isalnum() for dim in dims):
            raise Refusal(METADATA, "`Shape` takes sizes and names, at most 32").at(node)
        dtype = shape.text[7:].split(",")[0].rstrip(">")
        shape.text = f"tensor<{dtype},[{','.join(dims)}]>"
        shape.schema = {"x-polyloom": shape.text}
    return shape


def _number(value: Any, name: str, node: ast.expr) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise Refusal(METADATA, f"`{name}` needs a number, not {value!r}").at(node)


def _choices(shape: Shape, args: list[Any]) -> Shape:
    if args and all(isinstance(arg, str) for arg in args) and shape.text == "str":
        found = choices(list(dict.fromkeys(args)))
        shape.text = found.text
        shape.schema = dict(found.schema)
    else:
        shape.schema["enum"] = args
    shape.widget = {"kind": "choices", "choices": args}
    return shape
