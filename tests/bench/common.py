"""What all cases share: commands that are timed, rows of the table, flows that are written and run."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / "target" / "bench" / "bin"
# The parts of a cell's time, and those that its process has.
WALL = ("spawn_ms", "hello_ms", "run_ms")

# How flows begin in which a Python cell makes something large; TYPE and MAKE are to be put in.
MAKER = """
[params.salt]
type = "int"
default = 0

[cells.make]
lang = "python"
inputs = { salt = "param:salt" }
outputs = { x = "TYPE" }
memory = "8GiB"
disk = "8GiB"
artifact_size = "4GiB"
code = '''
MAKE
'''
"""

PARTS = ("wait_ms", "compile_ms", "prepare_ms", *WALL, "collect_ms", "store_ms", "commit_ms")


@dataclass
class Row:
    """A line of the table. `target` is what `value` may be at most; none: it is to compare with."""

    case: str
    what: str
    value: float
    unit: str
    target: float | None = None
    runs: int = 1

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.value <= self.target


@dataclass
class Took:
    seconds: float
    memory: int


def took(argv: list[str], cwd: Path, env: dict[str, str], code: int = 0) -> Took:
    """Runs a command that has to end so; its wall time and the most memory it had, in bytes."""
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = subprocess.Popen(argv, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != code:
            errors.seek(0)
            text = errors.read().decode(errors="replace")[-2000:]
            raise SystemExit(f"error: {' '.join(argv)}: exit code {child.returncode}\n{text}")
    return Took(seconds, usage.ru_maxrss * 1024)


def in_turn(repeat: int, subjects: dict[str, Callable[[], Took]]) -> dict[str, Took]:
    """The medians of several commands that take turns, so that a busy moment hits all of them."""
    all_of: dict[str, list[Took]] = {name: [] for name in subjects}
    for _ in range(repeat):
        for name, run in subjects.items():
            all_of[name].append(run())
    return {
        name: Took(statistics.median(t.seconds for t in times), max(t.memory for t in times))
        for name, times in all_of.items()
    }


def tool(name: str) -> str | None:
    own = TOOLS / name
    return str(own) if own.exists() else shutil.which(name)


@dataclass
class Cell:
    """A cell that ran, by its last event: the parts of its time, in milliseconds."""

    name: str
    times: dict[str, float]

    @property
    def wall(self) -> float:
        """From the order for a sandbox to the end of its process."""
        return sum(self.times[part] for part in WALL)

    @property
    def whole(self) -> float:
        """From the order to start until its end was told."""
        return sum(self.times[part] for part in PARTS)

    @property
    def gone(self) -> float:
        """When its process had ended, since the start of the run."""
        parts = ("start_ms", "wait_ms", "compile_ms", "prepare_ms", *WALL)
        return sum(self.times[part] for part in parts)


class Common:
    """A binary and a folder; what is found gathers here."""

    def __init__(self, binary: Path, cells: int, repeat: int, folder: Path, quick: bool) -> None:
        self.binary, self.cells, self.repeat, self.quick = str(binary), cells, repeat, quick
        self.folder = folder
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(folder / "home"),
            "POLYLOOM_STORE": str(folder / "store"),
            "NO_COLOR": "1",
        }
        (folder / "home").mkdir()
        self.python = self._plain()

    def _plain(self) -> Path:
        """An interpreter with nothing but its standard library: what the machine's own loads at
        each of its starts (`.pth` files) says nothing of polyloom. Cells have it as well."""
        plain = TOOLS.parent.with_name("plain")
        if not (plain / "bin" / "python").exists():
            argv = [sys.executable, "-m", "venv", "--without-pip", str(plain)]
            if subprocess.run(argv, check=False, capture_output=True).returncode != 0:
                self.note("no `venv`: cells have this machine's Python, with what that loads itself")
                return Path(sys.executable).resolve()
        self.env["VIRTUAL_ENV"] = str(plain)
        return plain / "bin" / "python"

    def note(self, text: str) -> None:
        self.notes.append(text)

    def row(self, case: str, what: str, ms: float, target: float | None = None) -> None:
        self.rows.append(Row(case, what, ms, "ms", target, self.repeat))

    def ratio(self, case: str, what: str, value: float, target: float | None = None) -> None:
        self.rows.append(Row(case, what, value, "x", target, self.repeat))

    def polyloom(self, cwd: Path, *argv: str, code: int = 0) -> Took:
        return took([self.binary, *argv], cwd, self.env, code)

    def project(self, name: str, text: str, files: dict[str, str] | None = None) -> Path:
        """A flow in a folder of its own."""
        project = self.folder / name
        project.mkdir()
        (project / "polyloom.toml").write_text(f'[flow]\nname = "{name}"\n{text}')
        for path, content in (files or {}).items():
            (project / path).write_text(content)
        return project

    def ran(self, project: Path, *argv: str, venv: Path | None = None) -> list[Cell]:
        """Runs a flow; its cells that ran, in the order of their ends."""
        events = self.folder / "events.jsonl"
        env = self.env if venv is None else {**self.env, "VIRTUAL_ENV": str(venv)}
        took([self.binary, "run", "-q", "--events", str(events), *argv], project, env)
        cells = []
        for line in events.read_text().splitlines():
            record: dict[str, Any] = json.loads(line)
            if record["event"] == "step.finished" and record["meta"]["times"]:
                cells.append(Cell(record["cell"], record["meta"]["times"]))
        return cells

    def venv(self, *modules: str) -> Path | None:
        """The environment of target/bench, where it has these modules."""
        python = TOOLS / "python"
        words = [str(python), "-c", f"import {', '.join(modules)}"]
        if (
            python.exists()
            and subprocess.run(words, check=False, capture_output=True).returncode == 0
        ):
            return TOOLS.parent
        self.note(f"no {' and '.join(modules)} in target/bench: what needs that is left out")
        return None

    def peer(self, name: str, count: int) -> float | None:
        """What another program takes for a piece of the same work (peers.py), in ms: the median
        of some, where it is in target/bench."""
        python = TOOLS / "python"
        env = {**self.env, "PATH": f"{TOOLS}:{self.env['PATH']}"}
        argv = [str(python), str(Path(__file__).with_name("peers.py")), name, str(count)]
        found = []
        for _ in range(1 if self.quick else 3):
            done = None
            if python.exists():
                done = subprocess.run(argv, check=False, capture_output=True, text=True, env=env)
            if done is None or done.returncode != 0:
                self.note(f"no {name} in target/bench: nothing to compare with")
                return None
            found.append(float(done.stdout.split()[-1]))
        return statistics.median(found)
