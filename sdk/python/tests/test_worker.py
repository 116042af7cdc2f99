"""Whole conversations with a worker process: what a cell does, and what the host then sees."""

from __future__ import annotations

import sys
import unittest

from conversation import Conversation

from polyloom._msgpack import MsgpackError, decode, encode


class Cells(Conversation):
    def test_hello_says_who_speaks(self) -> None:
        self.host.greet()
        self.assertEqual(self.host.hello["executor"], "python")
        self.assertEqual(self.host.hello["protocol"], [{"major": 1, "minor": 0}])
        self.assertEqual(self.host.hello["runtime"], sys.version)

    def test_inputs_are_variables_and_variables_are_outputs(self) -> None:
        done = self.run_cell("total = sum(xs) * k\n", {"total": "float"}, {"xs": [1, 2], "k": 2})
        values = {"total": encode(6.0)}
        self.assertEqual(
            done, {"ok": True, "session_changed": False, "extras": {}, "values": values}
        )
        self.assertEqual(self.host.output("total"), 6.0)
        self.assertEqual([kind for kind, _ in self.host.seen], ["Started", "Done"])
        self.assertEqual(self.host.end(), 0)

    def test_the_cell_finds_what_a_program_finds(self) -> None:
        code = """
import os, sys
assert __name__ == "__main__" and sys.modules["__main__"].xs == [1]
assert __file__.endswith("/code/cell.py")
assert sys.argv == [__file__, "--fast", "ü"], sys.argv
assert "POLYLOOM_W" not in os.environ
out = 1
"""
        self.assertTrue(
            self.run_cell(code, {"out": "int"}, {"xs": [1]}, argv=["--fast", "ü"])["ok"]
        )

    def test_print_goes_to_stdout_only(self) -> None:
        self.run_cell("import sys\nprint('grüße 😀')\nprint('x', file=sys.stderr)\n")
        self.assertEqual(self.host.text("stdout"), "grüße 😀\n")
        self.assertEqual(self.host.text("stderr"), "x\n")

    def test_output_order_of_child_processes_is_kept(self) -> None:
        code = "import subprocess\nprint('a')\nsubprocess.run(['echo', 'b'])\nprint('c', end='')"
        self.run_cell(code)
        self.assertEqual(self.host.text("stdout"), "a\nb\nc")

    def test_names_that_are_no_variables(self) -> None:
        code = "import polyloom\npolyloom.output('class', polyloom.inputs['in'] + 1)\n"
        self.run_cell(code, {"class": "int"}, {"in": 1})
        self.assertEqual(self.host.output("class"), 2)

    def test_a_cell_may_be_called_like_a_library(self) -> None:
        (self.host.cell / "code" / "json.py").write_text("raise RuntimeError\n")
        (self.host.cell / "code" / "companion.py").write_text("value = 3\n")
        self.run_cell("import json, companion\nx = companion.value", {"x": "int"})
        self.assertEqual(self.host.output("x"), 3)

    def test_functions_of_the_cell_can_be_pickled(self) -> None:
        code = "import pickle\ndef f(): return 7\nx = pickle.loads(pickle.dumps(f))()"
        self.run_cell(code, {"x": "int"})
        self.assertEqual(self.host.output("x"), 7)

    def test_threads_are_awaited_like_at_the_end_of_a_program(self) -> None:
        code = """
import threading
go, x = threading.Event(), 0
def work():
    global x
    go.wait()
    x = 5
threading.Thread(target=work).start()
threading.Timer(0.01, go.set).start()
"""
        self.run_cell(code, {"x": "int"})
        self.assertEqual(self.host.output("x"), 5)

    def test_seed_makes_random_repeatable_however_it_is_imported(self) -> None:
        codes = ("import random\nx = random.random()", "from random import random\nx = random()")
        seen = set()
        for code in codes:
            self.assertTrue(self.run_cell(code, {"x": "float"}, seed=7)["ok"])
            seen.add(self.host.output("x"))
        import random

        self.assertEqual(seen, {random.Random(7).random()})

    def test_one_mebibyte_of_output(self) -> None:
        code = "b = bytes(range(256)) * 4096\ns = 'ü' * (1 << 19)\nprint('x' * (1 << 20))\n"
        self.run_cell(code, {"b": "bytes", "s": "str"})
        self.assertEqual((self.host.cell / "out" / "b.bin").stat().st_size, 1 << 20)
        self.assertEqual(self.host.output("s"), "ü" * (1 << 19))
        self.assertEqual(len(self.host.text("stdout")), (1 << 20) + 1)

    def test_several_cells_after_one_another_start_fresh(self) -> None:
        self.assertTrue(self.run_cell("x = 1", {"x": "int"})["ok"])
        self.assertIn("NameError", self.fails("y = x", {"y": "int"})["message"])
        self.assertTrue(self.run_cell("x = 2", {"x": "int"})["ok"])
        self.assertEqual(self.host.end(), 0)


