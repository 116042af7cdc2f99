"""A zygote: a worker that was started once and makes each cell by forking itself.

It never runs a cell's code. Each cell is a copy of it that joins control groups of its own, becomes
the cell's user and goes on as a worker that was started anew; the zygote waits for its end and says
how it was. The conversation is the protocol's line between supervisor and zygote (SPEC.md,
"Zygotes"): messages of a SOCK_SEQPACKET socket, at most one cell at a time.
"""

from __future__ import annotations

import _socket
import atexit
import gc
import os
import sys
from _io import _IOBase, _TextIOBase
from fcntl import ioctl
from struct import Struct, calcsize, iter_unpack

from polyloom._rehearsal import rehearse
from polyloom._shelf import SHELF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Optional

    from polyloom._libc import Libc
    from polyloom._worker import Worker

BEGAN, ENDED, WARM = 1, 2, 3
FORKS_AHEAD = 1
MOST_DESCRIPTORS = 32
MOST_BYTES = 1 << 18
EXIT_UNABLE = 4
_STATE_WORDS = 624
_OF_A_CELL = (b"POLYLOOM_CELL=a", b"POLYLOOM_SEED=1", b"POLYLOOM_DEADLINE_MS=1")
_HEADER = Struct("<II")
_TOLD = Struct("<Ii")
_FIONREAD, _NOTHING = 0x541B, bytes(4)  # of pipe(7) and unix(7): bytes that wait to be read
_libc: Optional[Libc] = None
# How many names each module had before there was a cell.
_known: dict[str, int] = {}


def serve(fd: int, worker: Worker) -> int:
    """Make cells until the supervisor is gone. Returns W in each of them, never in the zygote.

    What is the same in all copies, the worker's `prepare` included, is done before the first of
    them: each page that a copy writes to is copied for it. What a copy can do before it knows its
    cell, its `begin` included, is done as soon as it is there.
    """
    global _libc
    libc = _libc = _load_libc()
    calls = os.environ.pop("POLYLOOM_CALLS", "") == "1"
    _warm(calls)
    worker.prepare()
    libc.settle()
    # So that libraries look nothing up any more, which each copy would do anew.
    os.environ.pop("LD_BIND_NOW", None)
    variables = [name + b"=" + value for name, value in os.environb.items()]
    line, message = _socket.socket(fileno=fd), bytearray(MOST_BYTES)
    gc.collect()
    gc.freeze()
    line.send(_TOLD.pack(WARM, FORKS_AHEAD))
    try:
        while True:
            size = len(line.recv(2, _socket.MSG_PEEK))
            if size == 0:
                break
            spare = False
            if size == 1:
                # A cell may come, for which the copy waits; a processor may be free meanwhile.
                spare = line.recv(1) != b"\0"
            # The copy takes the cell's message: nothing of one is ever in the memory of the next.
            pid = os.fork()
            if pid == 0:
                libc.die_with_parent()
                worker.begin()
                _seed_anew()
                if spare:
                    _rehearse(worker, calls, line, variables)
                return _become(line, libc, message, variables)
            line.send(_TOLD.pack(BEGAN, pid))
            _, status = os.waitpid(pid, 0)
            # Not by an exception: that would write to pages which are then copied once more.
            if ioctl(fd, _FIONREAD, _NOTHING) != _NOTHING:
                break  # it did not
            line.send(_TOLD.pack(ENDED, status))
    except ConnectionError:
        pass  # the supervisor is gone
    os._exit(0)


def _rehearse(worker: Worker, calls: bool, line: _socket.socket, variables: list[bytes]) -> None:
    """All of a cell that can be done without one, unless one is there."""
    if _is_there(line):
        return
    cell = [*variables, *_OF_A_CELL]
    _surround(variables, cell)
    _surround(cell, variables)
    rehearse(worker, calls, lambda: _is_there(line))
    if not _is_there(line):
        # What a cell ends with.
        _have_ends()
        gc.collect()
        _close()


def _is_there(line: _socket.socket) -> bool:
    """Whether there is a message, or nobody who could send one."""
    try:
        line.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    return True


