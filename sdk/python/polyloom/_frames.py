"""The wire of protocol W: preamble, frames, caps, and the credit that bounds what a worker sends.

Knows kinds by number and bodies as maps; what they mean is `_worker`'s. It takes `_socket`, the C
half of `socket`, since importing the other half takes longer than the whole handshake.
"""

from __future__ import annotations

import _socket
import fcntl
import os
from _thread import RLock, allocate_lock
from struct import Struct, pack
from time import sleep

from polyloom._msgpack import MsgpackError, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional

PREAMBLE = b"PLYW\x01\x01\x00\x00"
HELLO, STARTED, LOG, PROGRESS, DISPLAY, DIAGNOSTIC, ARTIFACT, DONE = range(1, 9)
CATALOG, PONG, KEPT, COMPLETIONS, SAVED = range(9, 14)
HELLO_OK, HELLO_NO, PREPARE, EXEC, CANCEL, CREDIT = range(65, 71)
DESCRIBE, RESET, SNAPSHOT, RESTORE, PING, SHUTDOWN = 71, 72, 73, 74, 75, 76
FORGET, COMPLETE, SAVE, LOAD = range(77, 81)
ERROR = 127

FRAME_CAP = 1 << 20
SMALL_CAP = 64 << 10
INITIAL_CREDIT = 256 << 10
_CREDITED = frozenset((LOG, PROGRESS, DISPLAY, DIAGNOSTIC))
_SMALL = _CREDITED | {HELLO, DONE, ERROR}
MAX_VALUES = 65_536
_HEADER = Struct("<IBBHQ")
_MUST_UNDERSTAND = 1
_EAGER_READ = 64 << 10
_F_SETOWN_EX, _F_OWNER_TID = 15, 0  # fcntl(2); Python's module does not name them


