"""The worker: a conversation over W in which each Exec runs one cell and ends in one Done.

Knows the conversation, signals and what a cell finds around it. How a value is read or written is
`_inputs`' and `_outputs`', how an exception is described `_diagnose`'s; those are imported when the
first cell needs them, because none of this can be cached as bytecode in a read-only sandbox.
"""

from __future__ import annotations

import os
import sys
from _signal import SIG_DFL, SIGINT, SIGTERM, SIGURG, default_int_handler
from _signal import signal as set_signal
from _thread import get_ident
from time import sleep

import polyloom
from polyloom import _frames as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

VERSION = polyloom.__version__
FEATURES = ["cancel.soft", "display", "progress"]
EXIT_PROTOCOL = 3


class Worker:
    """The conversation on one connection."""

    def __init__(self, connection: wire.Connection) -> None:
        self.connection = connection
        self.features: frozenset[str] = frozenset()
        self.current: Optional[Execution] = None
        self.exit_code = 0
        self._main = get_ident()
        self._waiting: list[wire.Frame] = []
        # An interrupt is raised only in the cell's code: half a frame on the wire, or a Done that
        # never comes, would cost the whole worker.
        self._uninterruptible = 1
        self._interrupted = False

    def serve(self) -> int:
        """Greet, run cells until told to stop, and return the exit code of the process."""
        self.connection.send_preamble()
        hello = {
            "executor": "python",
            "version": VERSION,
            "protocol": [{"major": 1, "minor": 0}],
            "features": FEATURES,
            "runtime": sys.version,
        }
        self.connection.send(wire.HELLO, 0, hello)
        answer = self.connection.receive()
        if answer.kind == wire.HELLO_NO:
            raise ConnectionRefusedError(f"the host declined: {answer.body.get('reason')}")
        if answer.kind != wire.HELLO_OK:
            text = f"kind {answer.kind} instead of an answer to Hello"
            raise wire.ProtocolError("wrong_state", text)
        self.features = frozenset(answer.body.get("features") or ())
        self._prepare_process()
        while True:
            frame = self._waiting.pop(0) if self._waiting else self.connection.receive()
            if frame.kind == wire.EXEC:
                self._execute(frame)
            elif frame.kind == wire.PING:
                self.connection.send(wire.PONG, 0, {"n": frame.body.get("n", 0)})
            elif frame.kind == wire.SHUTDOWN:
                return self.exit_code
            elif frame.kind == wire.ERROR:
                raise ConnectionRefusedError(f"the host reports: {frame.body.get('text')}")
            elif frame.must_understand and frame.kind not in (wire.CANCEL, wire.CREDIT):
                raise wire.ProtocolError("must_understand", f"kind {frame.kind} is not known")

    def _execute(self, frame: wire.Frame) -> None:
        if not isinstance(frame.body.get("code"), str):
            raise wire.ProtocolError("bad_message", "an Exec without `code`")
        self._interrupted = False
        self.connection.credit = wire.INITIAL_CREDIT
        execution = Execution(self, frame)
        self._send(wire.STARTED, execution.id, {})
        self.current = polyloom._current = execution
        self.look()
        ok, extras = execution.run()
        self.current = polyloom._current = None
        done = {"ok": ok, "session_changed": False, "extras": extras}
        self._send(wire.DONE, execution.id, done)
        self.exit_code = execution.exit_code
        if execution.exited:
            sys.exit(execution.exit_code)

    def _send(self, kind: int, exec_id: int, body: dict[str, Any]) -> None:
        main = get_ident() == self._main
        self._uninterruptible += main
        try:
            self.connection.send(kind, exec_id, body)
        finally:
            self._uninterruptible -= main
            if main:
                self._raise_if_interrupted()

    def send_credited(self, kind: int, exec_id: int, body: dict[str, Any]) -> None:
        """Send when the host has granted room for it. Progress without room is dropped."""
        connection = self.connection
        while connection.credit <= 0:
            self.look()
            if connection.credit > 0:
                break
            if kind == wire.PROGRESS:
                return
            sleep(0.002)
        self._send(kind, exec_id, body)

    def refuse(self, error: wire.ProtocolError) -> None:
        """Say what the host did wrong, to it and on stderr."""
        _complain(error)
        try:
            self._send(wire.ERROR, 0, {"code": error.name, "text": str(error)})
        except OSError:
            pass  # it is gone

    def look(self) -> None:
        """Take note of what has arrived while a cell runs."""
        main = get_ident() == self._main
        self._uninterruptible += main
        try:
            self._note(self.connection.poll())
        except wire.ConnectionClosed:
            os._exit(1)
        except wire.ProtocolError as error:
            self.refuse(error)
            os._exit(EXIT_PROTOCOL)
        finally:
            self._uninterruptible -= main
            if main:
                self._raise_if_interrupted()

    def _note(self, frames: list[wire.Frame]) -> None:
        current = self.current
        for frame in frames:
            if frame.kind == wire.CREDIT:
                if current is not None and frame.exec_id == current.id:
                    self.connection.credit += int(frame.body.get("bytes", 0))
            elif frame.kind == wire.CANCEL:
                if current is not None and frame.exec_id == current.id and not current.cancelled:
                    current.cancelled = True
                    # By way of SIGINT, so that a cell's own way of being interrupted is honoured.
                    os.kill(os.getpid(), SIGINT)
            else:
                self._waiting.append(frame)

    def interruptible(self, allowed: bool) -> None:
        """Whether an interrupt may be raised in the main thread from here on."""
        self._uninterruptible = 0 if allowed else 1
        if allowed:
            self._raise_if_interrupted()
        else:
            self._interrupted = False

    def _raise_if_interrupted(self) -> None:
        if self._interrupted and not self._uninterruptible:
            self._interrupted = False
            raise KeyboardInterrupt

    def _prepare_process(self) -> None:
        def interrupt(number: int, frame: object) -> None:
            current = self.current
            if current is not None and current.cancelled:
                # The signal that follows a Cancel would only disturb the cell's tidying up.
                if current.interrupted:
                    return
                current.interrupted = True
            self._interrupted = True
            self._raise_if_interrupted()

        def arrival(number: int, frame: object) -> None:
            if self.current is not None:
                self.look()

        set_signal(SIGINT, interrupt)
        set_signal(SIGTERM, interrupt)
        set_signal(SIGURG, arrival)  # by default it is ignored: harmless to whoever inherits it
        wire.signal_arrivals(self.connection, SIGURG)
        os.register_at_fork(after_in_child=self._leave)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        self._report_warnings()

    def _report_warnings(self) -> None:
        import warnings

        print_warning = warnings.showwarning

        def show(
            message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None
        ) -> None:
            print_warning(message, category, filename, lineno, file, line)
            current = polyloom._current
            if file is None and current is not None:
                text = f"{category.__name__}: {message}"
                position = {"file": filename, "line": lineno, "code": category.__name__}
                current.diagnose({"severity": "warning", "message": text, **position})

        warnings.showwarning = show

    def _leave(self) -> None:
        """In a forked child: a process of the cell's own, without a way to the host."""
        polyloom._current = None
        self.connection.sock.close()
        set_signal(SIGINT, default_int_handler)
        set_signal(SIGTERM, SIG_DFL)
        set_signal(SIGURG, SIG_DFL)


