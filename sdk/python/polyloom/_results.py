"""What a function returned, as the outputs that its cell declares: exactly those, of their types.

Knows annotations of results, generators and coroutines, and how values of classes become plain
ones. How an output is written is `_outputs`', how one is shown `_show`'s.
"""

from __future__ import annotations

import sys

import polyloom
from polyloom import PortError
from polyloom._members import names
from polyloom._types import Type, parse
from polyloom._values import Mismatch, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Optional

    from polyloom._execution import Execution

_FRAMES = ("pandas", "polars", "pyarrow")
_ALWAYS_TOLD, _PAUSE = 100, 0.02


def settle(result: Any, hint: Any, execution: Execution) -> Any:
    """The result of a coroutine, and the items of a generator."""
    if hasattr(result, "__aiter__"):
        import asyncio

        return asyncio.run(_gather(result, _Items(hint, execution)))
    if hasattr(result, "__await__"):
        import asyncio

        return settle(asyncio.run(_awaited(result)), hint, execution)
    if hasattr(result, "__next__") and not hasattr(result, "fileno"):
        items = _Items(hint, execution)
        for item in result:
            items.add(item)
        return items.taken()
    return result


async def _awaited(result: Any) -> Any:
    return await result


async def _gather(result: Any, items: _Items) -> Any:
    async for item in result:
        items.add(item)
    return items.taken()


class Folder:
    """Items that lie in the output folder as files already."""

    def __init__(self, path: str) -> None:
        self.path = path


class _Items:
    """The items that a generator yields, each told as it comes."""

    def __init__(self, hint: Any, execution: Execution) -> None:
        self.values: list[Any] = []
        self.wanted = _element(hint)
        self.count = 0
        self.folder = self.port = ""
        self.next = 0.0
        slots = list(execution.outputs.items())
        if len(slots) == 1 and slots[0][1].get("type") == "dir":
            import os

            self.port = slots[0][0]
            self.folder = os.path.join(execution.out, self.port)
            os.makedirs(self.folder)

    def add(self, item: Any) -> None:
        from time import monotonic

        if self.folder:
            try:
                _put(item, self.wanted, self.folder, self.port, self.count)
            except Mismatch as error:
                raise PortError(self.port, f"output {error}") from error
        else:
            self.values.append(item)
        self.count += 1
        now = monotonic()
        if self.count <= _ALWAYS_TOLD or now >= self.next:
            self.next = now + _PAUSE
            polyloom.progress(None, f"item {self.count}")
            from polyloom._show import show_item

            show_item(item)

    def taken(self) -> Any:
        return Folder(self.folder) if self.folder else self.values


def _element(hint: Any) -> Optional[Type]:
    """What the items of a list or generator are by its annotation: tensors or tables."""
    while hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    item = (getattr(hint, "__args__", None) or (None,))[0]
    cls = getattr(item, "__origin__", item)
    if not isinstance(cls, type):
        return None
    library = cls.__module__.partition(".")[0]
    if library == "numpy" and cls.__name__ == "ndarray":
        dtypes = getattr(item, "__args__", ())  # `NDArray[T]` is `ndarray[shape, dtype[T]]`
        scalar = (getattr(dtypes[-1], "__args__", None) or (None,))[0] if dtypes else None
        import numpy

        from polyloom._npy import name_of

        # Those that have subclasses are of many dtypes.
        dtype = ""
        if isinstance(scalar, type) and issubclass(scalar, numpy.generic):
            dtype = "" if scalar.__subclasses__() else name_of(scalar)
        return parse(f"tensor<{dtype}>" if dtype else "tensor<any>")
    return parse("table") if library in _FRAMES and cls.__name__ == "DataFrame" else None


def _put(item: Any, wanted: Optional[Type], folder: str, port: str, at: int) -> None:
    """Write an item of a folder as the file that it is best as."""
    from polyloom import _media

    base, name = f"{folder}/{at:05}", f"{port}[{at}]"
    library = type(item).__module__.partition(".")[0]
    kind = "tensor" if library == "numpy" else "table" if library in _FRAMES else ""
    if wanted is not None and wanted.name != kind:
        raise Mismatch(name, wanted.text, describe(item))
    if hasattr(item, "__fspath__") or isinstance(item, (str, bytes)):
        _media.write_file(item, name, base)
    elif library == "numpy":
        from polyloom._npy import write_tensor

        write_tensor(item, wanted or parse("tensor"), name, base + ".npy")
    elif library in _FRAMES or type(item).__name__ == "Table":
        from polyloom._table import write_table

        write_table(item, name, base + ".arrow")
    else:
        found = _media.picture(item)
        if found is None:
            raise PortError(
                port, f"output `{name}`: expected what a file can hold, found {describe(item)}"
            )
        with open(f"{base}.{found[0]}", "wb") as file:
            file.write(found[1])


def _listed(values: Sequence[Any], wanted: Optional[Type], out: str, port: str) -> Folder:
    import os

    folder = os.path.join(out, port)
    os.makedirs(folder)
    for at, item in enumerate(values):
        _put(item, wanted, folder, port, at)
    return Folder(folder)


