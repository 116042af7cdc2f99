"""What `polyloom.display` and `polyloom.artifact` do: give a value a form, and send or save it.

Knows media types and the size a Display may have; larger things become artifacts of their own.
"""

from __future__ import annotations

import os
import sys

import polyloom
from polyloom import _media

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

DISPLAY_CAP = 48 << 10
FOLDER = "_artifacts"
"""Where artifacts lie in the output folder. No port's name can begin with an underscore."""


def display(value: Any) -> None:
    """Show a value beside the cell."""
    show(*represent(value))


def show(media: str, data: bytes) -> None:
    """Show what has a form already; what is too large for a message becomes an artifact."""
    current = polyloom._current
    if current is None:
        print(f"display: {media}, {len(data)} bytes", file=sys.stderr)
    elif len(data) <= DISPLAY_CAP:
        current.display(media, data)
    else:
        current.displayed += 1
        suffix = {"text/html": "html", "text/plain": "txt"}.get(media)
        for kind, of in _media.MEDIA.items():
            suffix = kind if of == media else suffix
        _keep(f"display-{current.displayed}.{suffix}", data, media)


def represent(value: Any) -> tuple[str, bytes]:
    """The media type and bytes that show `value` best."""
    if not isinstance(value, str) or value.lstrip().startswith("<"):
        found = _media.picture(value)
        if found is not None:
            return _media.MEDIA[found[0]], found[1]
    if isinstance(value, str):
        return "text/plain", value.encode("utf-8", "replace")
    html = value._repr_html_() if hasattr(value, "_repr_html_") else None
    if isinstance(html, str):
        return "text/html", html.encode("utf-8", "replace")
    return "text/plain", repr(value).encode("utf-8", "replace")


def artifact(name: str, data: Any) -> None:
    """Keep an extra result."""
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(name) > 200:
        raise ValueError(f"artifact name `{name}`: expected a file name without `/`")
    if polyloom._current is None:
        print(f"artifact: {name}", file=sys.stderr)
    else:
        _keep(name, data, None)


def _keep(name: str, data: Any, media: Optional[str]) -> None:
    current = polyloom._current
    assert current is not None
    folder = os.path.join(current.out, FOLDER)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    if hasattr(data, "__fspath__"):
        # Copied, not moved: the cell goes on and may need it.
        import shutil

        if os.path.isdir(data):
            shutil.copytree(data, path, dirs_exist_ok=True)
        else:
            shutil.copyfile(data, path)
    else:
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogateescape")
        elif not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"artifact `{name}`: expected bytes, str or a Path")
        with open(path, "wb") as file:
            file.write(data)
        media = media or _media.MEDIA.get(_media.sniff(bytes(data[:4096])) or "")
    current.artifact(name, f"{FOLDER}/{name}", media)