def _become(line: _socket.socket, libc: Libc, message: bytearray, variables: list[bytes]) -> int:
    """From here on this is the cell's process; nothing of the cell's has run in it yet."""
    try:
        room = _socket.CMSG_SPACE(MOST_DESCRIPTORS * calcsize("i"))
        size, ancillary, _, _ = line.recvmsg_into([message], room)
        if not size:
            os._exit(0)  # none came
        fds: list[int] = [
            number
            for level, kind, data in ancillary
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS
            for (number,) in iter_unpack("i", data[: len(data) - len(data) % calcsize("i")])
        ]
        user, joins = _HEADER.unpack_from(message)
        if len(fds) != 4 + joins:
            raise ValueError(f"{len(fds)} descriptors")
        for number in fds[4:]:
            os.write(number, b"0")  # the writer, in the words of control groups
        line.close()
        for place, number in enumerate(fds[:3]):
            os.dup2(number, place)
        for number in fds[:3] + fds[4:]:
            os.close(number)
        os.setpgid(0, 0)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        libc.restore()
        os.chdir("/cell/work")
        pairs = bytes(message[_HEADER.size : size]).split(b"\0")
        # What names W is not the cell's to see.
        _surround(variables, [each for each in pairs if not each.startswith(b"POLYLOOM_W=")])
        return fds[3]
    except BaseException as error:
        _unable(f"cannot become a cell: {error!r}")


def _seed_anew() -> None:
    """Give generators a state of this copy's; Python's own has one already."""
    random = sys.modules.get("numpy.random") or SHELF.modules.get("numpy.random")
    if random is None:
        return
    try:
        # What `seed` does of itself takes three times as long.
        state = memoryview(os.urandom(4 * _STATE_WORDS)).cast("I")
        random.set_state(("MT19937", state, _STATE_WORDS))
    except ValueError:  # it has another generator
        random.seed()


def _surround(there: list[bytes], wanted: list[bytes]) -> None:
    """Have the variables that are wanted, in their order; most of them are there already."""
    same = 0
    for had, pair in zip(there, wanted):
        if had != pair:
            break
        same += 1
    for had in there[same:]:
        del os.environb[had.partition(b"=")[0]]
    for pair in wanted[same:]:
        name, equals, value = pair.partition(b"=")
        if equals:
            os.environb[name] = value


def _unable(text: str) -> NoReturn:
    os.write(2, f"polyloom python worker: {text}\n".encode())
    os._exit(EXIT_UNABLE)


def leave(code: int) -> None:
    """End a copy as an interpreter ends, but for taking apart what it was copied with.

    That would touch, and so copy, nearly all of its memory. What the cell has made is let go:
    its threads are waited for, its objects have their ends, what is buffered is written.
    """
    if _libc is None:
        return
    threading = sys.modules.get("threading")
    for last in (getattr(threading, "_shutdown", None), atexit._run_exitfuncs):
        try:
            if last is not None:
                last()
        except BaseException:
            pass  # it was printed
    _flush()
    for name in ("last_exc", "last_traceback", "last_value"):
        if hasattr(sys, name):
            delattr(sys, name)
    names = getattr(sys.modules.get("__main__"), "__dict__", None)
    if type(names) is dict:  # else the cell put something else there
        _let_go(names, list(names))
    if _have_ends():
        # To look at all modules copies the pages that they are in.
        for name, module in list(sys.modules.items()):
            names = getattr(module, "__dict__", None)
            if type(names) is not dict or name.startswith("polyloom"):
                continue
            if len(names) > _known.get(name, len(names)):
                # What the cell gave to a module of before came last. The modules that it has
                # loaded hold no more than what `_close` sees to.
                _let_go(names, list(names)[_known[name] :])
    gc.collect()
    _close()
    _libc.exit(code if _flush() else code or 120)  # as Python says it


def _flush() -> bool:
    """Write what was printed, as far as that can be done."""
    done = True
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError, AttributeError):
            done = False
    return done


def _kinds(there: list[object]) -> list[type]:
    """The types of objects, each once. A cell's may say what it likes of its hash and equality."""
    return list({id(kind): kind for kind in map(type, there)}.values())


