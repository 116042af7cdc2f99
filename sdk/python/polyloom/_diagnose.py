"""Where in the cell's own file an exception comes from, and how it is shown.

Imported only when a cell fails. Knows no wire: it returns the fields of a Diagnostic.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

import polyloom
from polyloom import PortError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

# By the code's own word: the module's file may be bytecode that lies elsewhere.
_HERE = os.path.dirname(os.path.abspath((lambda: 0).__code__.co_filename))
CALLER = "caller"
_OURS = (_HERE + os.sep, _HERE + "_sdk" + os.sep)


def describe(
    error: BaseException, code: str, cancelled: bool, shared: bool = False
) -> dict[str, Any]:
    """The Diagnostic for an exception that ended the cell whose file is `code`.

    In a session (`shared`) it may lead to the code of an earlier cell, which lies beside.
    """
    fields: dict[str, Any] = {"severity": "error", "message": headline(error), "file": code or None}
    if isinstance(error, PortError):
        fields["message"] = str(error)
        place = getattr(error, "place", None)  # of a call
        fields.update({"line": _assignment(code, error.port)} if place is None else place)
        return fields
    if isinstance(error, ModuleNotFoundError):
        version = ".".join(map(str, sys.version_info[:3]))
        fields["message"] += f"\nit ran with Python {version}: {sys.executable}"
    if cancelled and isinstance(error, KeyboardInterrupt):
        fields.update(severity="info", message="cancelled here")
    if isinstance(error, SyntaxError) and _beside(error.filename, code):
        fields.update(file=error.filename, line=error.lineno, col=error.offset or None)
        end_line, end_col = getattr(error, "end_lineno", None), getattr(error, "end_offset", None)
        if end_line and end_col and end_line > 0 and end_col > 0:
            fields.update(end_line=end_line, end_col=end_col)
        return fields
    at = error.__traceback__
    while at is not None:
        file = at.tb_frame.f_code.co_filename
        if file == code or (shared and _beside(file, code)):
            fields["file"], fields["line"] = file, at.tb_lineno
            fields.update(dict.fromkeys(("col", "end_line", "end_col")), **_columns(at, file))
        at = at.tb_next
    return fields


def caller(
    error: BaseException, fields: dict[str, Any], code: str, cells: dict[str, str]
) -> Optional[dict[str, Any]]:
    """Where the cell of the file `code` called what an earlier one of its session had defined.

    `cells` has the names of the session's cells by their files.
    """
    if not code or fields.get("file") == code or fields.get("line") is None:
        return None
    at = error.__traceback__
    line: Optional[int] = None
    while at is not None:
        if at.tb_frame.f_code.co_filename == code:
            line = at.tb_lineno
        at = at.tb_next
    if line is None:
        return None
    here, there = cells.get(code), cells.get(str(fields.get("file")))
    text = "it was called here"
    if here and there and here != there:
        text = f"cell `{here}` called it here; it is of cell `{there}`"
    return {"severity": "info", "message": text, "code": CALLER, "file": code, "line": line}


def _beside(file: Optional[str], code: str) -> bool:
    """Whether `file` is the cell's own, or one of those that lie with it."""
    return bool(code) and file is not None and file.startswith(os.path.dirname(code) + os.sep)


def headline(error: BaseException) -> str:
    """The last line of a traceback: `ZeroDivisionError: division by zero`."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:
        text = "<exception str() failed>"
    return f"{name}: {text}" if text else name


def print_exception(error: BaseException, prompt: str = "") -> None:
    """Print a traceback to stderr that begins in the cell's code, not in the worker's.

    At a prompt, whose input is the file `prompt`, one that has no other code's lines is not: the
    host shows the place.
    """
    current = polyloom._current
    try:
        at = _trim(error)
        if prompt and not _leads_out(error, prompt):
            return
        if current is not None and current.shared and sys.excepthook is sys.__excepthook__:
            # The interpreter's own way looks for lines in files, and theirs may be gone.
            import traceback

            traceback.print_exception(type(error), error, at)
        else:
            sys.excepthook(type(error), error, at)
    except Exception:
        print(headline(error), file=sys.stderr)


def _leads_out(error: BaseException, code: str) -> bool:
    if error.__cause__ is not None or error.__context__ is not None:
        return True
    at = error.__traceback__
    while at is not None:
        if not _beside(at.tb_frame.f_code.co_filename, code):
            return True
        at = at.tb_next
    return False


def _trim(error: BaseException) -> Optional[TracebackType]:
    at = error.__traceback__
    while at is not None and at.tb_frame.f_code.co_filename.startswith(_OURS):
        at = at.tb_next
    error.__traceback__ = at
    return at


def _columns(at: TracebackType, code: str) -> dict[str, int]:
    """Where the failing expression begins and ends; Python keeps this from 3.11 on."""
    positions = getattr(at.tb_frame.f_code, "co_positions", None)
    if positions is None:
        return {}
    from itertools import islice

    found = next(islice(positions(), at.tb_lasti // 2, None), None)
    if found is None:
        return {}
    line, end_line, col, end_col = found
    if line != at.tb_lineno or None in (end_line, col, end_col):
        return {}
    lines = _lines(code)
    if not 0 < line <= end_line <= len(lines):
        return {}
    return {
        "col": _characters(lines[line - 1], col) + 1,
        "end_line": end_line,
        "end_col": _characters(lines[end_line - 1], end_col) + 1,
    }


def _lines(code: str) -> list[bytes]:
    linecache = sys.modules.get("linecache")
    known = linecache.cache.get(code) if linecache is not None else None
    if known is not None and len(known) > 1:
        return [line.rstrip("\r\n").encode("utf-8", "replace") for line in known[2]]
    try:
        with open(code, "rb") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _characters(line: bytes, count: int) -> int:
    return len(line[:count].decode("utf-8", "replace"))


def _assignment(code: str, name: str) -> Optional[int]:
    """The last line that gives the variable `name` a value."""
    import ast

    try:
        tree = ast.parse(b"\n".join(_lines(code)))
    except (SyntaxError, ValueError):
        return None
    found = [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store))
        or (isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name)
    ]
    return max(found, default=None)
