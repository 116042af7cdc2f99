"""Classes of records, choices and texts of the standard library, made from plain values.

Dataclass, NamedTuple, TypedDict, Enum; dates, Decimal, UUID, Path; classes of attrs and models of
pydantic.
"""

from __future__ import annotations

import sys

from polyloom._annotations import Scope, fields_of
from polyloom._members import members
from polyloom._wrong import Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional

    from polyloom._members import Member

    Converter = Callable[[Any], Any]
    Make = Callable[[Any, Scope], Converter]

_made: dict[Any, Converter] = {}


def of_class(cls: type, args: tuple[Any, ...], scope: Scope, make: Make) -> Optional[Converter]:
    """What makes an instance of `cls`, None where it is none of these classes."""
    if cls.__module__ in ("datetime", "decimal", "_decimal", "_pydecimal", "uuid", "fractions"):
        return _from_text(cls)
    if hasattr(cls, "__fspath__"):
        return _path(cls)
    enum = sys.modules.get("enum")
    if enum is not None and issubclass(cls, enum.Enum):
        return _enum(cls)
    if hasattr(cls, "__total__") and hasattr(cls, "__required_keys__"):
        return _record(cls, args, make, _typed_dict)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _record(cls, args, make, _named_tuple)
    own = members(cls)
    return None if own is None else _record(cls, args, make, _instance, own)


def _record(
    cls: type,
    args: tuple[Any, ...],
    make: Make,
    of: Any,
    own: Optional[dict[str, Member]] = None,
) -> Converter:
    """A class may contain itself, so its fields are looked at when the first value comes."""
    key = (cls, args)
    ready: list[Converter] = []

    def convert(value: Any) -> Any:
        if not ready:
            scope = Scope(cls.__module__)
            scope.variables = dict(zip(getattr(cls, "__parameters__", ()), args))
            fields = {}
            known = {name: each.hint for name, each in (own or {}).items()}
            hints = known if any(known.values()) else fields_of(cls)
            for name, hint in hints.items():
                if own is not None and name not in own:
                    continue
                origin = getattr(hint, "__origin__", hint)
                if getattr(origin, "_name", None) == "ClassVar":
                    continue
                if type(hint).__name__ == "InitVar":
                    hint = hint.type
                fields[name] = make(hint, scope)
            ready.append(of(cls, fields))
        return ready[0](value)

    try:
        return _made.setdefault(key, convert)
    except TypeError:  # an argument without a hash
        return convert


def _fields(cls: type, fields: dict[str, Converter], value: Any, needed: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Wrong(f"record `{cls.__name__}`", value)
    for name in value:
        if name not in fields:
            known = ", ".join(f"`{each}`" for each in fields)
            raise Wrong(f"one of the fields {known}", None, "another field").inside_key(name)
    for name in fields:
        if name not in value and name in needed:
            raise Wrong(f"a field of `{cls.__name__}`", None, "no such field").inside_key(name)
    found = {}
    for name, convert in fields.items():
        if name in value:
            try:
                found[name] = convert(value[name])
            except Wrong as error:
                raise error.inside_key(name) from None
    return found


def _typed_dict(cls: Any, fields: dict[str, Converter]) -> Converter:
    # The class knows its required keys only as far as its annotations were no texts.
    hints = fields_of(cls)
    needed = set(cls.__required_keys__)
    for name, hint in hints.items():
        word = getattr(getattr(hint, "__origin__", None), "_name", None)
        if word == "NotRequired":
            needed.discard(name)
        elif word == "Required":
            needed.add(name)
    return lambda value: _fields(cls, fields, value, needed)


def _named_tuple(cls: Any, fields: dict[str, Converter]) -> Converter:
    known = {name: fields.get(name, lambda value: value) for name in cls._fields}
    needed = set(known) - set(getattr(cls, "_field_defaults", ()))

    def convert(value: Any) -> Any:
        if isinstance(value, (list, tuple)) and len(value) == len(known):
            value = dict(zip(known, value))
        return cls(**_fields(cls, known, value, needed))

    return convert


def _instance(cls: Any, fields: dict[str, Converter]) -> Converter:
    own = members(cls) or {}
    needed = {name for name, each in own.items() if each.needed and name in fields}

    def convert(value: Any) -> Any:
        found = _fields(cls, fields, value, needed)
        keys = {name: own[name].key for name in found}
        given = {key: found[name] for name, key in keys.items() if key is not None}
        try:
            made = cls(**given)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise Wrong(
                f"record `{cls.__name__}`", None, f"values that it refuses: {why}"
            ) from error
        for name, key in keys.items():
            if key is None:
                object.__setattr__(made, name, found[name])
        return made

    return convert


def _enum(cls: Any) -> Converter:
    def convert(value: Any) -> Any:
        if isinstance(value, str) and value in cls.__members__:
            return cls.__members__[value]
        names = ", ".join(f'"{name}"' for name in cls.__members__)
        raise Wrong(f"one of {names}", value)

    return convert


def _from_text(cls: Any) -> Converter:
    words = {"datetime": "a date and time", "date": "a date", "time": "a time", "UUID": "a UUID"}
    expected = words.get(cls.__name__, f"a {cls.__name__}") + " as text"
    # Before Python 3.11 the letter for UTC was not read.
    zone = cls.__name__ in ("datetime", "time") and sys.version_info < (3, 11)

    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            raise Wrong(expected, value)
        text = value[:-1] + "+00:00" if zone and value[-1:] in ("Z", "z") else value
        try:
            return cls.fromisoformat(text) if hasattr(cls, "fromisoformat") else cls(text)
        except (ValueError, ArithmeticError) as error:
            why = str(error)
            # Of the right form, and there is none: `day is out of range for month`.
            if " in " in why or "out of range" in why:
                what = expected.replace(" as text", f" that there is ({why})")
                raise Wrong(what, value) from None
            raise Wrong(expected, value) from None

    return convert


def _path(cls: Any) -> Converter:
    def convert(value: Any) -> Any:
        if not isinstance(value, str) and not hasattr(value, "__fspath__"):
            raise Wrong("file", value)
        return cls(value) if cls.__module__.partition(".")[0] == "pathlib" else value

    return convert
