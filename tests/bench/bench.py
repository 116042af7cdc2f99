#!/usr/bin/env python3
"""Times polyloom beside ninja and Snakemake on the same graph, and data and edits against targets.

Knows the command line and the event stream, nothing of the inside. README.md reads the table.

    python3 tests/bench/bench.py                  all cases, 10,000 cells, the release build
    python3 tests/bench/bench.py --quick          small, no judgement: only whether every case works
    python3 tests/bench/bench.py noop status      only these cases
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cells
import compiling
import handover
import snapshots
import summing
import typed
from common import MAKER, ROOT, Common, Row, Took, in_turn, took, tool

import host

# Cell i reads cell i - STRIDE: many chains side by side.
STRIDE = 100
GRAPHS = ["noop", "status", "why", "check", "data", "edit"]
# Further cases, by what they take: `python` also gives `numpy`, `handover` also `arrow` and `hash`.
MORE: dict[str, Callable[[Common], None]] = {
    "python": cells.python,
    "static": cells.static,
    "wasm": cells.wasm,
    "node": cells.node,
    "java": cells.java,
    "again": cells.again,
    "cold": cells.cold,
    "compile": compiling.compiling,
    "host": host.host,
    "first": host.first,
    "scale": host.scale,
    "handover": handover.handover,
    "sum": summing.summing,
    "catalog": typed.catalog,
    "uses": typed.uses,
    "session": typed.session,
    "snapshot": snapshots.snapshot,
}
CASES = [*GRAPHS, *MORE]


class Bench(Common):
    """The cases of graphs, of data and of a watch."""

    def graph(self) -> dict[str, Callable[[], Took]]:
        """The same graph for each program, run once, so that there is nothing left to do."""
        inputs = [(i, i - STRIDE) for i in range(self.cells)]
        project = self.folder / "graph"
        project.mkdir()
        text = ['[flow]\nname = "graph"\n']
        for i, before in inputs:
            edge = f'inputs = {{ a = "c{before}.x" }}\n' if before >= 0 else ""
            text.append(
                f'[cells.c{i}]\nlang = "sh"\noutputs = {{ x = "int" }}\n{edge}'
                f"code = 'echo {i} > $OUT/x'\n"
            )
        (project / "polyloom.toml").write_text("\n".join(text))
        print(f"making the graph of {self.cells} cells", file=sys.stderr)
        self.polyloom(project, "run", "-q")
        subjects: dict[str, Callable[[], Took]] = {
            "polyloom": lambda: self.polyloom(project, "run")
        }
        if ninja := tool("ninja"):
            folder = self.folder / "ninja"
            folder.mkdir()
            rules = ["rule r\n  command = echo $n > $out\n"]
            for i, before in inputs:
                edge = f" c{before}" if before >= 0 else ""
                rules.append(f"build c{i}: r{edge}\n  n = {i}\n")
            (folder / "build.ninja").write_text("".join(rules))
            took([ninja, "--quiet"], folder, self.env)
            subjects["ninja"] = lambda: took([ninja], folder, self.env)
        else:
            self.note("ninja is not installed: nothing to compare `noop` with")
        return subjects

    def snakemake(self) -> None:
        """Snakemake's time for each job, from two sizes: its start is not held against it."""
        program = tool("snakemake")
        if program is None:
            self.note("Snakemake is not installed: nothing to compare a cell's share with")
            return
        env = {**self.env, "PATH": f"{Path(program).parent}:{self.env['PATH']}"}
        small, large = (2, 20) if self.quick else (100, min(self.cells, 2000))
        subjects: dict[str, Callable[[], Took]] = {}
        for size in (small, large):
            folder = self.folder / f"snakemake{size}"
            folder.mkdir()
            rules = [f"rule all:\n  input: [f'c{{i}}' for i in range({size})]\n"]
            for i in range(size):
                edge = f"  input: 'c{i - STRIDE}'\n" if i >= STRIDE else ""
                rules.append(
                    f"rule c{i}:\n{edge}  output: 'c{i}'\n  shell: 'echo {i} > {{output}}'\n"
                )
                (folder / f"c{i}").write_text(f"{i}\n")
            (folder / "Snakefile").write_text("".join(rules))
            argv = [program, "--cores", "2", "--quiet", "--rerun-triggers", "mtime"]
            took([*argv, "--touch"], folder, env)
            subjects[str(size)] = partial(took, argv, folder, env)
        times = in_turn(1 if self.quick else 3, subjects)
        each = (times[str(large)].seconds - times[str(small)].seconds) / (large - small) * 1e3
        self.rows.append(Row("noop", f"Snakemake, a job (of {large})", each, "ms"))
        ours = next(row.value for row in self.rows if row.what.startswith("polyloom run"))
        self.rows.append(Row("noop", "polyloom, a cell", ours / self.cells, "ms", each / 20))

    def noop(self, subjects: dict[str, Callable[[], Took]]) -> None:
        times = in_turn(self.repeat, subjects)
        ours = times["polyloom"]
        ninja = times.get("ninja")
        if ninja is not None:
            self.rows.append(Row("noop", "ninja", ninja.seconds * 1e3, "ms", runs=self.repeat))
        target = None if ninja is None else ninja.seconds * 2e3
        ours_ms = ours.seconds * 1e3
        self.rows.append(Row("noop", "polyloom run", ours_ms, "ms", target, self.repeat))
        if ninja is not None:
            self.rows.append(Row("noop", "polyloom / ninja", ours.seconds / ninja.seconds, "x", 2))
        self.rows.append(Row("noop", "polyloom, memory", ours.memory / 1e6, "MB", 200, self.repeat))
        self.snakemake()

    def asks(self, wanted: set[str]) -> None:
        project = self.folder / "graph"
        argv = {"status": ["status"], "why": ["why", f"c{self.cells // 2}"], "check": ["check"]}
        chosen = {name: argv[name] for name in argv if name in wanted}
        subjects: dict[str, Callable[[], Took]] = {
            name: partial(self.polyloom, project, *words) for name, words in chosen.items()
        }
        for name, time_of in in_turn(self.repeat, subjects).items():
            target = None if name == "check" else 300.0
            what = f"polyloom {name}"
            self.rows.append(Row(name, what, time_of.seconds * 1e3, "ms", target, self.repeat))
            self.rows.append(Row(name, f"{what}, memory", time_of.memory / 1e6, "MB", 200))

    def data(self) -> None:
        """Tensors from Python to C++ to Python, against writing and reading as many bytes.

        `one`: the tensor that Python made is read by C++, then by Python; the floor writes it once
        and reads it twice. `two`: C++ makes another of it; the floor writes and reads two.
        """
        if shutil.which("c++") is None and shutil.which("g++") is None:
            self.note("no C++ compiler: `data` is left out")
            return
        size = (16 if self.quick else 1024) << 20
        count = size // 8
        memory = Path("/dev/shm")
        if shutil.disk_usage(memory).free < 3 * size:
            self.note("/dev/shm is too small: `data` is left out")
            return
        salt = -1
        subjects: dict[str, Callable[[], Took]] = {}

        def path(project: Path, middle: str) -> Took:
            nonlocal salt
            # Odd: never the content that C++ made of another, which the store would have by then.
            salt += 2
            events = self.folder / "data.jsonl"
            self.polyloom(project, "run", "-q", "-p", f"salt={salt}", "--events", str(events))
            return Took(handed_over(events, middle), 0)

        def floor(tensors: int, reads: int) -> Took:
            block = bytes(4 << 20)
            into = bytearray(len(block))
            with ExitStack() as stack:
                start = time.perf_counter()
                for _ in range(tensors):
                    file = stack.enter_context(tempfile.TemporaryFile(dir=memory, buffering=0))
                    for _ in range(size // len(block)):
                        file.write(block)
                    for _ in range(reads):
                        file.seek(0)
                        while file.readinto(into):
                            pass
                return Took(time.perf_counter() - start, 0)

        flows = {
            "one": ("total", TOTAL, 'y = "make.x", sum = "total.sum"', 1, 2),
            "two": ("scale", SCALE, 'y = "scale.y"', 2, 1),
        }
        for name, (cell, code, last, tensors, reads) in flows.items():
            project = self.folder / f"data-{name}"
            project.mkdir()
            text = DATA.replace("MIDDLE", code).replace("LAST", last).replace("COUNT", str(count))
            (project / "polyloom.toml").write_text(text)
            # What is compiled and imported once is not part of the path.
            path(project, cell)
            subjects[name] = partial(path, project, cell)
            subjects[f"{name} floor"] = partial(floor, tensors, reads)
        times = in_turn(1 if self.quick else min(self.repeat, 5), subjects)
        mib = size >> 20
        words = {
            "one": ("Python, C++ reads, Python", f"floor: {mib} MiB written, read twice"),
            "two": ("to C++, a new one to Python", f"floor: 2 x {mib} MiB written, read"),
        }
        for name, (what, below) in words.items():
            took_s, floor_s = times[name].seconds, times[f"{name} floor"].seconds
            self.rows.append(Row("data", below, floor_s * 1e3, "ms"))
            self.rows.append(Row("data", f"{mib} MiB: {what}", took_s * 1e3, "ms", floor_s * 1.3e3))
            self.rows.append(Row("data", "path / floor", took_s / floor_s, "x", 1.3))

    def edit(self) -> None:
        """From an edit to the new plan and to the first output, with `run --watch`."""
        usage = subprocess.run(
            [self.binary, "run", "--help"], check=True, capture_output=True, text=True
        )
        if "--watch" not in usage.stdout:
            self.note("this build has no `run --watch`: `edit` is left out")
            return
        project = self.folder / "edit"
        project.mkdir()
        (project / "polyloom.toml").write_text(
            '[flow]\nname = "edit"\n[cells.a]\nlang = "python"\nfile = "a.py"\n'
        )
        (project / "a.py").write_text("print('start')\n")
        argv = [self.binary, "run", "--watch", "--format", "jsonl", "-q"]
        child = subprocess.Popen(
            argv,
            cwd=project,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        # Whatever goes wrong, nothing waits for ever.
        alarm = threading.Timer(60, child.kill)
        alarm.start()
        plans, outputs = [], []
        try:
            until(child, "run.finished")
            for turn in range(1 if self.quick else 2 * self.repeat):
                # The watch is back at waiting some time after it said that the run has ended.
                time.sleep(0.5)
                (project / "a.py").write_text(f"print('{turn}')\n")
                start = time.perf_counter()
                until(child, "run.started")
                plans.append(time.perf_counter() - start)
                until(child, "log")
                outputs.append(time.perf_counter() - start)
                until(child, "run.finished")
        finally:
            alarm.cancel()
            child.terminate()
            child.wait()
        n = len(plans)
        self.rows.append(Row("edit", "edit to plan", statistics.median(plans) * 1e3, "ms", 50, n))
        self.rows.append(
            Row("edit", "edit to output", statistics.median(outputs) * 1e3, "ms", 100, n)
        )


def until(child: subprocess.Popen[str], event: str) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if json.loads(line)["event"] == event:
            return
    raise SystemExit(f"error: `run --watch` ended before `{event}`")


def handed_over(events: Path, middle: str) -> float:
    """Seconds from the first cell's start to the last one's end; the disk is not waited for."""
    begun: dict[str, float] = {}
    took_ms = 0.0
    for line in events.read_text().splitlines():
        record = json.loads(line)
        if record["event"] == "step.started" and record["phase"] == "run":
            begun[record["cell"]] = record["at_ms"]
        if record["event"] == "step.finished" and record["cell"] == "take":
            took_ms = record["meta"]["wall_ms"]
    if not {"make", middle, "take"} <= set(begun):
        raise SystemExit("error: not every cell of `data` ran")
    return (begun["take"] + took_ms - begun["make"]) / 1e3


# Both Python cells go through the data as the floor does, block by block: numpy is not measured.
DATA_CODE = """import polyloom
x = polyloom.empty(COUNT, "f8")
to = memoryview(x).cast("B")
block = bytes(4 << 20)
for at in range(0, len(to), len(block)):
    to[at : at + len(block)] = block
x[0] = salt"""

DATA = (
    """
[flow]
name = "data"
""" + MAKER.replace("TYPE", "tensor<f64,[n]>").replace("MAKE", DATA_CODE)
    + """
MIDDLE
[cells.take]
lang = "python"
inputs = { LAST }
outputs = { first = "float" }
memory = "8GiB"
code = '''
data = memoryview(y).cast("B")
into = bytearray(4 << 20)
for at in range(0, len(data), len(into)):
    into[:] = data[at : at + len(into)]
first = float(y[0])
'''
"""
)

SCALE = """[cells.scale]
lang = "cpp"
inputs = { x = "make.x" }
outputs = { y = "tensor<f64,[n]>" }
memory = "8GiB"
disk = "8GiB"
artifact_size = "4GiB"
code = '''
#include <polyloom.h>
int main() {
  auto x = polyloom::in<polyloom::span<const double>>("x");
  auto y = polyloom::out_tensor<double>("y", x.size());
  for (decltype(x.size()) i = 0; i < x.size(); i++) y[i] = 2 * x[i];
}
'''
"""

TOTAL = """[cells.total]
lang = "cpp"
inputs = { x = "make.x" }
outputs = { sum = "float" }
memory = "8GiB"
code = '''
#include <polyloom.h>
int main() {
  auto x = polyloom::in<polyloom::span<const double>>("x");
  double sum = 0;
  for (decltype(x.size()) i = 0; i < x.size(); i++) sum += x[i];
  polyloom::out("sum", sum);
}
'''
"""


def peers(bench: Bench, folder: Path) -> None:
    """What other programs took, measured by others, at another time."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            found = json.loads(line)
            if found.get("median") is not None and "peer" in found:
                what = f"{found['case']}: {found['peer']}"[:46]
                unit = str(found.get("unit") or "")
                bench.rows.append(Row("peer", what, float(found["median"]), unit))


def table(rows: list[Row], judged: bool) -> str:
    lines = []
    for row in rows:
        target = "" if row.target is None else f"≤ {row.target:.2f}"
        word = {None: "", True: "met", False: "not met"}[row.met] if judged else ""
        lines.append(
            f"{row.case:<9}{row.what:<47}{row.value:>10.2f} {row.unit:<3}"
            f"{target:>12}  {word}".rstrip()
        )
    return "\n".join(lines)


def main() -> int:
    about = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    about.add_argument("case", nargs="*", help=f"only these: {' '.join(CASES)}")
    about.add_argument(
        "--quick", action="store_true", help="200 cells, 16 MiB, once: whether every case works"
    )
    about.add_argument("--cells", type=int, help="cells of the graph (10000)")
    about.add_argument("--repeat", type=int, help="runs of each command (7)")
    about.add_argument("--binary", type=Path, help="target/release/polyloom, else $POLYLOOM_BIN")
    about.add_argument("--json", type=Path, metavar="FILE", help="writes the table there, too")
    about.add_argument(
        "--peers", type=Path, metavar="DIR",
        help="adds what was measured of others: *.jsonl there, a line {case, peer, median, unit}",
    )  # fmt: skip
    args = about.parse_args()
    wanted = set(args.case or CASES)
    if unknown := wanted - set(CASES):
        about.error(f"no case {', '.join(sorted(unknown))}; valid: {' '.join(CASES)}")
    release = ROOT / "target" / "release" / "polyloom"
    binary = args.binary or (
        Path(os.environ["POLYLOOM_BIN"]) if "POLYLOOM_BIN" in os.environ else release
    )
    if not binary.exists():
        print(f"error: there is no `{binary}`: cargo build --release -p polyloom", file=sys.stderr)
        return 3
    count = args.cells or (200 if args.quick else 10_000)
    repeat = args.repeat or (1 if args.quick else 7)
    with tempfile.TemporaryDirectory(prefix="polyloom-bench-") as folder:
        bench = Bench(binary.resolve(), count, repeat, Path(folder), args.quick)
        if wanted & {"noop", "status", "why", "check"}:
            subjects = bench.graph()
            if "noop" in wanted:
                bench.noop(subjects)
            bench.asks(wanted)
        if "data" in wanted:
            bench.data()
        if "edit" in wanted:
            bench.edit()
        for name, case in MORE.items():
            if name in wanted:
                print(f"measuring {name}", file=sys.stderr)
                case(bench)
        if args.peers:
            peers(bench, args.peers)
    print(table(bench.rows, judged=not args.quick))
    for note in bench.notes:
        print(f"note: {note}")
    if args.json:
        found = {
            "schema": "polyloom.bench/1",
            "cells": count,
            "repeat": repeat,
            "quick": args.quick,
            "processors": os.cpu_count(),
            "rows": [{**asdict(row), "met": row.met} for row in bench.rows],
            "notes": bench.notes,
        }
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
