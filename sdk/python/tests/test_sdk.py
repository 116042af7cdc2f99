"""Executors written with the SDK: what a cell does, and what the host then sees."""

from __future__ import annotations

import os
import tempfile
import time
import unittest
from pathlib import Path

from conversation import Conversation, Host

from polyloom_sdk import Diagnostic, Failure
from polyloom_sdk._program import parse

HERE = Path(__file__).resolve().parent


def host(named: str, *options: str) -> Host:
    """A host of an executor in `languages.py`."""
    return Host(program=("executor.py", *options, f"{HERE}/languages.py:{named}"))


class Plain(Conversation):
    """Cells of an executor that runs them as Python."""

    def setUp(self) -> None:
        self.host = host("plain")
        self.addCleanup(self.host.__exit__)

    def test_hello_is_the_executors(self) -> None:
        self.host.greet()
        said = {key: self.host.hello[key] for key in ("executor", "version", "features")}
        features = ["cancel.soft", "display", "progress"]
        self.assertEqual(said, {"executor": "plain", "version": "2", "features": features})

    def test_inputs_come_as_values_and_outputs_go_as_declared(self) -> None:
        code = """
assert exec.cell == "cell" and exec.outputs["n"] == "int" and exec.inputs["x"].encoding == "msgpack"
cx.value("n", sum(cx.inputs["x"]))
cx.tensor("t", b"\\1\\0\\2\\0", shape=[2], dtype="i16")
cx.tensor("none", b"", shape=[0, 3], dtype="f64")
cx.table("days", [{"day": 1}, {"day": 2}])
cx.file("f", "text")
cx.output("any", {"a": [None]})
"""
        outputs = {"n": "int", "t": "tensor<i16,[n]>", "none": "tensor", "days": "table"}
        done = self.run_cell(code, {**outputs, "f": "file", "any": "any"}, {"x": [1, 2]})
        self.assertTrue(done["ok"], self.host.text("stderr"))
        self.assertEqual(self.host.output("n"), 3)
        self.assertEqual(self.host.output("any"), {"a": [None]})
        self.assertIn(b"'shape': (0, 3), ", (self.host.cell / "out/none.npy").read_bytes())
        self.assertTrue((self.host.cell / "out/t.npy").read_bytes().endswith(b"\1\0\2\0"))
        self.assertEqual((self.host.cell / "out/f.txt").read_text(), "text")
        self.assertTrue((self.host.cell / "out/days.arrow").read_bytes().startswith(b"ARROW1"))

    def test_what_does_not_fit_names_the_port_and_what_would_do(self) -> None:
        for code, words in [
            ("cx.input('z')", "no input `z`; there are `x`"),
            ("cx.value('z', 1)", "no output `z`; there are `n`, `t`"),
            ("cx.value('t', 1)", "output `t` is declared as tensor<i16,[2]>, not as value"),
            ("cx.value('n', 'a')", 'output `n`: expected int, found str "a"'),
            ("cx.tensor('t', b'12', [1], 'i16')", "output `t`: expected tensor<i16,[2]>"),
            ("cx.tensor('t', b'12', [2], 'i16')", "`t` has 2 bytes, which do not fit"),
            ("cx.tensor('t', b'12', [2], 'i8')", "expected tensor<i16,[2]>, found elements of i8"),
            ("cx.tensor('t', b'12', [2], 'x')", "dtype `x` is none of bool, i8"),
            ("cx.tensor('t', b'12')", "tensor `t`: bytes need both"),
        ]:
            self.host.seen.clear()
            error = self.fails(code, {"n": "int", "t": "tensor<i16,[2]>"}, {"x": 1})
            self.assertIn(words, error["message"])

    def test_a_failure_names_its_line_and_is_on_standard_error(self) -> None:
        error = self.fails("raise Failure.at_line(7, 'no such word')")
        self.assertEqual((error["line"], error["message"]), (7, "no such word"))
        self.assertEqual(error["file"], str(self.host.cell / "code" / "cell.py"))
        self.assertEqual(self.host.text("stderr"), "error: line 7: no such word\n")
        self.assertEqual(self.host.end(), 1)

    def test_a_failure_may_have_a_status(self) -> None:
        self.fails("raise Failure('x', exit_code=7)")
        self.assertEqual(self.host.end(), 7)

    def test_a_mistake_of_the_executor_fails_its_cell_alone(self) -> None:
        error = self.fails("import json\n\njson.loads('{')")
        self.assertTrue(error["message"].startswith("json.decoder.JSONDecodeError"))
        self.assertEqual(error["line"], 3, "a place in the cell's file is found")
        self.assertNotIn("polyloom_sdk", self.host.text("stderr"))
        self.assertTrue(self.host.run("cx.log('on')")["ok"])

    def test_words_to_the_host(self) -> None:
        code = """
cx.log("a", "warn")
cx.progress(7, "b")
cx.display_text("<c>")
cx.display_html("<p>")
cx.display_table({"k": ["<", 2]}, most=1)
cx.display_image(b"\\x89PNG\\r\\n\\x1a\\n")
cx.diagnostic(Diagnostic("w", "warning", line=2))
cx.artifact("kept.txt", "d")
cx.extra("e", [1])
print("f")
"""
        done = self.run_cell(code)
        self.assertEqual((done["ok"], done["extras"]), (True, {"e": [1]}))
        self.assertEqual(self.host.of("Log"), [{"level": "warn", "text": "a"}])
        self.assertEqual(self.host.of("Progress"), [{"fraction": 1.0, "text": "b"}])
        shown = [(each["media"], each["data"]) for each in self.host.of("Display")]
        table = b"<table><tr><th>k</th></tr><tr><td>&lt;</td></tr></table><p>and 1 rows</p>"
        texts = [("text/plain", b"<c>"), ("text/html", b"<p>"), ("text/html", table)]
        self.assertEqual(shown, [*texts, ("image/png", b"\x89PNG\r\n\x1a\n")])
        (warning,) = self.host.of("Diagnostic")
        self.assertEqual((warning["severity"], warning["line"]), ("warning", 2))
        self.assertEqual(self.host.of("Artifact")[0]["name"], "kept.txt")
        self.assertEqual(self.host.text("stdout"), "f\n")

    def test_extras_are_bounded(self) -> None:
        error = self.fails("cx.extra('e', 'x' * 50000)")
        self.assertIn("extra `e`: all extras together", error["message"])

    def test_nothing_printed_is_taken_for_the_protocol(self) -> None:
        code = """
import os, sys
os.write(1, b"PLYW\\x01\\x01\\0\\0" + b"\\xff" * 32)
sys.stdout.close()
os.close(0)
"""
        self.assertTrue(self.run_cell(code)["ok"])
        self.assertTrue(self.host.run("import os; os.write(1, b'on')")["ok"])
        self.assertEqual((self.host.cell / "stdout").read_bytes()[-2:], b"on")


