"""The worker: a conversation over W in which each Exec runs one cell and ends in one Done.

Knows the conversation, signals and forks, but not what running a cell means: `_execution` does.
It is imported once it is needed, like all the rest: nothing of this can be kept as bytecode in a
read-only sandbox, and the host waits for Hello.
"""

from __future__ import annotations

import os
import sys
from _signal import SIG_DFL, SIGINT, SIGTERM, SIGURG, default_int_handler, getsignal
from _signal import signal as set_signal
from _thread import get_ident
from time import sleep

import polyloom
from polyloom import _frames as wire
from polyloom._msgpack import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional

    from polyloom._execution import Execution
    from polyloom._session import Session

VERSION = polyloom.__version__
FEATURES = ["call", "cancel.soft", "display", "progress", "session", "snapshot", "kept"]
FEATURES += ["complete", "durable", "interactive", "source", "queue", "values"]
EXIT_PROTOCOL = 3
_OF_SESSIONS = {wire.RESET, wire.SNAPSHOT, wire.RESTORE, wire.FORGET}
_OF_SESSIONS |= {wire.COMPLETE, wire.SAVE, wire.LOAD}
_EMPTY = encode({})
_WENT_WELL = {
    changed: encode({"extras": {}, "ok": True, "session_changed": changed})
    for changed in (False, True)
}
# The same with one key more.
_AND_GAVE = {changed: b"\x84" + body[1:] for changed, body in _WENT_WELL.items()}
_VALUES = encode("values")


