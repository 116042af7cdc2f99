"""What cells of one session share, and the messages about it.

Knows the namespace and the protocol's words for it. Which process that is, and how it is kept, is
`_snapshots`' business; what is done at a prompt is `_prompt`'s.
"""

from __future__ import annotations

import linecache
import sys

from polyloom import _frames as wire
from polyloom._leavings import Leavings
from polyloom._snapshots import Refused, Snapshots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    from polyloom._worker import Worker


class Session:
    """The state that execs leave to each other."""

    def __init__(self, worker: Worker) -> None:
        self.snapshots = Snapshots()
        self.leavings = Leavings()
        self.module: Any = type(sys)("__main__")
        self.cells: dict[str, str] = {}
        self._worker = worker

    def begin(self) -> bool:
        """Go on in a process of the session's. False in one that begins it anew."""
        self.snapshots.begin()
        rest = self.snapshots.woken()
        self._worker.take_over(rest)
        return rest is None

    def remember(self, path: str, source: Union[str, bytes], cell: str) -> None:
        """Keep code for tracebacks: its file may be gone when a later exec fails in it."""
        self.cells[path] = cell
        text = source if isinstance(source, str) else source.decode("utf-8", "replace")
        linecache.cache[path] = (len(text), None, text.splitlines(True), path)

    def heed(self, frame: wire.Frame) -> None:
        """Act on a message between execs."""
        name = str(frame.body.get("name"))
        if frame.kind == wire.COMPLETE:
            from polyloom._prompt import complete

            answer = complete(self.module.__dict__, frame.body)
            self._worker.send(wire.COMPLETIONS, 0, answer)
        elif frame.kind in (wire.SAVE, wire.LOAD):
            from polyloom import _durable

            saving = frame.kind == wire.SAVE
            do, key = (_durable.save, "out") if saving else (_durable.load, "path")
            sys.modules["__main__"] = self.module
            answer = do(self.module.__dict__, str(frame.body.get(key)))
            self._worker.send(wire.SAVED, 0, answer)
        elif frame.kind == wire.RESET:
            try:
                self.snapshots.wake(None, self._worker.hand_over())
            except Refused as error:
                # It was to be forgotten, and goes on: what follows would be wrong.
                raise wire.ProtocolError("internal", f"no reset: {error}") from error
        else:
            reason = self._keep(frame.kind, name)
            if "kept" in self._worker.features:
                answer = {"name": name, "ok": not reason, "reason": reason}
                self._worker.send(wire.KEPT, 0, answer)

    def _keep(self, kind: int, name: str) -> str:
        if len(name.encode()) > 255:
            return "a name of a snapshot has at most 255 bytes"
        try:
            if kind == wire.RESTORE:
                self.snapshots.wake(name, self._worker.hand_over())
            elif kind == wire.FORGET:
                self.snapshots.drop(name)
            else:
                self.snapshots.keep(name)
                self._worker.take_over(self.snapshots.woken())
            return ""
        except Refused as error:
            return str(error)
