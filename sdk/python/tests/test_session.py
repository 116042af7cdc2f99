"""Sessions: state from exec to exec, kept, gone back to and forgotten."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from socket import socket
from typing import Any
from unittest import TestCase

from conversation import TIMEOUT, Conversation

from polyloom import _snapshots
from polyloom._leavings import Leavings


class Session(Conversation):
    """One session."""

    def cell(self, source: str, *arguments: Any, **more: Any) -> dict[str, Any]:
        """Run code in the session; it goes well."""
        done = self.attempt(source, *arguments, **more)
        self.assertTrue(done["ok"], self.host.text("stderr"))
        return done

    def attempt(self, source: str, *arguments: Any, **more: Any) -> dict[str, Any]:
        """Run code in the session."""
        return self.run_cell(source, *arguments, session=True, in_message=True, **more)

    def ask(self, kind: str, name: str) -> dict[str, Any]:
        """Send a message about a snapshot; what is answered."""
        self.host.send(kind, 0, {"name": name})
        return self.answer("Kept")

    def answer(self, kind: str) -> dict[str, Any]:
        """The next message, which is of a kind."""
        got, exec_id, body = self.host.receive()
        self.assertEqual((got, exec_id), (kind, 0))
        return body

    def kept(self, kind: str, name: str) -> None:
        """Send a message about a snapshot; it is done."""
        self.assertEqual(self.ask(kind, name), {"name": name, "ok": True, "reason": ""})

    def value(self, expression: str) -> Any:
        """What an expression is in the session."""
        self.cell(f"_v = {expression}", {"_v": "any"})
        return self.host.output("_v")


class Waiting(TestCase):
    """What waits on the line goes from process to process."""

    def test_all_of_it_is_there_again(self) -> None:
        for size in (0, 1, 1 << 16, (1 << 16) + 1, 1 << 20):
            rest = os.urandom(size)
            end = _snapshots._laid(rest)
            try:
                self.assertEqual(_snapshots._rest(end), rest)
            finally:
                os.close(end)

    def test_what_is_too_much_is_refused(self) -> None:
        with self.assertRaisesRegex(_snapshots.Refused, "can't be handed over"):
            _snapshots._laid(bytes(1 << 21))


class States(Session):
    def test_variables_stay(self) -> None:
        done = self.cell("import math\nx = 1\ndef f(): return x + math.floor(1.5)")
        self.assertIs(done["session_changed"], True)
        self.cell("x += 1")
        self.assertEqual(self.value("f()"), 3)
        self.assertEqual(self.host.end(), 0)

    def test_inputs_are_variables_and_outputs_are_taken(self) -> None:
        self.cell("y = a + 1", {"y": "int"}, {"a": 4})
        self.assertEqual(self.host.output("y"), 5)
        self.assertEqual(self.value("[a, y]"), [4, 5])

    def test_a_failure_leaves_what_was_done_and_the_next_runs(self) -> None:
        self.assertIs(self.attempt("x = 1\nraise ValueError(x)")["ok"], False)
        self.assertEqual(self.error()["line"], 2)
        self.assertEqual(self.value("x"), 1)
        self.assertEqual(self.host.end(), 0)

    def test_an_exit_ends_the_cell_not_the_session(self) -> None:
        self.assertIs(self.attempt("x = 2\nraise SystemExit(3)")["ok"], False)
        self.assertEqual(self.value("x"), 2)
        self.assertEqual(self.host.end(), 0)

    def test_a_traceback_shows_lines_of_earlier_cells(self) -> None:
        self.cell("def f(x):\n    return 1 / x  # the earlier\n")
        self.attempt("y = 1\nf(0)")
        self.assertEqual(self.error()["line"], 2)
        self.assertIn("return 1 / x  # the earlier", self.host.text("stderr"))

    def test_threads_and_folders_stay(self) -> None:
        self.cell("import os, threading\nos.mkdir('sub'); os.chdir('sub')")
        self.cell("go = threading.Event()\nt = threading.Thread(target=go.wait)\nt.start()")
        self.assertEqual(self.value("[os.path.basename(os.getcwd()), t.is_alive()]"), ["sub", True])
        self.cell("go.set(); t.join()")
        self.assertEqual(self.host.end(), 0)

    def test_a_cancelled_cell_leaves_the_session(self) -> None:
        self.cell("x = 1")
        exec_id = self.host.start(
            "import time\nx = 2\nprint('on', flush=True)\ntime.sleep(60)", session=True
        )
        while "on" not in self.host.text("stdout"):
            time.sleep(0.001)
        self.host.send("Cancel", exec_id, {"grace_ms": 5000})
        self.assertIs(self.host.finish(exec_id)["ok"], False)
        self.assertEqual(self.value("x"), 2)

    def test_a_killed_session_ends_as_its_process_did(self) -> None:
        self.cell("import os")
        self.host.start("os.kill(os.getpid(), 9)", session=True)
        self.assertEqual(self.host.process.wait(TIMEOUT), -signal.SIGKILL)

    def test_a_signal_to_the_first_process_interrupts_the_cell(self) -> None:
        self.cell("import time")
        exec_id = self.host.start("print(1, flush=True)\ntime.sleep(60)", session=True)
        while "1" not in self.host.text("stdout"):
            time.sleep(0.001)
        os.kill(self.host.process.pid, signal.SIGINT)
        self.assertIs(self.host.finish(exec_id)["ok"], False)


class Queues(Session):
    def queue(self, *sources: str) -> list[int]:
        """Send execs in one piece, each behind the one before; their ids."""
        self.host.greet()
        ids: list[int] = []
        with self.host.together():
            for source in sources:
                after = ids[-1] if ids else 0
                more: dict[str, Any] = {"session": True, "in_message": True, "after": after}
                ids.append(self.host.start(source, **more))
        return ids

    def test_execs_run_in_their_order_each_to_its_done(self) -> None:
        for exec_id in self.queue("x = [1]", "x.append(2)", "x.append(sum(x))"):
            self.assertIs(self.host.finish(exec_id)["ok"], True)
        self.assertEqual([kind for kind, _ in self.host.seen], ["Started", "Done"] * 3)
        self.assertEqual(self.value("x"), [1, 2, 3])
        self.assertEqual(self.host.end(), 0)

    def test_small_values_come_and_go_in_messages_and_others_in_files(self) -> None:
        self.host.greet()
        types = {"n": "int", "long": "str", "raw": "bytes", "v": "vec2"}
        code = "n, long, raw = a + 1, 'x' * 5000, b'r'"
        given = {"a": 1, "v": [1.0, 2.0]}
        more: dict[str, Any] = {"session": True, "in_message": True}
        done = self.host.finish(self.host.start(code, types, given, **more))
        self.assertEqual(sorted(done["values"]), ["n", "v"])
        self.assertEqual([self.host.output(name) for name in ("n", "v")], [2, [1.0, 2.0]])
        self.assertEqual(self.host.output("long"), "x" * 5000)
        self.assertEqual((self.host.cell / "out" / "raw.bin").read_bytes(), b"r")
        self.assertIs(done["leaves"], True)
        for name in ("long.msgpack", "raw.bin"):
            (self.host.cell / "out" / name).unlink()
        # Many that are small alone are too much together; and what a cell wrote gives way.
        many = {f"x{at}": "str" for at in range(10)}
        code = "import os\nopen(os.environ['OUT'] + '/x0.txt', 'w').close()\n"
        code += "for at in range(10): globals()[f'x{at}'] = 'x' * 4000"
        done = self.host.finish(self.host.start(code, many, **more))
        self.assertEqual(sorted(done["values"]), [f"x{at}" for at in range(8)])
        left = sorted(os.listdir(self.host.cell / "out"))
        self.assertEqual(left, ["x8.msgpack", "x9.msgpack"])

    def test_what_is_behind_a_failed_one_is_not_run(self) -> None:
        ids = self.queue("x = 1", "x = 2; 1 / 0", "x = 3", "x = 4")
        done = [self.host.finish(exec_id)["ok"] for exec_id in ids[:2]]
        self.assertEqual(done, [True, False])
        self.assertEqual(self.value("x"), 2)
        self.assertEqual(len(self.host.of("Started")), 3)

    def test_a_folder_that_was_empty_is_looked_through_where_it_may_have_changed(self) -> None:
        leavings = Leavings()
        leavings._pipes = []
        with tempfile.TemporaryDirectory() as out:
            file = Path(out, "x")
            for changed in (1.0, None, 1.0):
                if changed is not None:
                    os.utime(out, (changed, changed))
                for _ in range(3):
                    self.assertFalse(leavings.any(out))
                file.touch()
                self.assertTrue(leavings.any(out))
                file.unlink()
            # Within one tick of the clock a folder has the same time again.
            for _ in range(100):
                self.assertFalse(leavings.any(out))
                file.touch()
                self.assertTrue(leavings.any(out))
                file.unlink()
        self.assertTrue(leavings.any(out), "who can't say has the host look")

    def test_what_is_behind_one_that_leaves_something_is_not_run(self) -> None:
        leave = "import os\nopen(os.environ['OUT'] + '/left', 'w').close()"
        first, second, _ = self.queue("x = 1", leave, "x = 2")
        self.assertNotIn("leaves", self.host.finish(first))
        self.assertIs(self.host.finish(second)["leaves"], True)
        (self.host.cell / "out" / "left").unlink()
        self.assertEqual(self.value("x"), 1)
        self.assertEqual(len(self.host.of("Started")), 3)

    def test_what_comes_behind_one_that_is_done_is_run(self) -> None:
        (first,) = self.queue("x = 1")
        self.host.finish(first)
        second = self.host.start("x += 1", session=True, in_message=True, after=first)
        self.assertIs(self.host.finish(second)["ok"], True)
        self.assertEqual(self.value("x"), 2)

    def test_what_is_behind_one_that_is_cancelled_is_not_run(self) -> None:
        first, _ = self.queue("import time\nx = None\nprint(1)\ntime.sleep(60)", "x = 2")
        while "1" not in self.host.text("stdout"):
            time.sleep(0.001)
        self.host.send("Cancel", first, {"grace_ms": 1000})
        self.assertIs(self.host.finish(first)["ok"], False)
        self.assertIsNone(self.value("x"))


class Kept(Session):
    def test_a_snapshot_is_gone_back_to_more_than_once(self) -> None:
        self.cell("x = [1]")
        self.kept("Snapshot", "a")
        self.cell("x.append(2)")
        self.kept("Snapshot", "b")
        self.cell("x.append(3)")
        for name, value in (("a", [1]), ("b", [1, 2]), ("a", [1]), ("b", [1, 2])):
            self.kept("Restore", name)
            self.assertEqual(self.value("x"), value)
            self.cell("x.append(9)")
        self.assertEqual(self.host.end(), 0)

    def test_a_name_is_used_again(self) -> None:
        for value in (1, 2):
            self.cell(f"x = {value}")
            self.kept("Snapshot", "a")
        self.cell("x = 3")
        self.kept("Restore", "a")
        self.assertEqual(self.value("x"), 2)

    def test_what_is_dropped_is_not_known(self) -> None:
        self.cell("x = 1")
        self.kept("Snapshot", "a")
        self.kept("Snapshot", "b")
        self.kept("Forget", "a")
        self.kept("Forget", "a")
        answer = self.ask("Restore", "a")
        self.assertEqual((answer["ok"], answer["reason"]), (False, "no snapshot `a`, there is `b`"))
        self.assertEqual(self.value("x"), 1)
        self.assertEqual(self.host.end(), 0)

    def test_reset_is_a_process_that_has_run_nothing(self) -> None:
        self.cell("import sys, json\nx = 1\njson.dumps = None\nsys.path.append('/nowhere')")
        self.kept("Snapshot", "a")
        self.host.send("Reset", 0, {})
        self.cell("import sys")
        self.assertEqual(self.value("['x' in globals(), '/nowhere' in sys.path]"), [False, False])
        self.cell("import json\njson.dumps(1)")
        self.kept("Restore", "a")
        self.assertEqual(self.value("x"), 1)
        self.assertEqual(self.host.end(), 0)

    def test_messages_that_came_in_one_piece_are_handed_on(self) -> None:
        self.cell("x = 1")
        self.kept("Snapshot", "a")
        self.cell("x = 2")
        big = "#" * 300_000 + "\ny = x"
        with self.host.together():
            self.host.send("Restore", 0, {"name": "a"})
            self.host.send("Ping", 0, {"n": 7})
            exec_id = self.host.start(big, {"y": "int"}, session=True, in_message=True)
        self.assertEqual(self.answer("Kept")["ok"], True)
        self.assertEqual(self.answer("Pong"), {"n": 7})
        self.host.finish(exec_id)
        self.assertEqual(self.host.output("y"), 1)

    def test_threads_are_why_a_snapshot_is_refused(self) -> None:
        self.cell("import threading\ngo = threading.Event()")
        self.cell("t = threading.Thread(target=go.wait)\nt.start()")
        answer = self.ask("Snapshot", "a")
        self.assertIs(answer["ok"], False)
        self.assertIn("threads", answer["reason"])
        self.cell("go.set(); t.join()")
        self.kept("Snapshot", "a")

    def test_random_numbers_are_the_same_with_a_snapshot_between(self) -> None:
        code = "import random\nrandom.seed(5)\nfirst = random.random()"
        self.cell(code)
        without = self.value("random.random()")
        self.cell(code)
        self.kept("Snapshot", "a")
        self.assertEqual(self.value("random.random()"), without)
        self.kept("Restore", "a")
        self.assertEqual(self.value("random.random()"), without)

    def test_there_is_a_most(self) -> None:
        self.cell("x = 1")
        for number in range(64):
            self.kept("Snapshot", str(number))
        answer = self.ask("Snapshot", "more")
        self.assertEqual(answer["reason"], "there are 64 snapshots, drop one first")
        self.kept("Snapshot", "5")
        self.assertEqual(self.value("x"), 1)
        self.assertEqual(self.host.end(), 0)

    def test_all_end_with_the_session(self) -> None:
        self.cell("import os\nprint(os.getpid(), flush=True)")
        self.kept("Snapshot", "a")
        self.cell("print(os.getpid(), flush=True)")
        self.kept("Restore", "a")
        self.cell("print(os.getpid(), flush=True)")
        pids = [int(pid) for pid in self.host.text("stdout").split()]
        self.assertEqual(len(set(pids)), 3)
        self.host.process.kill()
        self.host.process.wait(TIMEOUT)
        self.host.socket.close()
        deadline = time.monotonic() + TIMEOUT
        while any(os.path.exists(f"/proc/{pid}/fd/0") for pid in pids):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_a_forked_child_of_the_cell_has_no_session(self) -> None:
        self.cell("import os\nx = 1\npid = os.fork()\nif pid == 0:\n    os._exit(4)")
        self.assertEqual(self.value("os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"), 4)
        self.kept("Snapshot", "a")

    def test_a_snapshot_may_be_first(self) -> None:
        self.host.greet()
        self.kept("Snapshot", "a")
        self.cell("x = 1")
        self.kept("Restore", "a")
        self.assertEqual(self.value("'x' in globals()"), False)


class Prompt(Session):
    def shown(self, source: str) -> list[tuple[str, str]]:
        """What is displayed of code that is typed."""
        self.host.seen.clear()
        self.attempt(source, interactive=True)
        return [(body["media"], body["data"].decode()) for body in self.host.of("Display")]

    def test_a_last_expression_is_shown(self) -> None:
        self.assertEqual(self.shown("x = 'a'\nx"), [("text/plain", "'a'")])
        self.assertEqual(self.shown("_ + 'b'"), [("text/plain", "'ab'")])
        self.assertEqual(self.shown("None"), [])
        ((_, text),) = self.shown("'é' * 60_000")
        self.assertTrue(text.startswith("'éé"), text[:10])
        self.assertTrue(text.endswith("é… (60,002 characters, `print(_)` shows all)"), text[-80:])
        self.assertLessEqual(len(text.encode()), 48 << 10)
        self.assertEqual(self.shown("x = 2"), [])
        self.assertEqual(self.shown(""), [])
        html = "class H:\n    def _repr_html_(self): return '<b>h</b>'\n"
        html += "    __repr__ = lambda self: 'H'\n"
        self.assertEqual(self.shown(html + "H()"), [("text/plain", "H"), ("text/html", "<b>h</b>")])

    def test_an_error_in_it_has_its_line(self) -> None:
        self.shown("x = 1\n\n1 / 0")
        self.assertEqual(self.error()["line"], 3)
        if sys.version_info >= (3, 11):
            self.assertEqual(self.error()["col"], 1)

    def complete(self, code: str, cursor: int) -> tuple[str, list[str]]:
        """The part that would be replaced, and with what."""
        self.host.send("Complete", 0, {"code": code, "cursor": cursor})
        answer = self.answer("Completions")
        return code[answer["start"] : answer["end"]], answer["matches"]

    def test_names_are_completed(self) -> None:
        self.cell("import math\nvariety = 1\nvar = 2\n_var = 3")
        self.assertEqual(self.complete("print(var", 9), ("var", ["var", "variety", "vars"]))
        self.assertEqual(self.complete("ü = math.flo + 1", 12), ("flo", ["floor"]))
        self.assertIn("split", self.complete("'a'; math.__name__.", 19)[1])
        self.assertEqual(self.complete("nothing.x", 9), ("x", []))
        self.assertEqual(self.complete("", 5), ("", self.complete("", 0)[1]))

    def test_imports_are_completed_and_nothing_is_imported(self) -> None:
        work = str(self.host.cell / "folder")
        os.makedirs(os.path.join(work, "qpack", "inner"))
        for path, text in (
            ("qpack/__init__.py", "raise SystemExit"),
            (
                "qpack/inner/deep.py",
                "import os\nclass Deepest: pass\nx, _y = 1, 2\n1 / 0",
            ),
        ):
            with open(os.path.join(work, path), "w") as file:
                file.write(text)
        self.cell(f"import sys; sys.path.insert(0, {work!r})")
        for code, words in (
            ("import qpac", ["qpack"]),
            ("import os, qpack.in", ["inner"]),
            ("from qpack.inner import de", ["deep"]),
            ("from qpack.inner.deep import D", ["Deepest"]),
            ("from qpack.inner.deep import x, o", ["os"]),
            ("x = 1; from qpack imp", ["import"]),
            ("from sys import getrefc", ["getrefcount"]),
            ("import no.such.th", []),
        ):
            self.assertEqual(self.complete(code, len(code))[1], words, code)
        if sys.version_info >= (3, 10):
            self.assertEqual(self.complete("from math import flo", 20)[1], ["floor"])
        self.cell("assert not [name for name in sys.modules if name.startswith('qpack')]")

    def test_who_exits_at_a_prompt_leaves(self) -> None:
        for code, ok in (("exit()", True), ("raise SystemExit(3)", False)):
            done = self.attempt(code, interactive=True)
            self.assertEqual((done["ok"], done["extras"].get("quits")), (ok, True), code)
        self.assertNotIn("quits", self.attempt("raise SystemExit")["extras"])

    def is_open(self, code: str) -> bool:
        """Whether more has to be typed."""
        self.host.send("Complete", 0, {"code": code, "cursor": 0})
        return bool(self.answer("Completions")["open"])

    def test_an_input_is_open_until_it_means_something(self) -> None:
        self.host.greet()
        for code in ("f(", "f(\n\n", '"""a\n', "def f():", "if 1: pass", "try:\n  x\n", "x \\"):
            self.assertTrue(self.is_open(code), code)
        for code in ("", "x = 1", "a b", "def f():\n", "def f():\n  1\n", "def f(): 1\nf()"):
            self.assertFalse(self.is_open(code), code)

    def test_objects_that_misbehave_complete_nothing(self) -> None:
        self.cell(
            "class C:\n    def __dir__(self):\n        while True: pass\n"
            "class D:\n    def __getattr__(self, n): raise SystemExit\nc, d = C(), D()"
        )
        self.assertEqual(self.complete("c.", 2), ("", []))
        self.assertEqual(self.complete("d.x.y", 5), ("y", []))
        self.assertEqual(self.value("1"), 1)


