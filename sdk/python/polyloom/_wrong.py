"""A value that is not what an annotation wants, and where in it.

The place is put together while the error leaves the value: what fits costs nothing for it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from polyloom._types import Type


class Wrong(Exception):
    """At `path` inside the value, something else than `expected` was found."""

    def __init__(self, expected: str, value: Any, found: str = "") -> None:
        super().__init__()
        self.expected = expected
        self.path = ""
        self._value = value
        self._found = found

    @property
    def found(self) -> str:
        """What is there, in words."""
        from polyloom._values import describe

        return self._found or describe(self._value)

    def inside(self, place: str) -> Wrong:
        """The same, as seen from further outside."""
        self.path = place + self.path
        return self

    def inside_key(self, name: Any) -> Wrong:
        """The same, in a map or record."""
        plain = isinstance(name, str) and name.isidentifier()
        return self.inside(f".{name}" if plain else f"[{name!r}]")


def within(item: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
    """All values converted; an error names the index."""
    try:
        return [item(value) for value in values]
    except Wrong:
        for at, value in enumerate(values):
            try:
                item(value)
            except Wrong as error:
                raise error.inside(f"[{at}]") from None
        raise


def fits(value: Any, declared: Type) -> None:
    """Refuse a tensor that is not of the declared elements and shape."""
    from polyloom._npy import _DESCR

    dtype = _DESCR.get(value.dtype.str[1:])
    shape = declared.shape
    right = declared.dtype in (None, dtype)
    if right and shape is not None:
        right = len(shape) == value.ndim
        right = right and all(not isinstance(a, int) or a == b for a, b in zip(shape, value.shape))
    if not right:
        raise Wrong(declared.text, value)
