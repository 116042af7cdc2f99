"""What well-known names are as types of ports. A table, and nothing that looks at code."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "number"}
INTEGER: dict[str, Any] = {"type": "integer"}


def _text(format: str) -> tuple[str, dict[str, Any]]:
    return "str", {"type": "string", "format": format}


PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "builtins.int": ("int", INTEGER),
    "builtins.float": ("float", NUMBER),
    "builtins.str": ("str", TEXT),
    "builtins.bool": ("bool", {"type": "boolean"}),
    "builtins.bytes": ("bytes", {"type": "string", "contentEncoding": "base64"}),
    "builtins.bytearray": ("bytes", {"type": "string", "contentEncoding": "base64"}),
    "builtins.object": ("any", {}),
    "builtins.None": ("null", {"type": "null"}),
    "types.NoneType": ("null", {"type": "null"}),
    "typing.NoReturn": ("null", {"type": "null"}),
    "typing.Never": ("null", {"type": "null"}),
    "typing.Any": ("any", {}),
    "typing.Hashable": ("any", {}),
    "typing.Text": ("str", TEXT),
    "typing.LiteralString": ("str", TEXT),
    "typing.SupportsFloat": ("float", NUMBER),
    "typing.SupportsInt": ("int", INTEGER),
    "typing.SupportsIndex": ("int", INTEGER),
    "numbers.Number": ("float", NUMBER),
    "numbers.Real": ("float", NUMBER),
    "numbers.Integral": ("int", INTEGER),
    "datetime.datetime": _text("date-time"),
    "datetime.date": _text("date"),
    "datetime.time": _text("time"),
    "decimal.Decimal": _text("decimal"),
    "uuid.UUID": _text("uuid"),
    "numpy.generic": ("any", {}),
    "numpy.bool": ("bool", {"type": "boolean"}),
    "numpy.bool_": ("bool", {"type": "boolean"}),
    "numpy.str_": ("str", TEXT),
    "polyloom.SeedInt": ("seed", INTEGER),
    "pandas.DataFrame": ("table", {}),
    "pandas.Series": ("table", {}),
    "polars.DataFrame": ("table", {}),
    "polars.Series": ("table", {}),
    "pyarrow.Table": ("table", {}),
    "polyloom.Table": ("table", {}),
    "PIL.Image.Image": ("image", {}),
    "matplotlib.figure.Figure": ("image", {}),
    "pathlib.Path": ("file", {}),
    "pathlib.PosixPath": ("file", {}),
    "pathlib.PurePath": ("file", {}),
    "os.PathLike": ("file", {}),
    "numpy.ndarray": ("tensor<any>", {}),
    "numpy.typing.NDArray": ("tensor<any>", {}),
    "numpy.typing.ArrayLike": ("tensor<any>", {}),
}

# Where libraries define what everybody imports from another place.
ALIASES = {
    "pandas.core.frame.DataFrame": "pandas.DataFrame",
    "pandas.core.series.Series": "pandas.Series",
    "polars.dataframe.DataFrame": "polars.DataFrame",
    "polars.dataframe.frame.DataFrame": "polars.DataFrame",
    "polars.series.Series": "polars.Series",
    "polars.series.series.Series": "polars.Series",
    "pyarrow.lib.Table": "pyarrow.Table",
    "numpy._typing.NDArray": "numpy.typing.NDArray",
    "numpy._typing.ArrayLike": "numpy.typing.ArrayLike",
    "numpy.matrix": "numpy.ndarray",
    "builtins.NoneType": "builtins.None",
}

DTYPES = {
    "bool": "bool",
    "bool_": "bool",
    "int8": "i8",
    "byte": "i8",
    "int16": "i16",
    "short": "i16",
    "int32": "i32",
    "intc": "i32",
    "int64": "i64",
    "int_": "i64",
    "intp": "i64",
    "long": "i64",
    "longlong": "i64",
    "uint8": "u8",
    "ubyte": "u8",
    "uint16": "u16",
    "ushort": "u16",
    "uint32": "u32",
    "uintc": "u32",
    "uint64": "u64",
    "uint": "u64",
    "uintp": "u64",
    "ulong": "u64",
    "ulonglong": "u64",
    "float32": "f32",
    "single": "f32",
    "float64": "f64",
    "double": "f64",
    "float_": "f64",
    "generic": "any",
    "number": "any",
    "inexact": "any",
    "integer": "any",
    "signedinteger": "any",
    "unsignedinteger": "any",
    "floating": "any",
}
"""numpy's scalar types and abstract classes, as dtypes of tensors."""

OTHER_DTYPES = "float16 half longdouble float128 complex64 complex128 csingle cdouble clongdouble"
OTHER_DTYPES += (
    " complexfloating datetime64 timedelta64 object_ str_ bytes_ void character flexible"
)

LISTS = frozenset(
    {"builtins.list", "builtins.set", "builtins.frozenset", "collections.deque"}
    | {
        f"typing.{name}"
        for name in (
            "List Set FrozenSet Deque Sequence MutableSequence Iterable Collection Container"
            " Reversible AbstractSet MutableSet"
        ).split()
    }
)
SETS = frozenset(
    {"builtins.set", "builtins.frozenset", "typing.Set", "typing.FrozenSet", "typing.AbstractSet"}
    | {"typing.MutableSet"}
)
MAPS = frozenset(
    {"builtins.dict", "collections.OrderedDict", "collections.defaultdict"}
    | {f"typing.{name}" for name in "Dict Mapping MutableMapping OrderedDict DefaultDict".split()}
)
TUPLES = frozenset({"builtins.tuple", "typing.Tuple"})
STREAMS = frozenset(
    f"typing.{name}"
    for name in "Iterator Generator AsyncIterator AsyncGenerator AsyncIterable".split()
)
THROUGH = frozenset(f"typing.{name}" for name in "Final Required NotRequired ReadOnly".split())

# Why a well-known name is none, and what to do.
REFUSED = {
    "builtins.complex": "complex numbers have no port type; take the two parts as floats",
    "builtins.type": "a class is no value",
    "builtins.slice": "a slice has no port type; take its bounds as ints",
    "builtins.range": "a range has no port type; take its bounds as ints",
    "builtins.memoryview": "take `bytes`",
    "typing.Type": "a class is no value",
    "typing.Callable": "a function is no value; choose it by a name (`Literal`) instead",
    "typing.IO": "an open file is no value; take a `pathlib.Path`",
    "typing.TextIO": "an open file is no value; take a `pathlib.Path`",
    "typing.BinaryIO": "an open file is no value; take a `pathlib.Path`",
    "typing.ClassVar": "it is no type of a parameter",
    "typing.Self": "only methods have it",
    "typing.Awaitable": "make the function `async def` and say what it is awaited for",
    "typing.Coroutine": "make the function `async def` and say what it is awaited for",
    "typing.Iterator": "an iterator is no value; take a `list` or an `Iterable`",
    "typing.Generator": "a generator is no value; take a `list` or an `Iterable`",
    "typing.ParamSpec": "it is no type of a value",
    "typing.Unpack": "write the keywords out",
    "numpy.dtype": "a dtype is no value; choose it by a name (`Literal`) instead",
    "numpy.random.Generator": "take `ctx: Context`, and draw from `ctx.rng`",
    "random.Random": "take `ctx: Context`, and draw from `ctx.rng`",
    "polars.LazyFrame": "it has no rows yet; take a `polars.DataFrame`",
    "datetime.timedelta": "take the seconds as a float",
    "re.Pattern": "take the pattern as a str",
}