class Programs(Conversation):
    """What `run` and `compile_and_run` do."""

    def setUp(self) -> None:
        self.host = host("plain")
        self.addCleanup(self.host.__exit__)

    def test_output_is_the_cells_byte_by_byte_and_in_order(self) -> None:
        code = """
print("a")
script = r"printf '\\377'; cat; echo e >&2; printf $K"
ran = cx.run(["sh", "-c", script], stdin=b"in", env={"K": "k"})
assert ran.ok and ran.stdout == b"\\xffink" and ran.stderr == b"e\\n", ran
print("z")
"""
        self.assertTrue(self.run_cell(code)["ok"], self.host.text("stderr"))
        self.assertEqual((self.host.cell / "stdout").read_bytes(), b"a\n\xffinkz\n")
        self.assertEqual(self.host.text("stderr"), "e\n")

    def test_much_output_is_passed_on_whole_and_kept_in_part(self) -> None:
        code = """
ran = cx.run(["sh", "-c", "echo first; head -c 3000000 /dev/zero; echo last"])
assert ran.stdout.startswith(b"first") and ran.stdout.endswith(b"last\\n")
assert len(ran.stdout) < 300000
"""
        self.assertTrue(self.run_cell(code)["ok"], self.host.text("stderr"))
        self.assertEqual((self.host.cell / "stdout").stat().st_size, 3_000_011)

    def test_a_status_fails_the_cell(self) -> None:
        error = self.fails("cx.run(['sh', '-c', 'exit 5'])")
        self.assertEqual(error["message"], "`sh` exited with status 5")
        self.assertEqual(self.host.end(), 5)

    def test_what_cannot_be_started_fails_the_cell(self) -> None:
        self.assertIn("`/no/such` can't be started", self.fails("cx.run(['/no/such'])")["message"])

    def test_diagnostics_of_a_compiler_are_the_cells(self) -> None:
        code = r"""
text = "cell.py:3:4: warning: odd\ncell.py:5: error: bad\nother.h:6: note: see\n"
pattern = r"^(?P<file>[^:\n]+):(?P<line>\d+):((?P<col>\d+):)? (?P<severity>\w+): (?P<message>.+)$"
cx.compile_and_run(["echo", "not", "run"], compile=["sh", "-c", f"printf '{text}' >&2; exit 1"],
                   diagnostics=pattern)
"""
        self.assertIs(self.run_cell(code)["ok"], False)
        found = [
            (each["severity"], Path(each["file"]).name, each["line"], each["col"], each["message"])
            for each in self.host.of("Diagnostic")
        ]
        cell, other = ("warning", "cell.py", 3, 4, "odd"), ("info", "other.h", 6, None, "see")
        self.assertEqual(found, [cell, other, ("error", "cell.py", 5, None, "bad")])
        self.assertEqual(self.host.text("stdout"), "")
        self.assertNotIn("exited", self.host.text("stderr"))

    def test_what_is_left_in_the_background_is_not_waited_for(self) -> None:
        began = time.monotonic()
        self.assertTrue(self.run_cell("cx.run(['sh', '-c', 'sleep 20 & echo on'])")["ok"])
        self.assertLess(time.monotonic() - began, 10)

    def test_cancel_ends_the_program(self) -> None:
        self.host.greet()
        code = "cx.run(['sh', '-c', 'trap \"echo tidy; exit\" TERM; echo $$; sleep 30 & wait'])"
        exec_id = self.host.start(code)
        while "\n" not in self.host.text("stdout"):
            time.sleep(0.01)
        self.host.send("Cancel", exec_id, {"grace_ms": 1000})
        self.assertIs(self.host.finish(exec_id)["ok"], False)
        pid = int(self.host.text("stdout").split()[0])
        with self.assertRaises(ProcessLookupError):
            os.kill(pid, 0)
        self.assertTrue(self.host.run("cx.log('on')")["ok"])