def outputs_of(result: Any, hint: Any, execution: Execution, function: str) -> dict[str, Any]:
    """The value of each declared output; lists of what files hold lie in the output folder then."""
    slots = execution.outputs
    found = _split(result, hint, slots, function)
    checked: dict[str, Any] = {}
    wrong: list[PortError] = []
    for name, value in found.items():
        declared = parse(slots[name].get("type") or "any")
        try:
            if declared.name == "dir" and isinstance(value, (list, tuple)):
                wanted = _element(hint) if len(found) == 1 and value is result else None
                value = _listed(value, wanted, execution.out, name)
            checked[name] = _value(value, declared, name)
        except Mismatch as error:
            wrong.append(PortError(name, f"output {error}"))
    if wrong:
        from polyloom._outputs import together

        raise together(wrong)
    return checked


def _split(result: Any, hint: Any, slots: dict[str, Any], function: str) -> dict[str, Any]:
    names = list(slots)
    if not names:
        if result is not None:
            raise PortError("", f"`{function}` returned {describe(result)}, and declares no output")
        return {}
    while hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    several = len(names) > 1
    keys = getattr(getattr(hint, "__origin__", hint), "__required_keys__", None)
    fields = getattr(getattr(hint, "__origin__", hint), "_fields", None)
    fixed = getattr(hint, "__origin__", None) is tuple and Ellipsis not in hint.__args__
    if isinstance(result, dict) and (several or keys is not None):
        for key in result:
            if key not in slots:
                known = ", ".join(f"`{name}`" for name in names)
                raise PortError(
                    names[0], f"output {key!r} of `{function}` is not declared; there are {known}"
                )
        return _each(names, result.__contains__, result.__getitem__, function)
    if isinstance(result, tuple) and hasattr(result, "_fields") and (several or fields is not None):
        return _each(
            names, lambda name: hasattr(result, name), lambda name: getattr(result, name), function
        )
    if isinstance(result, tuple) and (fixed or several):
        order = [f"result_{at}" for at in range(1, len(names) + 1)]
        order = order if set(order) == set(names) else list(fields or names)
        if len(order) != len(result):
            raise PortError(
                "", f"`{function}` returned {describe(result)}, not {len(order)} outputs"
            )
        return dict(zip(order, result))
    if several:
        listed = ", ".join(f"`{name}`" for name in names)
        raise PortError("", f"`{function}` returned {describe(result)}, not the outputs {listed}")
    return {names[0]: result}


def _each(
    names: list[str], has: Callable[[str], bool], get: Callable[[str], Any], function: str
) -> dict[str, Any]:
    for name in names:
        if not has(name):
            raise PortError(name, f"output `{name}` is missing in what `{function}` returned")
    return {name: get(name) for name in names}


def _value(value: Any, declared: Type, name: str) -> Any:
    """The value as `_outputs` writes it, or a `Mismatch`."""
    kind = declared.name
    if isinstance(value, Folder):
        from pathlib import Path

        return Path(value.path)
    if kind == "tensor":
        _tensor(value, declared, name)
        return value
    if kind == "image":
        from polyloom import _media

        if hasattr(value, "__fspath__") or isinstance(value, (bytes, str)):
            return value
        found = _media.picture(value)
        if found is None:
            raise Mismatch(name, "image", describe(value))
        return found[1]
    if kind in ("file", "dir", "table"):
        return value
    return plain(value, declared, name)


def _tensor(value: Any, declared: Type, name: str) -> None:
    """A function says which elements it returns: none are converted."""
    if not hasattr(value, "dtype") or not hasattr(value, "ndim"):
        if type(value).__module__ == "builtins" and not isinstance(
            value, (list, tuple, memoryview)
        ):
            raise Mismatch(name, declared.text, describe(value))
        return
    from polyloom._wrong import Wrong, fits

    try:
        if type(value).__module__.partition(".")[0] == "numpy":
            fits(value, declared)
    except Wrong as error:
        raise Mismatch(name, declared.text, error.found) from None


def plain(value: Any, wanted: Type, path: str) -> Any:
    """Instances of classes as the plain values of the type `wanted`; what is plain stays so."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if (
        kind.__module__ in ("datetime", "decimal", "uuid", "fractions")
        and kind.__name__ != "timedelta"
    ):
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    enum = sys.modules.get("enum")
    if enum is not None and isinstance(value, enum.Enum):
        by_value = wanted.name in ("str", "int", "float", "bool") and isinstance(value, (int, str))
        return value.value if by_value else value.name
    fields = None if kind in (dict, list, tuple) else names(kind)
    if fields is not None:
        # What `__init__` does not take is no field of the type.
        told = [name for name in fields if not wanted.fields or name in wanted.fields]
        value = {name: getattr(value, name) for name in told}
    elif isinstance(value, tuple) and hasattr(value, "_fields") and wanted.name != "list":
        value = dict(zip(value._fields, value))
    if isinstance(value, dict):
        typed, item = wanted.fields, wanted.item or _ANY
        return {
            key if isinstance(key, str) and type(key) is str else plain(key, _ANY, path): plain(
                each, typed.get(key, item) if typed else item, f"{path}.{key}"
            )
            for key, each in value.items()
        }
    if isinstance(value, (set, frozenset)):
        try:
            value = sorted(value)
        except TypeError:
            value = sorted(value, key=repr)
    if isinstance(value, (list, tuple)) or kind.__name__ == "deque":
        if _PLAIN.issuperset(map(type, value)):
            return list(value)
        item = wanted.item or _ANY
        return [plain(each, item, f"{path}[{at}]") for at, each in enumerate(value)]
    return value


_PLAIN = frozenset((int, float, str, bool, bytes, type(None)))
_ANY = Type("any")