class Worker:
    """The conversation on one connection."""

    def __init__(self, connection: wire.Connection) -> None:
        self.connection = connection
        self.features: frozenset[str] = frozenset()
        self.current: Optional[Execution] = None
        self.exit_code = 0
        self._main = get_ident()
        self._waiting: list[wire.Frame] = []
        self._session: Optional[Session] = None
        # An interrupt is raised only in the cell's code: half a frame on the wire, or a Done that
        # never comes, would cost the whole worker.
        self._uninterruptible = 1
        self._interrupted = False
        self._lent = False
        # The exec behind which another one is run that was sent before the host heard of its end.
        self._followed = 0
        self._hello = b""
        self.is_copy = False
        """Whether this is the copy of a zygote, which is there for one cell or one session."""

    def serve(self) -> int:
        """Greet, run cells until told to stop, and return the exit code of the process."""
        self.connection.send_preamble()
        if not self.is_copy:
            self.prepare()
            self.begin()
        self.connection.send_encoded(wire.HELLO, 0, self._hello)
        answer = self.connection.receive()
        if answer.kind == wire.HELLO_NO:
            raise ConnectionRefusedError(f"the host declined: {answer.body.get('reason')}")
        if answer.kind != wire.HELLO_OK:
            text = f"kind {answer.kind} instead of an answer to Hello"
            raise wire.ProtocolError("wrong_state", text)
        self.features = frozenset(answer.body.get("features") or ())
        # Harmless where nobody expects it: by default it is ignored.
        wire.signal_arrivals(self.connection, SIGURG)
        while True:
            frame = self._waiting.pop(0) if self._waiting else self.connection.receive()
            if self._session is None and self.needs_session(frame) and not self._begin():
                continue  # what the frame asked for was done in a process before this one
            if frame.kind == wire.EXEC:
                self._execute(frame)
                if self.is_copy and self._session is None:
                    return self.exit_code  # the next cell has a copy of its own
            elif frame.kind == wire.PING:
                n = frame.body.get("n")
                if type(n) is not int or not 0 <= n < 1 << 64:
                    raise wire.ProtocolError("bad_message", "a Ping without a number")
                self.connection.pong(n)
            elif frame.kind == wire.SHUTDOWN:
                return self.exit_code
            elif frame.kind == wire.ERROR:
                raise ConnectionRefusedError(f"the host reports: {frame.body.get('text')}")
            elif frame.kind in (wire.HELLO_OK, wire.HELLO_NO):
                raise wire.ProtocolError("wrong_state", "a second answer to Hello")
            elif not self.heed(frame) and frame.must_understand:
                raise wire.ProtocolError("must_understand", f"kind {frame.kind} is not known")

    def about(self) -> dict[str, Any]:
        """Who speaks: what is in Hello besides the protocol's versions and the runtime."""
        return {"executor": "python", "version": VERSION, "features": FEATURES}

    def heed(self, frame: wire.Frame) -> bool:
        """Act on a message between cells that is none of the common ones; whether it is known."""
        if self._session is not None and frame.kind in _OF_SESSIONS:
            self._session.heed(frame)
            return True
        return frame.kind in (wire.CANCEL, wire.CREDIT)

    def needs_session(self, frame: wire.Frame) -> bool:
        """Whether a session begins with this message at the latest."""
        if frame.kind == wire.EXEC:
            return frame.body.get("session") is True
        return frame.kind in _OF_SESSIONS

    def _begin(self) -> bool:
        from polyloom._session import Session

        self._session = Session(self)
        return self._session.begin()

    def session(self) -> Session:
        """The session that has begun."""
        assert self._session is not None
        return self._session

    def hand_over(self) -> bytes:
        """What came on the wire and was not acted on, for the process that goes on."""
        waiting = b"".join(frame.raw for frame in self._waiting)
        return waiting + self.connection.unread()

    def take_over(self, rest: Optional[bytes]) -> None:
        """Be the one that serves the connection, in place of another process of the session."""
        if rest is not None:
            self._waiting.clear()
            self.connection.take_over(rest)
        self._main = get_ident()
        wire.signal_arrivals(self.connection, SIGURG)

    def execution(self, frame: wire.Frame) -> Execution:
        """What runs the cell of an Exec."""
        from polyloom._execution import Execution

        return Execution(self, frame)

    def _execute(self, frame: wire.Frame) -> None:
        if not isinstance(frame.body.get("code"), str):
            raise wire.ProtocolError("bad_message", "an Exec without `code`")
        if frame.body.get("after", 0) not in (0, self._followed):
            return
        self._interrupted = False
        self.connection.begin(frame.exec_id)
        execution = self.execution(frame)
        # In a session many a cell is over sooner than the host could take note of it.
        tell = self.connection.send_encoded if self._session is None else self.connection.hold
        tell(wire.STARTED, frame.exec_id, _EMPTY)
        self.current = polyloom._current = execution
        # Only from here on: between cells, who waits for a frame need not be told of it besides.
        set_signal(SIGURG, self._arrival)
        if self._session is None or self.connection.ready():
            self.look()
        ok, extras = execution.run()
        self.current = polyloom._current = None
        set_signal(SIGURG, SIG_DFL)
        changed = execution.session_changed
        leaves = self._leaves(frame)
        self._followed = frame.exec_id if ok and not leaves else 0
        values = execution.values if ok else None
        if ok and not extras and not leaves:
            done = _WENT_WELL[changed]
            if values:
                done = _AND_GAVE[changed] + _VALUES + encode(values)
            self.connection.send_encoded(wire.DONE, frame.exec_id, done)
        else:
            more: dict[str, Any] = {"leaves": True} if leaves else {}
            if values:
                more["values"] = values
            self.done(frame.exec_id, ok, extras, session_changed=changed, **more)
        self.exit_code = execution.exit_code

    def done(
        self,
        exec_id: int,
        ok: bool,
        extras: dict[str, Any],
        *,
        session_changed: bool = False,
        **more: Any,
    ) -> None:
        """Say that an Exec is done."""
        done = {"extras": extras, "ok": ok, "session_changed": session_changed, **more}
        self.connection.send_encoded(wire.DONE, exec_id, encode(done))

    def _leaves(self, frame: wire.Frame) -> bool:
        """Whether the host has to take something before another exec begins."""
        if self._session is None or "queue" not in self.features:
            return False
        return self._session.leavings.any(str(frame.body.get("out")))

    def send(self, kind: int, exec_id: int, body: dict[str, Any]) -> None:
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
        self.send(kind, exec_id, body)

    def refuse(self, error: wire.ProtocolError) -> None:
        """Say what the host did wrong, to it and on stderr."""
        _complain(error)
        try:
            self.send(wire.ERROR, 0, {"code": error.name, "text": str(error)})
        except OSError:
            pass  # it is gone

    def look(self) -> None:
        """Take note of what has arrived while a cell runs."""
        main = get_ident() == self._main
        self._uninterruptible += main
        try:
            self.connection.poll(self._note)
        except wire.ConnectionClosed:
            os._exit(1)
        except wire.ProtocolError as error:
            self.refuse(error)
            os._exit(EXIT_PROTOCOL)
        finally:
            self._uninterruptible -= main
            if main:
                self._raise_if_interrupted()

    def _note(self, frame: wire.Frame) -> None:
        current = self.current
        if frame.kind != wire.CANCEL:
            self._waiting.append(frame)
        elif current is not None and frame.exec_id == current.id and not current.cancelled:
            current.cancelled = True
            # By way of SIGINT, so that a cell's own way of being interrupted is honoured.
            if not current.interrupted:
                os.kill(os.getpid(), SIGINT)

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

    def _interrupt(self, number: int, frame: object) -> None:
        current = self.current
        if current is not None:
            again, current.interrupted = current.interrupted, True
            self.look()
            # A Cancel and the signal that goes with it are one interrupt: a second would only
            # disturb the cell's tidying up.
            if again and current.cancelled:
                return
        self._interrupted = True
        self._raise_if_interrupted()

    def _arrival(self, number: int, frame: object) -> None:
        if self.current is not None:
            self.look()

    def prepare(self) -> None:
        """Make this process a worker's, or a zygote's whose copies are."""
        hello = {"protocol": [{"major": 1, "minor": 0}], "runtime": sys.version, **self.about()}
        self._hello = encode(hello)
        set_signal(SIGINT, self._interrupt)
        set_signal(SIGTERM, self._interrupt)
        self.connection.when_full = self.look
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        self._report_warnings()

    def begin(self) -> None:
        """Be a worker from here on, whose children are none."""
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._after_fork,
            after_in_child=self._leave,
        )

    def _report_warnings(self) -> None:
        import warnings

        print_warning = warnings.showwarning

        def show(
            message: Any,
            category: Any,
            filename: str,
            lineno: int,
            file: Any = None,
            line: Any = None,
        ) -> None:
            print_warning(message, category, filename, lineno, file, line)
            current = polyloom._current
            if file is None and current is not None:
                text = f"{category.__name__}: {message}"
                position = {"file": filename, "line": lineno}
                current.diagnose({"severity": "warning", "message": text, **position})

        warnings.showwarning = show

    def _before_fork(self) -> None:
        if self._session is not None and self._session.snapshots.forking:
            return
        # A child that is terminated before it gets to `_leave` has to die of it as it would in any
        # program; `multiprocessing.Pool` depends on that.
        self._lent = get_ident() == self._main and getsignal(SIGTERM) == self._interrupt
        if self._lent:
            set_signal(SIGTERM, SIG_DFL)

    def _after_fork(self) -> None:
        if self._lent:
            set_signal(SIGTERM, self._interrupt)

    def _leave(self) -> None:
        """In a forked child: a process of the cell's own, without a way to the host."""
        if self._session is not None:
            if self._session.snapshots.forking:
                return
            self._session.snapshots.close()
        polyloom._current = None
        self.connection.sock.close()
        for number, usual in ((SIGINT, default_int_handler), (SIGTERM, SIG_DFL)):
            if getsignal(number) == self._interrupt:
                set_signal(number, usual)
        set_signal(SIGURG, SIG_DFL)


def _complain(error: object) -> None:
    os.write(2, f"polyloom python worker: {error}\n".encode())


def main(of: Callable[[wire.Connection], Worker] = Worker) -> int:
    """Serve the socket named by `POLYLOOM_W`, which the cell does not get to see.

    With `POLYLOOM_ZYGOTE` this is a zygote, and each of its copies comes to serve its own.
    """
    connection = wire.Connection()
    worker = of(connection)
    line = os.environ.pop("POLYLOOM_ZYGOTE", "")
    if line.isdigit():
        from polyloom._zygote import serve

        worker.is_copy = True
        fd = serve(int(line), worker)
    else:
        named = os.environ.pop("POLYLOOM_W", "")
        if not named.isdigit():
            _complain("`POLYLOOM_W` names no socket; this program is started by `polyloom run`")
            return 2
        fd = int(named)
    wire.adopt(fd, connection)
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
        connection.finish()
