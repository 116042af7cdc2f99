"""What `Annotated` says of a value beyond its type: bounds, lengths, choices.

Those of the package `annotated_types`, `polyloom.Choices` and `polyloom.Slider`, told by what they
are called.
"""

from __future__ import annotations

from polyloom._wrong import Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Check = Callable[[Any], bool]

_COMPARE: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "ge": ("at least {}", lambda value, bound: bool(value >= bound)),
    "gt": ("greater than {}", lambda value, bound: bool(value > bound)),
    "le": ("at most {}", lambda value, bound: bool(value <= bound)),
    "lt": ("less than {}", lambda value, bound: bool(value < bound)),
    "multiple_of": ("a multiple of {}", lambda value, bound: value % bound == 0),
    "min_length": ("at least {} long", lambda value, bound: len(value) >= bound),
    "max_length": ("at most {} long", lambda value, bound: len(value) <= bound),
}


def bounded(convert: Callable[[Any], Any], metadata: tuple[Any, ...]) -> Callable[[Any], Any]:
    """`convert`, and a `Wrong` for what is out of bounds."""
    checks: list[tuple[str, Check]] = []
    for each in metadata:
        library = type(each).__module__.partition(".")[0]
        if library == "annotated_types":
            for name, (words, compare) in _COMPARE.items():
                bound = getattr(each, name, None)
                if bound is not None and not (name == "min_length" and bound == 0):
                    checks.append((words.format(bound), _against(compare, bound)))
        elif library == "polyloom" and type(each).__name__ == "Choices":
            words = "one of " + ", ".join(map(repr, each._said))
            checks.append((words.replace("'", '"'), each._said.__contains__))
        elif library == "polyloom" and type(each).__name__ == "Slider":
            low, high = each._said[:2]
            checks.append((f"{low} to {high}", _between(low, high)))
    if not checks:
        return convert

    def check(value: Any) -> Any:
        found = convert(value)
        for words, fits in checks:
            if found is not None and not fits(found):
                raise Wrong(words, value)
        return found

    return check


def _against(compare: Callable[[Any, Any], bool], bound: Any) -> Check:
    return lambda value: compare(value, bound)


def _between(low: Any, high: Any) -> Check:
    return lambda value: low <= value <= high


def is_seed(hint: Any) -> bool:
    """Whether an annotation says that the argument is the cell's seed."""
    return any(
        type(each).__name__ == "Seed" and type(each).__module__.partition(".")[0] == "polyloom"
        for each in getattr(hint, "__metadata__", ())
    )
