"""What can stand behind the type in `Annotated[T, …]`: how a parameter is shown and set.

Plain data that says nothing by itself: the catalog reads it from the source, and at run time
nobody looks at it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Any, Optional, Union

    SeedInt = Annotated[int, "a seed"]


class _Hint:
    """What cannot be changed, and is equal to what says the same."""

    __slots__ = ("_said",)
    _said: tuple[Any, ...]

    def __init__(self, *said: Any) -> None:
        object.__setattr__(self, "_said", said)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"`{type(self).__name__}` can't be changed")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._said == getattr(other, "_said", None)

    def __hash__(self) -> int:
        return hash((type(self).__name__, repr(self._said)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._said))})"


class Slider(_Hint):
    """A number that is set by a slider; it is within the bounds."""

    def __init__(
        self,
        min: Union[int, float],
        max: Union[int, float],
        step: Optional[Union[int, float]] = None,
    ) -> None:
        super().__init__(min, max, step)


class Color(_Hint):
    """A text `#rrggbb` or `#rrggbbaa`."""

    def __init__(self) -> None:
        super().__init__()


class Seed(_Hint):
    """The seed of a random stream: derived from the flow's where nobody sets it."""

    def __init__(self) -> None:
        super().__init__()


class Code(_Hint):
    """A text in a programming language."""

    def __init__(self, language: str = "") -> None:
        super().__init__(language)


class MultiLine(_Hint):
    """A text of more than one line."""

    def __init__(self) -> None:
        super().__init__()


class Choices(_Hint):
    """One of these values."""

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)


class Unit(_Hint):
    """What a number is a number of: `px`, `s`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


class Doc(_Hint):
    """What is said of the parameter."""

    def __init__(self, text: str) -> None:
        super().__init__(text)


class Tag(_Hint):
    """On what a function returns, a tag of the function: `pure`, `cached`, `seed`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


class Shape(_Hint):
    """The sizes of an array, or names where any size is meant: `Shape("h", "w", 3)`."""

    def __init__(self, *dims: Union[int, str]) -> None:
        super().__init__(*dims)


class Dir(_Hint):
    """A `Path` of a folder."""

    def __init__(self) -> None:
        super().__init__()


class Output(_Hint):
    """The name of the one output of a function."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


def __getattr__(name: str) -> Any:
    if name == "SeedInt":
        from typing import Annotated

        return Annotated[int, Seed()]
    raise AttributeError(f"module `polyloom._hints` has no attribute `{name}`")
