"""One cell's run: its module, inputs and seed before, its outputs or its error after.

Knows what a cell finds around it. How a value is read or written is `_inputs`' and `_outputs`', how
an exception is described `_diagnose`'s; how messages reach the host is the worker's.
"""

from __future__ import annotations

import os
import sys

import polyloom
from polyloom import _frames as wire
from polyloom._shelf import SHELF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from polyloom._worker import Worker


class Execution:
    """One cell's run, and what the public module can do while it lasts."""

    cancelled = False
    interrupted = False
    displayed = 0
    exit_code = 0
    quits = False

    def __init__(self, worker: Worker, frame: wire.Frame) -> None:
        body = frame.body
        self.id = frame.exec_id
        self.cell = str(body.get("cell") or "")
        self.code: str = body["code"]
        self.call: Optional[dict[str, Any]] = body.get("call")
        self.inputs: dict[str, dict[str, Any]] = body.get("inputs") or {}
        self.outputs: dict[str, dict[str, Any]] = body.get("outputs") or {}
        self.out: str = body.get("out") or "/cell/out"
        self.argv: list[str] = body.get("argv") or []
        self.seed: Optional[int] = body.get("seed")
        self.shared: bool = bool(body.get("session"))
        self.interactive: bool = bool(body.get("interactive"))
        self.source: Optional[str] = body.get("source")
        # Nobody can tell what code has changed.
        self.session_changed = self.shared
        self.given: dict[str, Any] = {}
        # Outputs that the message has which tells of the end, where one may.
        told = not self.interactive and "values" in worker.features
        self.values: Optional[dict[str, bytes]] = {} if told else None
        self._worker = worker
        self._pid = os.getpid()

    def run(self) -> tuple[bool, dict[str, Any]]:
        """Run the cell and write its outputs: whether it went well, and Done's extras."""
        ok = False
        try:
            try:
                self._worker.interruptible(True)
                self._run()
                ok = True
            except SystemExit as error:
                self._leave_child(error)
                ok = self._exit(error)
            finally:
                self._worker.interruptible(False)
        except KeyboardInterrupt as error:
            self._leave_child(error)
            self._fail(error, self.cancelled)
        except BaseException as error:
            self._leave_child(error)
            self._fail(error, False)
        self._leave_child(None)
        _flush()
        if not ok and not self.exit_code:
            self.exit_code = 1
        if self.shared:
            self.exit_code = 0  # the worker lives on
        extras: dict[str, Any] = {"cancelled": True} if self.cancelled else {}
        if self.quits:
            extras["quits"] = True
        if not self.shared:
            loaded = SHELF.loaded()
            if loaded:
                extras["loaded"] = loaded
            ahead = SHELF.ahead(loaded)
            if ahead:
                extras["preloaded"] = ahead
        return ok, extras

    def _unfit(self) -> None:
        """Of what was loaded ahead nothing is the cell's: it is to be run again, without."""
        if os.getpid() == self._pid:
            self._worker.interruptible(False)
            self._worker.done(self.id, False, {"afresh": True})
            os._exit(1)

    def _run(self) -> None:
        if self.call is not None:
            return self._call()
        source: Any = self.source
        if source is None:
            with open(self.code, "rb") as file:
                source = file.read()
        elif not self.interactive:
            source = source.encode()  # as a file: its first lines may name an encoding
        module: Any = self._worker.session().module if self.shared else type(sys)("__main__")
        if self.shared:
            self._worker.session().remember(self.code, source, self.cell)
        if self.interactive:
            from polyloom._prompt import compiled

            codes = compiled(source, self.code)
        else:
            codes = [compile(source, self.code, "exec", dont_inherit=True)]
        polyloom.inputs.clear()
        polyloom.seed = self.seed
        module.__file__ = self.code
        module.__builtins__ = sys.modules["builtins"]
        sys.modules["__main__"] = module
        sys.argv[:] = [self.code, *self.argv]
        folder = self.code.rpartition("/")[0]
        if folder not in sys.path:
            # Behind the libraries, since a cell may well be called `json` or `random`.
            sys.path.append(folder)
        if not self.shared:
            SHELF.begin(self.code, self._unfit)
        if self.seed is not None:
            from polyloom._seed import seed_generators

            seed_generators(self.seed)
        if self.inputs:
            from polyloom._inputs import read_input

            for name, slot in self.inputs.items():
                module.__dict__[name] = polyloom.inputs[name] = read_input(name, slot)
        for code in codes:
            exec(code, module.__dict__)
        self._take(module)

    def _call(self) -> None:
        """The cell is one call of a function."""
        from polyloom._call import call

        if not self.shared:
            SHELF.begin(self.code or "/cell/code/", self._unfit)
        if self.seed is not None:
            from polyloom._seed import seed_generators

            seed_generators(self.seed)
        sys.argv[:] = [self.code, *self.argv]
        polyloom.inputs.clear()
        made = call(self)
        self.given = made.given
        try:
            self._take(type(sys)("__main__"))
        except polyloom.PortError as error:
            raise made.error("return", str(error), "output") from error
        if self.given and os.getpid() == self._pid:
            from polyloom._show import show_outputs

            show_outputs(self.given, self.outputs, self.out)

    def _take(self, module: Any) -> None:
        if os.getpid() != self._pid:
            return
        threading = sys.modules.get("threading")
        if threading is not None and not self.shared:
            for thread in threading.enumerate():
                if thread is not threading.current_thread() and not thread.daemon:
                    thread.join()  # as the end of an ordinary program would
        if self.outputs:
            from polyloom._outputs import write_outputs

            variables = {**module.__dict__, **self.given}
            write_outputs(self.outputs, self.out, variables, self.shared, self.values)

    def _exit(self, error: SystemExit) -> bool:
        code = error.code
        self.quits = self.interactive
        if code is None or code == 0:
            self._take(sys.modules["__main__"])
            return True
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
        self.exit_code = code & 0xFF
        self._fail(error, True)
        return False

    def _fail(self, error: BaseException, quiet: bool) -> None:
        from polyloom._diagnose import print_exception

        if not quiet and not isinstance(error, polyloom.PortError):
            print_exception(error, self.code if self.interactive else "")
        told = self._describe(error)
        self.diagnose(told)
        if self.shared:
            from polyloom._diagnose import caller

            called = caller(error, told, self.code, self._worker.session().cells)
            if called is not None:
                self.diagnose(called)

    def _describe(self, error: BaseException) -> dict[str, Any]:
        from polyloom._diagnose import describe

        told = describe(error, self.code, self.cancelled, self.shared)
        if isinstance(error, SystemExit) and self.call is not None:
            name = str(self.call.get("object"))
            told["message"] = f"`{name}` ended the program before it returned ({told['message']})"
        return told

    def _leave_child(self, error: Optional[BaseException]) -> None:
        """A forked child that comes to the end of the cell must not go on as a second worker."""
        if os.getpid() == self._pid:
            return
        code = 0
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is not None:
            from polyloom._diagnose import print_exception

            print_exception(error)
            code = 1
        _flush()
        os._exit(code & 0xFF)

    def diagnose(self, fields: dict[str, Any]) -> None:
        """Send a Diagnostic; fields that are missing are unknown."""
        names = ("severity", "message", "code", "file", "line", "col", "end_line", "end_col")
        body = {name: fields.get(name) for name in names}
        body["message"] = wire_text(str(fields["message"]), 8000)
        self._worker.send_credited(wire.DIAGNOSTIC, self.id, body)

    def log(self, text: str, level: str) -> None:
        """Send Log frames, long text in pieces."""
        size = 15_000  # characters, of up to four bytes each
        for at in range(0, len(text) or 1, size):
            piece = wire_text(text[at : at + size], size)
            self._worker.send_credited(wire.LOG, self.id, {"level": level, "text": piece})

    def progress(self, fraction: Optional[float], text: str) -> None:
        """Send a Progress frame, or none when the host is behind."""
        if "progress" in self._worker.features:
            body = {"fraction": fraction, "text": wire_text(text, 8000)}
            self._worker.send_credited(wire.PROGRESS, self.id, body)

    def can_display(self) -> bool:
        """Whether a Display may be sent."""
        return "display" in self._worker.features

    def display(self, media: str, data: bytes) -> None:
        """Send a Display frame, after what was printed before it."""
        if "display" in self._worker.features:
            _flush()
            self._worker.send_credited(wire.DISPLAY, self.id, {"media": media, "data": data})

    def artifact(self, name: str, path: str, media: Optional[str]) -> None:
        """Name an extra result; `path` is relative to the output folder."""
        body = {"name": name, "path": path, "media": media}
        self._worker.send(wire.ARTIFACT, self.id, body)


def wire_text(text: str, limit: int) -> str:
    """Text that every decoder takes, cut to `limit` characters."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return text.encode("utf-8", "backslashreplace").decode()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # the cell closed or replaced it
