"""Reads a cell's inputs from their files: path and encoding in, a Python value out.

Knows the encodings and which form a value takes, not where the files come from. Large data is
mapped, never copied; libraries are imported only for the inputs that need them.
"""

from __future__ import annotations

from polyloom import PortError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

VALUE_DEPTH = 64
"""How deep a value may nest. Messages are held to less; a document that is data is not."""


MOST_MAPPED = 256
"""Each array that is mapped keeps a descriptor, of which a cell has no more than its limit."""


def read_input(name: str, slot: dict[str, Any], mapped: bool = True) -> Any:
    """The value of the input `name`: a plain value, an array, a table, or else a Path."""
    path: str = slot["path"]
    encoding = slot.get("encoding")
    try:
        if encoding == "msgpack":
            from polyloom._msgpack import decode

            data: Optional[bytes] = slot.get("value")
            if data is None:
                with open(path, "rb") as file:
                    data = file.read()
            value = decode(data, VALUE_DEPTH)
            return tuple(value) if slot.get("type") == "vec2" else value
        if encoding == "npy":
            from polyloom._npy import read

            return read(path, mapped)
        if encoding == "arrow":
            return read_table(path)
        if encoding not in ("raw", "dir", None):
            raise ValueError(f"unknown encoding `{encoding}`")
    except (OSError, ValueError) as error:
        raise PortError(name, f"input `{name}` cannot be read: {error}") from error
    from pathlib import Path

    return Path(path)


def read_folder(path: str) -> list[Any]:
    """What lies in a folder, by its names: arrays, tables, and of other files their paths."""
    import os

    readers = {".npy": ("npy", "tensor"), ".arrow": ("arrow", "table")}
    found = []
    for at, name in enumerate(sorted(os.listdir(path))):
        encoding, kind = readers.get(os.path.splitext(name)[1], ("raw", "file"))
        slot = {"path": os.path.join(path, name), "encoding": encoding, "type": kind}
        found.append(read_input(name, slot, at < MOST_MAPPED))
    return found


def read_table(path: str) -> Any:
    """A `pyarrow.Table` over the mapped file where pyarrow is there, else a `polyloom.Table`."""
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        from polyloom._table import Table

        return Table.read(path)
    with pyarrow.memory_map(path) as source:
        return pyarrow.ipc.open_file(source).read_all()
