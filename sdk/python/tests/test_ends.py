"""How a worker or a cell comes to its end: cancelled, signalled, forked, cut off."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import unittest

from conversation import Conversation, Host

from polyloom import _frames


class Ends(Conversation):
    def test_cancel_interrupts_a_sleeping_cell(self) -> None:
        self.host.greet()
        # Short sleeps: none ends by a signal that comes just before its system call.
        code = "import time\nprint('on', flush=True)\nfor _ in range(600): time.sleep(0.1)\n"
        exec_id = self.host.start(code)
        self.assertEqual(self.host.receive()[0], "Started")
        self.host.send("Cancel", exec_id, {"grace_ms": 1000})
        done = self.host.finish(exec_id)
        self.assertEqual((done["ok"], done["extras"]), (False, {"cancelled": True}))
        (found,) = self.host.of("Diagnostic")
        self.assertEqual((found["severity"], found["message"]), ("info", "cancelled here"))
        self.assertEqual(self.host.text("stderr"), "")

    def test_cancel_lets_the_cell_tidy_up_and_is_not_repeated_by_the_signal(self) -> None:
        self.host.greet()
        code = """
import os, signal, time
try:
    for _ in range(600): time.sleep(0.1)
finally:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)
    print("tidy")
"""
        exec_id = self.host.start(code)
        self.host.send("Cancel", exec_id, {"grace_ms": 1000})
        self.assertIs(self.host.finish(exec_id)["ok"], False)
        self.assertIn(self.host.text("stdout"), ("tidy\n", ""))  # empty: it had not begun yet
        self.assertTrue(self.host.run("x = 1", {"x": "int"})["ok"])

    def test_cancel_reaches_a_busy_loop_and_a_speaking_one(self) -> None:
        for code in ("while True: pass", "import polyloom\nwhile True: polyloom.progress(0)"):
            host = Host()
            self.addCleanup(host.__exit__)
            host.greet()
            exec_id = host.start(code)
            host.receive()
            host.send("Cancel", exec_id, {"grace_ms": 1000})
            self.assertIs(host.finish(exec_id, grant=False)["ok"], False)

    def test_signals_end_a_cell_like_an_interrupt(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            host = Host()
            self.addCleanup(host.__exit__)
            host.greet()
            exec_id = host.start("import time\nwhile True: time.sleep(1)")
            host.receive()
            host.process.send_signal(number)
            self.assertIs(host.finish(exec_id)["ok"], False)
            self.assertEqual(host.of("Diagnostic")[0]["message"], "KeyboardInterrupt")

    def test_end_of_file_ends_the_worker_even_in_a_cell(self) -> None:
        self.host.greet()
        self.host.start("import time\nfor _ in range(600): time.sleep(0.1)\n")
        self.host.receive()
        self.host.socket.close()
        self.assertEqual(self.host.process.wait(30), 1)

    def test_end_of_file_between_cells(self) -> None:
        self.host.greet()
        self.host.socket.close()
        self.assertEqual(self.host.process.wait(30), 0)

    def test_a_broken_host_is_named(self) -> None:
        self.host.socket.sendall(b"HTTP/1.1 200 OK\r\n")
        self.assertEqual(self.host.process.wait(30), 3)
        self.assertIn("another protocol", self.host.text("stderr"))

    def test_hello_no(self) -> None:
        self.host.socket.sendall(b"PLYW\x01\x01\0\0")
        self.host.send("HelloNo", 0, {"reason": "too old", "supported": []})
        self.assertEqual(self.host.process.wait(30), 3)
        self.assertIn("too old", self.host.text("stderr"))

    def test_a_fork_that_runs_to_the_end_says_nothing(self) -> None:
        code = """
import os, polyloom
pid = os.fork()
if pid == 0:
    polyloom.log("from the child")
else:
    os.waitpid(pid, 0)
x = pid > 0
"""
        self.assertTrue(self.run_cell(code, {"x": "bool"})["ok"])
        self.assertEqual([kind for kind, _ in self.host.seen], ["Started", "Done"])
        self.assertTrue(self.host.output("x"))
        self.assertEqual(self.host.text("stderr"), "info: from the child\n")

    def test_a_fork_that_fails_is_its_own(self) -> None:
        code = "import os\npid = os.fork()\nif pid == 0: 1 / 0\nx = os.waitpid(pid, 0)[1] >> 8\n"
        self.assertTrue(self.run_cell(code, {"x": "int"})["ok"])
        self.assertEqual(self.host.output("x"), 1)
        self.assertIn("ZeroDivisionError", self.host.text("stderr"))

    def test_multiprocessing(self) -> None:
        code = """
import multiprocessing
def square(n): return n * n
context = multiprocessing.get_context("fork")
with context.Pool(2) as pool:
    x = sum(pool.map(square, range(10)))
