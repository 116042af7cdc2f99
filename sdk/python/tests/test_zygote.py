"""The line between a zygote and its supervisor: what is said, when, and in which order."""

from __future__ import annotations

import array
import builtins
import os
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import unittest
from pathlib import Path
from unittest import mock

WORKER = Path(__file__).resolve().parent.parent / "worker.py"


def _state() -> object:
    """What there is of a process."""
    modules, files = dict(sys.modules), os.listdir("/proc/self/fd")
    return modules, list(sys.path), list(sys.argv), files, dict(vars(builtins))


class Noted(dict):  # type: ignore[type-arg]
    """Variables, and what is done to them."""

    def __init__(self, pairs: list[bytes]) -> None:
        super().__init__(pair.split(b"=", 1) for pair in pairs)
        self.done: list[str] = []

    def __setitem__(self, name: bytes, value: bytes) -> None:
        self.done.append("+" + name.decode())
        super().__setitem__(name, value)

    def __delitem__(self, name: bytes) -> None:
        self.done.append("-" + name.decode())
        super().__delitem__(name)


class Zygotes(unittest.TestCase):
    def start(self, **env: str) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(60)
        self.addCleanup(ours.close)
        number = theirs.fileno()
        self.child = subprocess.Popen(
            [sys.executable, "-B", "-s", str(WORKER)],
            env={"PATH": "/usr/bin:/bin", "POLYLOOM_ZYGOTE": str(number), **env},
            pass_fds=[number],
            stderr=subprocess.PIPE,
        )
        theirs.close()
        self.addCleanup(self.child.wait)
        self.addCleanup(self.child.kill)
        assert self.child.stderr is not None
        self.addCleanup(self.child.stderr.close)
        return ours

    def told(self, line: socket.socket) -> tuple[int, int]:
        kind, value = struct.unpack("<Ii", line.recv(64))
        return kind, value

    def test_is_warm_and_ends_with_its_line(self) -> None:
        line = self.start(POLYLOOM_PRELOAD="json,no.such.thing,html.parser")
        self.assertEqual(self.told(line), (3, 1))
        line.close()
        self.assertEqual(self.child.wait(60), 0)

    def test_says_that_a_cell_began_and_how_it_ended(self) -> None:
        line = self.start()
        self.assertEqual(self.told(line), (3, 1))
        for ahead in (None, b"\1", b"\0", None):
            if ahead is not None:
                line.send(ahead)
                began = self.told(line)
            with tempfile.TemporaryFile() as procs, tempfile.TemporaryFile() as printed:
                null = os.open(os.devnull, os.O_RDWR)
                fds = [null, null, printed.fileno(), null, procs.fileno()]
                message = struct.pack("<II", os.getuid(), 1) + b"A=b\0"
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
                line.sendmsg([message], [rights])
                os.close(null)
                kind, pid = began if ahead is not None else self.told(line)
                self.assertEqual(kind, 1)
                self.assertGreater(pid, 1)
                # Here is no `/cell/work`, and perhaps no right to change the user.
                self.assertEqual(self.told(line), (2, 4 << 8))
                procs.seek(0)
                self.assertEqual(procs.read(), b"0")
        line.close()
        self.assertEqual(self.child.wait(60), 0)

    def test_what_waits_for_a_cell_ends_with_its_line(self) -> None:
        line = self.start()
        self.assertEqual(self.told(line), (3, 1))
        line.send(b"\0")
        self.assertEqual(self.told(line)[0], 1)
        line.close()
        self.assertEqual(self.child.wait(60), 0)

    def test_a_rehearsed_call_goes_well_and_leaves_nothing(self) -> None:
        line = self.start(POLYLOOM_CALLS="1")
        self.assertEqual(self.told(line), (3, 1))
        line.close()
        from polyloom import _call, _frames, _rehearsal
        from polyloom._worker import Worker

        worker = Worker(_frames.Connection())
        worker.is_copy = True
        was = dict(vars(worker))
        with mock.patch.object(os, "sched_yield") as yielded:
            names = _rehearsal.cell(worker)
        self.assertEqual(yielded.call_count, 5)  # three messages go out, two are waited for
        self.assertEqual(names["x"], 1)
        self.assertEqual(_rehearsal.call(names["f"]), {"result": 1})
        before = _state()
        with mock.patch.object(_call.Call, "bind", side_effect=ValueError):
            _rehearsal.rehearse(worker, True, lambda: False)
        _rehearsal.rehearse(worker, True, lambda: False)
        self.assertEqual(_state(), before)
        self.assertEqual(vars(worker), was)

    def test_variables_are_what_the_cell_s_message_says_in_its_order(self) -> None:
        from polyloom import _zygote

        there = [b"A=1", b"B=2=3", b"C=4"]
        cases = [
            (["A=1", "B=2=3", "C=4"], [], []),
            (["A=1", "B=2=3", "C=4", "D=5"], [], ["D"]),
            (["A=1", "B=2=3"], ["C"], []),
            (["A=1", "B=3", "C=4", "", "none"], ["B", "C"], ["B", "C"]),
            ([], ["A", "B", "C"], []),
            (["C=4", "A=1"], ["A", "B", "C"], ["C", "A"]),
        ]
        for wanted, dropped, given in cases:
            with self.subTest(wanted), mock.patch.object(os, "environb", Noted(there)) as environ:
                _zygote._surround(there, [each.encode() for each in wanted])
                has = [(name + b"=" + value).decode() for name, value in environ.items()]
                self.assertEqual(has, [each for each in wanted if "=" in each])
                done = ["-" + each for each in dropped] + ["+" + each for each in given]
                self.assertEqual(environ.done, done)

    def test_a_cell_that_has_come_is_kept_waiting_by_no_rehearsal(self) -> None:
        from polyloom import _frames, _rehearsal
        from polyloom._worker import Worker

        worker = Worker(_frames.Connection())
        worker.is_copy = True
        said = iter([False, True])
        with mock.patch.object(_rehearsal, "call", side_effect=AssertionError) as called:
            _rehearsal.rehearse(worker, True, lambda: next(said))
        with mock.patch.object(_rehearsal, "cell", side_effect=AssertionError) as ran:
            _rehearsal.rehearse(worker, True, lambda: True)
        self.assertEqual((called.call_count, ran.call_count), (0, 0))

    def test_numpys_generator_has_a_state_of_each_copys_own(self) -> None:
        from polyloom import _zygote

        try:
            from numpy import random
        except ImportError:
            self.skipTest("numpy is not installed")
        random.normal()  # half of a pair is kept
        drawn = []
        for _ in range(2):
            random.seed(1)
            _zygote._seed_anew()
            self.assertEqual(tuple(random.get_state())[2:], (624, 0, 0.0))
            drawn.append(random.random(700).tolist())
        random.seed(1)
        drawn.append(random.random(700).tolist())
        self.assertEqual(len({value for values in drawn for value in values}), 2100)

    def test_what_has_another_generator_of_numpys_is_seeded(self) -> None:
        from polyloom import _zygote

        other = mock.Mock(set_state=mock.Mock(side_effect=ValueError))
        with mock.patch.dict(sys.modules, {"numpy.random": other}):
            _zygote._seed_anew()
        other.seed.assert_called_once_with()

    def test_nothing_that_every_copy_has_does_something_at_its_end(self) -> None:
        code = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "import gc; from polyloom import _frames, _zygote\ngc.collect(); gc.freeze()\n"
            "import _socket; pair = _socket.socketpair(); of = _frames.Connection(pair[0])\n"
            "def has(): return any(map(_zygote._has_an_end, _zygote._kinds(gc.get_objects())))\n"
            "print(has())\nclass Own(_socket.socket): pass\nown = Own(); print(has())"
        )
        argv = [sys.executable, "-I", "-S", "-c", code, str(WORKER.parent)]
        ran = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
        self.assertEqual((ran.stdout, ran.stderr), ("False\nTrue\n", ""))

    def test_a_program_that_loaded_nothing_ends_without_libraries_and_loses_nothing(self) -> None:
        code = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "import ctypes; from polyloom._libc import Libc\n"
            "libc = Libc(); print(libc.has_loaded()); libc.settle(); print(libc.has_loaded())\n"
            "exec(sys.argv[2]); print(libc.has_loaded(), flush=True)\n"
            "ctypes.CDLL(None).printf(b'said by C\\n'); libc.exit(7)"
        )
        library = next(iter(Path(sysconfig.get_config_var("DESTSHARED")).glob("_testcapi.*")), None)
        loads = [("pass", "False")]
        if library is not None:
            loads.append((f"ctypes.CDLL({str(library)!r})", "True"))
        for load, loaded in loads:
            argv = [sys.executable, "-c", code, str(WORKER.parent), load]
            ran = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
            said = f"True\nFalse\n{loaded}\nsaid by C\n"
            self.assertEqual((ran.returncode, ran.stdout, ran.stderr), (7, said, ""))

    def test_what_prints_when_it_is_loaded_makes_it_none(self) -> None:
        line = self.start(POLYLOOM_PRELOAD="this")
        self.assertEqual(line.recv(64), b"")
        self.assertEqual(self.child.wait(60), 4)


if __name__ == "__main__":
    unittest.main()