class Durable(Session):
    def through(self, kind: str, key: str) -> dict[str, Any]:
        """What came through `Save` or `Load`."""
        folder = self.host.cell / "state"
        folder.mkdir(exist_ok=True)
        self.host.send(kind, 0, {key: str(folder)})
        return self.answer("Saved")

    def test_what_is_saved_is_loaded_and_the_rest_is_named(self) -> None:
        self.cell(
            "import math\nfrom json import dumps\nn, s, b = 1, 'ü', b'\\0'\n"
            "rows = [{'a': 1.5}, None]\n"
            "def area(r, pi=math.pi):\n    return pi * r ** n\n"
        )
        self.cell("class P:\n    def two(self): return area(2, 1)\n")
        self.cell("f = open('/dev/null')\npair = (1, 2)\nbig = 1 << 80\nadd = lambda x: x\np = P()")
        told = self.through("Save", "out")
        names = ["math", "dumps", "n", "s", "b", "rows", "area", "P"]
        self.assertEqual(told["saved"], names)
        why = {entry["name"]: entry["why"] for entry in told["unsaved"]}
        self.assertEqual(list(why), ["f", "pair", "big", "add", "p"])
        self.assertEqual(why["pair"], "tuple: there is no encoding for values of this type")
        self.host.send("Reset", 0, {})
        told = self.through("Load", "path")
        self.assertEqual(told["unsaved"], [])
        self.assertEqual(sorted(told["saved"]), sorted(names))
        self.assertEqual(self.value("[n, s, b, rows]"), [1, "ü", b"\0", [{"a": 1.5}, None]])
        self.assertEqual(self.value("[P().two(), round(area(1)), dumps(n)]"), [2, 3, "1"])

    def test_what_there_is_no_room_for_is_told_and_the_session_goes_on(self) -> None:
        self.cell("n = 1\nbig = bytes(1 << 17)\nlast = 2")
        self.cell("__import__('resource').setrlimit(1, (1 << 16, -1))")  # RLIMIT_FSIZE
        told = self.through("Save", "out")
        self.assertEqual(told["saved"], ["n", "last"])
        why = "the session's own file system has no room for it; `disk` bounds that"
        self.assertEqual(told["unsaved"], [{"name": "big", "why": f"bytes: {why}"}])
        self.assertEqual(
            sorted(os.listdir(self.host.cell / "state")),
            ["0.msgpack", "1.msgpack", "state.msgpack"],
        )
        self.cell("__import__('resource').setrlimit(1, (1, -1))")
        told = self.through("Save", "out")
        self.assertEqual(told["saved"], [])
        self.assertEqual({entry["name"] for entry in told["unsaved"]}, {"n", "big", "last"})
        self.cell("assert n == 1")

    def test_a_folder_that_holds_nothing_loads_nothing(self) -> None:
        self.cell("x = 1")
        told = self.through("Load", "path")
        self.assertEqual((told["saved"], told["unsaved"][0]["name"]), ([], "state.msgpack"))
        self.assertEqual(self.value("x"), 1)


