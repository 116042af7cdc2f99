"""Values as a function's annotations want them: a record as its dataclass, a text as its date.

Knows annotations and plain values, no files and no functions. A converter is made once for an
annotation and then called for each value; libraries are told by their names and never imported
for a type that is not theirs.
"""

from __future__ import annotations

import sys

from polyloom import _classes, _libraries
from polyloom._annotations import Scope, Unresolved
from polyloom._wrong import Wrong, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Converter = Callable[[Any], Any]

_LISTS = {"Sequence", "MutableSequence", "Iterable", "Collection", "Container", "Reversible"}
_LISTS |= {"Iterator"}
_SETS = {"Set", "MutableSet"}
_MAPS = {"Mapping", "MutableMapping"}
_THROUGH = {"Required", "NotRequired", "ReadOnly", "Final", "ClassVar"}


def converter(hint: Any, scope: Scope) -> Converter:
    """What makes a value of the annotation `hint`, or raises `Wrong`."""
    if isinstance(hint, str) or hasattr(hint, "__forward_arg__"):
        hint = scope.resolve(hint, str(hint))
    if isinstance(hint, Unresolved):
        raise hint.error
    if isinstance(hint, type) and hint in _SCALARS and not hasattr(hint, "__origin__"):
        return _SCALARS[hint]
    if hint is None:
        return _null
    kind = type(hint).__name__
    if hasattr(hint, "__metadata__"):
        from polyloom._bounds import bounded

        return bounded(converter(hint.__origin__, scope), hint.__metadata__)
    if hasattr(hint, "__supertype__"):
        return converter(hint.__supertype__, scope)
    if kind == "TypeVar":
        if hint in scope.variables:
            return converter(scope.variables[hint], scope)
        if hint.__constraints__:
            return _union(hint.__constraints__, scope)
        return same if hint.__bound__ is None else converter(hint.__bound__, scope)
    origin, args = getattr(hint, "__origin__", None), getattr(hint, "__args__", ())
    word = getattr(origin, "_name", None) or getattr(origin, "__name__", "")
    if kind == "TypeAliasType" or type(origin).__name__ == "TypeAliasType":
        return _later(hint if origin is None else origin, args if origin else (), scope)
    if kind in ("UnionType", "Union", "_UnionGenericAlias") or word == "Union":
        return _union(args, scope)
    if word == "Literal":
        return _literal(args)
    if word in _THROUGH and args:
        return converter(args[0], scope)
    cls = hint if origin is None else origin
    if not isinstance(cls, type):
        if getattr(hint, "_name", None) == "Any":
            return same
        raise TypeError(f"the annotation `{hint}` is no type of a value")
    return _of_class(cls, args, scope)


def _of_class(cls: type, args: tuple[Any, ...], scope: Scope) -> Converter:
    abstract = cls.__module__ in ("collections.abc", "typing")
    name = cls.__name__
    if cls is list or (abstract and name in _LISTS):
        return _list(args, scope, None)
    if cls in (set, frozenset) or (abstract and name in _SETS):
        return _list(args, scope, set if abstract else cls)
    if name == "deque" and cls.__module__ == "collections":
        return _list(args, scope, cls)
    if cls is tuple:
        return _tuple(args, scope)
    if cls is dict or (abstract and name in _MAPS):
        return _map(args, scope, None)
    if cls.__module__ == "collections" and name in ("OrderedDict", "defaultdict"):
        return _map(args, scope, lambda found: cls(None, found) if name[0] == "d" else cls(found))
    if abstract and name in ("Hashable", "Sized", "SupportsFloat", "SupportsInt", "Any"):
        return same
    return (
        _classes.of_class(cls, args, scope, converter)
        or _libraries.of_class(cls, args)
        or _instance(cls)
    )


def same(value: Any) -> Any:
    """The value as it is."""
    return value


def _null(value: Any) -> None:
    if value is not None:
        raise Wrong("null", value)


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise Wrong("bool", value)
    return value


def _int(value: Any) -> int:
    if type(value) is not int:
        raise Wrong("int", value)
    return value


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is not int or int(float(value)) != value:
        raise Wrong("float", value)
    return float(value)


def _complex(value: Any) -> complex:
    return complex(_float(value))


def _str(value: Any) -> str:
    if type(value) is not str:
        raise Wrong("str", value)
    return value


def _bytes(value: Any) -> bytes:
    if hasattr(value, "__fspath__"):
        with open(value, "rb") as file:
            return file.read()
    if not isinstance(value, bytes):
        raise Wrong("bytes", value)
    return value


