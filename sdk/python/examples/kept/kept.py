"""A class with every hook: cells are Python in one namespace, kept from cell to cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import CodeType
from typing import Any, Optional

from polyloom_sdk import Context, Exec, Executor, serve


class Kept(Executor):
    """The namespace, and the cell that was compiled ahead."""

    id = "kept"
    version = "1"

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.ready: Optional[tuple[Path, bytes, CodeType]] = None

    def prepare(self, code: Path) -> None:
        """Compile a cell ahead of its run."""
        self.ready = self._compiled(code)

    def exec(self, cx: Context, exec: Exec) -> None:
        """Run one cell. What it raises is told with its line: the code has the name of its file."""
        self.names.update(cx.inputs, cx=cx, argv=exec.argv)
        eval(self._compiled(exec.code)[2], self.names)
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

    def catalog(self) -> Sequence[dict[str, Any]]:
        """The names that there are."""
        return [{"name": name} for name in sorted(self.names) if not name.startswith("_")]

    def _compiled(self, code: Path) -> tuple[Path, bytes, CodeType]:
        text = code.read_bytes()
        if self.ready is not None and self.ready[:2] == (code, text):
            return self.ready
        return code, text, compile(text, str(code), "exec", dont_inherit=True)


if __name__ == "__main__":
    serve(Kept)
