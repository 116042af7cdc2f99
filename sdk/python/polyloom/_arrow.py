"""Arrow IPC files without pyarrow, the reading half: a mapped file in, columns of chunks out.

Knows the file format (arrow.apache.org, "IPC File Format") and its types. Columns of numbers are
memoryviews of the mapped file; other values are made when they are asked for.
"""

from __future__ import annotations

import struct

from polyloom._flatbuf import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Optional

MAGIC = b"ARROW1"
NUMBERS = {
    **{"int8": "b", "int16": "h", "int32": "i", "int64": "q"},
    **{"uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q"},
    **{"float32": "f", "float64": "d"},
}
UNITS = ("s", "ms", "us", "ns")
PER_SECOND = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}


class Chunk:
    """Some consecutive values of a column, in Arrow's layout."""

    __slots__ = ("get", "length", "valid", "view")

    def __init__(
        self,
        length: int,
        get: Callable[[int], Any],
        valid: Optional[memoryview] = None,
        view: Optional[memoryview] = None,
    ) -> None:
        self.length = length
        self.get = get
        self.valid = valid
        self.view = view

    def at(self, index: int) -> Any:
        """The value at `index`, None where it is missing."""
        valid = self.valid
        if valid is not None and not valid[index >> 3] >> (index & 7) & 1:
            return None
        return self.get(index)

    def values(self) -> list[Any]:
        """All values."""
        if self.valid is None:
            if self.view is not None and self.get == self.view.__getitem__:
                return self.view.tolist()
            return [self.get(index) for index in range(self.length)]
        return [self.at(index) for index in range(self.length)]


class FieldType:
    """The type of a column: its name as Arrow spells it, and what its values need to be read."""

    __slots__ = ("children", "dictionary", "name", "parameters")

    def __init__(self, name: str, *parameters: Any) -> None:
        self.name = name
        self.parameters = parameters
        self.children: list[tuple[str, FieldType]] = []
        self.dictionary: Optional[tuple[int, FieldType]] = None

    def __str__(self) -> str:
        inner = ", ".join(str(part) for part in self.parameters if part != "")
        if self.children:
            inner = ", ".join(f"{name}: {of}" for name, of in self.children)
        text = f"{self.name}[{inner}]" if inner else self.name
        return f"dictionary[{text}]" if self.dictionary else text


def read_type(field: Reader) -> FieldType:
    """The type of a `Field` of the schema."""
    code, of = field.number(2, "B"), field.table(3)
    if of is None:
        raise ValueError("a column without a type")
    if code == 2:
        name = f"{'' if of.number(1, '?') else 'u'}int{of.number(0, 'i')}"
        found = FieldType(name)
    elif code == 3:
        found = FieldType(("float16", "float32", "float64")[of.number(0, "h")])
    elif code == 7:
        found = FieldType(f"decimal{of.number(2, 'i', 128)}", of.number(0, "i"), of.number(1, "i"))
    elif code == 8:
        found = FieldType(("date32", "date64")[of.number(0, "h", 1)])
    elif code == 9:
        found = FieldType(f"time{of.number(1, 'i', 32)}", UNITS[of.number(0, "h", 1)])
    elif code == 10:
        found = FieldType("timestamp", UNITS[of.number(0, "h")], of.text(1))
    elif code == 15:
        found = FieldType("fixed_size_binary", of.number(0, "i"))
    elif code == 16:
        found = FieldType("fixed_size_list", of.number(0, "i"))
    elif code == 18:
        found = FieldType("duration", UNITS[of.number(0, "h", 1)])
    elif code in _PLAIN_TYPES:
        found = FieldType(_PLAIN_TYPES[code])
    else:
        raise ValueError(f"column `{field.text(0)}`: Arrow type {code} needs pyarrow")
    found.children = [(child.text(0), read_type(child)) for child in field.tables(5)]
    encoding = field.table(4)
    if encoding is not None:
        index = encoding.table(1)
        name = "int32"
        if index is not None:
            name = f"{'' if index.number(1, '?') else 'u'}int{index.number(0, 'i')}"
        found.dictionary = encoding.number(0, "q"), FieldType(name)
    return found


