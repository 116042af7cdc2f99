"""Single cells, each in a sandbox of its own, beside the least that a bare program can do."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from common import PARTS, Common, Row, in_turn, took

# Forks itself as often as told, each time for the least that a cell does; prints the median in ms.
ZYGOTE = """
import os, statistics, sys, time
MODULES
exec(compile("x = 1", "cell", "exec"), {})
found = []
for _ in range(int(sys.argv[1])):
    start = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        exec(compile("x = 1", "cell", "exec"), {})
        os._exit(0)
    os.waitpid(pid, 0)
    found.append(time.perf_counter() - start)
print(statistics.median(found) * 1e3)
"""

WAT = """(module (memory (export "memory") 1) (func (export "_start")))"""


def spawned(bench: Common, argv: list[str]) -> float:
    """The median time of a program from its start to its end, in ms, without what Python's own
    `subprocess` adds."""
    found = []
    silent = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    for _ in range(3 if bench.quick else 5 * bench.repeat):
        start = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, bench.env, file_actions=silent)
        _, status = os.waitpid(pid, 0)
        found.append(time.perf_counter() - start)
        if status != 0:
            raise SystemExit(f"error: {' '.join(argv)}: status {status}")
    return statistics.median(found) * 1e3


def forked(bench: Common, python: str, modules: str) -> float:
    """A bare fork of an interpreter that has all loaded, in ms."""
    argv = [python, "-c", ZYGOTE.replace("MODULES", modules), "5" if bench.quick else "100"]
    return float(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def confined(bench: Common, argv: list[str]) -> float | None:
    """The same under bubblewrap, with every namespace of its own."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        note = "bwrap is not installed: nothing to compare a sandbox with"
        if note not in bench.notes:
            bench.note(note)
        return None
    how = ["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev"]
    return spawned(bench, [bwrap, *how, "--proc", "/proc", "--", *argv])