def _have_ends() -> bool:
    """Whether anything that has come since the copy was made does something at its end."""
    return any(map(_has_an_end, _kinds(gc.get_objects())))


def _has_an_end(kind: type) -> bool:
    """Whether objects of this kind do something of their own at their end."""
    try:
        type.__getattribute__(kind, "__del__")
        module = type.__getattribute__(kind, "__module__")
    except AttributeError:
        return False
    # The worker's own connection is a bare `_socket.socket`, which is among them from 3.12 on.
    return type(module) is not str or module not in ("builtins", "_io", "_socket")


def _let_go(names: dict[str, object], which: list[str]) -> None:
    """As a module's names go: those with an underscore first."""
    for hidden in (True, False):
        for name in which:
            if str(name).startswith("_") is hidden and name != "__builtins__" and name in names:
                names[name] = None


def _close() -> None:
    """Close the files that are still there, in whosever hands: what they hold back is written.

    A text's file before the one that it is in, a compressed one before what it is written into.
    """
    there = gc.get_objects()  # what the copy was made with is not among them
    turns: tuple[list[int], ...] = ([], [], [])
    for kind in _kinds(there):
        if issubclass(kind, _IOBase):
            is_own = type.__getattribute__(kind, "__module__") == "_io"
            turn = 0 if issubclass(kind, _TextIOBase) else 2 if is_own else 1
            turns[turn].append(id(kind))
    kept = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    for kinds in filter(None, turns):
        for file in [each for each in there if id(type(each)) in kinds]:
            try:
                if not any(file is each for each in kept):
                    file.close()
            except BaseException:
                pass  # there is nobody to tell


def _load_libc() -> Libc:
    try:
        from polyloom._libc import Libc

        return Libc()
    except Exception as error:
        _unable(f"no zygote without ctypes: {error!r}")


def _warm(calls: bool) -> None:
    """Load what nearly every cell needs, and what this zygote is asked to."""
    import warnings  # noqa: F401

    from polyloom import _execution, _inputs, _msgpack, _outputs, _results, _show, _values  # noqa: F401

    if calls:
        from polyloom import _call  # noqa: F401

    # The first compilation in a process makes the types of the syntax tree.
    exec(compile("None", "", "exec"), {})
    before = _outside()
    said = os.memfd_create("said")
    for stream in (1, 2):
        os.dup2(said, stream)
    for name in os.environ.pop("POLYLOOM_PRELOAD", "").split(","):
        if name:
            _preload(name)
    names = [name for name in os.environ.pop("POLYLOOM_LEARNT", "").split(",") if name]
    threads = len(os.listdir("/proc/self/task"))
    if names and not SHELF.load(names):
        _unable("what was to be loaded ahead changes more than can be hidden")
    if names and len(os.listdir("/proc/self/task")) > threads:
        _unable("what was to be loaded ahead starts threads")
    sys.stdout.flush()
    # What a library has opened, shares or prints would be all cells' or none's.
    if os.fstat(said).st_size or _outside() - before - {said}:
        os._exit(EXIT_UNABLE)
    os.close(said)
    for name, module in (*sys.modules.items(), *SHELF.modules.items()):
        _known[name] = len(getattr(module, "__dict__", ()))


def _outside() -> set[object]:
    """What a fork does not copy: open descriptors, shared mappings, children."""
    found: set[object] = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
            found.add(int(name))
        except OSError:
            pass  # by which the folder was read
    with open("/proc/self/maps") as maps:
        for line in maps:
            place, access = line.split()[:2]
            if "s" in access:
                found.add(place)
    try:
        os.waitpid(-1, os.WNOHANG)
        found.add("children")
    except ChildProcessError:
        pass
    return found


def _preload(name: str) -> None:
    threads = len(os.listdir("/proc/self/task"))
    try:
        __import__(name)
    except ImportError:
        return  # a name of the module before the dot, or what is not there: the cell is told
    # A copy has one thread: what another of the zygote's was about would never be done in it.
    # OpenBLAS ends its own before a fork, and starts them anew when they are needed.
    if len(os.listdir("/proc/self/task")) > threads and name.partition(".")[0] != "numpy":
        _unable(f"{name} starts threads")
