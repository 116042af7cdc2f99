"""Writes pictures, files and folders, and turns what Python libraries call a picture into one.

Knows the pictures' magic bytes and the libraries by their methods; imports none of them.
"""

from __future__ import annotations

import os
import struct

from polyloom._values import Mismatch, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Optional

MEDIA = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "svg": "image/svg+xml",
}
_PICTURE = "a picture: bytes, a path, SVG text, a matplotlib figure, a PIL image or a u8 array"
_moved: dict[str, str] = {}
_whole: list[str] = []
_EVERYWHERE = ""


def write_image(value: Any, name: str, base: str) -> str:
    """Write a picture beside `base` with the extension of its format; the path written."""
    if hasattr(value, "__fspath__") or (isinstance(value, str) and "<" not in value):
        try:
            with open(_place(value), "rb") as file:
                value = file.read()
        except OSError as error:
            raise Mismatch(name, _PICTURE, f"a path that cannot be read: {error}") from None
    found = picture(value)
    if found is None:
        raise Mismatch(name, _PICTURE, describe(value))
    kind, data = found
    return _put(f"{base}.{kind}", data)


def write_file(value: Any, name: str, base: str) -> str:
    """Write bytes or text, or bring the file at a path; the path written."""
    if isinstance(value, str):
        if "\n" not in value and os.path.isfile(value):
            _warn(f"output `{name}` is the text {value!r}, not the file; for that use `Path(…)`")
        return _put(base + ".txt", value.encode("utf-8", "surrogateescape"))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _put(base, value)
    if not hasattr(value, "__fspath__"):
        raise Mismatch(name, "a file: a Path, bytes or str", describe(value))
    if not os.path.isfile(_place(value)):
        raise Mismatch(name, "a file", f"`{os.fspath(value)}`, which is none")
    stem, suffix = os.path.splitext(os.path.basename(os.fspath(value)))
    if stem.endswith(".tar"):
        suffix = ".tar" + suffix
    return bring(os.fspath(value), base + suffix)


def write_dir(value: Any, name: str, base: str) -> str:
    """Bring the folder at a path; the path written."""
    if not isinstance(value, str) and not hasattr(value, "__fspath__"):
        raise Mismatch(name, "a folder: a Path", describe(value))
    if not os.path.isdir(_place(value)):
        raise Mismatch(name, "a folder", f"`{os.fspath(value)}`, which is none")
    return bring(os.fspath(value), base)


def keep_whole(folders: Iterable[Any], goes_on: bool = False) -> None:
    """Take note of the folders that become outputs: what is in them must not be moved out.

    `goes_on`: the process goes on with all of its files, and nothing is moved.
    """
    _whole[:] = (
        [_EVERYWHERE]
        if goes_on
        else [
            os.path.realpath(folder)
            for folder in folders
            if isinstance(folder, str) or hasattr(folder, "__fspath__")
        ]
    )


def bring(source: str, target: str) -> str:
    """Have the file or folder `source` at `target`, by moving it where it is the cell's own.

    The cell is over, and a second copy would count against its memory.
    """
    source = _place(source)
    if source == os.path.realpath(target):
        return target
    scratch = (os.getcwd(), os.environ.get("HOME", ""), os.environ.get("TMPDIR", "/tmp"))
    for folder in map(os.path.realpath, filter(None, scratch)):
        if any(source.startswith(whole + os.sep) for whole in _whole):
            break
        if source.startswith(folder + os.sep):
            try:
                os.rename(source, target)
            except OSError:
                break  # another file system
            _moved[source] = target
            return target
    import shutil

    if os.path.isdir(source):
        shutil.copytree(source, target, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, target)
    return target


def _place(path: Any) -> str:
    """Where what has been named is now: it may have been moved, or a folder that it is in."""
    real: str = os.path.realpath(path)
    for source, target in _moved.items():
        if real == source or real.startswith(source + os.sep):
            return target + real[len(source) :]
    return real


def sniff(data: bytes) -> Optional[str]:
    """The picture format of `data`, as an extension."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"<") and b"<svg" in head:
        return "svg"
    return None


def picture(value: Any) -> Optional[tuple[str, bytes]]:
    """The extension and bytes of anything that is a picture."""
    data: Any = value
    if isinstance(value, str):
        data = value.encode("utf-8", "replace")
    elif isinstance(value, (bytearray, memoryview)):
        data = bytes(value)
    elif not isinstance(value, bytes):
        data = _saved(value)
    if data is None:
        return None
    kind = sniff(data)
    return (kind, data) if kind is not None else None


def _saved(value: Any) -> Optional[bytes]:
    from io import BytesIO

    figure = value if hasattr(value, "savefig") else getattr(value, "figure", None)
    if figure is not None and hasattr(figure, "savefig"):  # matplotlib: a figure, or an axes of one
        buffer = BytesIO()
        figure.savefig(buffer, format="png")
        return buffer.getvalue()
    if hasattr(value, "save") and hasattr(value, "getbands"):  # PIL
        buffer = BytesIO()
        keep = {"JPEG", "PNG", "GIF", "WEBP"}
        value.save(buffer, format=value.format if value.format in keep else "PNG")
        return buffer.getvalue()
    if str(getattr(value, "dtype", "")).endswith("uint8") and hasattr(value, "tobytes"):
        shape = tuple(value.shape)
        if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)):
            return png(shape[1], shape[0], shape[2] if len(shape) == 3 else 1, value.tobytes())
    for method in ("_repr_png_", "_repr_svg_", "_repr_jpeg_"):
        if hasattr(value, method):
            data = getattr(value, method)()
            if isinstance(data, str):
                data = data.encode()
            if isinstance(data, bytes):
                return data
    return None


def png(width: int, height: int, channels: int, pixels: bytes) -> bytes:
    """A PNG file of 8-bit grey, RGB or RGBA pixels, rows from the top (W3C, PNG 3rd edition)."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    row = width * channels
    lines = b"".join(b"\0" + pixels[at : at + row] for at in range(0, row * height, row or 1))
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines, 6))
        + chunk(b"IEND", b"")
    )


def _put(path: str, data: Any) -> str:
    with open(path, "wb") as file:
        file.write(data)
    return path


def _warn(text: str) -> None:
    import warnings

    warnings.warn(text, stacklevel=2)
