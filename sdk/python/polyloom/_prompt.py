"""For somebody at a prompt: shows last expressions, completes names, knows where inputs end.

Knows a namespace and code as text; messages are its callers' business.
"""

from __future__ import annotations

import sys
from _ast import Expr, Interactive, PyCF_ONLY_AST
from _signal import ITIMER_REAL, SIGALRM, setitimer
from _signal import signal as set_signal

import polyloom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, Union

MOST_MATCHES = 500
PATIENCE = 0.5
"""Seconds that objects of the session may take to say what they have."""


def compiled(source: Union[str, bytes], path: str) -> list[CodeType]:
    """Code that shows the value of its last statement, where that is an expression."""
    tree: Any = compile(source, path, "exec", PyCF_ONLY_AST, dont_inherit=True)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], Expr) else None
    codes = [compile(tree, path, "exec", dont_inherit=True)] if tree.body or last is None else []
    if last is not None:
        codes.append(compile(Interactive([last]), path, "single", dont_inherit=True))
        sys.displayhook = _show
    return codes


def _show(value: Any) -> None:
    """As Python does at its own prompt, but beside the cell."""
    if value is None:
        return
    import builtins

    from polyloom._display import DISPLAY_CAP, represent, show

    setattr(builtins, "_", value)  # noqa: B010
    current = polyloom._current
    text = repr(value)
    if current is None or not current.can_display():
        print(text)
        return
    data = text.encode("utf-8", "replace")
    if len(data) > DISPLAY_CAP:
        # A terminal is shown nothing of what is kept beside the cell.
        begun = data[: DISPLAY_CAP - 100].decode("utf-8", "ignore")
        data = f"{begun}… ({len(text):,} characters, `print(_)` shows all)".encode()
    show("text/plain", data)
    media, data = represent(value) if not isinstance(value, str) else ("text/plain", b"")
    if media != "text/plain":
        show(media, data)


def complete(names: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The Completions for what a Complete asks."""
    code, cursor = asked.get("code"), asked.get("cursor")
    if not isinstance(code, str) or not isinstance(cursor, int):
        return {"start": 0, "end": 0, "matches": []}
    cursor = min(cursor, len(code))
    start = cursor
    while start and (code[start - 1].isidentifier() or code[start - 1].isdigit()):
        start -= 1
    begun, at = code[start:cursor], start
    while at and (code[at - 1] in "._" or code[at - 1].isalnum()):
        at -= 1
    owner = code[at:start]
    matches: list[str] = []
    if not begun[:1].isdigit():
        usual = set_signal(SIGALRM, _enough)
        try:
            setitimer(ITIMER_REAL, PATIENCE)
            matches = _matches(names, code[:start], owner, begun)
        except BaseException:
            pass  # an object of the session that cannot say, or takes too long
        finally:
            setitimer(ITIMER_REAL, 0)
            set_signal(SIGALRM, usual)
    matches = matches[:MOST_MATCHES]
    return {"start": start, "end": cursor, "matches": matches, "open": _is_open(code)}


def _is_open(code: str) -> bool:
    """Whether more has to be typed; as at Python's own prompt, an empty line ends a block."""
    import warnings

    block = not code.endswith("\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree: Any = compile(code, "<prompt>", "exec", PyCF_ONLY_AST, dont_inherit=True)
            return block and bool(tree.body) and hasattr(tree.body[-1], "body")
        except IndentationError:
            if not block:
                return False  # a block that was not begun
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            pass
        import codeop

        try:
            return codeop.compile_command(code, symbol="exec") is None
        except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError):
            return False


def _enough(number: int, frame: object) -> None:
    raise TimeoutError


def _matches(names: dict[str, Any], before: str, owner: str, begun: str) -> list[str]:
    import builtins

    from polyloom._modules import importable

    imported = importable(before)
    if imported is not None:
        found = imported
    elif owner:
        first, *rest = owner.rstrip(".").split(".")
        value = names[first] if first in names else getattr(builtins, first)
        for name in rest:
            value = getattr(value, name)
        found = {name for name in dir(value) if isinstance(name, str)}
    else:
        import keyword

        found = {*filter(_is_text, names), *dir(builtins), *keyword.kwlist}
    found = {name for name in found if name.startswith(begun)}
    return sorted(found, key=lambda name: (name.count("_", 0, 2) if begun[:1] != "_" else 0, name))


def _is_text(name: object) -> bool:
    return isinstance(name, str)
