"""The processes of a session: the one that lives, and those that are kept as they were.

A snapshot is a fork: the child goes on, the parent stays behind frozen and makes, each time it is
gone back to, another child of itself that goes on in place of the one which lives then. The first
process, the keeper, has run no cell: it is what `Reset` goes back to. It knows the others by name,
through one socket each, and stays until the session is over; it ends as the living one did.

Knows processes, not what runs in them, and not the protocol.
"""

from __future__ import annotations

import _socket
import os
import sys
from _signal import SIG_DFL, SIG_IGN, SIGCHLD, SIGINT, SIGTERM, getsignal
from _signal import signal as set_signal
from _thread import _count as count_threads
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, Optional

MOST_SNAPSHOTS = 64
_MOST = 1 << 12
_KEEP, _WAKE, _DROP, _DONE, _FAILED, _ENDED = b"k", b"w", b"d", b"o", b"f", b"e"
_PAIR = Struct("<ii")
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_IN_A_PIPE = 1 << 16  # man 7 pipe
_MOST_WAITING = 1 << 20  # as `/proc/sys/fs/pipe-max-size` is
_F_SETPIPE_SZ = 1031  # linux/fcntl.h; `fcntl` has it from Python 3.10 on


class Refused(Exception):
    """What was asked cannot be done; everything is as it was."""


class Snapshots:
    """The living process's hold on the others."""

    def __init__(self) -> None:
        self.forking = False
        """Whether a fork is one of the session's, not one of the cell's own."""
        self._keeper: Optional[_socket.socket] = None
        self._inherit: Optional[bytes] = None

    def begin(self) -> None:
        """Leave this process behind as the keeper and go on in a child of it."""
        _adopt_orphans()
        ours, theirs = _pair()
        pid = self._fork()
        if pid == 0:
            ours.close()
            self._keeper = _out_of_the_way(theirs)
            return
        theirs.close()
        self._live(_waited(_Keeper(self, ours, pid).keep))

    def close(self) -> None:
        """In a fork of the cell's own: it is none of the session's processes."""
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def keep(self, name: str) -> None:
        """Leave this process behind under a name and go on in a child of it."""
        keeper = self._connected()
        if count_threads():
            raise Refused("threads are running, which a copy of the process would not have")
        ours, theirs = _pair()
        try:
            pid = self._fork()
        except OSError as error:
            ours.close()
            theirs.close()
            raise Refused(f"the process cannot be copied: {error.strerror}") from error
        if pid:
            ours.close()
            self.close()
            return self._live(_waited(lambda: _freeze(self, theirs)))
        theirs.close()
        _send(keeper, _KEEP + _PAIR.pack(os.getpid(), 0) + name.encode(), [ours.fileno()])
        ours.close()
        self._answer(keeper)

    def wake(self, name: Optional[str], rest: bytes) -> NoReturn:
        """Have a kept process go on in place of this one, with what was read of the wire and is not
        dealt with. None is the first.
        """
        keeper = self._connected()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass  # the cell closed or replaced it
        waiting = _laid(rest)
        try:
            body = _PAIR.pack(name is None, 0) + (name or "").encode()
            _send(keeper, _WAKE + body, [waiting])
        finally:
            os.close(waiting)
        self._answer(keeper)
        os._exit(0)

    def drop(self, name: str) -> None:
        """Let go of what is kept under a name."""
        keeper = self._connected()
        _send(keeper, _DROP + _PAIR.pack(0, 0) + name.encode(), [])
        self._answer(keeper)

    def woken(self) -> Optional[bytes]:
        """The rest of the wire that was handed over, once, where this process was just woken."""
        rest, self._inherit = self._inherit, None
        return rest

    def _connected(self) -> _socket.socket:
        if self._keeper is None:
            raise Refused("there is no session in this process")
        return self._keeper

    def _live(self, given: tuple[_socket.socket, bytes]) -> None:
        keeper, self._inherit = given
        self._keeper = _out_of_the_way(keeper)

    def _answer(self, keeper: _socket.socket) -> None:
        message = keeper.recv(_MOST)
        if not message:
            os._exit(1)  # the session is over
        if message[:1] != _DONE:
            raise Refused(message[1:].decode("utf-8", "replace"))

    def _fork(self) -> int:
        """A copy in which random numbers go on as they would have here."""
        random = sys.modules.get("random")
        state = random.getstate() if random is not None else None
        self.forking = True
        try:
            pid = os.fork()
        finally:
            self.forking = False
        if pid == 0 and random is not None:
            random.setstate(state)
        return pid