class Keeper(TestCase):
    def test_what_was_heard_while_an_answer_was_waited_for_is_not_waited_for_again(self) -> None:
        (asks, asked), (speaks, kept) = _snapshots._pair(), _snapshots._pair()
        pid = os.fork()
        if pid == 0:
            asks.close()
            speaks.close()
            time.sleep(0.1)  # both have something to say when it first looks
            keeper = _snapshots._Keeper(_snapshots.Snapshots(), asked, 0)
            keeper.kept[b"x"] = kept
            try:
                keeper.keep()
            finally:
                os._exit(3)
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        asked.close()
        kept.close()
        # A process that was gone back to before has ended, and the next one is there.
        speaks.send(_snapshots._ENDED + _snapshots._PAIR.pack(98, 0))
        speaks.send(_snapshots._DONE + _snapshots._PAIR.pack(99, 0))
        rest = _snapshots._laid(b"")
        _snapshots._send(asks, _snapshots._WAKE + _snapshots._PAIR.pack(0, 0) + b"x", [rest])
        os.close(rest)
        asks.settimeout(TIMEOUT)
        self.assertEqual(asks.recv(16), _snapshots._DONE)
        speaks.settimeout(TIMEOUT)
        message, (line, rest) = _snapshots._receive(speaks)
        self.assertEqual(message, _snapshots._WAKE)
        os.close(rest)
        with socket(fileno=line) as living:
            living.settimeout(TIMEOUT)
            living.send(_snapshots._DROP + _snapshots._PAIR.pack(0, 0) + b"none")
            self.assertEqual(living.recv(16), _snapshots._DONE)
