"""Executors for the tests of the SDK."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyloom_sdk import Context, Diagnostic, Exec, Executor, Failure, executor


@executor("plain", "2")
def plain(cx: Context, exec: Exec) -> None:
    """Run the cell as Python, with `cx` and `exec` in it."""
    code = compile(exec.source, str(exec.code), "exec")
    scope: dict[str, Any] = {"cx": cx, "exec": exec, "Failure": Failure, "Diagnostic": Diagnostic}
    eval(code, scope)


@executor("faulty", "1")
def faulty(cx: Context, exec: Exec) -> None:
    """Has mistakes of its own, one for each word."""
    if exec.source == "add":
        _ = exec.cell + 1  # type: ignore[operator]
    elif exec.source == "read":
        json.loads("{")
    elif exec.source == "leave":
        sys.exit(4)
    else:
        eval(exec.source)


class Counter(Executor):
    """Remembers how many cells it ran, and what it was asked to prepare."""

    id = "counter"
    version = "1"

    def __init__(self) -> None:
        self.count = 0
        self.prepared: list[str] = []

    def exec(self, cx: Context, exec: Exec) -> None:
        self.count += 1
        cx.session_changed()
        cx.extra("count", self.count)
        cx.extra("prepared", self.prepared)

    def prepare(self, code: Path) -> None:
        self.prepared.append(code.name)
        if code.name == "bad":
            raise ValueError("nobody hears of this")

    def reset(self) -> None:
        self.count = 0

    def catalog(self) -> Sequence[dict[str, Any]]:
        return [{"name": "count", "doc": "how many"}]


@executor("stubborn", "1")
def stubborn(cx: Context, exec: Exec) -> None:
    """Ends in its own time."""
    with cx.shielded():
        print("on", flush=True)
        while not cx.cancelled:
            time.sleep(0.01)
        print("tidy", flush=True)


@dataclass
class Meta:
    """An ExecMeta of before."""

    stdout: str
    stderr: str
    exit_code: int
    diagnostics: list[Any]


def old(code: str, g: dict[str, Any]) -> Any:
    """What an executor was before there was an SDK."""
    print("seen", file=sys.stderr)
    if code == "meta":
        return True, {"stdout": "out\n", "stderr": "err\n", "exit_code": 0, "mood": "fine"}
    if code == "object":
        found = {"severity": "warning", "message": "odd", "line": 2, "col": -1}
        return False, Meta("", "why\n", 9, [found, None, {"message": 3}])
    if code == "nothing":
        return None
    if code == "fails":
        return False, "it went wrong"
    g["y"] = g.get("x", 0) + 1
    return True, code.upper()


nothing = 3
