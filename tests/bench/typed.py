"""Typed functions: the catalog of many, and cells that are calls of one; cells of a session."""

from __future__ import annotations

import statistics
import subprocess
from functools import partial
from pathlib import Path

from cells import walls
from common import Common, in_turn

# Takes and gives what the functions of a real package do; KIND and NUMBER make each one its own.
MODULE = '''"""Functions of the kind KIND."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Literal, NamedTuple, Optional, TypedDict

from polyloom import Slider, Unit


class Mode(Enum):
    FAST = "fast"
    FINE = "fine"


@dataclass
class Kernel:
    """What is applied."""

    size: int
    weights: list[float]
    mode: Mode = Mode.FAST


class Options(TypedDict, total=False):
    border: Literal["wrap", "hold"]
    passes: int


class Found(NamedTuple):
    smoothed: list[float]
    total: float
'''

FUNCTION = '''

def KIND_NUMBER(
    values: list[float],
    kernel: Kernel,
    names: Optional[dict[str, int]] = None,
    *,
    radius: Annotated[float, Slider(0, NUMBER, 0.5), Unit("px")] = 1.0,
    options: Optional[Options] = None,
    label: str = "SALT",
) -> Found:
    """Smooths values, the NUMBERth way.

    Args:
        values: what is smoothed
        radius: how far the kernel reaches
    """
    scaled = [value * radius + NUMBER for value in values]
    return Found(scaled, sum(scaled))
'''

ADD = '''def add(a: int, *, b: int = 1) -> int:
    """The sum."""
    return a + b
'''


def sample(folder: Path, modules: int, functions: int, salt: str) -> None:
    """A package of typed functions, with classes in each module."""
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").write_text("")
    for module in range(modules):
        kind = f"kind{module}"
        text = MODULE + "".join(
            FUNCTION.replace("NUMBER", str(number + 1)) for number in range(functions)
        )
        (folder / f"{kind}.py").write_text(text.replace("KIND", kind).replace("SALT", salt))


def knows(bench: Common, command: str, case: str) -> bool:
    """Whether this build has a command; what needs it is left out otherwise."""
    asked = subprocess.run([bench.binary, command, "--help"], check=False, capture_output=True)
    if asked.returncode != 0:
        bench.note(f"this build has no `polyloom {command}`: `{case}` is left out")
    return asked.returncode == 0


def catalog(bench: Common) -> None:
    """The catalog of functions that all have changed, whole command; and of those that did not."""
    if not knows(bench, "catalog", "catalog"):
        return
    modules, functions = (2, 5) if bench.quick else (20, 50)
    project = bench.project("catalog", "[cells.a]\nlang = \"python\"\ncode = ''\n")
    # A cell of the language has bytecode made: once for all, and for readers, too.
    bench.polyloom(project, "run", "-q")
    changed, same, one = [], [], []
    for turn in range(1 + (1 if bench.quick else bench.repeat)):
        sample(project / "functions", modules, functions, f"turn {turn}")
        changed.append(bench.polyloom(project, "catalog", "./functions").seconds * 1e3)
        same.append(bench.polyloom(project, "catalog", "./functions").seconds * 1e3)
        with (project / "functions" / "kind0.py").open("a") as file:
            file.write(f"# {turn}\n")
        one.append(bench.polyloom(project, "catalog", "./functions").seconds * 1e3)
    # The first one also makes the reader's place.
    count = modules * functions
    bench.row("catalog", f"{count} functions", statistics.median(changed[1:]), 500.0)
    bench.row("catalog", "the same, nothing changed", statistics.median(same[1:]))
    bench.row("catalog", "the same, one file changed", statistics.median(one[1:]))


def uses(bench: Common) -> None:
    """Cells that are one call of a typed function each, in sandboxes of their own."""
    if not knows(bench, "catalog", "uses"):
        return
    text = ""
    for number in range(2 if bench.quick else 20):
        text += f'[cells.c{number}]\nuses = "python:./typed.py:add"\nparams = {{ a = {number} }}\n'
    wall, whole = walls(bench, bench.project("uses", text, {"typed.py": ADD}))
    bench.row("uses", "a typed call, to its end", wall, 2.5)
    bench.row("uses", "a typed call, in all", whole)


def session(bench: Common) -> None:
    """Python cells of one session, one after the other in a live interpreter."""
    if not knows(bench, "session", "session"):
        return
    text = "[cells.c0]\nlang = \"python\"\nsession = \"s\"\ncode = 'x = 0'\n"
    for number in range(1, 3 if bench.quick else 100):
        text += f"[cells.c{number}]\nlang = \"python\"\nsession = \"s\"\ncode = 'x += {number}'\n"
    wall, whole = walls(bench, bench.project("session", text))
    bench.row("session", "a cell of a live session, to its end", wall, 0.1)
    bench.row("session", "a cell of a live session, in all", whole)
    trip = bench.peer("ipykernel", 20 if bench.quick else 300)
    if trip is not None:
        bench.row("session", "ipykernel, a round trip", trip)
        bench.ratio("session", "to its end / ipykernel", wall / trip, 1 / 80)
    count = 200 if bench.quick else 10_000
    ours = {}
    for kind in ("bare", "handed"):
        text = ""
        for number in range(count):
            text += f'[cells.c{number}]\nlang = "python"\nsession = "s"\n'
            if kind == "handed":
                text += 'outputs = { x = "int" }\n'
                text += f'inputs = {{ a = "c{number - 100}.x" }}\n' if number >= 100 else ""
            text += f"code = 'x = {number}'\n"
        project = bench.project(f"session-{kind}", text)
        subjects = {kind: partial(bench.polyloom, project, "run", "-q", "-F")}
        took = in_turn(1 if bench.quick else 3, subjects)[kind]
        ours[kind] = took.seconds / count * 1e3
    bench.row("session", f"a cell of {count:,}, whole command", ours["bare"])
    bench.row("session", "the same, each giving and taking a number", ours["handed"])
    for name, what, target in [("ray", "Ray", 0.1), ("dask", "Dask's threads", 0.5)]:
        beside = bench.peer(name, count)
        if beside is not None:
            bench.row("session", f"{what}, a task of {count:,}", beside)
            bench.ratio("session", f"a cell of {count:,} / {what}", ours["bare"] / beside, target)
