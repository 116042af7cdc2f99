"""Which argument a function was about to change, when it failed at a place that is read-only."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Optional


def written(error: BaseException, arguments: dict[str, Any]) -> Optional[str]:
    """The name of the argument that the line which failed shows, where there is one."""
    if "read-only" not in str(error) or not arguments:
        return None
    at: Optional[TracebackType] = error.__traceback__
    places: list[TracebackType] = []
    while at is not None:
        places.append(at)
        at = at.tb_next
    for place in reversed(places[1:]):
        text = _text(place.tb_frame.f_code.co_filename, place.tb_lineno)
        for local, value in place.tb_frame.f_locals.items():
            for name, argument in arguments.items():
                if local in text and _shares(value, argument):
                    return name
    return None


def _text(file: str, line: int) -> str:
    try:
        with open(file, "rb") as source:
            return source.read().splitlines()[line - 1].decode("utf-8", "replace")
    except (OSError, IndexError):
        return ""


def _shares(value: Any, argument: Any) -> bool:
    """Whether two values show the same memory."""
    if value is argument:
        return True
    if not hasattr(value, "base") and not isinstance(value, memoryview):
        return False
    from polyloom._npy import _owner

    owner = _owner(argument)
    return owner is not argument and _owner(value) is owner
