"""Checks a Python value against a declared value type and gives the plain value to be encoded.

Knows types and values, no files. A mismatch names the place inside the value, `days[3].temp`.
Numbers and arrays of libraries are taken through their own `tolist`, so no library is imported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from polyloom._types import Type


class Mismatch(ValueError):
    """The value at `path` is not of the type wanted there."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(f"`{path}`: expected {expected}, found {found}")


def describe(value: Any) -> str:
    """What a value is, in words for a message: `str "abc"`, `list of 3`, `DataFrame`."""
    if value is None:
        return "null (None)"
    name = type(value).__name__
    if isinstance(value, str):
        text = "".join(map(_escape, value[:40])) + ("…" if len(value) > 40 else "")
        return f'{name} "{text}"'
    if isinstance(value, (bool, int, float)):
        text = repr(value)
        return f"{name} {text if len(text) <= 40 else text[:39] + '…'}"
    if isinstance(value, (list, tuple, dict, set, bytes)):
        return f"{name} of {len(value)}"
    if name == "ndarray" and hasattr(value, "dtype"):
        from polyloom._npy import name_of

        shape = ",".join(map(str, value.shape))
        return f"tensor<{name_of(value.dtype) or value.dtype},[{shape}]>"
    return f"`{name}`"


def _escape(mark: str) -> str:
    """A character between quotes, as the host writes it."""
    if mark.isprintable() and mark not in '"\\':
        return mark
    return {'"': '\\"', "\\": "\\\\"}.get(mark) or repr(mark)[1:-1]


def plain(value: Any) -> Any:
    """`value`, or the Python value that a library's scalar or array stands for."""
    kind = type(value)
    if kind.__module__ != "builtins":
        if kind.__name__ in ("NaTType", "NAType"):  # pandas' missing values
            return None
        if hasattr(value, "dtype") or kind.__name__ in ("array", "Series"):
            for method in ("tolist", "to_list"):
                if hasattr(value, method):
                    return getattr(value, method)()
    elif kind is memoryview:
        return value.tolist()
    elif kind is range:
        return list(value)
    return value


def conform(value: Any, wanted: Type, path: str) -> Any:
    """The value as None, bool, int, float, str, bytes, list and dict, or a `Mismatch`."""
    return _CHECKS.get(wanted.name, _any)(value, wanted, path)


def _any(value: Any, wanted: Type, path: str) -> Any:
    kind = type(value)
    if value is None or kind in (bool, str, bytes, float):
        return value
    if kind is int:
        return _int(value, wanted, path)
    value = value if kind is memoryview else plain(value)
    if isinstance(value, dict):
        return {_key(key, path): _any(value[key], wanted, _join(path, key)) for key in value}
    if isinstance(value, (list, tuple)):
        return [_any(item, wanted, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, (int, float)):
        return _int(value, wanted, path) if isinstance(value, int) else float(value)
    raise Mismatch(path, "a plain value", describe(value))


def _null(value: Any, wanted: Type, path: str) -> None:
    if value is not None:
        raise Mismatch(path, "null", describe(value))


def _bool(value: Any, wanted: Type, path: str) -> bool:
    value = plain(value)
    if type(value) is not bool:
        raise Mismatch(path, "bool", describe(value))
    return value


def _int(value: Any, wanted: Type, path: str) -> int:
    if type(value) is not int:
        value = plain(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Mismatch(path, "int", describe(value))
        value = int(value)
    if not -(1 << 63) <= value < 1 << 63:
        raise Mismatch(path, "an int of 64 bits", describe(value))
    return int(value)


def _float(value: Any, wanted: Type, path: str) -> float:
    if type(value) is float:
        return value
    value = plain(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise Mismatch(path, "float", describe(value))
    try:
        found = float(value)
    except OverflowError:
        raise Mismatch(path, "float", "an int beyond its range") from None
    if isinstance(value, int) and int(found) != value:
        raise Mismatch(path, "float", f"int {value}, which no float is")
    return found


def _str(value: Any, wanted: Type, path: str) -> str:
    if not isinstance(value, str):
        raise Mismatch(path, "str", describe(value))
    return str.__str__(value)


def _bytes(value: Any, wanted: Type, path: str) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise Mismatch(path, "bytes", describe(value))
    return bytes(value)


def _list(value: Any, wanted: Type, path: str) -> list[Any]:
    value = plain(value)
    if isinstance(value, (set, frozenset)):
        raise Mismatch(path, wanted.text, f"{describe(value)}, which has no order: use `sorted()`")
    if not isinstance(value, (list, tuple)):
        raise Mismatch(path, wanted.text, describe(value))
    item = wanted.item
    if item is None:
        return [_any(each, wanted, f"{path}[{at}]") for at, each in enumerate(value)]
    check = _CHECKS.get(item.name, _any)
    if check is _float and set(map(type, value)) == {float}:
        return list(value)
    return [check(each, item, f"{path}[{at}]") for at, each in enumerate(value)]


def _map(value: Any, wanted: Type, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Mismatch(path, wanted.text, describe(value))
    item = wanted.item or wanted
    check = _CHECKS.get(item.name, _any) if wanted.item else _any
    return {_key(key, path): check(each, item, _join(path, key)) for key, each in value.items()}


def _record(value: Any, wanted: Type, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Mismatch(path, wanted.text, describe(value))
    if not wanted.fields:
        return _map(value, wanted, path)
    for key in value:
        if key not in wanted.fields:
            known = ", ".join(f"`{name}`" for name in wanted.fields)
            raise Mismatch(_join(path, key), f"one of the fields {known}", "another field")
    result = {}
    for name, field in wanted.fields.items():
        if name not in value:
            raise Mismatch(_join(path, name), field.text, "no such field")
        result[name] = conform(value[name], field, _join(path, name))
    return result


def _enum(value: Any, wanted: Type, path: str) -> str:
    text = getattr(value, "value", value)  # a member of an `enum.Enum`
    if not isinstance(text, str) or (wanted.options and text not in wanted.options):
        options = ", ".join(f'"{option}"' for option in wanted.options)
        raise Mismatch(path, f"one of {options}", describe(value))
    return str.__str__(text)


def _vec2(value: Any, wanted: Type, path: str) -> list[float]:
    value = plain(value)
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise Mismatch(path, "vec2, two floats", describe(value))
    return [_float(item, wanted, f"{path}[{at}]") for at, item in enumerate(value)]


def _color(value: Any, wanted: Type, path: str) -> str:
    if isinstance(value, str) and len(value) in (7, 9) and value[0] == "#":
        if all(digit in "0123456789abcdefABCDEF" for digit in value[1:]):
            return str.__str__(value)
    raise Mismatch(path, 'color, "#rrggbb" or "#rrggbbaa"', describe(value))


def _union(value: Any, wanted: Type, path: str) -> Any:
    for member in wanted.members:
        # An int is a float only where there is no int.
        if type(value) is int and member.name == "float":
            if any(other.name == "int" for other in wanted.members):
                continue
        try:
            return conform(value, member, path)
        except Mismatch:
            pass
    raise Mismatch(path, wanted.text, describe(value))


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise Mismatch(path, "keys of type str", f"the key {describe(key)}")
    return str.__str__(key)


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if isinstance(key, str) and key.isidentifier() else f"{path}[{key!r}]"


_CHECKS: dict[str, Any] = {
    "null": _null,
    "bool": _bool,
    "int": _int,
    "seed": _int,
    "float": _float,
    "str": _str,
    "bytes": _bytes,
    "list": _list,
    "map": _map,
    "record": _record,
    "enum": _enum,
    "vec2": _vec2,
    "color": _color,
    "union": _union,
}
