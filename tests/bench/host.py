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
from common import Common, Row, in_turn


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


def scale(bench: Common) -> None:
    """Time and memory for ten times as many cells: ten times as much, and below a measure."""
    counts = (500, 5_000) if bench.quick else (10_000, 100_000)
    projects = []
    for count in counts:
        # The first cell fails: all others are planned, told and recorded, and none of them runs.
        text = layers(count).replace("code = 'echo 0 > $OUT/x'", "code = 'exit 1'", 1)
        projects.append(bench.project(f"scale{count}", text))
    ways: dict[str, tuple[list[str], int]] = {
        "check": (["check"], 0),
        "plan": (["run", "-q", "--dry-run"], 0),
        "run, stopped by the first cell": (["run", "-q", "--jobs", "1"], 1),
    }
    for what, (argv, code) in ways.items():
        few, many = (
            in_turn(
                1 if bench.quick else 3, {"": partial(bench.polyloom, project, *argv, code=code)}
            )[""]
            for project in projects
        )
        times = counts[1] / counts[0]
        target = 2000.0 if what == "check" else None
        bench.row("scale", f"{what}, {counts[1]:,} cells", many.seconds * 1e3, target)
        bench.ratio("scale", f"{what}, a cell of many / of few", many.seconds / few.seconds / times)
        megabytes = many.memory / 1e6
        bench.rows.append(Row("scale", f"{what}, memory", megabytes, "MB", 1000.0, bench.repeat))
        # A tenth of the cells has the program itself beside it, so that this is less than one.
        more = many.memory / few.memory / times
        bench.ratio("scale", f"{what}, memory of a cell of many / of few", more, 1.2)
        if more > 1.2 or megabytes > 1000.0:
            raise SystemExit(f"error: {what}: {megabytes:.0f} MB, {more:.2f} times as much a cell")


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
