"""A class with every hook: cells are Python in one namespace, kept from cell to cell."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import CodeType
from typing import Any, Optional

from polyloom_sdk import Completions, Context, Exec, Executor, Saved, serve


class Kept(Executor):
    """The namespace, and the cell that was compiled ahead."""

    id = "kept"
    version = "1"
    also = ("interactive", "source")

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.ready: Optional[tuple[Path, str, CodeType]] = None

    def prepare(self, code: Path) -> None:
        """Compile a cell ahead of its run."""
        self.ready = self._compiled(code, code.read_text("utf-8"))

    def exec(self, cx: Context, exec: Exec) -> None:
        """Run one cell. What it raises is told with its line: the code has the name of its file."""
        self.names.update(cx.inputs, cx=cx, argv=exec.argv)
        if exec.interactive:
            self._at_prompt(cx, exec)
        else:
            eval(self._compiled(exec.code, exec.source)[2], self.names)
        for port in exec.outputs:
            if port in self.names:
                cx.output(port, self.names[port])
        cx.session_changed()

    def reset(self) -> None:
        """Forget all names."""
        self.names.clear()

    def snapshot(self, name: str) -> None:
        """Keep what the names stand for; what they stand for is not copied."""
        self.snapshots[name] = dict(self.names)

    def restore(self, name: str) -> None:
        """Go back to it."""
        if name not in self.snapshots:
            raise ValueError(f"no snapshot `{name}`")
        self.names = dict(self.snapshots[name])

    def forget(self, name: str) -> None:
        """Drop it."""
        self.snapshots.pop(name, None)

    def complete(self, code: str, cursor: int) -> Completions:
        """The names that begin as what is before the cursor does."""
        found = re.search(r"\w*$", code[:cursor])
        begun = found.group() if found else ""
        names = sorted(name for name in self.names if name.startswith(begun))
        return Completions(cursor - len(begun), names, open=code.count("(") > code.count(")"))

    def save(self, out: Path) -> Saved:
        """Write what JSON has a form for."""
        saved, unsaved = {}, {}
        for name, value in self.names.items():
            if name.startswith("_") or name in ("cx", "argv"):
                continue
            try:
                saved[name] = json.loads(json.dumps(value))
            except TypeError as error:
                unsaved[name] = str(error)
        (out / "names.json").write_text(json.dumps(saved))
        return Saved(list(saved), unsaved)

    def load(self, path: Path) -> Saved:
        """Take them over. What is in the folder may be anybody's: it is read as data."""
        names = json.loads((path / "names.json").read_text())
        self.names.update(names)
        return Saved(list(names))

    def catalog(self) -> Sequence[dict[str, Any]]:
        """The names that there are."""
        return [{"name": name} for name in sorted(self.names) if not name.startswith("_")]

    def _at_prompt(self, cx: Context, exec: Exec) -> None:
        name = str(exec.code)
        body = ast.parse(exec.source, name).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        eval(compile(ast.Module(body, []), name, "exec"), self.names)
        if isinstance(last, ast.Expr):
            cx.display(repr(eval(compile(ast.Expression(last.value), name, "eval"), self.names)))

    def _compiled(self, code: Path, text: str) -> tuple[Path, str, CodeType]:
        if self.ready is not None and self.ready[:2] == (code, text):
            return self.ready
        return code, text, compile(text, str(code), "exec", dont_inherit=True)


if __name__ == "__main__":
    serve(Kept)