class Failures(Conversation):
    def test_exception_names_the_line_of_the_cell(self) -> None:
        error = self.fails("import json\ndef f():\n    return json.loads('ü{')\n\nf()\n")
        self.assertEqual(error["line"], 3)
        self.assertEqual(error["file"], str(self.host.cell / "code" / "cell.py"))
        self.assertTrue(error["message"].startswith("json.decoder.JSONDecodeError: "))
        if sys.version_info >= (3, 11):
            place = error["col"], error["end_line"], error["end_col"]
            self.assertEqual(place, (12, 3, 28))
        self.assertEqual(self.host.end(), 1)

    def test_traceback_shows_only_the_cells_frames(self) -> None:
        self.fails("def f():\n    1 / 0\nf()\n")
        text = self.host.text("stderr")
        self.assertTrue(text.startswith("Traceback (most recent call last):\n"))
        self.assertTrue(text.endswith("ZeroDivisionError: division by zero\n"))
        self.assertNotIn("_worker", text)
        self.assertEqual(text.count('File "'), 2)

    def test_syntax_error_has_its_own_place(self) -> None:
        error = self.fails("x = 1\ny = = 2\n")
        self.assertEqual((error["line"], error["col"]), (2, 5))
        self.assertEqual(error["message"], "SyntaxError: invalid syntax")
        self.assertNotIn("Traceback", self.host.text("stderr"))
        self.assertIn("y = = 2", self.host.text("stderr"))

    def test_code_that_is_not_text(self) -> None:
        self.assertIn("SyntaxError", self.fails("x = '\udcff'\n")["message"])

    def test_missing_output(self) -> None:
        error = self.fails("y = 1\n", {"x": "int"})
        self.assertEqual(error["message"], "output `x` was not set")

    def test_all_that_is_wrong_is_told_at_once(self) -> None:
        wrong = {"a": "int", "b": "str", "c": "list<int>"}
        error = self.fails("a, b, c = 'x', 'y', [1, 'z']\n", wrong)
        told = [
            'output `a`: expected int, found str "x"',
            'output `c[1]`: expected int, found str "z"',
        ]
        self.assertEqual(error["message"].splitlines(), told)

    def test_wrong_type_names_the_place_in_the_value_and_the_line(self) -> None:
        code = "days = [{'temp': 1.5}] * 3\ndays = days + [{'temp': 'x'}]\n"
        error = self.fails(code, {"days": "list<record{temp: float}>"})
        self.assertEqual(error["message"], 'output `days[3].temp`: expected float, found str "x"')
        self.assertEqual(error["line"], 2)

    def test_exit_codes(self) -> None:
        error = self.fails("import sys\nsys.exit(3)\n")
        self.assertEqual((error["line"], error["message"]), (2, "SystemExit: 3"))
        self.assertEqual(self.host.end(), 3)

    def test_exit_with_a_text(self) -> None:
        self.fails("raise SystemExit('no data')\n")
        self.assertEqual(self.host.text("stderr"), "no data\n")
        self.assertEqual(self.host.end(), 1)

    def test_exit_zero_is_success_with_outputs(self) -> None:
        self.assertTrue(self.run_cell("x = 1\nraise SystemExit(0)\nx = 2\n", {"x": "int"})["ok"])
        self.assertEqual(self.host.output("x"), 1)
        self.assertEqual(self.host.end(), 0)

    def test_warnings_are_diagnostics_and_on_stderr(self) -> None:
        self.run_cell("import warnings\nwarnings.warn('careful')\n")
        (found,) = self.host.of("Diagnostic")
        self.assertEqual(found["severity"], "warning")
        self.assertEqual(found["message"], "UserWarning: careful")
        self.assertEqual(found["line"], 2)
        self.assertIn("UserWarning: careful", self.host.text("stderr"))

    def test_an_exception_that_cannot_be_shown(self) -> None:
        code = "class E(Exception):\n    def __str__(self): return 1 / 0\nraise E\n"
        self.assertEqual(self.fails(code)["line"], 3)

    def test_long_messages_are_cut(self) -> None:
        self.assertLess(len(self.fails("raise ValueError('x' * 10**7)\n")["message"]), 10_000)

    def test_endless_recursion(self) -> None:
        self.assertIn("RecursionError", self.fails("def f(): f()\nf()\n")["message"])


