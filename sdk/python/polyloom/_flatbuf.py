"""FlatBuffers, as much as Arrow's metadata needs: tables, vectors, strings, written by hand.

Knows the binary layout (flatbuffers.dev, "Internals") and nothing of Arrow. Writing goes forwards:
a table first, then what it refers to, which is what makes it so short.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Union

    Writer = Callable[[bytearray], int]
    """Appends an object to the buffer and returns where it lies."""

    Field = tuple[int, str, Any]
    """Slot, `struct` format or "ref", and the number or `Writer`."""


class Reader:
    """A table in a buffer. Fields that are absent have their default."""

    __slots__ = ("_fields", "buffer", "position")

    def __init__(self, buffer: memoryview, position: int) -> None:
        self.buffer = buffer
        self.position = position
        table = position - _read("<i", buffer, position)
        self._fields = struct.unpack_from(f"<{_read('<H', buffer, table) // 2}H", buffer, table)[2:]

    @classmethod
    def root(cls, buffer: memoryview) -> Reader:
        """The table that the buffer begins with."""
        return cls(buffer, _read("<I", buffer, 0))

    def _at(self, slot: int) -> int:
        offset = self._fields[slot] if slot < len(self._fields) else 0
        return self.position + offset if offset else 0

    def number(self, slot: int, form: str, default: int = 0) -> int:
        """A scalar of the `struct` format `form`."""
        at = self._at(slot)
        return _read("<" + form, self.buffer, at) if at else default

    def text(self, slot: int) -> str:
        """A string."""
        at = self._at(slot)
        if not at:
            return ""
        at += _read("<I", self.buffer, at)
        size = _read("<I", self.buffer, at)
        return str(self.buffer[at + 4 : at + 4 + size], "utf-8")

    def table(self, slot: int) -> Union[Reader, None]:
        """Another table."""
        at = self._at(slot)
        return Reader(self.buffer, at + _read("<I", self.buffer, at)) if at else None

    def tables(self, slot: int) -> list[Reader]:
        """A vector of tables."""
        start, size = self._vector(slot)
        places = range(start, start + 4 * size, 4)
        return [Reader(self.buffer, at + _read("<I", self.buffer, at)) for at in places]

    def structs(self, slot: int, form: str) -> list[tuple[Any, ...]]:
        """A vector of structs, each of the `struct` format `form`."""
        start, size = self._vector(slot)
        width = struct.calcsize("<" + form)
        return list(struct.iter_unpack("<" + form, self.buffer[start : start + size * width]))

    def _vector(self, slot: int) -> tuple[int, int]:
        at = self._at(slot)
        if not at:
            return 0, 0
        at += _read("<I", self.buffer, at)
        return at + 4, _read("<I", self.buffer, at)


def _read(form: str, buffer: memoryview, at: int) -> int:
    return struct.unpack_from(form, buffer, at)[0]  # type: ignore[no-any-return]


def table(*fields: Field) -> Writer:
    """A table; fields that are left out have their default."""

    def write(buffer: bytearray) -> int:
        slots = 1 + max((slot for slot, _, _ in fields), default=-1)
        places: dict[int, int] = {}
        size = 4
        for slot, form, _ in sorted(fields, key=lambda field: -_width(field[1])):
            width = _width(form)
            size = -(-size // width) * width
            places[slot] = size
            size += width
        _align(buffer, 2)
        vtable = len(buffer)
        offsets = [places.get(slot, 0) for slot in range(slots)]
        buffer += struct.pack(f"<{2 + slots}H", 4 + 2 * slots, size, *offsets)
        _align(buffer, 8)
        start = len(buffer)
        buffer += bytes(size)
        struct.pack_into("<i", buffer, start, start - vtable)
        for slot, form, value in fields:
            at = start + places[slot]
            if form == "ref":
                struct.pack_into("<I", buffer, at, value(buffer) - at)
            else:
                struct.pack_into("<" + form, buffer, at, value)
        return start

    return write


def text(value: str) -> Writer:
    """A string."""

    def write(buffer: bytearray) -> int:
        _align(buffer, 4)
        start = len(buffer)
        data = value.encode("utf-8", "replace")
        buffer += struct.pack("<I", len(data)) + data + b"\0"
        return start

    return write


def vector(items: Sequence[Writer]) -> Writer:
    """A vector of tables or strings."""

    def write(buffer: bytearray) -> int:
        _align(buffer, 4)
        start = len(buffer)
        buffer += struct.pack("<I", len(items)) + bytes(4 * len(items))
        for index, item in enumerate(items):
            at = start + 4 + 4 * index
            struct.pack_into("<I", buffer, at, item(buffer) - at)
        return start

    return write


def structs(form: str, rows: Iterable[Sequence[int]]) -> Writer:
    """A vector of structs that are aligned to 8."""
    packed = [struct.pack("<" + form, *row) for row in rows]

    def write(buffer: bytearray) -> int:
        _align(buffer, 8)
        buffer += bytes(4)
        start = len(buffer)
        buffer += struct.pack("<I", len(packed)) + b"".join(packed)
        return start

    return write


def finish(root: Writer) -> bytes:
    """The whole buffer."""
    buffer = bytearray(8)
    struct.pack_into("<I", buffer, 0, root(buffer))
    _align(buffer, 8)
    return bytes(buffer)


def _width(form: str) -> int:
    return 4 if form == "ref" else struct.calcsize("<" + form)


def _align(buffer: bytearray, to: int) -> None:
    buffer += bytes(-len(buffer) % to)