class Hooks(unittest.TestCase):
    def test_what_is_defined_is_offered(self) -> None:
        with host("Counter") as counter:
            counter.greet()
            features = ["cancel.soft", "display", "progress", "prepare", "session", "catalog"]
            self.assertEqual(counter.hello["features"], features)
            counter.send("Describe", 0, {})
            entries = [{"name": "count", "doc": "how many"}]
            self.assertEqual(counter.receive(), ("Catalog", 0, {"entries": entries}))
            for name in ("bad", "good"):
                counter.send("Prepare", 0, {"code": f"/cell/code/{name}"})
            extras = {"count": 1, "prepared": ["bad", "good"]}
            done = {"ok": True, "session_changed": True, "extras": extras}
            self.assertEqual(counter.run(""), done)
            self.assertEqual(counter.run("")["extras"]["count"], 2)
            counter.send("Reset", 0, {})
            self.assertEqual(counter.run("")["extras"]["count"], 1)
            self.assertEqual(counter.end(), 0)

    def test_features_can_be_bounded(self) -> None:
        with host("Counter", "--offer", "progress,session") as counter:
            counter.greet()
            self.assertEqual(counter.hello["features"], ["progress", "session"])

    def test_what_is_shielded_ends_in_its_own_time(self) -> None:
        with host("stubborn") as stubborn:
            stubborn.greet()
            exec_id = stubborn.start("")
            while "on" not in stubborn.text("stdout"):
                time.sleep(0.01)
            stubborn.send("Cancel", exec_id, {"grace_ms": 1000})
            done = stubborn.finish(exec_id)
            self.assertEqual((done["ok"], done["extras"]), (False, {}))
            self.assertEqual(stubborn.text("stdout"), "on\ntidy\n")


class Faulty(Conversation):
    """Mistakes of an executor itself."""

    def setUp(self) -> None:
        self.host = host("faulty")
        self.addCleanup(self.host.__exit__)

    def test_they_are_told_as_its_own_with_their_place_in_it(self) -> None:
        own = r"the executor `faulty` {} \(languages\.py, line \d+\)"
        for word, words in [
            ("add", r"failed: TypeError: can only concatenate str .*"),
            ("read", r"failed: json\.decoder\.JSONDecodeError: .*"),
            ("leave", r"ended itself with exit code 4"),
        ]:
            self.host.seen.clear()
            error = self.fails(word)
            self.assertRegex(error["message"], own.format(words))
            self.assertEqual((error["file"], error["line"]), (None, None))
        self.assertIn("languages.py", self.host.text("stderr"))

    def test_what_the_code_it_runs_raises_is_not(self) -> None:
        error = self.fails("1 / 0")
        self.assertEqual(error["message"], "ZeroDivisionError: division by zero")
        self.assertEqual(error["file"], str(self.host.cell / "code" / "cell.py"))