class Speaking(Conversation):
    def test_log_progress_display(self) -> None:
        code = """
import polyloom
polyloom.log("hello", "warn")
polyloom.progress(1.5, "done")
polyloom.progress()
polyloom.display("<svg xmlns='http://www.w3.org/2000/svg'/>")
polyloom.display({"a": 1})
"""
        self.run_cell(code)
        self.assertEqual(self.host.of("Log"), [{"level": "warn", "text": "hello"}])
        expected = [{"fraction": 1.0, "text": "done"}, {"fraction": None, "text": ""}]
        self.assertEqual(self.host.of("Progress"), expected)
        media = [(body["media"], body["data"][:4]) for body in self.host.of("Display")]
        self.assertEqual(media, [("image/svg+xml", b"<svg"), ("text/plain", b"{'a'")])

    def test_artifacts(self) -> None:
        code = """
import polyloom, pathlib
pathlib.Path("notes.txt").write_text("n")
polyloom.artifact("a.bin", b"123")
polyloom.artifact("n.txt", pathlib.Path("notes.txt"))
polyloom.display("x" * 50_000)
try:
    polyloom.artifact("../x", b"")
except ValueError:
    polyloom.artifact("refused", "")
"""
        self.assertTrue(self.run_cell(code)["ok"], self.host.text("stderr"))
        names = [body["name"] for body in self.host.of("Artifact")]
        self.assertEqual(names, ["a.bin", "n.txt", "display-1.txt", "refused"])
        for body in self.host.of("Artifact"):
            self.assertTrue((self.host.cell / "out" / body["path"]).is_file())

    def test_without_credit_the_cell_waits(self) -> None:
        self.host.greet()
        code = "import polyloom\nfor n in range(40): polyloom.log('x' * 10_000)\nn = 1\n"
        exec_id = self.host.start(code, {"n": "int"})
        logs = 0
        while self.host.metered < 256 << 10:
            logs += self.host.receive()[0] == "Log"
        self.host.socket.settimeout(0.3)
        with self.assertRaises(TimeoutError if sys.version_info >= (3, 10) else OSError):
            self.host.receive()
        self.host.socket.settimeout(30)
        self.host.send("Credit", exec_id, {"bytes": 1 << 20})
        self.assertTrue(self.host.finish(exec_id)["ok"])
        self.assertEqual(logs + len(self.host.of("Log")), 40)

    def test_without_credit_progress_is_dropped(self) -> None:
        self.host.greet()
        code = "import polyloom\nfor n in range(9000): polyloom.progress(0.5, 'x' * 60)\n"
        self.assertTrue(self.host.finish(self.host.start(code), grant=False)["ok"])
        self.assertLess(self.host.metered, (256 << 10) + 200)

    def test_long_logs_go_in_pieces_and_odd_text_is_made_plain(self) -> None:
        self.run_cell("import polyloom\npolyloom.log('😀' * 40_000)\npolyloom.log('\\ud800')\n")
        texts = [body["text"] for body in self.host.of("Log")]
        self.assertEqual("".join(texts[:-1]), "😀" * 40_000)
        self.assertEqual(texts[-1], "\\ud800")

    def test_threads_may_speak(self) -> None:
        code = """
import polyloom, threading
def speak(n):
    for k in range(100): polyloom.log(f"{n} {k} " + "x" * 1000)
threads = [threading.Thread(target=speak, args=(n,)) for n in range(8)]
[thread.start() for thread in threads]
"""
        self.assertTrue(self.run_cell(code)["ok"])
        self.assertEqual(len(self.host.of("Log")), 800)

    def test_ping(self) -> None:
        self.host.greet()
        for n in (7, (1 << 63) - 1):
            self.host.send("Ping", 0, {"n": n})
            self.assertEqual(self.host.receive(), ("Pong", 0, {"n": n}))

    def test_a_message_may_hold_64_bits_without_a_sign(self) -> None:
        most = b"\xcf" + b"\xff" * 8
        self.assertEqual(decode(most, unsigned=True), (1 << 64) - 1)
        with self.assertRaises(MsgpackError):
            decode(most)


if __name__ == "__main__":
    unittest.main()