_SCALARS: dict[type, Converter] = {
    int: _int,
    float: _float,
    str: _str,
    bool: _bool,
    bytes: _bytes,
    bytearray: lambda value: bytearray(_bytes(value)),
    complex: _complex,
    object: same,
    type(None): _null,
}


_EXACT: dict[Converter, type] = {_float: float, _int: int, _str: str, _bool: bool}
"""What need not be looked at one by one."""


def items(value: Any) -> Any:
    """A list, or what lies in a folder."""
    if hasattr(value, "iterdir"):
        from polyloom._inputs import read_folder

        return read_folder(str(value))
    return value


def _list(args: tuple[Any, ...], scope: Scope, make: Any) -> Converter:
    item = converter(args[0], scope) if args else same
    only = _EXACT.get(item)

    def convert(value: Any) -> Any:
        value = items(value)
        if hasattr(value, "tolist") and not isinstance(value, list):
            value = value.tolist()  # a tensor
        if not isinstance(value, (list, tuple)):
            raise Wrong("list", value)
        if item is same or (only is not None and set(map(type, value)) <= {only}):
            found = list(value)
        else:
            found = within(item, value)
        if make is None:
            return found
        try:
            return make(found)
        except TypeError:
            raise Wrong("items that a set can hold", value) from None

    return convert


def _tuple(args: tuple[Any, ...], scope: Scope) -> Converter:
    if not args or (len(args) == 2 and args[1] is Ellipsis):
        return _list(args[:1], scope, tuple)
    items = [] if args == ((),) else [converter(arg, scope) for arg in args]

    def convert(value: Any) -> Any:
        if hasattr(value, "tolist") and not isinstance(value, list):
            value = value.tolist()
        if not isinstance(value, (list, tuple)) or len(value) != len(items):
            raise Wrong(f"list of {len(items)}", value)
        found = []
        for at, (item, each) in enumerate(zip(items, value)):
            try:
                found.append(item(each))
            except Wrong as error:
                raise error.inside(f"[{at}]") from None
        return tuple(found)

    return convert


def _map(args: tuple[Any, ...], scope: Scope, make: Any) -> Converter:
    key = converter(args[0], scope) if args else same
    item = converter(args[1], scope) if len(args) > 1 else same

    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            raise Wrong("map", value)
        found = {}
        for name, each in value.items():
            try:
                found[key(name)] = item(each)
            except Wrong as error:
                raise error.inside_key(name) from None
        return found if make is None else make(found)

    return convert


def _union(args: tuple[Any, ...], scope: Scope) -> Converter:
    members = [converter(arg, scope) for arg in args]
    exact = {}
    for arg, member in zip(args, members):
        if isinstance(arg, type) and arg in _SCALARS:
            exact[arg] = member

    def convert(value: Any) -> Any:
        member = exact.get(type(value))
        if member is not None:
            return member(value)
        errors = []
        for member in members:
            try:
                return member(value)
            except Wrong as error:
                errors.append(error)
        # The one that got furthest says best what is wrong.
        deepest = max(errors, key=lambda error: len(error.path))
        if deepest.path:
            raise deepest
        names = dict.fromkeys(error.expected for error in errors)
        raise Wrong(" or ".join(names), value)

    return convert


def _literal(args: tuple[Any, ...]) -> Converter:
    values: list[Any] = []
    for arg in args:
        values.extend(getattr(arg, "__args__", ()) or [arg])  # literals in literals
    by_text = {getattr(value, "name", None): value for value in values if _is_member(value)}

    def convert(value: Any) -> Any:
        for each in values:
            if type(each) is type(value) and each == value:
                return each
        if isinstance(value, str) and value in by_text:
            return by_text[value]
        names = [getattr(each, "name", None) or each for each in values]
        raise Wrong("one of " + ", ".join(_quoted(name) for name in names), value)

    return convert


def _is_member(value: Any) -> bool:
    enum = sys.modules.get("enum")
    return enum is not None and isinstance(value, enum.Enum)


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _later(alias: Any, args: tuple[Any, ...], scope: Scope) -> Converter:
    """An alias made by `type`, which may contain itself."""
    made: list[Converter] = []

    def convert(value: Any) -> Any:
        if not made:
            inner = Scope(scope.module, scope.names)
            inner.variables = dict(zip(getattr(alias, "__type_params__", ()), args))
            made.append(converter(alias.__value__, inner))
        return made[0](value)

    return convert


def _instance(cls: type) -> Converter:
    def convert(value: Any) -> Any:
        try:
            fits = isinstance(value, cls)
        except TypeError:  # a protocol that cannot be looked for
            fits = True
        if not fits:
            raise Wrong(f"`{cls.__name__}`", value)
        return value

    return convert
