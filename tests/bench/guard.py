#!/usr/bin/env python3
"""Counts what polyloom asks of the kernel, and its instructions, and compares them with limits.

Times are noisy, counts are not: what doubles a count is found on a busy machine, too. Knows the
command line and nothing of the inside. README.md says how to read it.

    python3 tests/bench/guard.py                  system calls, by strace; of a release build also
                                                  instructions, by valgrind
    python3 tests/bench/guard.py --quick          system calls alone
    python3 tests/bench/guard.py --update         writes what was counted to limits.json
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LIMITS = HERE / "limits.json"
# A count may be so much larger than it was; a machine has other tools and other libraries.
TOLERANCE = 0.2
# How often these happen is a matter of luck and of the allocator; `fcntl` is asked of every
# descriptor that a build with debug assertions closes.
LUCK = {
    "brk", "clock_nanosleep", "epoll_pwait", "epoll_wait", "fcntl", "futex", "getpid", "gettid",
    "madvise", "mmap", "mprotect", "mremap", "munmap", "nanosleep", "poll", "ppoll", "restart_syscall",
    "rt_sigprocmask", "rt_sigreturn", "sched_yield", "sigaltstack", "wait4", "waitid",
}  # fmt: skip
CELLS = 1000

Counts = dict[str, int]


class Guard:
    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary, self.folder = str(binary), folder
        self.env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "POLYLOOM_STORE": str(folder / "store"),
            "NO_COLOR": "1",
        }

    def project(self, name: str, cells: int) -> Path:
        """A flow of shell cells that has run, and then had nothing to do."""
        project = self.folder / name
        project.mkdir()
        text = [f'[flow]\nname = "{name}"\n']
        for i in range(cells):
            text.append(f'[cells.c{i}]\nlang = "sh"\noutputs = {{ x = "int" }}\n')
            text.append(f"code = 'echo {i} > $OUT/x'\n\n")
        (project / "polyloom.toml").write_text("".join(text))
        self.call([self.binary, "run", "-q"], project)
        return project

    def call(self, argv: list[str], cwd: Path) -> str:
        done = subprocess.run(
            argv,
            check=False,
            cwd=cwd,
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode != 0:
            raise SystemExit(f"error: {' '.join(argv)}: {done.returncode}\n{done.stderr[-2000:]}")
        return done.stderr

    def system_calls(self, argv: list[str], cwd: Path) -> int:
        """Those of the host and of all it starts."""
        table = self.folder / "strace"
        self.call(["strace", "-f", "-c", "-o", str(table), self.binary, *argv], cwd)
        count = 0
        for line in table.read_text().splitlines():
            words = line.split()
            if len(words) >= 5 and words[3].isdigit() and words[-1] not in LUCK | {"total"}:
                count += int(words[3])
        return count

    def instructions(self, argv: list[str], cwd: Path) -> int:
        """Those of the host alone: what is in a sandbox can't be followed."""
        valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no"]
        valgrind += ["--cachegrind-out-file=/dev/null", "--trace-children=no"]
        said = self.call([*valgrind, self.binary, *argv], cwd)
        found = re.search(r"I\s+refs:\s+([0-9,]+)", said)
        if found is None:
            raise SystemExit(f"error: valgrind said nothing of instructions\n{said[-2000:]}")
        return int(found[1].replace(",", ""))

    def count(self, with_instructions: bool) -> dict[str, Counts]:
        ten, one = self.project("ten", 10), self.project("one", 1)
        many = self.project("many", CELLS)
        # What was written just now vouches for nothing yet.
        time.sleep(2.1)
        cases = {
            "--version": (["--version"], one),
            "check of 10 cells": (["check"], ten),
            "no-op of 1 cell, planned": (["run", "-q"], one),
            "no-op of 1 cell": (["run", "-q"], one),
            f"no-op of {CELLS} cells, planned": (["run", "-q"], many),
            f"no-op of {CELLS} cells": (["run", "-q"], many),
            "cold shell cell": (["run", "-q", "-F"], one),
        }
        counts = {"system calls": {case: self.system_calls(*how) for case, how in cases.items()}}
        if with_instructions:
            # What was known of the flows is not what is known of them under valgrind.
            time.sleep(2.1)
            closed = {case: how for case, how in cases.items() if case != "cold shell cell"}
            found = {case: self.instructions(*how) for case, how in closed.items()}
            counts["instructions"] = found
        return counts


def compare(found: dict[str, Counts], limits: dict[str, Counts]) -> tuple[list[str], int]:
    """Lines for people, and how many counts are too large."""
    lines, bad = [], 0
    for kind, counts in found.items():
        for case, count in counts.items():
            limit = limits.get(kind, {}).get(case)
            if limit is None:
                lines.append(f"{kind:<14}{case:<32}{count:>14,}  no limit yet: --update")
                continue
            over = count > limit * (1 + TOLERANCE)
            bad += over
            word = "too many" if over else "fewer: --update" if count < limit * 0.8 else "ok"
            lines.append(f"{kind:<14}{case:<32}{count:>14,} of {limit:>12,}  {word}")
    return lines, bad


def main() -> int:
    about = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    about.add_argument("--quick", action="store_true", help="no instructions")
    about.add_argument("--update", action="store_true", help="take what is counted as the limit")
    about.add_argument("--binary", type=Path, help="target/release/polyloom, else $POLYLOOM_BIN")
    args = about.parse_args()
    release = ROOT / "target" / "release" / "polyloom"
    binary: Path = args.binary or Path(os.environ.get("POLYLOOM_BIN", release))
    if not binary.exists():
        print(f"error: there is no `{binary}`: cargo build --release -p polyloom", file=sys.stderr)
        return 3
    if shutil.which("strace") is None:
        print("note: strace is not installed: nothing is counted")
        return 0
    binary = binary.resolve()
    # Only an optimised build has the instructions that are meant.
    optimised = binary.parent.name == "release" and not args.quick
    if optimised and shutil.which("valgrind") is None:
        print("note: valgrind is not installed: instructions are not counted")
        optimised = False
    limits: dict[str, Counts] = json.loads(LIMITS.read_text()) if LIMITS.exists() else {}
    with tempfile.TemporaryDirectory(prefix="polyloom-guard-") as folder:
        found = Guard(binary, Path(folder)).count(optimised)
    lines, bad = compare(found, limits)
    print("\n".join(lines))
    if args.update:
        LIMITS.write_text(json.dumps({**limits, **found}, indent=2) + "\n")
        return 0
    if bad:
        print(f"error: {bad} of the counts are more than {TOLERANCE:.0%} over their limit")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
