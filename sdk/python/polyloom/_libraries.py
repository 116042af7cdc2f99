"""Arrays, frames and pictures as the libraries' own classes, made from what the worker reads.

A library is told by the module of its class: whoever annotates with it has imported it.
"""

from __future__ import annotations

import sys

from polyloom._wrong import Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional

    Converter = Callable[[Any], Any]


def of_class(cls: type, args: tuple[Any, ...]) -> Optional[Converter]:
    """What makes a `cls` of one of these libraries, else None."""
    library, name = cls.__module__.partition(".")[0], cls.__name__
    if library == "numpy":
        return _array(args) if name in ("ndarray", "matrix") else _scalar(cls)
    if library in ("pandas", "polars", "pyarrow") and name in _FRAMES:
        return _frame(library, name)
    if library == "polyloom" and name == "Table":
        return _own_table
    if library == "PIL" and name == "Image":
        return _picture
    return None


def _array(args: tuple[Any, ...]) -> Converter:
    """`NDArray[T]` is `ndarray[shape, dtype[T]]`."""
    wanted = getattr(args[1], "__args__", (None,))[0] if len(args) > 1 else None
    numpy: Any = sys.modules["numpy"]
    generic = isinstance(getattr(wanted, "__origin__", None), type)  # np.floating[Any]
    # Of `NDArray[np.uint8 | np.float32]` each.
    each = (wanted,) if generic else getattr(wanted, "__args__", (wanted,))
    origins = [getattr(kind, "__origin__", kind) for kind in each]
    kinds = [kind for kind in origins if isinstance(kind, type) and issubclass(kind, numpy.generic)]

    def convert(value: Any) -> Any:
        if not isinstance(value, numpy.ndarray):
            if not isinstance(value, (list, tuple, int, float, memoryview)):
                raise Wrong(_spelled(kinds), value)
            try:
                value = numpy.array(value)
            except ValueError:
                raise Wrong(_spelled(kinds), value) from None
            if len(kinds) == 1 and numpy.can_cast(value.dtype, kinds[0], "safe"):
                value = value.astype(kinds[0])
        if kinds and not issubclass(value.dtype.type, tuple(kinds)):
            raise Wrong(_spelled(kinds), value)
        if value.flags.writeable:
            value.flags.writeable = False
        return value

    return convert


def _spelled(kinds: list[Any]) -> str:
    """The type that a tensor of these has in flows."""
    from polyloom._npy import name_of

    names = [name_of(kind) or f"any {kind.__name__}" for kind in kinds]
    return f"tensor<{'|'.join(names) or 'any'}>"


def _scalar(cls: Any) -> Converter:
    def convert(value: Any) -> Any:
        if isinstance(value, bool) != (cls.__name__ in ("bool", "bool_")) or not isinstance(
            value, (bool, int, float, str)
        ):
            raise Wrong(f"numpy's `{cls.__name__}`", value)
        try:
            return cls(value)
        except (OverflowError, ValueError, TypeError):
            raise Wrong(f"numpy's `{cls.__name__}`", value) from None

    return convert


_FRAMES = {"DataFrame", "LazyFrame", "Series", "Table"}


def _columns(value: Any) -> dict[str, Any]:
    """The columns of what the worker has read, or of rows."""
    if hasattr(value, "to_pydict"):
        return value.to_pydict()  # type: ignore[no-any-return]
    if isinstance(value, (list, dict)):
        from polyloom._table import Table

        try:
            return Table(value).to_pydict()
        except (TypeError, ValueError):
            pass
    raise Wrong("table", value)


def _frame(library: str, name: str) -> Converter:
    module: Any = sys.modules[library]

    def convert(value: Any) -> Any:
        arrow = type(value).__module__.partition(".")[0] == "pyarrow"
        if library == "pyarrow":
            return value if arrow else module.table(_columns(value))
        if arrow:
            frame = value.to_pandas() if library == "pandas" else module.from_arrow(value)
        else:
            frame = module.DataFrame(_columns(value))
        if name == "Series":
            names = list(frame.columns)
            if len(names) != 1:
                raise Wrong("a table of one column", None, f"one of {len(names)}")
            return frame[names[0]]
        return frame.lazy() if name == "LazyFrame" else frame

    return convert


def _own_table(value: Any) -> Any:
    from polyloom._table import Table

    return value if isinstance(value, Table) else Table(_columns(value))


def _picture(value: Any) -> Any:
    from PIL import Image, UnidentifiedImageError

    if not hasattr(value, "__fspath__"):
        raise Wrong("image", value)
    try:
        picture = Image.open(value)
        picture.load()
    except (OSError, UnidentifiedImageError) as error:
        raise Wrong("image", None, f"a file that PIL does not read: {error}") from None
    return picture