class Named(unittest.TestCase):
    def complaint(self, *arguments: str) -> str:
        """What the runner says to arguments that name no executor."""
        with Host(program=("executor.py", *arguments)) as refused:
            self.assertEqual(refused.process.wait(30), 2)
            return refused.text("stderr")

    def test_what_is_no_executor_is_told(self) -> None:
        file = f"{HERE}/languages.py"
        self.assertIn("usage: executor.py", self.complaint())
        self.assertIn("is not MODULE:OBJECT", self.complaint(file))
        self.assertIn(f"`{file}` has no `absent`", self.complaint(f"{file}:absent"))
        self.assertIn("is a `int`, not an `Executor`", self.complaint(f"{file}:nothing"))
        self.assertIn("there is no file", self.complaint("/no/such.py:x"))

    def test_what_can_not_be_loaded_is_shown_by_its_own_lines_alone(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "lang.py")
            for text, shown in [
                ("x = 1\ndef up(:\n", ["line 2", "def up(:", "SyntaxError: "]),
                ("import beside\n", ["line 1, in <module>", "beside.py", "No module named 'no'"]),
            ]:
                file.write_text(text)
                Path(folder, "beside.py").write_text("import no.such.module\n")
                told = self.complaint(f"{file}:up")
                for words in [f"`{file}:up` can't be loaded:", *shown]:
                    self.assertIn(words, told)
                for words in ["importlib", "polyloom_sdk", "exec_module"]:
                    self.assertNotIn(words, told)
                self.assertLess(len(told.splitlines()), 8, told)

    def test_a_module_is_found_by_its_name_below_a_folder(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder, "pack", "inner")
            package.mkdir(parents=True)
            (package / "words.py").write_text("WORD = 'said'\n")
            text = "from polyloom_sdk import executor\nfrom .words import WORD\n"
            text += "@executor('mod', '1')\ndef mod(cx, exec):\n    print(WORD)\n"
            (package / "lang.py").write_text(text)
            program = ("executor.py", "--path", folder, "pack.inner.lang:mod")
            with Host(program=program) as mod:
                self.assertTrue(mod.run("")["ok"])
                self.assertEqual(mod.text("stdout"), "said\n")


class LegacyFunctions(Conversation):
    """Functions `_exec(code, g)` of before."""

    def setUp(self) -> None:
        self.host = host("old", "--legacy", "old")
        self.addCleanup(self.host.__exit__)

    def test_inputs_are_in_g_and_outputs_are_taken_from_it(self) -> None:
        self.assertTrue(self.run_cell("hi", {"y": "int"}, {"x": 4})["ok"])
        self.assertEqual(self.host.hello["executor"], "old")
        self.assertEqual(self.host.output("y"), 5)
        self.assertEqual(self.host.text("stdout"), "HI\n")
        (found,) = self.host.of("Diagnostic")
        self.assertEqual((found["severity"], found["code"]), ("warning", "PL064"))
        self.assertIn("polyloom_sdk", found["message"])

    def test_what_it_says_of_a_failure_is_the_message(self) -> None:
        self.assertIs(self.run_cell("fails", {"y": "int"})["ok"], False)
        self.assertEqual(self.error()["message"], "it went wrong")

    def test_a_failure_with_meta_has_its_status_and_diagnostics(self) -> None:
        self.assertIs(self.run_cell("object")["ok"], False)
        self.assertEqual(self.error()["message"], "why")
        odd = [each for each in self.host.of("Diagnostic") if each["message"] == "odd"]
        self.assertEqual(
            [(each["severity"], each["line"], each["col"]) for each in odd], [("warning", 2, None)]
        )
        self.assertEqual(self.host.text("stderr"), "seen\nwhy\n")
        self.assertEqual(self.host.end(), 9)

    def test_what_gives_no_pair_is_told(self) -> None:
        self.assertIs(self.run_cell("nothing")["ok"], False)
        self.assertIn("gave a `NoneType`, not `(ok, out)`", self.error()["message"])

    def test_meta_is_printed_and_the_rest_is_extra(self) -> None:
        done = self.run_cell("meta")
        self.assertEqual((done["ok"], done["extras"]), (True, {"mood": "fine"}))
        self.assertEqual(self.host.text("stdout"), "out\n")
        self.assertEqual(self.host.text("stderr"), "seen\nerr\n")


class Diagnostics(unittest.TestCase):
    def test_messages_are_read_as_a_manifest_would(self) -> None:
        pattern = r"^(?P<file>\S*):(?P<line>\d*):(?P<message>.*)$|^at (?P<line2>\d+)$"
        text = b"f:0:a\n/x/cell.c:2:b\ng:99999999999:c\nh:1:  \n\xff\n"
        found = [(each.file, each.line, each.message) for each in parse(pattern, text, "/c/f")]
        self.assertEqual(found, [("/c/f", None, "a"), ("/x/cell.c", 2, "b"), ("g", None, "c")])
        self.assertEqual(len(parse("(?P<message>x)", b"x" * 4000, "")), 200)
        with self.assertRaises(ValueError):
            parse("x", b"", "")

    def test_a_severity_is_one_of_four(self) -> None:
        with self.assertRaises(ValueError):
            Diagnostic("m", "fatal")
        self.assertEqual(str(Failure.at_line(2, "m")), "line 2: m")


if __name__ == "__main__":
    unittest.main()
