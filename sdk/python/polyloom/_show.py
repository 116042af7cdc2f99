"""How the results of functions show themselves, without being asked: as pictures, tables, trees.

Texts, so that a terminal can show them too, and short: what is whole is the output itself.
"""

from __future__ import annotations

import os

import polyloom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

ROWS, COLUMNS, WIDTH, LINES = 10, 8, 24, 40
DISPLAY_CAP = 48 << 10


def show_outputs(values: dict[str, Any], slots: dict[str, Any], out: str) -> None:
    """Display the outputs that have more to show than a value in a line."""
    for name, value in values.items():
        if slots[name].get("type") == "image":
            _show_file(name, out)
        else:
            text = shown(value)
            if text is not None:
                _send("text/plain", f"{name}\n{text}".encode("utf-8", "replace"))


def show_item(item: Any) -> None:
    """Display an item of a generator, where it is a picture or a table."""
    from polyloom import _media

    kind = type(item)
    if kind.__module__ == "builtins" and not isinstance(item, (list, dict)):
        return
    if kind.__module__.partition(".")[0] in ("PIL", "matplotlib"):
        found = _media.picture(item)
        if found is not None:
            _send(_media.MEDIA[found[0]], found[1])
        return
    text = shown(item)
    if text is not None:
        _send("text/plain", text.encode("utf-8", "replace"))


def _send(media: str, data: bytes) -> None:
    current = polyloom._current
    if current is not None and len(data) <= DISPLAY_CAP:
        current.display(media, data)


def _show_file(name: str, out: str) -> None:
    from polyloom import _media

    for entry in os.listdir(out):
        stem, _, suffix = entry.rpartition(".")
        path = os.path.join(out, entry)
        if stem == name and suffix in _media.MEDIA and os.path.getsize(path) <= DISPLAY_CAP:
            with open(path, "rb") as file:
                _send(_media.MEDIA[suffix], file.read())


def shown(value: Any) -> Optional[str]:
    """A table or a tree as text; None for what says all in a line."""
    if isinstance(value, list) and value and all(type(row) is dict for row in value[: ROWS + 1]):
        fields = dict.fromkeys(name for row in value[:ROWS] for name in row)
        cells = [[_cell(row.get(name)) for name in fields] for row in value[:ROWS]]
        return _table(list(map(str, fields)), cells, len(value))
    columns = _columns(value)
    if columns is not None:
        names, rows, count = columns
        return _table(names, rows, count)
    if isinstance(value, dict) and value:
        lines: list[str] = []
        _tree(value, "", lines)
        return "\n".join(lines[:LINES] + (["…"] if len(lines) > LINES else []))
    return None


def _columns(value: Any) -> Optional[tuple[list[str], list[list[str]], int]]:
    """The names, first rows and length of a frame."""
    if type(value).__module__ == "polyloom._table":
        found = value.columns
        names = list(found)[: COLUMNS + 1]
        rows = zip(*(found[name][:ROWS] for name in names))
        return names, [list(map(_cell, row)) for row in rows], len(value)
    library = type(value).__module__.partition(".")[0]
    if library not in ("pandas", "polars", "pyarrow") or not hasattr(value, "columns"):
        return None
    names = list(map(str, getattr(value, "column_names", None) or list(value.columns)))
    if library == "pandas":
        head = value.iloc[:ROWS, : COLUMNS + 1].values.tolist()
    elif not hasattr(value, "slice"):
        return None
    else:
        part = value.slice(0, ROWS)
        read = part.to_pydict() if library == "pyarrow" else part.to_dict(as_series=False)
        head = list(zip(*(read[name] for name in names[: COLUMNS + 1])))
    return names, [list(map(_cell, row)) for row in head], len(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, (list, tuple, dict)):
        text = f"{type(value).__name__} of {len(value)}"
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _table(names: list[str], rows: list[list[str]], count: int) -> str:
    wide = len(names) > COLUMNS
    names = [_cell(name) for name in names[:COLUMNS]] + (["…"] if wide else [])
    rows = [row[:COLUMNS] + (["…"] if wide else []) for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *rows)] if names else []
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in [names, *rows]
    ]
    if count > len(rows):
        lines.append(f"… {count} rows")
    return "\n".join(line.rstrip() for line in lines)


def _tree(value: Any, indent: str, lines: list[str]) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items:
        if len(lines) > LINES:
            return
        if isinstance(each, (dict, list)) and each and len(indent) < 16:
            lines.append(f"{indent}{key}:")
            _tree(each, indent + "  ", lines)
        else:
            lines.append(f"{indent}{key}: {_cell(each)}")