_PLAIN_TYPES = {
    **{1: "null", 4: "binary", 5: "utf8", 6: "bool", 12: "list", 13: "struct", 17: "map"},
    **{19: "large_binary", 20: "large_utf8", 21: "large_list"},
    **{23: "binary_view", 24: "utf8_view"},
}


class Batch:
    """The columns of one record batch, read in the order in which their buffers lie."""

    def __init__(self, head: Reader, body: memoryview, dictionaries: dict[int, list[Any]]) -> None:
        if head.table(3) is not None:
            raise ValueError("a compressed Arrow file needs pyarrow")
        self.length = head.number(0, "q")
        self._nodes = iter(head.structs(1, "qq"))
        self._buffers = iter(head.structs(2, "qq"))
        self._variadic = iter(head.structs(4, "q"))
        self._body = body
        self._dictionaries = dictionaries

    def _buffer(self) -> memoryview:
        offset, size = next(self._buffers)
        return self._body[offset : offset + size]

    def column(self, of: FieldType) -> Chunk:
        """The next column, which is of this type."""
        length, nulls = next(self._nodes)
        if of.dictionary is not None:
            valid = self._valid(nulls)
            keys = self._numbers(of.dictionary[1].name, length)
            entries = self._dictionaries.get(of.dictionary[0], [])
            return Chunk(length, lambda index: entries[keys[index]], valid)
        name = of.name
        if name == "null":
            return Chunk(length, lambda index: None)
        valid = self._valid(nulls)
        if name in NUMBERS:
            view = self._numbers(name, length)
            return Chunk(length, view.__getitem__, valid, view)
        if name == "bool":
            bits = self._buffer()
            return Chunk(length, lambda index: bool(bits[index >> 3] >> (index & 7) & 1), valid)
        if name in ("utf8", "binary", "large_utf8", "large_binary"):
            return self._texts(name, length, valid)
        if name in ("utf8_view", "binary_view"):
            return self._text_views(name, length, valid)
        if name in ("list", "large_list", "map"):
            starts = self._numbers("int64" if name == "large_list" else "int32", length + 1)
            inner = self.column(of.children[0][1])
            at = inner.at
            return Chunk(length, lambda i: [at(n) for n in range(starts[i], starts[i + 1])], valid)
        if name == "fixed_size_list":
            size, inner = of.parameters[0], self.column(of.children[0][1])
            at = inner.at
            return Chunk(length, lambda i: [at(n) for n in range(i * size, (i + 1) * size)], valid)
        if name == "struct":
            parts = [(child, self.column(kind).at) for child, kind in of.children]
            return Chunk(length, lambda index: {child: get(index) for child, get in parts}, valid)
        return self._fixed(of, length, valid)

    def _valid(self, nulls: int) -> Optional[memoryview]:
        bits = self._buffer()
        return bits if nulls and len(bits) else None

    def _numbers(self, name: str, length: int) -> memoryview:
        form = NUMBERS[name]
        data = self._buffer()
        size = struct.calcsize(form) * length
        if len(data) < size:
            if length == 1 and not len(data):  # the offsets of an empty list may be left out
                return memoryview(bytes(8)).cast("B")[: struct.calcsize(form)].cast(form)  # type: ignore[call-overload, no-any-return]
            raise ValueError("a buffer of the Arrow file is shorter than its column")
        return data[:size].cast(form)  # type: ignore[call-overload, no-any-return]

    def _texts(self, name: str, length: int, valid: Optional[memoryview]) -> Chunk:
        starts = self._numbers("int64" if name.startswith("large") else "int32", length + 1)
        data = self._buffer()
        if name.endswith("utf8"):
            return Chunk(length, lambda i: str(data[starts[i] : starts[i + 1]], "utf-8"), valid)
        return Chunk(length, lambda i: bytes(data[starts[i] : starts[i + 1]]), valid)

    def _text_views(self, name: str, length: int, valid: Optional[memoryview]) -> Chunk:
        views = self._buffer()
        data = [self._buffer() for _ in range(next(self._variadic)[0])]

        def get(index: int) -> Any:
            at = 16 * index
            size = int.from_bytes(views[at : at + 4], "little")
            if size <= 12:
                found = views[at + 4 : at + 4 + size]
            else:
                which, start = struct.unpack_from("<ii", views, at + 8)
                found = data[which][start : start + size]
            return str(found, "utf-8") if name == "utf8_view" else bytes(found)

        return Chunk(length, get, valid)

    def _fixed(self, of: FieldType, length: int, valid: Optional[memoryview]) -> Chunk:
        name = of.name
        if name in ("fixed_size_binary", "decimal128", "decimal256"):
            wide = {"decimal128": 16, "decimal256": 32}.get(name) or of.parameters[0]
            data = self._buffer()
            if name == "fixed_size_binary":
                return Chunk(length, lambda i: bytes(data[i * wide : (i + 1) * wide]), valid)
            from decimal import Decimal

            scale = -of.parameters[1]

            def decimal(index: int) -> Decimal:
                number = data[index * wide : (index + 1) * wide]
                return Decimal(int.from_bytes(number, "little", signed=True)).scaleb(scale)

            return Chunk(length, decimal, valid)
        if name == "float16":
            halves = self._buffer()
            return Chunk(length, lambda i: struct.unpack_from("<e", halves, 2 * i)[0], valid)
        from polyloom._arrow_time import STORAGE, converter

        if name not in STORAGE:
            raise ValueError(f"Arrow type `{of}` needs pyarrow")
        view = self._numbers(STORAGE[name], length)
        convert = converter(name, of.parameters)
        return Chunk(length, lambda index: convert(view[index]), valid, view)