"""
        self.assertTrue(self.run_cell(code, {"x": "int"})["ok"], self.host.text("stderr"))
        self.assertEqual(self.host.output("x"), 285)
        self.assertEqual(self.host.text("stderr"), "")
        self.assertEqual(self.host.of("Diagnostic"), [])

    def test_closing_the_usual_descriptors_does_not_cut_the_line(self) -> None:
        code = "import os\nos.closerange(3, 150)\nx = 1\n"
        self.assertTrue(self.run_cell(code, {"x": "int"})["ok"])

    def test_child_processes_do_not_inherit_the_line(self) -> None:
        code = """
import os, subprocess, sys
x = subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, text=True)
x = [line for line in x.stdout.splitlines() if "socket:" in line]
"""
        self.run_cell(code, {"x": "list<str>"})
        self.assertEqual(self.host.output("x"), [])

    def test_cancel_and_the_signal_that_goes_with_it_are_one(self) -> None:
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        for signal_first in (True, False):
            both_sent = os.path.join(folder, str(signal_first))
            code = f"""
import os, time
try:
    print("on", flush=True)
    for _ in range(600): time.sleep(0.1)
finally:
    while not os.path.exists({both_sent!r}):
        time.sleep(0.001)
    print("tidy")
"""
            host = Host()
            self.addCleanup(host.__exit__)
            host.greet()
            exec_id = host.start(code)
            while "on" not in host.text("stdout"):
                os.sched_yield()
            if signal_first:
                host.process.send_signal(signal.SIGTERM)
            host.send("Cancel", exec_id, {"grace_ms": 1000})
            host.process.send_signal(signal.SIGTERM)
            os.close(os.open(both_sent, os.O_CREAT | os.O_WRONLY))
            done = host.finish(exec_id)
            self.assertEqual((done["ok"], done["extras"]), (False, {"cancelled": True}))
            self.assertEqual(host.text("stdout"), "on\ntidy\n")

    def test_what_arrives_while_arrivals_are_taken_in_is_taken_in(self) -> None:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        host = _frames.Connection(theirs)

        class Late:
            """A socket where a frame, and the signal of it, come just after a look in vain."""

            late = True

            def recv(self, size: int, flags: int) -> bytes:
                try:
                    return ours.recv(size, flags)
                except BlockingIOError:
                    if self.late:
                        self.late = False
                        host.send_preamble()
                        host.send(_frames.CANCEL, 7, {})
                        worker.poll(inner.append)
                    raise

        worker = _frames.Connection(Late())  # type: ignore[arg-type]
        inner: list[_frames.Frame] = []
        outer: list[_frames.Frame] = []
        worker.poll(outer.append)
        found = [[frame.exec_id for frame in frames] for frames in (inner, outer)]
        self.assertEqual(found, [[], [7]])

    def test_what_arrives_is_noted_in_its_order_whoever_takes_it_in(self) -> None:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        host, worker = _frames.Connection(ours), _frames.Connection(theirs)
        host.send_preamble()
        host.send(_frames.CANCEL, 7, {})
        found: list[int] = []

        def note(frame: _frames.Frame) -> None:
            found.append(frame.exec_id)

        class Lock:
            """The signal of another frame comes once a look is over, before its caller goes on."""

            held = late = False

            def acquire(self, wait: bool) -> bool:
                had, self.held = self.held, True
                return not had

            def release(self) -> None:
                self.held = False
                if not self.late:
                    self.late = True
                    host.send(_frames.CANCEL, 8, {})
                    worker.poll(note)

        worker._read = Lock()  # type: ignore[assignment]
        worker.poll(note)
        self.assertEqual(found, [7, 8])

    def test_asyncio_is_cancelled_in_its_own_way(self) -> None:
        self.host.greet()
        code = """
import asyncio
async def main():
    try:
        print("on", flush=True)
        for _ in range(600): await asyncio.sleep(0.1)
    finally:
        print("tidy")
asyncio.run(main())
"""
        exec_id = self.host.start(code)
        while "on" not in self.host.text("stdout"):
            os.sched_yield()
        self.host.send("Cancel", exec_id, {"grace_ms": 1000})
        self.assertIs(self.host.finish(exec_id)["ok"], False)
        self.assertEqual(self.host.text("stdout"), "on\ntidy\n")

    def test_an_unknown_kind_is_skipped_unless_it_must_be_understood(self) -> None:
        self.host.greet()
        self.host.socket.sendall(bytes((1, 0, 0, 0, 120, 0, 0, 0)) + bytes(8) + b"\x80")
        self.host.send("Ping", 0, {"n": 1})
        self.assertEqual(self.host.receive()[0], "Pong")
        self.host.socket.sendall(bytes((1, 0, 0, 0, 120, 1, 0, 0)) + bytes(8) + b"\x80")
        self.assertEqual(self.host.receive()[2]["code"], "must_understand")


if __name__ == "__main__":
    unittest.main()
