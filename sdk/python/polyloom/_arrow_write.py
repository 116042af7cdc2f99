"""Arrow IPC files without pyarrow, the writing half: columns of Python values in, a file out.

Knows the file format and how Python's types map to Arrow's. One record batch, uncompressed;
messages and buffers begin at multiples of 64, so that whoever maps the file can use it as it lies.
"""

from __future__ import annotations

import array
import struct

from polyloom import _flatbuf as flat
from polyloom._arrow import MAGIC, NUMBERS, UNITS, FieldType
from polyloom._values import Mismatch, describe, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, BinaryIO, NoReturn, Optional

_NONE = type(None)
_V5 = 4
_BLOCK = "qi4xq"
_CODES = {
    **{"null": 1, "binary": 4, "utf8": 5, "bool": 6, "list": 12, "struct": 13},
    **{"large_binary": 19, "large_utf8": 20},
}


class Array:
    """One column, or a part of one, in Arrow's layout; a buffer that is left out is None."""

    __slots__ = ("buffers", "children", "kind", "length", "nulls")

    def __init__(self, kind: FieldType, length: int, nulls: int, buffers: Sequence[Any]) -> None:
        self.kind = kind
        self.length = length
        self.nulls = nulls
        self.buffers = buffers
        self.children: list[tuple[str, Array]] = []


def build(values: Sequence[Any], path: str, hint: Optional[FieldType] = None) -> Array:
    """The array of some Python values, None among them where one is missing."""
    kinds = set(map(type, values))
    if any(kind.__module__ != "builtins" for kind in kinds):
        values = [plain(value) for value in values]
        kinds = set(map(type, values))
    nulls = values.count(None) if _NONE in kinds else 0
    kinds.discard(_NONE)
    kind = _choose(kinds, values, path, hint)
    name = kind.name
    size = len(values)
    valid = _bits([value is not None for value in values]) if nulls else None
    if name == "null":
        return Array(kind, size, size, [])
    if name in NUMBERS:
        filled = [0 if value is None else value for value in values] if nulls else values
        try:
            return Array(kind, size, nulls, [valid, array.array(NUMBERS[name], filled)])
        except (OverflowError, TypeError):
            _fail(values, path, name)
    if name == "bool":
        return Array(kind, size, nulls, [valid, _bits(values)])
    if name in ("utf8", "binary"):
        return _build_texts(kind, values, nulls, valid, path)
    if name == "decimal128":
        return _build_decimals(kind, values, nulls, valid)
    if name == "list":
        starts = array.array("i", [0])
        items: list[Any] = []
        for value in values:
            items += value or ()
            starts.append(len(items))
        found = Array(kind, size, nulls, [valid, starts])
        inner = hint.children[0][1] if hint is not None and hint.children else None
        found.children = [("item", build(items, f"{path}[]", inner))]
        kind.children = [(child, of.kind) for child, of in found.children]
        return found
    if name == "struct":
        found = Array(kind, size, nulls, [valid])
        hints = dict(hint.children) if hint is not None else {}
        for child in dict.fromkeys(key for value in values for key in value or ()):
            if not isinstance(child, str):
                raise Mismatch(path, "keys of type str", f"the key {describe(child)}")
            column = [None if value is None else value.get(child) for value in values]
            found.children.append((child, build(column, f"{path}.{child}", hints.get(child))))
        kind.children = [(child, of.kind) for child, of in found.children]
        return found
    from polyloom._arrow_time import STORAGE, stored

    number = stored(name, kind.parameters)
    form = NUMBERS[STORAGE[name]]
    numbers = array.array(form, [0 if value is None else number(value) for value in values])
    return Array(kind, size, nulls, [valid, numbers])


def _choose(
    kinds: set[type], values: Sequence[Any], path: str, hint: Optional[FieldType]
) -> FieldType:
    if hint is not None and (hint.name in NUMBERS or hint.name == "bool" or not kinds):
        if hint.name in NUMBERS or hint.name in ("bool", "utf8", "binary"):
            return FieldType(hint.name)
    if not kinds:
        return FieldType("null")
    if kinds == {bool}:
        return FieldType("bool")
    if kinds == {int}:
        unsigned = max(value for value in values if value is not None) >> 63 > 0
        return FieldType("uint64" if unsigned else "int64")
    if kinds <= {int, float}:
        return FieldType("float64")
    for name, bases in _BASES.items():
        if all(issubclass(kind, bases) for kind in kinds):
            return FieldType(name)
    from decimal import Decimal

    if kinds == {Decimal}:
        scale = max(-int(value.as_tuple().exponent) for value in values if value is not None)
        return FieldType("decimal128", 38, max(scale, 0))
    from polyloom._arrow_time import kind_of

    found = {kind_of(value) for value in values if value is not None}
    if len(found) == 1:
        name, parameters = found.pop()
        if name:
            if hint is not None and hint.name == name:
                return FieldType(name, *hint.parameters)
            return FieldType(name, *parameters)
    _fail(values, path, None)


_BASES: dict[str, Any] = {
    "utf8": str,
    "binary": (bytes, bytearray, memoryview),
    "list": (list, tuple),
    "struct": dict,
}


