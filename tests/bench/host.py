"""The host by itself: its start, reading and checking flows and manifests, the first cell of a large flow."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

from cells import spawned
from common import Common, in_turn


def layers(cells: int) -> str:
    """Layers of 100, each cell with two of the layer before."""
    text = []
    for i in range(cells):
        before = i - 100
        edge = ""
        if before >= 0:
            other = before - before % 100 + (before + 1) % 100
            edge = f'inputs = {{ a = "c{before}.x", b = "c{other}.x" }}\n'
        text.append(
            f'[cells.c{i}]\nlang = "sh"\noutputs = {{ x = "int" }}\n{edge}'
            f"code = 'echo {i} > $OUT/x'\n"
        )
    return "".join(text)


def host(bench: Common) -> None:
    """`--version`, `check` of ten cells, and what 500 manifests add to that."""
    floor = spawned(bench, [shutil.which("true") or "/bin/true"])
    bench.row("host", "floor: true", floor)
    ours = spawned(bench, [bench.binary, "--version"])
    bench.row("host", "polyloom --version", ours, 5.0)
    ten = bench.project("ten", layers(10))
    folder = bench.folder / "manifests"
    count = 50 if bench.quick else 500
    for i in range(count):
        one = folder / f"lang{i}"
        one.mkdir(parents=True)
        (one / "executor.toml").write_text(
            f'id = "lang{i}"\nversion = "1"\ntitle = "Language {i}"\nkind = "command"\n'
            f'extensions = ["l{i}"]\n[toolchain.sh]\nany = ["sh"]\n'
            '[run]\nargv = ["{sh}", "{code}"]\n'
        )
    if not bench.quick:
        # What was written within the last two seconds is read anew each time.
        time.sleep(2.5)
    bench.polyloom(ten, "check", "--executor-dir", str(folder))
    times = in_turn(
        bench.repeat,
        {
            "check": partial(bench.polyloom, ten, "check"),
            "more": partial(bench.polyloom, ten, "check", "--executor-dir", str(folder)),
        },
    )
    check, more = times["check"].seconds * 1e3, times["more"].seconds * 1e3
    bench.row("host", "check of 10 cells", check, 10.0)
    bench.row("host", f"with {count} manifests more, it takes more by", more - check, 5.0)


def first(bench: Common) -> None:
    """From the start of `run` to the start of the first of very many cells."""
    count = 1000 if bench.quick else 100_000
    project = bench.project("first", layers(count))
    found = []
    for _ in range(1 if bench.quick else 3):
        # Neither what stands nor what is known of the flow is to help.
        shutil.rmtree(project / ".polyloom", ignore_errors=True)
        found.append(until_started(bench, project))
    bench.row("first", f"to the first of {count:,} cells", statistics.median(found) * 1e3, 300.0)


def until_started(bench: Common, project: Path) -> float:
    argv = [bench.binary, "run", "-q", "-F", "--events", "-"]
    start = time.perf_counter()
    child = subprocess.Popen(
        argv, cwd=project, env=bench.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    alarm = threading.Timer(120, child.kill)
    alarm.start()
    assert child.stdout is not None
    try:
        for line in child.stdout:
            if b'"event":"step.started"' in line:
                return time.perf_counter() - start
        raise SystemExit("error: `run` ended before a cell began")
    finally:
        alarm.cancel()
        child.terminate()
        child.stdout.close()
        child.wait()
