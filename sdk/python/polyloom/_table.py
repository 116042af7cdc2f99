"""`polyloom.Table`, the table of cells without pyarrow, and what may be given as a table output.

Knows pyarrow, pandas and polars by their methods and imports none; how the bytes of an Arrow file
lie is `_arrow`'s and `_arrow_write`'s.
"""

from __future__ import annotations

import os

from polyloom._arrow import NUMBERS, Chunk, FieldType, read_file
from polyloom._values import Mismatch, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Optional, Union

_EXPECTED = "a table: pyarrow, pandas, polars, polyloom.Table, dict of lists or list of dicts"


class Column:
    """One column: a sequence of values, None where one is missing."""

    def __init__(self, chunks: Sequence[Chunk], kind: Optional[FieldType] = None) -> None:
        self._chunks = list(chunks)
        self._kind = kind
        self._length = sum(chunk.length for chunk in chunks)

    @property
    def type(self) -> str:
        """Arrow's name of the type, or `object` for values that were given as a list."""
        return str(self._kind) if self._kind is not None else "object"

    @property
    def view(self) -> memoryview:
        """The stored numbers, without a copy; where `null_count` is not 0, some mean nothing."""
        views = [chunk.view for chunk in self._chunks]
        if len(views) == 1 and views[0] is not None:
            return views[0]
        form = next((view.format for view in views if view is not None), None)
        if form is None:
            raise TypeError(f"a column of type `{self.type}` is not stored as numbers")
        return memoryview(b"".join(view for view in views if view is not None)).cast(form)  # type: ignore[call-overload, no-any-return]

    @property
    def null_count(self) -> int:
        """How many values are missing."""
        return sum(chunk.values().count(None) for chunk in self._chunks if chunk.valid is not None)

    def to_pylist(self) -> list[Any]:
        """All values."""
        return [value for chunk in self._chunks for value in chunk.values()]

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        for chunk in self._chunks:
            yield from chunk.values()

    def __getitem__(self, index: Union[int, slice]) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self._length))]
        at = index + self._length if index < 0 else index
        if at >= 0:
            for chunk in self._chunks:
                if at < chunk.length:
                    return chunk.at(at)
                at -= chunk.length
        raise IndexError(f"value {index} of a column of {self._length}")

    def __array__(self, dtype: Any = None, copy: Optional[bool] = None) -> Any:
        import numpy

        plain_numbers = self._kind is not None and self._kind.name in NUMBERS
        if plain_numbers and all(chunk.valid is None for chunk in self._chunks):
            array = numpy.asarray(self.view)
        else:
            array = numpy.array(self.to_pylist())
        return array.astype(dtype) if dtype is not None else array

    def __repr__(self) -> str:
        head = ", ".join(repr(value) for value in self[:5])
        return f"<Column {self.type}: {len(self)} values: {head}{', …' if len(self) > 5 else ''}>"