def _fail(values: Sequence[Any], path: str, name: Optional[str]) -> NoReturn:
    """Name the first value that does not go with the others, or not into a column of numbers."""
    first: Optional[type] = None
    for index, value in enumerate(values):
        if value is None:
            continue
        if name is not None:
            try:
                array.array(NUMBERS[name], [value])
                continue
            except (OverflowError, TypeError):
                raise Mismatch(f"{path}[{index}]", name, describe(value)) from None
        if first is None:
            first = type(value)
        if type(value) is not first:
            raise Mismatch(f"{path}[{index}]", f"`{first.__name__}` as before", describe(value))
    raise Mismatch(path, "values that a table can hold", f"`{first and first.__name__}`")


def _build_texts(
    kind: FieldType, values: Sequence[Any], nulls: int, valid: Any, path: str
) -> Array:
    try:
        if kind.name == "utf8":
            parts = [b"" if value is None else value.encode() for value in values]
        else:
            parts = [b"" if value is None else bytes(value) for value in values]
    except UnicodeEncodeError as error:
        raise Mismatch(path, "utf8", f"text with a lone surrogate: {error.reason}") from None
    data = b"".join(parts)
    form = "i"
    if len(data) >= 1 << 31:
        kind, form = FieldType("large_" + kind.name), "q"
    from itertools import accumulate

    starts = array.array(form, [0, *accumulate(map(len, parts))])
    return Array(kind, len(values), nulls, [valid, starts, data])


def _build_decimals(kind: FieldType, values: Sequence[Any], nulls: int, valid: Any) -> Array:
    scale = kind.parameters[1]
    numbers = [0 if value is None else int(value.scaleb(scale)) for value in values]
    data = b"".join(number.to_bytes(16, "little", signed=True) for number in numbers)
    return Array(kind, len(values), nulls, [valid, data])


def _bits(values: Sequence[Any]) -> bytearray:
    bits = bytearray((len(values) + 7) // 8)
    for index, value in enumerate(values):
        if value:
            bits[index >> 3] |= 1 << (index & 7)
    return bits


def _type_fields(kind: FieldType) -> tuple[int, flat.Writer]:
    name = kind.name
    unit = UNITS.index(kind.parameters[0]) if kind.parameters and name != "decimal128" else 0
    if name in _CODES:
        return _CODES[name], flat.table()
    if name.startswith("float"):
        return 3, flat.table((0, "h", {"float32": 1, "float64": 2}[name]))
    if name == "decimal128":
        return 7, flat.table((0, "i", kind.parameters[0]), (1, "i", kind.parameters[1]))
    if name.startswith("date"):
        return 8, flat.table((0, "h", int(name == "date64")))
    if name in ("time32", "time64"):
        return 9, flat.table((0, "h", unit), (1, "i", int(name[4:])))
    if name == "timestamp":
        zone = [(1, "ref", flat.text(kind.parameters[1]))] if kind.parameters[1] else []
        return 10, flat.table((0, "h", unit), *zone)
    if name == "duration":
        return 18, flat.table((0, "h", unit))
    bits = int(name.partition("int")[2])
    return 2, flat.table((0, "i", bits), (1, "?", not name.startswith("u")))


def _field(name: str, of: Array) -> flat.Writer:
    code, kind = _type_fields(of.kind)
    return flat.table(
        (0, "ref", flat.text(name)),
        (1, "?", True),
        (2, "B", code),
        (3, "ref", kind),
        (5, "ref", flat.vector([_field(child, part) for child, part in of.children])),
    )


def write_file(file: BinaryIO, columns: Sequence[tuple[str, Array]], rows: int) -> None:
    """Write an IPC file of these columns, each of `rows` values."""
    schema = flat.table((1, "ref", flat.vector([_field(name, of) for name, of in columns])))
    nodes: list[tuple[int, int]] = []
    places: list[tuple[int, int]] = []
    bodies: list[Any] = []
    end = 0

    def lay(of: Array) -> None:
        nonlocal end
        nodes.append((of.length, of.nulls))
        for buffer in of.buffers:
            size = 0
            if buffer is not None:
                view = memoryview(buffer).cast("B")
                size = len(view)
                bodies.extend((view, bytes(-size % 64)))
            places.append((end, size))
            end += size + -size % 64
        for _, child in of.children:
            lay(child)

    for _, column in columns:
        lay(column)
    batch = flat.table(
        (0, "q", rows),
        (1, "ref", flat.structs("qq", nodes)),
        (2, "ref", flat.structs("qq", places)),
    )
    file.write(MAGIC + b"\0\0")
    position = 8
    data = _message(1, schema, 0, position)
    file.write(data)
    position += len(data)
    data = _message(3, batch, end, position)
    file.write(data)
    block = (position, len(data), end)
    for part in bodies:
        file.write(part)
    footer = flat.finish(
        flat.table(
            (0, "h", _V5),
            (1, "ref", schema),
            (2, "ref", flat.structs(_BLOCK, [])),
            (3, "ref", flat.structs(_BLOCK, [block])),
        )
    )
    file.write(b"\xff\xff\xff\xff\0\0\0\0")  # the end of the stream that the file contains
    file.write(footer + struct.pack("<I", len(footer)) + MAGIC)


def _message(code: int, head: flat.Writer, body_size: int, position: int) -> bytes:
    """A message's metadata, padded so that what follows it begins at a multiple of 64."""
    data = flat.finish(
        flat.table((0, "h", _V5), (1, "B", code), (2, "ref", head), (3, "q", body_size))
    )
    data += bytes(-(position + 8 + len(data)) % 64)
    return b"\xff\xff\xff\xff" + struct.pack("<I", len(data)) + data
