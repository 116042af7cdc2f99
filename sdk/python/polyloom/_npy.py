"""Tensors as `.npy` files, version 1.0 of numpy's format (NEP 1), data at a multiple of 64.

Reading maps the file: a read-only numpy array where numpy is installed, else a memoryview of the
same shape. Writing takes numpy arrays, anything with a buffer, and nested lists.
"""

from __future__ import annotations

import os
import sys

from polyloom._types import DTYPES, Type
from polyloom._values import Mismatch, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Optional, Union

_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGN = 64
_FORMATS = {form: name for name, (_, form, _) in DTYPES.items()}
_DESCR = {descr: name for name, (descr, _, _) in DTYPES.items()}
_RESERVED_AT_ONCE = 256 << 10
"""What is reserved at once is what a page of tmpfs can be as large as (Linux 6.14), and a page is
what a fault fills. Not 2 MiB: pages of that size are what virtual machines give back to their
host, and having one again is slow."""
_LOOKED_AT = 4 << 20
"""Elements of an array up to which it is looked at what a conversion would lose."""
_born: list[tuple[Any, str, int]] = []
"""Tensors of `empty`: the map of the file, its path, and where the data starts."""


def header(dtype: str, shape: Sequence[int], room: int = 0) -> bytes:
    """Everything before the data; padded so that the data is aligned, and to `room` at least."""
    descr, _, size = DTYPES[dtype]
    order = "<" if size > 1 else "|"
    sizes = ", ".join(str(int(each)) for each in shape) + ("," if len(shape) == 1 else "")
    text = f"{{'descr': '{order}{descr}', 'fortran_order': False, 'shape': ({sizes}), }}"
    total = max(-(-(10 + len(text) + 1) // _ALIGN) * _ALIGN, room)
    body = text.ljust(total - 10 - 1) + "\n"
    return _MAGIC + len(body).to_bytes(2, "little") + body.encode("latin-1")


def parse_header(data: bytes) -> tuple[str, list[int], int]:
    """dtype, shape, and where the data starts; `data` may go on behind the header."""
    if data[:8] != _MAGIC:
        raise ValueError("not a .npy file of version 1.0")
    start = 10 + int.from_bytes(data[8:10], "little")
    if len(data) < max(start, 10):
        raise ValueError("the .npy header is cut short")
    if start % _ALIGN:
        raise ValueError(f"the .npy data is not aligned to {_ALIGN}")
    fields = _literal(data[10:start].decode("latin-1").strip())
    if set(fields) != {"descr", "fortran_order", "shape"}:
        raise ValueError("the .npy header lacks a key")
    descr, shape = fields["descr"], fields["shape"]
    dtype = _DESCR.get(descr[1:]) if isinstance(descr, str) and descr[:1] in "<|" else None
    if dtype is None:
        raise ValueError(f".npy data of type `{descr}` is not supported")
    if not isinstance(shape, list) or not isinstance(fields["fortran_order"], bool):
        raise ValueError("the .npy header cannot be read")
    if fields["fortran_order"] and len(shape) > 1:
        raise ValueError("the .npy data is in Fortran's order")
    if _product(shape) * DTYPES[dtype][2] >> 63:
        raise ValueError("the .npy shape is too large")
    return dtype, shape, start


def _literal(text: str) -> dict[str, Any]:
    """The header's dictionary. It is little enough to read without loading `ast`."""
    fields: dict[str, Any] = {}
    rest = text[1:-1].strip() if text[:1] == "{" and text[-1:] == "}" else "?"
    while rest:
        key, _, rest = rest[1:].partition(rest[0])
        rest = rest.lstrip()
        if key in fields or rest[:1] != ":":
            raise ValueError("the .npy header cannot be read")
        rest = rest[1:].lstrip()
        if rest[:1] in ("'", '"'):
            fields[key], _, rest = rest[1:].partition(rest[0])
        elif rest[:1] == "(":
            sizes, _, rest = rest[1:].partition(")")
            parts = [part.strip() for part in sizes.split(",")]
            if parts[-1] == "":
                parts.pop()
            if not all(part.isdigit() and part.isascii() for part in parts):
                raise ValueError("the .npy shape cannot be read")
            fields[key] = [int(part) for part in parts]
        else:
            word, mark, rest = rest.partition(",")
            fields[key] = {"True": True, "False": False}.get(word.strip())
            rest = mark + rest
        rest = rest.lstrip()
        if rest and rest[0] != ",":
            raise ValueError("the .npy header cannot be read")
        rest = rest[1:].lstrip()
    return fields


def read(path: str, mapped: bool = True) -> Any:
    """The tensor in a file, mapped read-only; or read, which keeps no descriptor."""
    data: Any
    with open(path, "rb") as file:
        if mapped:
            import mmap

            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        else:
            data = file.read()
    dtype, shape, start = parse_header(data[: 10 + int.from_bytes(data[8:10], "little")])
    descr, form, size = DTYPES[dtype]
    count = _product(shape)
    if start + count * size > len(data):
        raise ValueError("the .npy file is shorter than its shape says")
    try:
        import numpy
    except ImportError:
        return _view(memoryview(data)[start : start + count * size], form, shape)
    return numpy.ndarray(shape, "<" + descr, data, start)


def _view(view: memoryview, form: str, shape: Sequence[int]) -> memoryview:
    if 0 in shape:  # a memoryview cannot have a shape with nothing in it
        return view.cast("B").cast(form)  # type: ignore[call-overload, no-any-return]
    return view.cast("B").cast(form, list(shape))  # type: ignore[call-overload, no-any-return]


def _product(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def empty(shape: Union[int, Sequence[int]], dtype: Any, out: Optional[str]) -> Any:
    """A tensor of zeros in a file of the folder `out`, or in memory without one."""
    import mmap

    shape = [int(size) for size in (shape if hasattr(shape, "__iter__") else [shape])]
    if any(size < 0 for size in shape):
        raise ValueError(f"the shape {shape} has a negative size")
    name = name_of(dtype)
    if not name:
        raise ValueError(f"dtype `{dtype}` is none of {', '.join(DTYPES)}")
    descr, form, size = DTYPES[name]
    head = header(name, shape, 128)
    total = len(head) + _product(shape) * size
    if out is None:
        data = mmap.mmap(-1, total)
    else:
        folder = os.path.join(out, ".tmp")
        os.makedirs(folder, exist_ok=True)
        # A forked process has the same list and another number.
        path = os.path.join(folder, f"{os.getpid()}-{len(_born)}.npy")
        with open(path, "x+b") as file:
            # Reserved here: a full disk is then an error, not a SIGBUS in the cell's loop. The size
            # comes first: before Linux 6.14, large pages are had only within it.
            file.truncate(total)
            for at in range(0, total, _RESERVED_AT_ONCE):
                part = min(_RESERVED_AT_ONCE, total - at)
                os.posix_fallocate(file.fileno(), at, part)
            data = mmap.mmap(file.fileno(), total)
        _born.append((data, path, len(head)))
    try:
        import numpy
    except ImportError:
        return _view(memoryview(data)[len(head) :], form, shape)
    return numpy.ndarray(shape, "<" + descr, data, len(head))


def name_of(dtype: Any) -> str:
    """The dtype as flows spell it: `f64`, numpy's `f8` and `<f8`, a type of Python's or numpy's."""
    if isinstance(dtype, str) and dtype in DTYPES:
        return dtype
    plain = {float: "f8", int: "i8", bool: "b1"}
    text = plain.get(dtype) if isinstance(dtype, type) else dtype
    if isinstance(text, str):
        text = text[1:] if text[:1] in ("<", "|", "=") else text
        if text in _DESCR:
            return _DESCR[text]
    try:
        import numpy

        found = numpy.dtype(dtype)
    except (ImportError, TypeError):
        return ""
    return _DESCR.get(found.str[1:], "") if found.str[0] != ">" else ""


def drop_unused() -> None:
    """Remove the files of tensors that are no output: what a cell leaves takes memory."""
    for _, path, _ in _born:
        if os.path.exists(path):
            os.unlink(path)
    _born.clear()


def write_tensor(value: Any, wanted: Type, name: str, path: str) -> str:
    """Write `value` as the tensor that is `wanted`; the path written."""
    masked = sys.modules.get("numpy.ma")  # else there is none that it has made
    if masked is not None and isinstance(value, masked.MaskedArray) and masked.is_masked(value):
        count = int(masked.count_masked(value))
        found = f"a masked array of {value.size} of which {count} are masked"
        raise Mismatch(name, wanted.text, f"{found}, for which `.filled(…)` has a value")
    kind = type(value)
    if kind.__module__.partition(".")[0] != "numpy" and not isinstance(value, (list, tuple, range)):
        if hasattr(value, "__array__") and not isinstance(value, memoryview):
            import numpy

            value = numpy.asarray(value)  # pandas, torch, polars, jax
    if hasattr(value, "dtype") and hasattr(value, "tobytes") and hasattr(value, "shape"):
        dtype, shape, data = _from_numpy(value, wanted, name)
    else:
        dtype, shape, data = _from_plain(value, wanted, name)
    _check_shape(shape, wanted, name)
    for owner, born, start in _born:
        # Contiguous and as long as the whole: then it is the whole.
        # What is written, not what was given: a conversion made a copy.
        if data.nbytes == len(owner) - start and _owner(data) is owner and os.path.exists(born):
            owner[:start] = header(dtype, shape, start)
            os.rename(born, path)
            return path
    with open(path, "wb") as file:
        file.write(header(dtype, shape))
        file.write(data)
    return path


def write_elements(
    data: Any, dtype: str, shape: Sequence[int], wanted: Type, name: str, path: str
) -> None:
    """Write the elements in a buffer, little-endian in C order, as the tensor that is `wanted`."""
    if dtype not in DTYPES:
        raise ValueError(f"`{name}`: dtype `{dtype}` is none of {', '.join(DTYPES)}")
    if wanted.dtype not in (None, dtype):
        raise Mismatch(name, wanted.text, f"elements of {dtype}")
    sizes, view = [int(size) for size in shape], memoryview(data).cast("B")
    if any(size < 0 for size in sizes) or _product(sizes) * DTYPES[dtype][2] != len(view):
        raise ValueError(f"`{name}` has {len(view)} bytes, which do not fit the shape {sizes}")
    _check_shape(sizes, wanted, name)
    with open(path, "wb") as file:
        file.write(header(dtype, sizes))
        file.write(view)


def _owner(value: Any) -> Any:
    """What holds the memory that a view shows."""
    while True:
        if isinstance(value, memoryview):
            value = value.obj
        elif hasattr(value, "base"):
            value = value.base
        else:
            return value


def _from_numpy(value: Any, wanted: Type, name: str) -> tuple[str, list[int], memoryview]:
    import numpy

    found = _DESCR.get(value.dtype.str[1:])
    if found is None and value.dtype.kind == "O":
        return _from_plain(value.tolist(), wanted, name)
    if found is None:
        raise Mismatch(name, wanted.text, f"an array of `{value.dtype}`")
    dtype = wanted.dtype or found
    target = numpy.dtype("<" + DTYPES[dtype][0])
    if not numpy.can_cast(value.dtype, target, "safe"):
        fix = f", which `.astype({str(target)!r})` would convert" if _is_kept(value, target) else ""
        raise Mismatch(name, wanted.text, f"an array of {found}{fix}")
    shape = [int(size) for size in value.shape]
    array = numpy.ascontiguousarray(value, target)
    return dtype, shape, memoryview(array.reshape(-1).view(numpy.uint8))


def _is_kept(value: Any, target: Any) -> bool:
    """Whether all that an array has is in `target`, too. Of a large one that is not looked at."""
    import warnings

    import numpy

    if value.size > _LOOKED_AT:
        return False
    with warnings.catch_warnings(), numpy.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return bool(numpy.array_equal(value.astype(target), value))


def _from_plain(value: Any, wanted: Type, name: str) -> tuple[str, list[int], memoryview]:
    try:
        view = memoryview(value)
    except TypeError:
        return _from_lists(value, wanted, name)
    found = dtype_of(view)
    dtype = wanted.dtype or found
    if found is None:
        raise Mismatch(name, wanted.text, f"a buffer of format {view.format!r}")
    if dtype == found:
        shape = list(view.shape or ())
        return dtype, shape, view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
    return _from_lists(view.tolist(), wanted, name)


def dtype_of(view: memoryview) -> Optional[str]:
    """The dtype of a buffer's elements, None for one that tensors do not have."""
    form = view.format.lstrip("@=<")
    if form in ("l", "L", "c"):  # a C long has the size of the machine's word
        form = {"l": "iq", "L": "IQ", "c": "BB"}[form][view.itemsize == 8]
    return _FORMATS.get(form)


def _from_lists(value: Any, wanted: Type, name: str) -> tuple[str, list[int], memoryview]:
    shape: list[int] = []
    first = value
    while isinstance(first, (list, tuple, range)):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    flat: list[Any] = []
    _flatten(value, shape, 0, name, flat)
    dtype = wanted.dtype or _guess(flat)
    check, words = {"f": (float, "float"), "b": (bool, "bool")}.get(dtype[0], (int, "int"))
    for index, item in enumerate(flat):
        kind = type(item)
        if kind is check or (check is float and kind is int):
            continue
        if hasattr(item, "item"):  # a scalar of numpy's
            flat[index] = item = item.item()
            kind = type(item)
        if kind is not check and not (check is float and kind is int):
            raise Mismatch(_place(name, shape, index), words, describe(item))
    import array

    form = DTYPES[dtype][1]
    try:
        data = array.array("B" if form == "?" else form, flat)
    except OverflowError as error:
        raise Mismatch(name, wanted.text, f"a number out of range: {error}") from None
    return dtype, shape, memoryview(data).cast("B")


def _flatten(value: Any, shape: list[int], level: int, path: str, flat: list[Any]) -> None:
    if level == len(shape):
        if isinstance(value, (list, tuple, range)):
            raise Mismatch(path, "a number", describe(value))
        flat.append(value)
        return
    if not isinstance(value, (list, tuple, range)) or len(value) != shape[level]:
        raise Mismatch(path, f"a list of {shape[level]}", describe(value))
    if level + 1 == len(shape) and not any(isinstance(item, (list, tuple)) for item in value):
        flat.extend(value)
        return
    for index, item in enumerate(value):
        _flatten(item, shape, level + 1, f"{path}[{index}]", flat)


def _guess(flat: list[Any]) -> str:
    kinds = set(map(type, flat))
    return "bool" if kinds == {bool} else "i64" if kinds == {int} else "f64"


def _place(name: str, shape: list[int], index: int) -> str:
    at = []
    for size in reversed(shape):
        index, rest = divmod(index, size)
        at.append(f"[{rest}]")
    return name + "".join(reversed(at))


def _check_shape(shape: list[int], wanted: Type, name: str) -> None:
    if wanted.shape is None:
        return
    # A name stands for any size, and the same name twice for any two.
    fits = all(not isinstance(each, int) or each == size for each, size in zip(wanted.shape, shape))
    if not fits or len(shape) != len(wanted.shape):
        raise Mismatch(name, wanted.text, f"the shape {shape}")
