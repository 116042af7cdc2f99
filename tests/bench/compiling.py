"""Compiled cells, first time and again, beside the bare compilers."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cells import flow, spawned, walls
from common import Common, Row, Took, in_turn, took

HELLO_C = """#include <stdio.h>
int main(void) { puts("SERIAL"); return 0; }
"""

HELLO_CPP = """#include <iostream>
int main() { std::cout << "SERIAL" << std::endl; }
"""


def compiling(bench: Common) -> None:
    """A compiled cell, first time and cached, beside the bare compiler on the same code.

    Ours is from the cell's first `step.started` to its `step.finished`: sandboxes, compiler,
    linker, the program, what is kept. The compiler is that of the bare command.
    """
    serial = 0
    folder = bench.folder / "compile"
    folder.mkdir()

    def bare(argv: list[str], extension: str, text: str) -> Took:
        nonlocal serial
        serial += 1
        code, program = folder / f"bare.{extension}", folder / f"bare-{extension}"
        code.write_text(text.replace("SERIAL", str(serial)))
        start = time.perf_counter()
        took([*argv, "-O1", str(code), "-o", str(program)], folder, bench.env)
        took([str(program)], folder, bench.env)
        return Took(time.perf_counter() - start, 0)

    def cell(lang: str, text: str, new: bool, whole: bool) -> Took:
        nonlocal serial
        project = folder / lang
        project.mkdir(exist_ok=True)
        if new:
            serial += 1
            code = text.replace("SERIAL", str(serial))
            cells = f"[cells.a]\nlang = \"{lang}\"\ncode = '''\n{code}\n'''\n"
            (project / "polyloom.toml").write_text(cells)
        events = project / "events.jsonl"
        run = bench.polyloom(project, "run", "-q", "-F", "--events", str(events))
        return run if whole else Took(cell_time(events), 0)

    subjects: dict[str, Callable[[], Took]] = {}
    for lang, program, text in (("c", "gcc", HELLO_C), ("cpp", "g++", HELLO_CPP)):
        if shutil.which(program) is None:
            bench.note(f"no {program}: nothing of `{lang}` is compiled")
            continue
        # The programs are found, and what codes begin with is compiled ahead.
        cell(lang, text, True, False)
        subjects[program] = partial(bare, [program], lang, text)
        if shutil.which("mold"):
            subjects[f"{program} mold"] = partial(bare, [program, "-fuse-ld=mold"], lang, text)
        subjects[f"{lang} first"] = partial(cell, lang, text, True, False)
        subjects[f"{lang} whole"] = partial(cell, lang, text, True, True)
        subjects[f"{lang} cached"] = partial(cell, lang, text, False, False)
        alone = [str(folder / f"bare-{lang}")]
        subjects[f"{lang} program"] = partial(took, alone, folder, bench.env)
    if shutil.which("tcc"):
        cell("tcc", HELLO_C, True, False)
        subjects["tcc first"] = partial(cell, "tcc", HELLO_C, True, False)
    else:
        bench.note("no tcc: its path is left out")
    repeat = 1 if bench.quick else 2 * bench.repeat + 1
    times = {name: t.seconds * 1e3 for name, t in in_turn(repeat, subjects).items()}

    def row(what: str, value: float, unit: str = "ms", target: float | None = None) -> None:
        bench.rows.append(Row("compile", what, value, unit, target, repeat))

    for lang, program, title, target, text in (
        ("c", "gcc", "C", 55, HELLO_C),
        ("cpp", "g++", "C++ with <iostream>", 150, HELLO_CPP),
    ):
        if program not in times:
            continue
        row(f"{program}, and its program", times[program])
        if f"{program} mold" in times:
            row(f"{program} with mold, and its program", times[f"{program} mold"])
        first = times[f"{lang} first"]
        row(f"{title}, first time", first, "ms", target)
        if lang == "cpp":
            row(f"{title}, first time / {program}", first / times[program], "x", 1 / 3)
        row(f"{title}, first time: `polyloom run`", times[f"{lang} whole"])
        bare_ms, cached = times[f"{lang} program"], times[f"{lang} cached"]
        row("its program alone", bare_ms)
        row(f"{title}, compiled before", cached, "ms", bare_ms + 2.5)
        # In a row they have sandboxes that wait, as cells mostly do.
        cells = flow(bench, lang, text.replace("SERIAL", "NUMBER"))
        in_a_row, _ = walls(bench, bench.project(f"{lang}-row", cells))
        alone = spawned(bench, [str(folder / f"bare-{lang}")])
        row("its program alone, spawned", alone)
        row(f"{title}, compiled before, in a row, to its end", in_a_row, "ms", alone + 1)
    if "tcc first" in times:
        row("C by tcc, first time", times["tcc first"], "ms", 10)


def cell_time(events: Path) -> float:
    """Seconds from the only cell's first start to its end."""
    records = [json.loads(line) for line in events.read_text().splitlines()]
    started = [record["at_ms"] for record in records if record["event"] == "step.started"]
    ended = [record for record in records if record["event"] == "step.finished"]
    if not started or [record["meta"]["outcome"] for record in ended] != ["ok"]:
        raise SystemExit("error: the cell of `compile` did not run")
    return float(ended[0]["at_ms"] - started[0]) / 1e3