class ProtocolError(Exception):
    """The other side broke the protocol; `name` is what the specification calls it."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class ConnectionClosed(Exception):
    """The other side closed its end."""


class Frame:
    """One received frame; `body` is decoded already."""

    __slots__ = ("body", "exec_id", "kind", "must_understand", "raw")

    def __init__(
        self, kind: int, flags: int, exec_id: int, body: dict[str, Any], raw: bytes
    ) -> None:
        self.kind = kind
        self.must_understand = bool(flags & _MUST_UNDERSTAND)
        self.exec_id = exec_id
        self.body = body
        self.raw = raw


class Connection:
    """One end of a W socket. Sending is safe from any thread, receiving is for one at a time."""

    sock: _socket.socket

    def __init__(self, sock: Optional[_socket.socket] = None) -> None:
        """Without a socket it has one later, by `adopt`."""
        if sock is not None:
            self.sock = sock
        self.when_full: Callable[[], object] = lambda: self.poll(lambda frame: None)
        """What to do while the host does not read: what has arrived must go on being read."""
        # Two counts with one writer each, since threads and a signal may meet here.
        self._granted = 0
        self._spent = 0
        self._exec_id = 0
        self._in = b""
        self._at = 0
        self._held = b""
        self._ready: Optional[Callable[[int], object]] = None
        self._greeted = False
        self._write = RLock()
        self._read = allocate_lock()
        self._asked = False

    @property
    def credit(self) -> int:
        """Bytes of metered messages that may still be sent; a message may overdraw it."""
        return self._granted - self._spent

    def begin(self, exec_id: int) -> None:
        """Start counting for another exec."""
        self._exec_id = exec_id
        self._granted, self._spent = INITIAL_CREDIT, 0

    def pong(self, n: int) -> None:
        """Answer a ping: its number may have all 64 bits, which no value has."""
        if n < 1 << 63:
            return self.send(PONG, 0, {"n": n})
        self.send_encoded(PONG, 0, b"\x81\xa1n\xcf" + n.to_bytes(8, "big"))

    def send_preamble(self) -> None:
        """Open our direction, together with the first frame."""
        self._held = PREAMBLE

    def send(self, kind: int, exec_id: int, body: dict[str, Any]) -> None:
        """Send one frame whole. For kinds under credit there should be some left."""
        self.send_encoded(kind, exec_id, encode(body))

    def hold(self, kind: int, exec_id: int, data: bytes) -> None:
        """Send a frame together with the next one: each time the host wakes costs both sides."""
        self._held += _HEADER.pack(len(data), kind, 0, 0, exec_id) + data

    def send_encoded(self, kind: int, exec_id: int, data: bytes) -> None:
        """Send one frame whole, the body of which is encoded already."""
        cap = SMALL_CAP if kind in _SMALL else FRAME_CAP
        if len(data) > cap:
            raise ValueError(f"a message of {len(data)} bytes, {cap} are allowed")
        with self._write:
            rest = self._held + _HEADER.pack(len(data), kind, 0, 0, exec_id) + data
            self._held = b""
            sent = 0
            while sent < len(rest):
                try:
                    left = memoryview(rest)[sent:] if sent else rest
                    sent += self.sock.send(left, _socket.MSG_DONTWAIT)
                except BlockingIOError:
                    # The host may be waiting likewise, for us to read.
                    self.when_full()
                    sleep(0.001)
            if kind in _CREDITED:
                self._spent += len(data)

    def finish(self) -> None:
        """Say nothing more, and leave the socket to the end of the process.

        A daemon thread of the cell may be in the middle of a frame. And CPython 3.9 crashes over an
        unclosed socket that it meets while it shuts down.
        """
        self._write.acquire(True, 1.0)
        self.sock.detach()

    def receive(self) -> Frame:
        """Wait for the next frame."""
        while True:
            frame = self._next()
            if frame is not None:
                return frame
            self._fill(0)

    def poll(self, note: Callable[[Frame], None]) -> None:
        """Note the frames that have arrived, without waiting; none while others do so already.

        Who is polling then looks once more, so that nothing stays behind that arrived between its
        last look and its end. Each is noted before the next one is read, by whomever: they keep
        their order. Credit is taken in on the way.
        """
        self._asked = True
        while self._asked and self._read.acquire(False):
            try:
                self._asked = False
                while True:
                    frame = self._next()
                    if frame is not None:
                        if frame.kind != CREDIT:
                            note(frame)
                        elif frame.exec_id == self._exec_id:
                            self._granted += int(frame.body.get("bytes", 0))
                    elif not self._fill(_socket.MSG_DONTWAIT):
                        break
            finally:
                self._read.release()

    def unread(self) -> bytes:
        """What was read of the wire and is no frame yet."""
        return self._in[self._at :]

    def take_over(self, rest: bytes) -> None:
        """Go on where another process with the same socket left off."""
        self._in, self._at = rest, 0
        self._ready = None

    def ready(self) -> bool:
        """Whether a poll would find something: cheaper than one that does not."""
        if self._ready is None:
            from select import POLLIN, poll

            polled = poll()
            polled.register(self.sock.fileno(), POLLIN)
            self._ready = polled.poll
        return self._at < len(self._in) or bool(self._ready(0))

    def _fill(self, flags: int) -> bool:
        try:
            data = self.sock.recv(_EAGER_READ, flags)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        if not data:
            raise ConnectionClosed
        self._in, self._at = self._in[self._at :] + data, 0
        return True

    def _next(self) -> Optional[Frame]:
        if not self._greeted and not self._greet():
            return None
        have, at = self._in, self._at
        if len(have) < at + 16:
            return None
        size, kind, flags, zero, exec_id = _HEADER.unpack_from(have, at)
        if flags & 0xF8 or zero:
            raise ProtocolError("reserved_bits", "reserved bits are set in a frame's header")
        if flags & 2:
            raise ProtocolError("unexpected_fds", "a frame says that it carries descriptors")
        cap = SMALL_CAP if kind in _SMALL else FRAME_CAP
        if size > cap:
            raise ProtocolError("frame_too_large", f"a frame of {size} bytes, {cap} are allowed")
        end = at + 16 + size
        if len(have) < end:
            return None
        raw = have[at:end]
        try:
            body = decode(raw[16:], unsigned=True)
        except MsgpackError as error:
            raise ProtocolError(error.name, f"a frame's body: {error}") from None
        if type(body) is not dict:
            raise ProtocolError("body_not_map", "a frame's body is not a map")
        # A value takes a byte at least.
        if size > MAX_VALUES and _count(body) > MAX_VALUES:
            raise ProtocolError("too_many_values", f"a frame of over {MAX_VALUES} values")
        if 0 < kind < 64:
            raise ProtocolError("wrong_direction", f"kind {kind} is a worker's")
        self._at = end
        return Frame(kind, flags, exec_id, body, raw)

    def _greet(self) -> bool:
        have = self._in
        if have[:8] != PREAMBLE[: len(have)]:
            at = next(at for at, byte in enumerate(have) if byte != PREAMBLE[at])
            name = {4: "bad_version", 5: "bad_encoding"}.get(at, "reserved_bits")
            text = "the host speaks another protocol or version"
            raise ProtocolError("bad_magic" if at < 4 else name, text)
        self._greeted = len(have) >= 8
        if self._greeted:
            self._at = 8
        return self._greeted


def _count(value: Any) -> int:
    if type(value) is dict:
        return 1 + sum(map(_count, value.values()))
    return 1 + sum(map(_count, value)) if type(value) is list else 1


def adopt(fd: int, connection: Optional[Connection] = None) -> Connection:
    """Take over the inherited socket, out of the way of `os.closerange(3, …)` and of children."""
    if connection is None:
        connection = Connection()
    try:
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 192)
        os.close(fd)
        fd = moved
    except OSError:  # the limit on descriptors is lower than that
        os.set_inheritable(fd, False)
    os.set_blocking(fd, True)
    connection.sock = _socket.socket(fileno=fd)
    return connection


def signal_arrivals(connection: Connection, signal: int) -> None:
    """Have the kernel send `signal` to the main thread when a frame arrives or the host is gone.

    A reading thread would do as well, but a process with two threads draws a warning on every
    fork, and the cell should find the process as an ordinary interpreter would start it. To the
    thread, not to the process: another thread could take the signal, and Python would then not
    handle it before something else wakes the main one.
    """
    fd = connection.sock.fileno()
    try:
        fcntl.fcntl(fd, _F_SETOWN_EX, pack("ii", _F_OWNER_TID, os.getpid()))
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError:
        pass  # cancelling then takes the signal that follows the message