class Execution:
    """One cell's run, and what the public module can do while it lasts."""

    def __init__(self, worker: Worker, frame: wire.Frame) -> None:
        body = frame.body
        self.id = frame.exec_id
        self.code: str = body["code"]
        self.inputs: dict[str, dict[str, Any]] = body.get("inputs") or {}
        self.outputs: dict[str, dict[str, Any]] = body.get("outputs") or {}
        self.out: str = body.get("out") or "/cell/out"
        self.argv: list[str] = body.get("argv") or []
        self.seed: Optional[int] = body.get("seed")
        self.cancelled = False
        self.interrupted = False
        self.exited = False
        self.displayed = 0
        self.exit_code = 0
        self.given: dict[str, Any] = {}
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
        return ok, {"cancelled": True} if self.cancelled else {}

    def _run(self) -> None:
        with open(self.code, "rb") as file:
            code = compile(file.read(), self.code, "exec", dont_inherit=True)
        module: Any = type(sys)("__main__")
        module.__file__ = self.code
        module.__builtins__ = sys.modules["builtins"]
        sys.modules["__main__"] = module
        sys.argv[:] = [self.code, *self.argv]
        folder = os.path.dirname(self.code)
        if folder not in sys.path:
            # Behind the libraries, since a cell may well be called `json` or `random`.
            sys.path.append(folder)
        if self.seed is not None:
            from polyloom._seed import seed_generators

            polyloom.seed = self.seed
            seed_generators(self.seed)
        if self.inputs:
            from polyloom._inputs import read_input

            for name, slot in self.inputs.items():
                module.__dict__[name] = polyloom.inputs[name] = read_input(name, slot)
        exec(code, module.__dict__)
        self._take(module)

    def _take(self, module: Any) -> None:
        if os.getpid() != self._pid:
            return
        threading = sys.modules.get("threading")
        if threading is not None:
            for thread in threading.enumerate():
                if thread is not threading.current_thread() and not thread.daemon:
                    thread.join()  # as the end of an ordinary program would
        if self.outputs:
            from polyloom._outputs import write_outputs

            write_outputs(self.outputs, self.out, {**module.__dict__, **self.given})

    def _exit(self, error: SystemExit) -> bool:
        code = error.code
        if code is None or code == 0:
            self._take(sys.modules["__main__"])
            return True
        self.exited = True
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
        self.exit_code = code & 0xFF
        self._fail(error, True)
        return False

    def _fail(self, error: BaseException, quiet: bool) -> None:
        from polyloom._diagnose import describe, print_exception

        if not quiet and not isinstance(error, polyloom.PortError):
            print_exception(error)
        self.diagnose(describe(error, self.code, self.cancelled))

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

    def display(self, media: str, data: bytes) -> None:
        """Send a Display frame."""
        if "display" in self._worker.features:
            self._worker.send_credited(wire.DISPLAY, self.id, {"media": media, "data": data})

    def artifact(self, name: str, path: str, media: Optional[str]) -> None:
        """Name an extra result; `path` is relative to the output folder."""
        body = {"name": name, "path": path, "media": media}
        self._worker._send(wire.ARTIFACT, self.id, body)


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


def _complain(error: object) -> None:
    os.write(2, f"polyloom python worker: {error}\n".encode())


def main() -> int:
    """Serve the socket named by `POLYLOOM_W`, which the cell does not get to see."""
    fd = os.environ.pop("POLYLOOM_W", "")
    if not fd.isdigit():
        _complain("`POLYLOOM_W` names no socket; this program is started by `polyloom run`")
        return 2
    connection = wire.adopt(int(fd))
    worker = Worker(connection)
    try:
        return worker.serve()
    except wire.ConnectionClosed:
        return worker.exit_code
    except wire.ProtocolError as error:
        worker.refuse(error)
        return EXIT_PROTOCOL
    except ConnectionRefusedError as error:
        _complain(error)
        return EXIT_PROTOCOL
    except (BrokenPipeError, ConnectionResetError):
        return 1
    finally:
        # Open until the process has ended, and not the business of the interpreter's last rites:
        # CPython 3.9 crashes over an unclosed socket that it meets there.
        connection.sock.detach()