def _waited(wait: Callable[[], tuple[_socket.socket, bytes]]) -> tuple[_socket.socket, bytes]:
    """What waiting leads to. A process that waits and cannot must never go on as another worker."""
    try:
        return wait()
    except BaseException as error:
        os.write(2, f"polyloom python worker: a session's process: {error!r}\n".encode())
        os._exit(1)


def _freeze(session: Snapshots, line: _socket.socket) -> tuple[_socket.socket, bytes]:
    """Wait to be gone back to. Returns in each child that then goes on."""
    usual = [(number, getsignal(number)) for number in (SIGCHLD, SIGINT, SIGTERM)]

    def reap(number: int, frame: object) -> None:
        for pid, status in _reaped():
            _say(line, _ENDED + _PAIR.pack(pid, status))

    set_signal(SIGINT, SIG_IGN)
    set_signal(SIGTERM, SIG_IGN)
    set_signal(SIGCHLD, reap)
    reap(0, None)
    while True:
        _, fds = _receive(line)
        if not fds:
            os._exit(0)  # dropped, or all is over
        try:
            pid = session._fork()
        except OSError as error:
            _say(line, _FAILED + f"the process cannot be copied: {error.strerror}".encode())
        else:
            if pid == 0:
                line.close()
                for number, before in usual:
                    set_signal(number, SIG_DFL if before is None else before)
                return _take(fds)
            _say(line, _DONE + _PAIR.pack(pid, 0))
        for fd in fds:
            os.close(fd)


class _Keeper:
    """The first process from the moment on at which the session begins."""

    def __init__(self, session: Snapshots, line: _socket.socket, living: int) -> None:
        self.session = session
        self.line: Optional[_socket.socket] = line
        self.living = living
        self.kept: dict[bytes, _socket.socket] = {}
        self.ended: dict[int, int] = {}

    def keep(self) -> tuple[_socket.socket, bytes]:
        """Answer the living process until it ends. Returns in each child that starts anew."""
        import select

        usual = [(number, getsignal(number)) for number in (SIGCHLD, SIGINT, SIGTERM)]
        set_signal(SIGINT, self._forward)
        set_signal(SIGTERM, self._forward)
        set_signal(SIGCHLD, self._reap)
        self._reap(0, None)
        while True:
            lines: dict[int, tuple[Optional[bytes], _socket.socket]] = {}
            if self.line is not None:
                lines[self.line.fileno()] = (None, self.line)
            lines.update({line.fileno(): (name, line) for name, line in self.kept.items()})
            poll = select.poll()
            for fd in lines:
                poll.register(fd, select.POLLIN)
            for fd, _ in poll.poll():
                name, line = lines[fd]
                if name is None:
                    woken = self._heed(line)
                    if woken is not None:
                        for number, before in usual:
                            set_signal(number, SIG_DFL if before is None else before)
                        return woken
                elif self.kept.get(name) is line:
                    try:
                        # It may have been heard since, by who waited for an answer.
                        message = line.recv(_MOST, _socket.MSG_DONTWAIT)
                    except BlockingIOError:
                        continue
                    self._hear(name, message)

    def _heed(self, line: _socket.socket) -> Optional[tuple[_socket.socket, bytes]]:
        """Do what the living process asks."""
        message, fds = _receive(line)
        if not message:
            # It ended, and its status is to come; or it closed the line and goes on without.
            line.close()
            self.line = None
            return None
        kind, (number, _), name = message[:1], _PAIR.unpack_from(message, 1), message[9:]
        try:
            if kind == _KEEP:
                self._lives(number)
                kept = _socket.socket(fileno=fds.pop())
                if len(self.kept) >= MOST_SNAPSHOTS and name not in self.kept:
                    kept.close()
                    raise Refused(f"there are {MOST_SNAPSHOTS} snapshots, drop one first")
                old, self.kept[name] = self.kept.get(name), kept
                if old is not None:
                    old.close()
            elif kind == _WAKE:
                woken = self._wake(line, None if number else name, fds[0])
                if woken is not None or self.line is not line:
                    return woken
            else:
                old = self.kept.pop(name, None)
                if old is not None:
                    old.close()
            _say(line, _DONE)
        except (Refused, OSError) as error:
            _say(line, _FAILED + str(error).encode())
        finally:
            for fd in fds:
                os.close(fd)
        return None

    def _wake(
        self, asker: _socket.socket, name: Optional[bytes], rest: int
    ) -> Optional[tuple[_socket.socket, bytes]]:
        ours, theirs = _pair()
        if name is None:
            pid = self.session._fork()
            if pid == 0:
                for line in (ours, asker, *self.kept.values()):
                    line.close()
                return theirs, _rest(rest)
        else:
            kept = self.kept.get(name)
            if kept is None:
                known = ", ".join(sorted(f"`{name.decode()}`" for name in self.kept))
                text = f"no snapshot `{name.decode()}`, there is {known or 'none'}"
                raise Refused(text)
            _send(kept, _WAKE, [theirs.fileno(), rest])
            while True:
                message = kept.recv(_MOST)
                if message[:1] == _DONE:
                    pid, _ = _PAIR.unpack_from(message, 1)
                    break
                self._hear(name, message)
                if message[:1] != _ENDED:
                    raise Refused(message[1:].decode("utf-8", "replace") or "it has ended")
        theirs.close()
        self.line = ours
        self.living = 0  # the end of the one before is none of the session's
        _say(asker, _DONE)
        asker.close()
        self._lives(pid)
        return None

    def _hear(self, name: bytes, message: bytes) -> None:
        """What a kept process says by itself: how a child of it ended; or that it is gone."""
        if message[:1] == _ENDED:
            self._end(*_PAIR.unpack_from(message, 1))
        elif not message:
            self.kept.pop(name).close()

    def _lives(self, pid: int) -> None:
        self.living = pid
        if pid in self.ended:
            self._end(pid, self.ended[pid])

    def _reap(self, number: int, frame: object) -> None:
        for pid, status in _reaped():
            self._end(pid, status)

    def _end(self, pid: int, status: int) -> None:
        if pid != self.living:
            self.ended[pid] = status
            return
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            if number not in (9, 19):
                set_signal(number, SIG_DFL)
            os.kill(os.getpid(), number)
        os._exit(os.WEXITSTATUS(status))

    def _forward(self, number: int, frame: object) -> None:
        if self.living:
            try:
                os.kill(self.living, number)
            except OSError:
                pass  # it has just ended