class Table:
    """Named columns of one length. Made of a dict of sequences, or of rows that are dicts."""

    def __init__(self, data: Any = ()) -> None:
        self.columns: dict[str, Column] = {}
        self._rows = 0
        if isinstance(data, Table):
            self.columns, self._rows = dict(data.columns), data._rows
        elif isinstance(data, dict):
            for name, values in data.items():
                self._add(name, values)
        else:
            rows = list(data)
            for index, row in enumerate(rows):
                if not isinstance(row, dict):
                    raise TypeError(f"row {index}: expected a dict, found {describe(row)}")
            for name in dict.fromkeys(name for row in rows for name in row):
                self._add(name, [row.get(name) for row in rows])
            self._rows = len(rows)

    @classmethod
    def read(cls, path: Union[str, os.PathLike[str]]) -> Table:
        """The table in an Arrow IPC file, which stays mapped as long as the table lives."""
        import mmap

        with open(path, "rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        fields, batches = read_file(data)
        table = cls()
        for index, (name, kind) in enumerate(fields):
            table.columns[name] = Column([batch[index] for batch in batches], kind)
        table._rows = len(next(iter(table.columns.values()), ()))
        return table

    def write(self, path: Union[str, os.PathLike[str]]) -> None:
        """Write an Arrow IPC file."""
        from polyloom._arrow_write import write_file

        arrays = [(name, _array(name, column)) for name, column in self.columns.items()]
        with open(path, "wb") as file:
            write_file(file, arrays, self._rows)

    @property
    def column_names(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self.columns)

    def to_pylist(self) -> list[dict[str, Any]]:
        """All rows, as dicts."""
        return list(self)

    def to_pydict(self) -> dict[str, list[Any]]:
        """All columns, as lists."""
        return {name: column.to_pylist() for name, column in self.columns.items()}

    def _add(self, name: Any, values: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"column names are str, found {describe(name)}")
        if not isinstance(values, Column):
            values = Column([_chunk(name, values)])
        if self.columns and len(values) != self._rows:
            first = next(iter(self.columns))
            raise ValueError(
                f"column `{name}` has {len(values)} values, column `{first}` has {self._rows}"
            )
        self._rows = len(values)
        self.columns[name] = values

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names = list(self.columns)
        for row in zip(*self.columns.values()):
            yield dict(zip(names, row))

    def __getitem__(self, name: str) -> Column:
        if name not in self.columns:
            known = ", ".join(f"`{known}`" for known in self.columns)
            raise KeyError(f"no column `{name}`; there are {known}")
        return self.columns[name]

    def __repr__(self) -> str:
        columns = ", ".join(f"{name}: {column.type}" for name, column in self.columns.items())
        return f"<Table of {self._rows} rows: {columns}>"


def _chunk(name: str, values: Any) -> Chunk:
    if hasattr(values, "dtype") and hasattr(values, "tolist"):
        import numpy  # it is loaded: this is one of its arrays, or a pandas column

        array = numpy.asarray(values)
        if array.dtype.kind not in "biuf" or array.ndim != 1:
            values = array.tolist()
        elif array.dtype.kind == "f" and array.dtype.itemsize == 2:
            values = array.astype("f4")
        else:
            order = array.dtype.newbyteorder("=")
            values = memoryview(numpy.ascontiguousarray(array, order))
    if isinstance(values, (str, bytes, dict)) or not hasattr(values, "__iter__"):
        raise TypeError(f"column `{name}`: expected a list, found {describe(values)}")
    try:
        view = memoryview(values)
    except TypeError:
        items = values if isinstance(values, list) else list(values)
        return Chunk(len(items), items.__getitem__)
    return Chunk(len(view), view.__getitem__, None, view)


def _array(name: str, column: Column) -> Any:
    from polyloom._arrow_write import Array, build
    from polyloom._npy import dtype_of

    kind = column._kind
    if all(chunk.valid is None and chunk.view is not None for chunk in column._chunks):
        view = column.view if column._chunks else memoryview(b"")
        dtype = dtype_of(view)
        if kind is not None and column._chunks:
            return Array(kind, len(column), 0, [None, view])
        if dtype not in (None, "bool"):
            word = {"i": "int", "u": "uint", "f": "float"}[str(dtype)[0]]
            return Array(FieldType(word + str(dtype)[1:]), len(column), 0, [None, view])
    return build(column.to_pylist(), name, kind)


def write_table(value: Any, name: str, path: str) -> str:
    """Write anything that is a table; the path written."""
    library = type(value).__module__.partition(".")[0]
    if library in ("pandas", "polars") and type(value).__name__ == "Series":
        value = value.to_frame(value.name or "value")
    if library == "polars" and hasattr(value, "collect"):
        value = value.collect()
    if library == "polars" and hasattr(value, "write_ipc"):
        return _write_polars(value, path)
    if library in ("pyarrow", "pandas") or hasattr(value, "__arrow_c_stream__"):
        found = _to_pyarrow(value)
        if found is not None:
            return _write_pyarrow(found, path)
    if library == "pandas" and hasattr(value, "columns"):
        value = {str(column): _pandas_values(value[column]) for column in value.columns}
    if not isinstance(value, Table):
        if not isinstance(value, (dict, list, tuple)):
            raise Mismatch(name, _EXPECTED, describe(value))
        try:
            value = Table(value)
        except (TypeError, ValueError) as error:
            raise Mismatch(name, _EXPECTED, str(error)) from None
    value.write(path)
    return path


def _to_pyarrow(value: Any) -> Any:
    try:
        import pyarrow
    except ImportError:
        return None
    if isinstance(value, pyarrow.Table):
        return value
    if hasattr(value, "columns") and type(value).__module__.startswith("pandas"):
        return pyarrow.Table.from_pandas(value)
    return pyarrow.table(value)


def _write_pyarrow(table: Any, path: str) -> str:
    import pyarrow.ipc

    options = pyarrow.ipc.IpcWriteOptions(compression=None, unify_dictionaries=True)
    with pyarrow.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table)
    return path


def _write_polars(frame: Any, path: str) -> str:
    import polars

    # The oldest level: texts as offsets and data, which every reader of Arrow knows.
    level = polars.CompatLevel.oldest()
    frame.write_ipc(path, compression="uncompressed", compat_level=level)
    return path


def _pandas_values(series: Any) -> Any:
    if series.dtype.kind in "biuf" and hasattr(series, "to_numpy"):
        return series.to_numpy()
    missing = series.isna().tolist()
    return [None if absent else value for value, absent in zip(series.tolist(), missing)]
