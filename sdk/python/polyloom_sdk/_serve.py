"""Serves the host: each Exec is one call of the executor, whatever comes of it.

Knows how the SDK's names and the worker's fit together. The conversation, signals and forks are
those of Python cells: `polyloom._worker`, `polyloom._execution`.
"""

from __future__ import annotations

import platform
import sys
from _thread import get_ident
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Optional, Union

from polyloom import PortError
from polyloom import _frames as wire
from polyloom._execution import Execution
from polyloom._worker import Worker, main
from polyloom_sdk._context import Context, Exec, Input
from polyloom_sdk._executor import Executor
from polyloom_sdk._failure import Failure
from polyloom_sdk._functions import Call, Function

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Run(Execution):
    """One cell's run by an executor."""

    _worker: Server

    def __init__(self, worker: Server, frame: wire.Frame) -> None:
        super().__init__(worker, frame)
        self.deadline_ms: Optional[int] = frame.body.get("deadline_ms")
        self.extras: dict[str, Any] = {}
        self.session_changed = False

    def run(self) -> tuple[bool, dict[str, Any]]:
        """Run the cell: whether it went well, and Done's extras."""
        ok, _ = super().run()
        npy = sys.modules.get("polyloom._npy")
        if npy is not None:
            npy.drop_unused()
        # That it was cancelled the host knows; extras are the executor's own.
        return ok, self.extras

    def look(self) -> None:
        """Take note of what the host said meanwhile."""
        self._worker.look()

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Keep an interrupt away as long as this lasts."""
        with self._worker.uninterrupted():
            yield

    def _run(self) -> None:
        inputs = {
            port: Input(
                slot.get("type") or "any",
                Path(slot["path"]),
                slot.get("encoding") or "raw",
                slot.get("media"),
            )
            for port, slot in self.inputs.items()
        }
        outputs = {port: slot.get("type") or "any" for port, slot in self.outputs.items()}
        call = None
        if self.call is not None:
            call = Call(str(self.call.get("module")), str(self.call.get("object")))
        exec = Exec(
            self.cell,
            Path(self.code),
            inputs,
            outputs,
            Path(self.out),
            tuple(self.argv),
            self.seed,
            self.deadline_ms,
            call,
            self.interactive,
            self.source,
        )
        executor, cx = self._worker.executor, Context(self, exec)
        if call is None:
            executor.exec(cx, exec)
        else:
            executor.call(cx, exec, call)

    def _take(self, module: Any) -> None:
        """What was not written is missing: the host sees that."""

    def _describe(self, error: BaseException) -> dict[str, Any]:
        """What did not come out of the cell's file is the executor's mistake."""
        fields = super()._describe(error)
        if fields.get("line") is None and not isinstance(error, KeyboardInterrupt):
            from polyloom_sdk._fault import told

            message = told(error, self._worker.id)
            if message is not None:
                fields.update(message=message, file=None)
        return fields

    def _fail(self, error: BaseException, quiet: bool) -> None:
        if isinstance(error, PortError):
            error = Failure(str(error))
        if not isinstance(error, Failure):
            return super()._fail(error, quiet)
        # Standard error is the cell's own; whoever runs the cell reads the failure there too.
        if not error.printed:
            print(f"error: {error}", file=sys.stderr)
        self.exit_code = error.exit_code & 0xFF or 1
        self.diagnose(error.diagnostic.fields(self.code))


class Server(Worker):
    """The conversation of one executor."""

    def __init__(
        self,
        connection: wire.Connection,
        executor: Executor,
        offer: Optional[Sequence[str]] = None,
        version: Optional[str] = None,
    ) -> None:
        super().__init__(connection)
        self.executor = executor
        self.id = executor.id
        self._offer = offer
        self._version = version

    def about(self) -> dict[str, Any]:
        """Who speaks."""
        about = self.executor.describe()
        self.id = about.id
        offer = about.features if self._offer is None else self._offer
        return {
            "executor": about.id,
            "version": about.version if self._version is None else self._version,
            "features": [feature for feature in about.features if feature in offer],
            "runtime": about.runtime or f"{platform.python_implementation()} {sys.version}",
        }

    def execution(self, frame: wire.Frame) -> Execution:
        """What runs the cell of an Exec."""
        return Run(self, frame)

    def heed(self, frame: wire.Frame) -> bool:
        """Act on a message between cells."""
        if frame.kind == wire.DESCRIBE:
            offered = self.executor.catalog()
            entries = [it.entry() if isinstance(it, Function) else it for it in offered]
            self.connection.send(wire.CATALOG, 0, {"entries": entries})
        elif frame.kind == wire.RESET:
            self.executor.reset()
        elif frame.kind in (wire.SNAPSHOT, wire.RESTORE, wire.FORGET):
            self._keep(frame.kind, str(frame.body.get("name")))
        elif frame.kind == wire.COMPLETE:
            code = str(frame.body.get("code"))
            cursor = min(int(frame.body.get("cursor") or len(code)), len(code))
            found = self.executor.complete(code, cursor)
            answer = {"start": found.start, "end": cursor, "matches": list(found.matches)}
            self.send(wire.COMPLETIONS, 0, {**answer, "open": found.open})
        elif frame.kind in (wire.SAVE, wire.LOAD):
            saving = frame.kind == wire.SAVE
            do, key = (self.executor.save, "out") if saving else (self.executor.load, "path")
            came = do(Path(str(frame.body.get(key))))
            why = [{"name": name, "why": why} for name, why in came.unsaved.items()]
            self.send(wire.SAVED, 0, {"saved": list(came.saved), "unsaved": why})
        elif frame.kind == wire.PREPARE:
            with suppress(Exception):  # the cell will say what is wrong
                self.executor.prepare(Path(str(frame.body.get("code"))))
        else:
            return super().heed(frame)
        return True

    def needs_session(self, frame: wire.Frame) -> bool:
        """The executor keeps its state itself."""
        return False

    def _keep(self, kind: int, name: str) -> None:
        executor, reason = self.executor, ""
        do = {wire.SNAPSHOT: executor.snapshot, wire.RESTORE: executor.restore}
        try:
            do.get(kind, executor.forget)(name)
        except Exception as error:
            if "kept" not in self.features:
                raise
            reason = str(error) or type(error).__name__
        if "kept" in self.features:
            self.send(wire.KEPT, 0, {"name": name, "ok": not reason, "reason": reason})

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Raise no interrupt in here, but behind it. Other threads have none anyway."""
        main = get_ident() == self._main
        self._uninterruptible += main
        try:
            yield
        finally:
            self._uninterruptible -= main
            if main:
                self._raise_if_interrupted()

    def _report_warnings(self) -> None:
        """A warning is about the executor's code, not the cell's: it stays on standard error."""


def serve(
    executor: Union[Executor, type[Executor]],
    offer: Optional[Sequence[str]] = None,
    version: Optional[str] = None,
) -> NoReturn:
    """Serve the host that started this program until it says goodbye, and exit.

    `offer` bounds the features, where a manifest declares fewer than the executor has; `version` is
    the manifest's, where that has another one.
    """
    made = executor() if isinstance(executor, type) else executor
    sys.exit(main(lambda connection: Server(connection, made, offer, version)))
