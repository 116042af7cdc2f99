"""The executor of the golden conversations: `protocol/vectors/README.md` has its language."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Optional

from polyloom_sdk import About, Context, Diagnostic, Exec, Executor, Failure

FEATURES = ("cancel.soft", "display", "progress", "session", "snapshot", "catalog")


class Golden(Executor):
    """Its cells are lines of words."""

    def __init__(self) -> None:
        self.kept = ""
        self.snapshots: dict[str, str] = {}

    def describe(self) -> About:
        return About("golden", "1", FEATURES, "golden 1")

    def exec(self, cx: Context, exec: Exec) -> None:
        failure: Optional[Failure] = None
        try:
            # To be stopped is its own business: in a line that waits, and nowhere else.
            with cx.shielded():
                try:
                    self.run(cx, exec)
                except Failure as error:
                    failure = error
        except KeyboardInterrupt:
            pass
        if failure is not None:
            raise failure

    def run(self, cx: Context, exec: Exec) -> None:
        """Run the lines."""
        for line, words in enumerate(exec.source.splitlines(), 1):
            word, _, rest = words.partition(" ")
            first, _, last = rest.partition(" ")
            if word == "log":
                cx.log(last, first)
            elif word == "progress":
                cx.progress(None if first == "-" else float(first), last)
            elif word == "display":
                (cx.display_html if first == "text/html" else cx.display_text)(last)
            elif word == "artifact":
                cx.artifact(first, last)
            elif word == "warn":
                column, _, text = last.partition(" ")
                cx.diagnostic(Diagnostic(text, "warning", line=int(first), col=int(column)))
            elif word == "read" and rest in exec.inputs:
                cx.log(cx.input(rest))
            elif word == "read":
                raise Failure.at_line(line, f"there is no input `{rest}`")
            elif word == "argv":
                cx.log(", ".join(exec.argv))
            elif word == "seed":
                cx.log("none" if exec.seed is None else exec.seed)
            elif word == "keep":
                self.kept = rest
                cx.session_changed()
            elif word == "kept":
                cx.log(self.kept)
            elif word == "wait":
                while not cx.cancelled:
                    time.sleep(0.001)
                raise Failure.at_line(line, "stopped")
            elif word == "fail":
                raise Failure.at_line(line, rest)
            elif word:
                raise Failure.at_line(line, f"`{word}` is no word")

    def reset(self) -> None:
        self.kept = ""

    def snapshot(self, name: str) -> None:
        self.snapshots[name] = self.kept

    def restore(self, name: str) -> None:
        self.kept = self.snapshots.get(name, "")

    def catalog(self) -> Sequence[dict[str, Any]]:
        keep = {"name": "keep", "takes": ["str"], "keeps": True, "most": None, "cost": 0.5}
        return [{**keep, "rank": -7}, {"name": "kept"}]
