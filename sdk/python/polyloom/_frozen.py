"""Whether a value was changed: a copy of its containers from before, and a comparison.

What cannot be changed is not copied, and a list of numbers is copied and compared in C.
"""

from __future__ import annotations

from polyloom._members import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ATOMS = frozenset((int, float, str, bool, bytes, type(None), complex))
_SETS = (set, frozenset)


def frozen(value: Any) -> Any:
    """What `value` holds now. What has no containers that are known here is itself."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if isinstance(value, (list, tuple)) or kind.__name__ == "deque":
        if _ATOMS.issuperset(map(type, value)):
            return (kind, list(value))
        return (kind, [frozen(item) for item in value])
    if isinstance(value, dict):
        if _ATOMS.issuperset(map(type, value.values())):
            return (kind, list(value.items()))
        return (kind, [(key, frozen(item)) for key, item in value.items()])
    if isinstance(value, _SETS):
        return (kind, set(value))
    if isinstance(value, bytearray):
        return (kind, bytes(value))
    fields = names(kind)
    if fields is not None:
        return (kind, [(name, frozen(getattr(value, name, None))) for name in fields])
    if hasattr(value, "columns") and hasattr(value, "shape"):  # a frame
        return (kind, list(map(str, value.columns)), tuple(value.shape))
    return _Same(value)


class _Same:
    """A value that is compared by what it is, not by what it says."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    __hash__ = None  # type: ignore[assignment]


def changed(before: Any, value: Any) -> bool:
    """Whether `value` holds something else than it did."""
    try:
        return bool(frozen(value) != before)
    except Exception:
        return True  # it cannot even be compared any more