def walls(
    bench: Common, project: Path, *argv: str, venv: Path | None = None
) -> tuple[float, float]:
    """Medians over a flow's cells, one after the other: to the end of the process, and in all."""
    bench.ran(project, *argv, venv=venv)
    cells = []
    for _ in range(1 if bench.quick else max(2, bench.repeat // 2)):
        cells += bench.ran(project, "-F", "-j", "1", *argv, venv=venv)
    parts = {part: statistics.median(cell.times[part] for cell in cells) for part in PARTS}
    told = ", ".join(f"{part[:-3]} {ms:.2f}" for part, ms in parts.items() if ms >= 0.005)
    bench.note(f"the parts of a cell of `{project.name}`, in ms: {told}")
    return (
        statistics.median(cell.wall for cell in cells),
        statistics.median(cell.whole for cell in cells),
    )


def flow(bench: Common, lang: str, code: str) -> str:
    """Cells that differ in a number."""
    count = 2 if bench.quick else 20
    text = ""
    for i in range(count):
        text += f"[cells.c{i}]\nlang = \"{lang}\"\ncode = '''{code.replace('NUMBER', str(i))}'''\n"
    return text


def python(bench: Common) -> None:
    """A Python cell: the least there is to it, and with numpy."""
    interpreter = str(bench.python)
    bare = spawned(bench, [interpreter, "-I", "-S", "-c", "x = 1"])
    bench.row("python", "floor: python -I -S, cold", bare)
    fork = forked(bench, interpreter, "")
    bench.row("python", "floor: a fork of a loaded interpreter", fork)
    beside = confined(bench, [interpreter, "-I", "-S", "-c", "x = 1"])
    if beside is not None:
        bench.row("python", "Python under bwrap", beside)
    wall, whole = walls(bench, bench.project("python", flow(bench, "python", "x = NUMBER")))
    bench.row("python", "a Python cell, to its end", wall, 2.5)
    bench.row("python", "a Python cell, in all", whole)
    bench.ratio("python", "to its end / cold floor", wall / bare)
    venv = bench.venv("numpy")
    if venv is None:
        return
    with_numpy = str(venv / "bin" / "python")
    load = spawned(bench, [with_numpy, "-c", "import numpy"])
    bench.row("numpy", "floor: python -c 'import numpy'", load)
    fork = forked(bench, with_numpy, "import numpy")
    bench.row("numpy", "floor: a fork of one that has numpy", fork)
    code = "import numpy as np\nx = float(np.arange(NUMBER + 1).sum())"
    wall, _ = walls(bench, bench.project("numpy", flow(bench, "python", code)), venv=venv)
    bench.row("numpy", "a Python cell that imports numpy, to its end", wall, 3.5)
    bench.ratio("numpy", "to its end / import", wall / load)


def static(bench: Common) -> None:
    """A static binary in the whole sandbox."""
    cc = shutil.which("cc") or shutil.which("gcc")
    if cc is None:
        bench.note("no C compiler: `static` is left out")
        return
    folder = bench.folder / "executors" / "still"
    folder.mkdir(parents=True)
    (folder / "still.c").write_text("int main(void) { return 0; }\n")
    program = folder / "still"
    took([cc, "-O1", "-static", "-o", str(program), str(folder / "still.c")], folder, bench.env)
    (folder / "executor.toml").write_text(
        'id = "still"\nversion = "1"\ntitle = "Still"\nkind = "command"\n'
        '[run]\nargv = ["{dir}/still"]\n'
    )
    floor = spawned(bench, [str(program)])
    bench.row("static", "floor: posix_spawn", floor)
    beside = confined(bench, [str(program)])
    if beside is not None:
        bench.row("static", "under bwrap --unshare-all", beside)
    project = bench.project("static", flow(bench, "still", "NUMBER"))
    wall, whole = walls(bench, project, "--executor-dir", str(folder.parent))
    bench.row("static", "a static binary, spawn to exit", wall, 1.6)
    bench.row("static", "a static binary, in all", whole)
    if beside is not None:
        bench.ratio("static", "spawn to exit / bwrap", wall / beside, 1 / 3)


def wasm(bench: Common) -> None:
    """A module whose native code is in the store."""
    runner = shutil.which("wasmtime")
    if runner is not None:
        module = bench.folder / "still.wat"
        module.write_text(WAT)
        bench.row("wasm", "wasmtime", spawned(bench, [runner, "run", str(module)]))
    else:
        bench.note("wasmtime is not installed: nothing to compare `wasm` with")
    wall, whole = walls(bench, bench.project("wasm", flow(bench, "wasm", WAT + "\n;; NUMBER")))
    bench.row("wasm", "a WebAssembly cell, to its end", wall, 7.2)
    bench.row("wasm", "a WebAssembly cell, in all", whole)


def node(bench: Common) -> None:
    """JavaScript cells in a row, each of which works for a while: the next one's worker starts
    meanwhile."""
    program = shutil.which("node") or shutil.which("nodejs")
    if program is None:
        bench.note("node is not installed: `node` is left out")
        return
    work = "for (const end = performance.now() + 100; performance.now() < end;);"
    floor = spawned(bench, [program, "-e", work])
    bench.row("node", "floor: node -e, at work for 100 ms", floor)
    project = bench.project("javascript", flow(bench, "javascript", f"{work} // NUMBER"))
    wall, whole = walls(bench, project)
    bench.row("node", "a JavaScript cell with the same work, to its end", wall)
    bench.row("node", "a JavaScript cell with the same work, in all", whole)
    bench.ratio("node", "to its end / cold floor", wall / floor)


def java(bench: Common) -> None:
    """A Java cell that was compiled before; and at work, while the next machine starts."""
    compiler, runner = shutil.which("javac"), shutil.which("java")
    if compiler is None or runner is None:
        bench.note("there is no JDK: `java` is left out")
        return
    folder = bench.folder / "java"
    folder.mkdir()
    code = "class Main { public static void main(String[] a) { System.out.print(NUMBER); } }"
    (folder / "Main.java").write_text(code.replace("NUMBER", "0"))
    took([compiler, "-d", str(folder), str(folder / "Main.java")], folder, bench.env)
    how = ["-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
    floor = spawned(bench, [runner, *how, "-cp", str(folder), "Main"])
    bench.row("java", "floor: java, a class that prints a number", floor)
    wall, whole = walls(bench, bench.project("java-cells", flow(bench, "java", code)))
    bench.row("java", "a Java cell, compiled before, to its end", wall)
    bench.row("java", "a Java cell, compiled before, in all", whole)
    bench.ratio("java", "to its end / floor", wall / floor)
    work = "long end = System.nanoTime() + 100_000_000L; while (System.nanoTime() < end);"
    code = code.replace("{ System", f"{{ {work} System")
    wall, whole = walls(bench, bench.project("java-work", flow(bench, "java", code)))
    bench.row("java", "a Java cell at work for 100 ms, to its end", wall)
    bench.row("java", "a Java cell at work for 100 ms, in all", whole)


def again(bench: Common) -> None:
    """An edit, and a new process that runs it."""
    project = bench.project("again", "[cells.a]\nlang = 'python'\nfile = 'a.py'\n", {"a.py": ""})
    turn = 0

    def edited() -> float:
        nonlocal turn
        turn += 1
        (project / "a.py").write_text(f"print({turn})\n")
        return bench.polyloom(project, "run", "-q").seconds

    edited()
    found = [edited() for _ in range(1 if bench.quick else 2 * bench.repeat)]
    bench.row("again", "an edit, and `polyloom run` of it", statistics.median(found) * 1e3, 100.0)
    bench.polyloom(project, "daemon", "start")
    try:
        # It learns what is wanted from a run, and has it waiting some time after that.
        for _ in range(2):
            edited()
            time.sleep(0.5)
        found = []
        for _ in range(1 if bench.quick else 4 * bench.repeat):
            time.sleep(0.3)
            found.append(edited())
    finally:
        bench.polyloom(project, "daemon", "stop")
    label = "the same with a daemon that is idle"
    bench.row("again", label, statistics.median(found) * 1e3, 20.0)


def cold(bench: Common) -> None:
    """Many trivial cells, none of which ever ran: the share of one in the whole process."""
    count = 20 if bench.quick else 2_000
    ninja = bench.folder / "make"
    ninja.mkdir()
    rules = [f"all: {' '.join(f'c{i}' for i in range(count))}\n"]
    rules += [f"c{i}:\n\t@sh -c 'echo {i} > $@'\n" for i in range(count)]
    (ninja / "Makefile").write_text("".join(rules))
    jobs = f"-j{os.cpu_count() or 1}"

    def fresh(lang: str, code: str) -> None:
        text = ""
        for i in range(count):
            edge = f'inputs = {{ a = "c{i - 100}.x" }}\n' if i >= 100 else ""
            text += f'[cells.c{i}]\nlang = "{lang}"\noutputs = {{ x = "int" }}\n{edge}'
            text += f"code = '{code.replace('NUMBER', str(i))}'\n"
        project = bench.project(f"cold-{lang}", text)
        subjects = {"ours": lambda: bench.polyloom(project, "run", "-q", "-F")}
        ours = in_turn(1 if bench.quick else 3, subjects)["ours"]
        target = 1.1 if lang == "python" else None
        bench.row("cold", f"{lang}, a cell (of {count})", ours.seconds / count * 1e3, target)
        bench.rows[-1].runs = 1 if bench.quick else 3
        if lang == "python":
            beside = bench.peer("ray", count)
            if beside is not None:
                bench.row("cold", "Ray, a task, no sandbox", beside)
                bench.ratio("cold", "python / Ray", ours.seconds / count * 1e3 / beside, 1.0)
            megabytes = ours.memory / 1e6
            bench.rows.append(
                Row("cold", f"the host's memory, {count} cells", megabytes, "MB", 100)
            )

    if shutil.which("make"):
        made = in_turn(
            1 if bench.quick else 3,
            {"make": lambda: took(["make", "-B", "-s", jobs], ninja, bench.env)},
        )["make"]
        bench.row("cold", "make, a target, no sandbox", made.seconds / count * 1e3)
    else:
        bench.note("make is not installed: nothing to compare `cold` with")
    fresh("sh", "echo NUMBER > $OUT/x")
    fresh("python", "x = NUMBER")