def read_file(data: memoryview) -> tuple[list[tuple[str, FieldType]], list[list[Chunk]]]:
    """The schema of an IPC file, and for each record batch its columns."""
    if len(data) < 18 or data[:6] != MAGIC or data[-6:] != MAGIC:
        raise ValueError("not an Arrow IPC file")
    try:
        size = int.from_bytes(data[-10:-6], "little")
        footer = Reader.root(data[len(data) - 10 - size : len(data) - 10])
        schema = footer.table(1)
        if schema is None:
            raise ValueError("the Arrow file has no schema")
        if schema.number(0, "h") != 0:
            raise ValueError("the Arrow file is big endian")
        fields = [(field.text(0), read_type(field)) for field in schema.tables(1)]
        dictionaries: dict[int, list[Any]] = {}
        kinds = dict(_dictionary_types(fields))
        for block in footer.structs(2, "qi4xq"):
            head, body = _message(data, block)
            number, batch = head.number(0, "q"), head.table(1)
            assert batch is not None
            values = Batch(batch, body, dictionaries).column(kinds[number]).values()
            old = dictionaries.get(number, []) if head.number(2, "?") else []
            dictionaries[number] = old + values
        batches = []
        for block in footer.structs(3, "qi4xq"):
            head, body = _message(data, block)
            batch_reader = Batch(head, body, dictionaries)
            batches.append([batch_reader.column(of) for _, of in fields])
    except (struct.error, IndexError, KeyError, StopIteration, AssertionError) as error:
        raise ValueError(f"the Arrow file is damaged: {error!r}") from None
    return fields, batches


def _message(data: memoryview, block: Sequence[int]) -> tuple[Reader, memoryview]:
    offset, head_size, body_size = block
    prefix = 8 if bytes(data[offset : offset + 4]) == b"\xff" * 4 else 4
    message = Reader.root(data[offset + prefix : offset + head_size])
    head = message.table(2)
    if head is None:
        raise ValueError("a message of the Arrow file is empty")
    return head, data[offset + head_size : offset + head_size + body_size]


def _dictionary_types(fields: Sequence[tuple[str, FieldType]]) -> list[tuple[int, FieldType]]:
    found: list[tuple[int, FieldType]] = []
    for _, of in fields:
        found += _dictionary_types(of.children)
        if of.dictionary is not None:
            entry = FieldType(of.name, *of.parameters)
            entry.children = of.children
            found.append((of.dictionary[0], entry))
    return found
