"""What is wrong with source is told on its line, and the functions beside it stand."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from test_catalog import HEAD, of, reads

from polyloom_catalog import catalog

GOOD = "def good(x: int) -> int: ...\n"


class Problems(unittest.TestCase):
    def told(self, text: str, code: str, says: str, place: Any = None, head: str = HEAD) -> None:
        """That the last function of a text has one problem, and the one before it none."""
        found = of(GOOD + text, head=head)
        self.assertEqual([entry["object"] for entry in found["entries"]], ["good"], text)
        (problem,) = found["problems"]
        self.assertEqual((problem["code"], problem["severity"]), (code, "error"), problem)
        self.assertIn(says, f"{problem['message']}; {problem['help']}")
        self.assertEqual(problem["file"], "f.py")
        if place is not None:
            line = head.count("\n") + 2
            got = (problem["line"], problem["col"], problem["end_col"], problem["object"])
            self.assertEqual(got, (line, *place, "f"))

    def test_each_has_its_code_and_place(self) -> None:
        rows = [
            ("def f(a, b: int) -> int: ...", "PY001", "`a` has no type", (7, 8)),
            ("def f(a: int): ...", "PY002", "no return type", (5, 6)),
            (
                "def f(a: Callable[[], int]) -> int: ...",
                "PY003",
                "a function is no value",
                (10, 27),
            ),
            ("def f(ä: Lost) -> int: ...", "PY009", "begins with a small letter", (7, 8)),
            ("def f(a: 'ä', b: Lost) -> int: ...", "PY004", "", None),
            ("def f(a: complex) -> int: ...", "PY003", "two parts", (10, 17)),
            ("def f(a: Lost) -> int: ...", "PY004", "`Lost` is not defined", (10, 14)),
            ("def f(a: 'list[Lost]') -> int: ...", "PY004", "`Lost` is not", (10, 22)),
            ("def f(a: int()) -> int: ...", "PY005", "`int()` is no expression", (10, 15)),
            ("def f(a: 'int[') -> int: ...", "PY005", "`int[` is no expression", None),
            ("def f(a: good) -> int: ...", "PY005", "is a function", None),
            ("def f(N: int) -> int: ...", "PY009", "`N` is no name of a port", (7, 13)),
            ("def f(con: int) -> int: ...", "PY009", "reserved", None),
            ("def f(a: list[np.ndarray | None]) -> int: ...", "PY003", "a list holds values", None),
            ("def f(a: set[np.ndarray]) -> int: ...", "PY003", "a list holds values", None),
            ("def f(a: list[list[np.ndarray]]) -> int: ...", "PY003", "a list holds values", None),
            ("def f(**a: np.ndarray) -> int: ...", "PY003", "a map holds values", None),
            ("def f(a: dict[int, str]) -> int: ...", "PY003", "keys are texts", (15, 18)),
            ("def f(a: int | np.ndarray) -> int: ...", "PY003", "one of several types", None),
            ("def f(a: npt.NDArray[np.complex128]) -> int: ...", "PY003", "no dtype", None),
            ("def f(a: Two) -> int: ...", "PY003", "its field `image` is a", None),
            ("def f(a: Iterator[int]) -> int: ...", "PY003", "an iterator is no value", None),
            ("def f(a: Annotated[int, Slider(LIMIT, 'x')]) -> int: ...", "PY019", "a number", None),
            ("def f(a: Annotated[int, Slider(9, 1)]) -> int: ...", "PY019", "begins at 9", None),
            ("def f() -> Optional[np.ndarray]: ...", "PY017", "an output may not", (12, 32)),
            ("def f() -> Part: ...", "PY017", "`b` may be missing", None),
            ('def f() -> Annotated[int, Output("A")]: ...', "PY009", "`A` is no name", None),
            ("def f(image: int) -> Two: ...", "PY008", "a parameter and an output", None),
            ("A = B\nB = A\ndef f(a: A) -> int: ...", "PY006", "leads back to itself", None),
            (
                "J = Union[int, 'list[J]']\ndef f(a: J) -> int: ...",
                "PY006",
                "defined by itself",
                None,
            ),
            (
                f"def f(a: Literal[{list(range(2000))}]) -> int: ...".replace("[[", "[").replace(
                    "]]", "]"
                ),
                "PY007",
                "1024",
                None,
            ),
            (f"def f(a: {'list[' * 50}int{']' * 50}) -> int: ...", "PY007", "deeper", None),
            ("class C: ...\ndef f(a: C) -> int: ...", "PY003", "@dataclass", None),
            ("class P(Protocol): ...\ndef f(a: P) -> int: ...", "PY003", "what can be done", None),
            (
                "@dataclass\nclass C:\n    z: complex\ndef f(a: C) -> int: ...",
                "PY003",
                "field `z` (f.py:",
                None,
            ),
            (
                "def f(a: int) -> int: ...\ndef f(b: int) -> int: ...",
                "PY008",
                "defined again",
                None,
            ),
            (
                "from contextlib import contextmanager\n@contextmanager\n"
                "def f(a: int) -> Iterator[int]: ...",
                "PY003",
                "context manager",
                None,
            ),
        ]
        for text, code, says, place in rows:
            with self.subTest(text):
                if code == "PY008" and "again" in says:
                    found = of(GOOD + text)
                    self.assertEqual([p["code"] for p in found["problems"]], [code])
                    self.assertIn(says, found["problems"][0]["message"])
                elif "ä" in text:
                    self.assertIn(code, [p["code"] for p in of(GOOD + text)["problems"]])
                else:
                    self.told(text, code, says, place)

    def test_a_broken_file_leaves_the_others(self) -> None:
        rows = [
            ("def f(:\n", "PY010", (1, 7)),
            ("x = 1\ny = '\udce9'\n", "PY011", (2, 6)),
            ("x = 1\0\n", "PY010", (1, 6)),
            ("#" * (1 << 20) + "\n", "PY012", (0, 0)),
            ("(" * 300 + ")" * 300, "PY010", None),
            ("x = a" + ".b" * 2000, "", None),
        ]
        for text, code, place in rows:
            found = reads({"bad.py": text, "ok.py": GOOD + "import bad\n"})
            self.assertEqual([entry["object"] for entry in found["entries"]], ["good"])
            if code:
                (problem,) = found["problems"]
                self.assertEqual((problem["code"], problem["file"]), (code, "bad.py"))
                if place is not None:
                    self.assertEqual((problem["line"], problem["col"]), place)

    def test_circular_imports_are_followed_as_far_as_they_lead(self) -> None:
        files = {
            "a.py": "from b import B\nfrom b import Lost\nclass A: ...\ndef f(x: B) -> int: ...\n"
            "def g(x: Lost) -> int: ...\n",
            "b.py": "from __future__ import annotations\nfrom dataclasses import dataclass\n"
            "from a import A, Lost\n@dataclass\nclass B:\n    x: int\n",
        }
        found = reads(files, False, ("./a.py", None))
        self.assertEqual([entry["object"] for entry in found["entries"]], ["f"])
        self.assertEqual(found["entries"][0]["files"], ["a.py", "b.py"])
        told = [(row["code"], row["line"]) for row in found["problems"]]
        self.assertEqual(told, [("PY020", 1), ("PY020", 2), ("PY006", 5)])

    def test_untyped_functions_for_exploring(self) -> None:
        text = "def f(a, b=1, c='x', d=None, *e, F=2, g: Callable = print, **h): ...\n"
        text += "def g(a: Callable) -> int: ..."
        found = of(text, True)
        (entry,) = found["entries"]
        ports = entry["inputs"] + entry["params"]
        said = {port["name"]: (port["type"], port["required"]) for port in ports}
        self.assertEqual(
            said,
            {
                "a": ("any", True),
                "b": ("float|int", False),
                "c": ("str", False),
                "d": ("any", False),
                "e": ("list<any>", False),
                "h": ("map<any>", False),
            },
        )
        errors = [row for row in found["problems"] if row["severity"] == "error"]
        self.assertEqual([(row["code"], row["object"]) for row in errors], [("PY003", "g")])

    def test_imports_that_fail_are_told_with_their_lines(self) -> None:
        files = {
            "f.py": "import json, no_such_thing\nfrom lib import there, lost\nfrom . import lib\n"
            "from .. import up\nfrom circle import b\nimport pack.inner, spaced.deep, pack.none\n"
            "from lib import *\nfrom polyloom import Slider\n"
            "try:\n    import maybe\nexcept ImportError:\n    maybe = None\n"
            "def a(x: int) -> int:\n    import later\n    return x\n",
            "lib.py": "there, other = 1, 2\n",
            "circle.py": "import json\nfrom f import a\nb = 1\n",
            "pack/__init__.py": "",
            "pack/inner.py": "",
            "spaced/deep.py": "",
        }
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                Path(root, name).parent.mkdir(exist_ok=True)
                Path(root, name).write_text(text)
            found = catalog({"root": root, "targets": [{"location": "./f.py"}]})
        self.assertEqual([entry["object"] for entry in found["entries"]], ["a"])
        told = {row["line"]: row["message"] for row in found["problems"]}
        self.assertEqual(
            told,
            {
                1: "no module `no_such_thing` is installed",
                2: "`lib.py` has no `lost`",
                4: "this import leads above the flow's folder",
                5: "it is imported in a circle: circle.py:2 needs `a` of this file",
                6: "no module `pack.none` is installed",
            },
        )
        self.assertEqual(
            {(r["code"], r["severity"]) for r in found["problems"]}, {("PY020", "warning")}
        )

    def test_bytes_that_are_no_source_are_told_where_they_are(self) -> None:
        for data, code, place in (
            (b"x = 1\ny = '\xe9'\n", "PY011", (2, 6)),
            (b"# coding: latin-1\ny = '\xe9'\n", "PY011", (2, 6)),
            (b"x = 1\n\ny\0 = 2\n", "PY010", (3, 2)),
            ("def f(x: int) -> int: ...".encode("utf-16"), "PY011", (1, 1)),
        ):
            with self.subTest(data), tempfile.TemporaryDirectory() as root:
                Path(root, "bad.py").write_bytes(data)
                Path(root, "good.py").write_text("def f(x: int) -> int: ...")
                found = catalog({"root": root, "targets": [{"location": "./"}]})
                (problem,) = found["problems"]
                self.assertEqual((problem["code"], problem["file"]), (code, "bad.py"))
                self.assertEqual((problem["line"], problem["col"]), place)
                self.assertEqual(len(found["entries"]), 1)

    def test_of_branches_that_of_this_platform_counts(self) -> None:
        text = (
            "import os, sys\nif sys.platform == 'win32':\n    def f(x: str) -> str: ...\n"
            "else:\n    def f(x: int) -> int: ...\nif os.name != 'posix':\n"
            "    def g(x: str) -> str: ...\nelse:\n    def g(x: int) -> int: ...\n"
        )
        self.assertEqual([it["inputs"][0]["type"] for it in of(text)["entries"]], ["int"] * 2)

    def test_decorators_that_are_not_known_are_told(self) -> None:
        found = of("import functools\n@functools.lru_cache(None)\ndef f(a: int) -> int: ...\n"
                   "@mine\ndef g(a: int) -> int: ...\ndef mine(f: Any) -> Any: ...")  # fmt: skip
        self.assertEqual([entry["object"] for entry in found["entries"]], ["f", "g", "mine"])
        (problem,) = found["problems"]
        self.assertEqual((problem["code"], problem["severity"]), ("PY016", "warning"))

    def test_places_outside_of_the_folder(self) -> None:
        with tempfile.TemporaryDirectory() as outer:
            root = Path(outer, "root")
            root.mkdir()
            Path(outer, "secret.py").write_text(GOOD)
            os.symlink("../secret.py", root / "link.py")
            os.symlink("..", root / "up")
            (root / "data.txt").write_text("")
            (root / "a.b.py").write_text("")
            rows = [
                ("./../secret.py", "PY014"),
                ("./link.py", "PY014"),
                ("./up/secret.py", "PY014"),
                ("./up", "PY014"),
                ("./data.txt", "PY014"),
                ("./a.b.py", "PY014"),
                ("./lost.py", "PY013"),
                ("", "PY013"),
                ("/etc/passwd", "PY013"),
                ("../secret", "PY013"),
                (".secret", "PY013"),
                ("./\0", "PY014"),
            ]
            for location, code in rows:
                with self.subTest(location):
                    found = catalog({"root": str(root), "targets": [{"location": location}]})
                    self.assertEqual(found["entries"], [])
                    self.assertEqual([row["code"] for row in found["problems"]], [code])

    def test_garbage_never_raises(self) -> None:
        words = HEAD.split(" ") + "| * ** -> 1 'x' [ ] ( ) : , @ \0 \n yield async".split(" ")
        source = HEAD + "".join(
            f"def f{at}(a: {note}, *b: {note}, c: {note} = 1) -> {note}: ...\n"
            for at, note in enumerate(["Two", "Kernel", "Out", "Mode", "Alias", "Num", "Part"])
        )
        for seed in range(60):
            picked = random.Random(seed)
            parts = source.split(" ") if seed % 2 else list(source)
            for _ in range(picked.randint(1, 8)):
                at = picked.randrange(len(parts))
                if picked.random() < 0.5:
                    parts[at] = picked.choice(words)
                else:
                    del parts[at : at + picked.randint(1, 6)]
            self.whole(of((" " if seed % 2 else "").join(parts), bool(seed % 3), head=""))

    def test_random_annotations_never_raise(self) -> None:
        names = (
            "int str None Two Kernel Mode Out Alias Num Any 'Two' 1 ... LIMIT print Lost".split()
        )
        heads = "list dict tuple Optional Union Literal Annotated Callable npt.NDArray np.ndarray"
        heads += " Iterator Generator Final type Two Mapping set Annotated"
        for seed in range(60):
            picked = random.Random(seed)

            def note(deep: int, picked: random.Random = picked) -> str:
                chance = picked.random()
                if deep > 4 or chance < 0.4:
                    return picked.choice(names)
                if chance < 0.8:
                    inner = ", ".join(note(deep + 1) for _ in range(picked.randint(1, 3)))
                    return f"{picked.choice(heads.split())}[{inner}]"
                return f"{note(deep + 1)} | {note(deep + 1)}"

            text = f"X = {note(0)}\n@dataclass\nclass D:\n    a: {note(0)}\n    b: {note(0)} = 1\n"
            for at in range(6):
                text += f"def f{at}(a: {note(0)}, *b: {note(0)}, c: D, d: X) -> {note(0)}: ...\n"
            self.whole(of(text, bool(seed % 2)))

    def whole(self, found: dict[str, Any]) -> None:
        """That nothing went wrong but what is wrong with the source."""
        told = [row["message"] for row in found["problems"] if row["code"] == "PY021"]
        self.assertEqual(told, [])

    def test_what_takes_any_number_of_untyped_values_leaves_the_others_alone(self) -> None:
        found = of(GOOD + "def f(*args): ...\ndef g(**kw) -> int: ...", head="")
        self.assertEqual([entry["object"] for entry in found["entries"]], ["good"])
        told = [(row["code"], row["object"], row["line"]) for row in found["problems"]]
        self.assertEqual(told, [("PY001", "f", 2), ("PY002", "f", 2), ("PY001", "g", 3)])
        found = of("def f(*args): ...\ndef g(**kw): ...", allow=True, head="")
        types = [port["type"] for entry in found["entries"] for port in entry["inputs"]]
        self.assertEqual(types, ["list<any>"])

    def test_what_the_reader_fails_at_is_one_function(self) -> None:
        def fail(self: Any, *_: Any) -> None:
            raise IndexError("of ours")

        text = "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n"
        text += f"def f(a: A) -> int: ...\n{GOOD}"
        with mock.patch("polyloom_catalog._classes.Classes._fields", fail):
            found = of(text, head="")
        self.assertEqual([entry["object"] for entry in found["entries"]], ["good"])
        (problem,) = found["problems"]
        self.assertEqual((problem["code"], problem["object"], problem["line"]), ("PY021", "f", 5))
        self.assertIn("IndexError: of ours", problem["message"])

    def test_what_is_installed_keeps_defaults_that_have_no_type(self) -> None:
        library = (
            "def left(x: float, keep=None, where: Lost = 1, *rest, **more) -> float: ...\n"
            "def bare(x, y, z=1): ...\ndef lost(x: Lost) -> int: ...\n"
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "some_library.py").write_text(library)
            with mock.patch.object(sys, "path", [*sys.path, folder]):
                names = [("some_library", name) for name in ("left", "bare", "lost")]
                found = reads({}, False, *names)
                loose = reads({}, True, *names)
        (entry,) = found["entries"]
        self.assertEqual([port["name"] for port in entry["inputs"]], ["x"])
        self.assertEqual(entry["params"], [])
        rows = [(row["object"], row["code"], row["severity"]) for row in found["problems"]]
        kept = [("left", code, "warning") for code in ("PY001", "PY004", "PY001", "PY001")]
        bare = [("bare", code, "error") for code in ("PY001", "PY001", "PY002")]
        self.assertEqual(rows, [*kept, *bare, ("lost", "PY004", "error")])
        helps = [row["help"] for row in found["problems"]]
        self.assertEqual(helps[:4], ["it keeps its default"] * 4)
        around = "def bare(x: float, y: float) -> float: return some_library.bare(x, y)"
        self.assertIn(around, helps[4])
        self.assertIn("untyped = true", helps[4])
        self.assertEqual(helps[5:7], ["", ""], "once for each function")
        self.assertEqual([entry["object"] for entry in loose["entries"]], ["left", "bare"])

    def test_what_has_no_place_says_what_was_asked_for(self) -> None:
        found = reads({"a.py": GOOD}, False, ("./lost.py", "f"), ("./a.py", "good"))
        self.assertEqual([row["location"] for row in found["problems"]], ["./lost.py"])
        self.assertEqual(len(found["entries"]), 1)


if __name__ == "__main__":
    unittest.main()
