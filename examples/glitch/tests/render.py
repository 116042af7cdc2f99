"""Renders the flow without polyloom: its functions are called in any order that edges allow.

python3 tests/render.py out.png [SEED]
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import struct
import sys
import zlib
from pathlib import Path
from typing import Any, Callable, Optional

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT.parent.parent / "sdk" / "python")]

Cells = dict[str, dict[str, Any]]


def cells() -> Cells:
    import tomllib

    flow: dict[str, Any] = tomllib.loads((PROJECT / "polyloom.toml").read_text(encoding="utf-8"))
    found: Cells = flow["cells"]
    return found


def function(uses: str) -> Callable[..., Any]:
    path, _, name = uses.removeprefix("python:./").partition(":")
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    found: Callable[..., Any] = getattr(module, name)
    return found


def cell_seed(flow: int, cell: str) -> int:
    """As protocol/SPEC.md has it, section 6.3."""
    digest = hashlib.sha256(f"polyloom seed 1\0{flow}\0{cell}".encode()).digest()
    return int.from_bytes(digest[:8], "little") & (2**63 - 1)


def call(cell: str, about: dict[str, Any], inputs: dict[str, Any], seed: int) -> dict[str, Any]:
    """One cell; its outputs by port."""
    from polyloom import Context

    called = function(about["uses"])
    given = {**about.get("params", {}), **inputs}
    parameters = inspect.signature(called).parameters
    if "ctx" in parameters:
        given["ctx"] = Context(cell_seed(seed, cell), cell)
    if "seed" in parameters:
        given.setdefault("seed", cell_seed(seed, cell))
    result = called(**given)
    return result._asdict() if hasattr(result, "_asdict") else {"result": result}


def needs(about: dict[str, Any]) -> set[str]:
    return {source.split(".")[0] for source in about.get("inputs", {}).values()}


def render(
    seed: int = 0,
    choose: Callable[[list[str]], str] = min,
    known: Optional[dict[str, dict[str, Any]]] = None,
) -> dict[str, dict[str, Any]]:
    """All outputs of all cells.

    `choose` picks the next of those that can be called; `known` ones are not called.
    """
    flow = {name: about for name, about in cells().items() if "uses" in about}
    done = dict(known or {})
    while left := [name for name in flow if name not in done]:
        ready = [name for name in left if needs(flow[name]) <= done.keys()]
        name = choose(ready)
        inputs = {}
        for port, source in flow[name].get("inputs", {}).items():
            cell, _, output = source.partition(".")
            inputs[port] = done[cell][output]
        done[name] = call(name, flow[name], inputs, seed)
    return done


def picture(outputs: dict[str, dict[str, Any]]) -> Any:
    """What the cell `viewer` shows."""
    cell, _, port = cells()["viewer"]["inputs"]["pixels"].partition(".")
    return outputs[cell][port]


def png(pixels: Any) -> bytes:
    height, width, _ = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def pixels(data: bytes) -> Any:
    """The pixels of a PNG that `png` made."""
    import numpy as np

    width, height = struct.unpack(">II", data[16:24])
    at, packed = 8, b""
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + size]
        at += size + 12
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + 3 * width)
    return rows[:, 1:].reshape(height, width, 3)


def coarse(pixels: Any) -> Any:
    """Five bits of each channel, as the picture in the README has: half the size."""
    return pixels // 8 * 8 + 4


if __name__ == "__main__":
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    Path(sys.argv[1]).write_bytes(png(coarse(picture(render(number)))))
