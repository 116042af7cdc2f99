"""Takes a cell's outputs from its variables and writes each as the file its declared type asks for.

Knows which writer belongs to which type. The formats themselves are `_msgpack`'s, `_npy`'s,
`_table`'s and `_media`'s, and are imported for the outputs that need them.
"""

from __future__ import annotations

import os
import sys

from polyloom import PortError
from polyloom._types import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from polyloom._types import Type

VALUE_DEPTH = 64
"""How deep a value may nest. Messages are held to less; a document that is data is not."""
MOST_TOLD = 4 << 10
MOST_TOLD_TOGETHER = 32 << 10


def write_outputs(
    slots: dict[str, dict[str, Any]],
    out: str,
    variables: dict[str, Any],
    goes_on: bool = False,
    told: Optional[dict[str, bytes]] = None,
) -> None:
    """Write every declared output into the folder `out`, or raise a `PortError`.

    `goes_on`: the process goes on, and with it the files that variables name.
    `told`: takes small values in place of files.
    """
    folders = [name for name, slot in slots.items() if slot.get("type") == "dir"]
    if folders or (goes_on and any(slot.get("type") == "file" for slot in slots.values())):
        from polyloom._media import keep_whole

        keep_whole((variables[name] for name in folders if name in variables), goes_on)
    unset = [name for name in slots if name not in variables and not _present(out, name)]
    if unset:
        nor = ", nor was ".join(["", *(f"`{name}`" for name in unset[1:])])
        raise PortError(unset[0], f"output `{unset[0]}` was not set{nor}")
    # Folders last: another output may be a file in one, and folders are moved.
    wrong: list[PortError] = []
    for name in [name for name in slots if name not in folders] + folders:
        try:
            if name in variables:  # the cell may have written the file itself
                write_output(name, slots[name], out, variables[name], told)
        except PortError as error:
            wrong.append(error)
    if wrong:
        raise together(wrong)
    npy = sys.modules.get("polyloom._npy")
    if npy is not None:
        npy.drop_unused()


def together(wrong: list[PortError]) -> PortError:
    """All that is wrong, as one error."""
    return wrong[0] if len(wrong) == 1 else PortError(wrong[0].port, "\n".join(map(str, wrong)))


def write_output(
    name: str,
    slot: dict[str, Any],
    out: str,
    value: Any,
    told: Optional[dict[str, bytes]] = None,
) -> None:
    """Write one output into the folder `out` as its declared type asks, or raise a `PortError`."""
    present = _present(out, name)
    try:
        written = _own_file(value, out, present)
        if written is None:
            written = _write(value, parse(slot.get("type") or "any"), name, out, told)
    except ValueError as error:
        text = str(error)
        text = text if text.startswith("`") else f"`{name}`: {text}"
        raise PortError(name, f"output {text}") from error
    except OSError as error:
        raise PortError(name, f"output `{name}` cannot be written: {error}") from error
    for entry in present:
        path = os.path.join(out, entry)
        if path != written and os.path.isfile(path):
            os.unlink(path)  # what the variable says is the output, and there is but one


def _present(out: str, name: str) -> list[str]:
    return [entry for entry in os.listdir(out) if _belongs(entry, name)]


def _belongs(entry: str, name: str) -> bool:
    return entry == name or entry.startswith(name + ".")


def _own_file(value: Any, out: str, present: list[str]) -> Optional[str]:
    """The entry of the output folder that `value` names, when the cell wrote the file itself."""
    if present and (isinstance(value, str) or hasattr(value, "__fspath__")):
        try:
            folder, entry = os.path.split(os.path.realpath(value))
        except ValueError:  # a text that is no path
            return None
        if entry in present and folder == os.path.realpath(out):
            return os.path.join(out, entry)
    return None


def _write(
    value: Any, wanted: Type, name: str, out: str, told: Optional[dict[str, bytes]]
) -> Optional[str]:
    """The file that holds the value now; none where `told` has taken it."""
    base = os.path.join(out, name)
    kind = wanted.name
    if kind == "tensor":
        from polyloom._npy import write_tensor

        return write_tensor(value, wanted, name, base + ".npy")
    if kind == "table":
        from polyloom._table import write_table

        return write_table(value, name, base + ".arrow")
    if kind in ("image", "file", "dir"):
        from polyloom import _media

        return getattr(_media, "write_" + kind)(value, name, base)  # type: ignore[no-any-return]
    from polyloom._msgpack import encode
    from polyloom._values import conform

    data = conform(value, wanted, name)
    if kind != "bytes":
        path, data = base + ".msgpack", encode(data, VALUE_DEPTH)
        if told is not None and _has_room(told, len(data)):
            told[name] = data
            return None
    else:
        path = base + ".bin"
    with open(path, "wb") as file:
        file.write(data)
    return path


def _has_room(told: dict[str, bytes], size: int) -> bool:
    return size <= MOST_TOLD and sum(map(len, told.values())) + size <= MOST_TOLD_TOGETHER