def _adopt_orphans() -> None:
    """Have children of dropped processes become this one's, who waits for them."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except Exception:
        pass  # they then become another's, and how they end is not learnt here


def _reaped() -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found.append((pid, status))


def _pair() -> tuple[_socket.socket, _socket.socket]:
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)


def _out_of_the_way(line: _socket.socket) -> _socket.socket:
    """The same socket, where `os.closerange(3, …)` of a cell does not reach."""
    import fcntl

    try:
        moved = fcntl.fcntl(line.fileno(), fcntl.F_DUPFD_CLOEXEC, 192)
    except OSError:  # the limit on descriptors is lower than that
        return line
    line.close()
    return _socket.socket(fileno=moved)


def _say(line: _socket.socket, message: bytes) -> None:
    try:
        line.send(message)
    except OSError:
        pass  # nobody is there to hear it


def _send(line: _socket.socket, message: bytes, fds: list[int]) -> None:
    data = Struct(f"{len(fds)}i").pack(*fds)
    line.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, data)] if fds else [])


def _receive(line: _socket.socket) -> tuple[bytes, list[int]]:
    size = _PAIR.size
    message, ancillary, _, _ = line.recvmsg(
        _MOST, _socket.CMSG_SPACE(size), _socket.MSG_CMSG_CLOEXEC
    )
    fds: list[int] = []
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds.extend(Struct(f"{len(data) // 4}i").unpack(data[: len(data) // 4 * 4]))
    return message, fds


def _take(fds: list[int]) -> tuple[_socket.socket, bytes]:
    keeper, rest = fds
    try:
        return _socket.socket(fileno=keeper), _rest(rest)
    finally:
        os.close(rest)


def _laid(rest: bytes) -> int:
    """A pipe with that in it. There may be no shared memory, where nobody could count it."""
    import fcntl

    try:
        ours, theirs = os.pipe()
        try:
            os.set_blocking(theirs, False)
            if len(rest) > _IN_A_PIPE:
                fcntl.fcntl(theirs, _F_SETPIPE_SZ, min(len(rest), _MOST_WAITING))
            if rest and os.write(theirs, rest) != len(rest):
                raise OSError(0, "there is too much of it")
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
    except OSError as error:
        raise Refused(f"what waits on the line can't be handed over: {error.strerror}") from error
    return ours


def _rest(fd: int) -> bytes:
    return b"".join(iter(lambda: os.read(fd, _IN_A_PIPE), b""))
