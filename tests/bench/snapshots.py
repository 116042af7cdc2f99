"""A snapshot of a live session and the way back to it, beside a bare fork of as much memory."""

from __future__ import annotations

import statistics
import subprocess
from pathlib import Path

from common import Common
from typed import knows

# Forks itself as often as told, with memory that it has written to; prints the median in ms.
FORK = """
import os, statistics, sys, time
kept = bytearray(b"x") * (int(sys.argv[2]) << 20)
found = []
for _ in range(int(sys.argv[1])):
    start = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    found.append(time.perf_counter() - start)
print(statistics.median(found) * 1e3)
"""

CELL = """
[cells.a]
lang = "python"
session = "s"
memory = "2GiB"
code = 'kept = bytearray(b"x") * (SIZE << 20)'
"""


def snapshot(bench: Common) -> None:
    """The commands, whole, of a session that the daemon keeps.

    Each snapshot takes the place of the one before.
    """
    if not knows(bench, "session", "snapshot"):
        return
    for size in (1,) if bench.quick else (1, 100):
        project = bench.project(f"snapshot{size}", CELL.replace("SIZE", str(size)))
        bench.polyloom(project, "daemon", "start")
        try:
            bench.polyloom(project, "run", "-q", "-F")
            taken, back = [], []
            for _ in range(1 if bench.quick else 3 * bench.repeat):
                taken.append(bench.polyloom(project, "session", "snapshot", "s", "one").seconds)
                back.append(bench.polyloom(project, "session", "restore", "s", "one").seconds)
        finally:
            bench.polyloom(project, "daemon", "stop")
        target = 20.0 if size == 100 else None
        both = statistics.median(one + other for one, other in zip(taken, back)) * 1e3
        bench.row("snapshot", f"`session snapshot` of {size} MB", statistics.median(taken) * 1e3)
        bench.row("snapshot", f"`session restore` of {size} MB", statistics.median(back) * 1e3)
        bench.row("snapshot", f"both, {size} MB", both, target)
        interpreter = str(bench.python)
        argv = [interpreter, "-c", FORK, "3" if bench.quick else "30", str(size)]
        fork = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        bench.row("snapshot", f"floor: a fork with {size} MB and its end", float(fork))
