"""Data on its way from one Python cell to the next: what its size adds."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import statistics
import time
from pathlib import Path

from common import MAKER, Cell, Common

FLOW = (
    MAKER
    + """
[cells.take]
lang = "python"
inputs = { x = "make.x" }
outputs = { seen = "int" }
memory = "8GiB"
code = '''
TAKE
'''
"""
)

EMPTY = """
import polyloom
x = polyloom.empty(COUNT, "f8")
memoryview(x).cast("B")[:] = bytes(8 * COUNT)
x[0] = salt
"""

ARROW = """
import pyarrow as pa
x = pa.table({name: pa.array(range(salt, salt + COUNT), pa.int64()) for name in "abcdefg"})
"""


def between(cells: list[Cell]) -> float:
    """From the end of the one that made it to the end of the one that looked at it."""
    ended = {cell.name: cell.gone for cell in cells}
    return ended["take"] - ended["make"]


def compare(
    bench: Common, name: str, ty: str, codes: tuple[str, str], counts: tuple[int, int],
    venv: Path | None = None,
) -> tuple[float, float, float]:  # fmt: skip
    """What the larger of two sizes adds to the hand-over, what to the cell that takes it alone, and
    the time of keeping it, in ms."""
    found: dict[int, list[float]] = {count: [] for count in counts}
    alone: dict[int, list[float]] = {count: [] for count in counts}
    kept = []
    salt = 0
    for count in counts:
        text = FLOW.replace("TYPE", ty).replace("TAKE", codes[1])
        bench.project(
            f"{name}-{count}", text.replace("MAKE", codes[0].replace("COUNT", str(count)))
        )
    for _ in range(1 if bench.quick else min(bench.repeat, 5)):
        for count in counts:
            salt += 1
            project = bench.folder / f"{name}-{count}"
            cells = bench.ran(project, "-p", f"salt={salt}", venv=venv)
            found[count].append(between(cells))
            alone[count] += [cell.times["run_ms"] for cell in cells if cell.name == "take"]
            if count == max(counts):
                kept += [cell.times["store_ms"] for cell in cells if cell.name == "make"]
    small, large = sorted(counts)
    more = [statistics.median(of[large]) - statistics.median(of[small]) for of in (found, alone)]
    return more[0], more[1], statistics.median(kept)


def copied(size: int) -> float:
    """One copy into memory that another process could map, and a look at it, in ms."""
    block = bytes(4 << 20)
    start = time.perf_counter()
    fd = os.memfd_create("bench")
    for _ in range(size // len(block)):
        os.write(fd, block)
    with mmap.mmap(fd, size) as mapped:
        assert mapped[size - 1] == 0
    took = time.perf_counter() - start
    os.close(fd)
    return took * 1e3


def handover(bench: Common) -> None:
    """A tensor that is born in shared memory, and a table of Arrow."""
    size = (16 if bench.quick else 1024) << 20
    if shutil.disk_usage("/dev/shm").free < 2 * size:
        bench.note("/dev/shm is too small: `handover` is left out")
        return
    floor = statistics.median(copied(size) for _ in range(3))
    codes = (EMPTY, "seen = len(x)")
    more, mapped, kept = compare(bench, "tensor", "tensor<f64,[n]>", codes, (16, size // 8))
    mib = size >> 20
    bench.row("handover", f"floor: one copy of {mib} MiB into a memfd", floor)
    bench.row("handover", f"a tensor of {mib} MiB, more than a small one", more, 1.15 * floor)
    bench.ratio("handover", "of it / one copy", more / floor, 1.15)
    bench.row("handover", "the cell that takes it alone", mapped, 1.0)
    digest = hashlib.sha256()
    start = time.perf_counter()
    for _ in range(16):
        digest.update(bytes(4 << 20))
    peer = (time.perf_counter() - start) * 1e3 * size / (64 << 20)
    bench.row("hash", f"SHA-256 of {mib} MiB, one processor", peer)
    # BLAKE3 at 4.5 GB/s and four fifths of that.
    bench.row("hash", f"{mib} MiB hashed and kept (BLAKE3)", kept, size / 4.5e6 / 0.8)
    bench.ratio("hash", "of it / SHA-256", kept / peer)
    venv = bench.venv("pyarrow")
    if venv is None:
        return
    count = (1 << 16) if bench.quick else 2 << 20
    codes = (ARROW, "seen = x.num_rows")
    more, mapped, _ = compare(bench, "table", "table", codes, (16, count), venv)
    what = f"an Arrow table of {7 * 8 * count / 1e6:.0f} MB, more than a small one"
    bench.row("arrow", what, more)
    bench.row("arrow", "the cell that takes it alone", mapped, 5.0)
