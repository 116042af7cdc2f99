"""The digest of a function changes with what its result can depend on, and with nothing else."""

from __future__ import annotations

import unittest

from test_catalog import reads

MAIN = """import util
import deep.more as more
from util import scale as times
from registry import REGISTRY, register
SIZE = 3

def inner(x: int) -> int:
    return x * SIZE

def other(x: int) -> int:
    return x - 1

def f(x: int) -> int:
    \"\"\"Doc.\"\"\"
    return [inner(each) for each in range(times(x))][0] + util.add(x, 1) + x.other
"""
FILES = {
    "main.py": MAIN,
    "util.py": "def scale(x: int) -> int:\n    return x * 2\n\ndef add(x: int, y: int) -> int:\n"
    "    return x + y\n\ndef unused(x: int) -> int:\n    return x\n",
    "deep/__init__.py": "",
    "deep/more.py": "def g(x: int) -> int:\n    return x\n",
    "registry.py": "REGISTRY = {}\ndef register(f: object) -> object:\n    return f\n",
}


def digest(files: dict[str, str], name: str = "f") -> str:
    found = reads(files, False, ("./main.py", name))
    return str(found["entries"][0]["digest"])


class Digests(unittest.TestCase):
    def changed(self, file: str, before: str, after: str) -> bool:
        self.assertIn(before, FILES[file])
        files = {**FILES, file: FILES[file].replace(before, after)}
        return digest(files) != digest(FILES)

    def test_what_is_reached_counts(self) -> None:
        for row in (
            ("main.py", "each in range", "each in list"),
            ("main.py", "x * SIZE", "x + SIZE"),
            ("main.py", "SIZE = 3", "SIZE = 4"),
            ("main.py", "Doc.", "Docs."),
            ("main.py", "scale as times", "add as times"),
            ("main.py", 'f(x: int) -> int:\n    "', 'f(x: int = 1) -> int:\n    "'),
            ("util.py", "x * 2", "x * 3"),
            ("util.py", "x + y", "y + x"),
            ("deep/more.py", "def g", "print()\ndef g"),
            ("registry.py", "{}", "{1: 2}"),
        ):
            self.assertTrue(self.changed(*row), row)

    def test_what_is_not_reached_does_not_count(self) -> None:
        for row in (
            ("main.py", "x - 1", "x - 2"),
            ("main.py", "SIZE = 3", "# of it\nSIZE = 3  # three\n\n"),
            ("main.py", "x * SIZE", "(x *\n        SIZE)"),
            ("util.py", "return x\n", "return -x\n"),
            ("deep/more.py", "return x", "return x + 1"),
        ):
            self.assertFalse(self.changed(*row), row)

    def test_a_definition_that_registers_itself_counts(self) -> None:
        before = {
            **FILES,
            "main.py": MAIN + "\n@register\ndef late(x: int) -> int:\n    return 1\n",
        }
        after = {**FILES, "main.py": before["main.py"].replace("return 1\n", "return 2\n")}
        self.assertNotEqual(digest(before), digest(after))

    def test_code_that_looks_at_itself_counts_by_its_bytes(self) -> None:
        before = {**FILES, "main.py": MAIN.replace("x.other", "globals()['other'](x)")}
        for file in ("main.py", "deep/more.py"):
            after = {**before, file: before[file] + "# more\n"}
            self.assertNotEqual(digest(before), digest(after))
        after = {**FILES, "main.py": MAIN + "\ndef looks(x: int) -> int:\n    return globals()\n"}
        self.assertEqual(digest(FILES), digest(after))

    def test_a_module_that_goes_elsewhere_counts_whole(self) -> None:
        before = {**FILES, "main.py": MAIN.replace("x.other", "max(util, 1)")}
        after = {**before, "util.py": FILES["util.py"].replace("return x\n", "return -x\n")}
        self.assertNotEqual(digest(before), digest(after))

    def test_an_import_within_the_function_counts(self) -> None:
        long = MAIN.replace("    return [inner", "    from util import unused\n    return [inner")
        short = MAIN + "\ndef g(x: int) -> int: from util import unused; return unused(x)\n"
        for text, name in ((long, "f"), (short, "g")):
            before = {**FILES, "main.py": text}
            after = {**before, "util.py": FILES["util.py"].replace("return x\n", "return -x\n")}
            self.assertNotEqual(digest(before, name), digest(after, name))

    def test_files_are_those_that_an_import_reads(self) -> None:
        found = reads(
            {**FILES, "alone.py": "def f(x: int) -> int: ...\n"}, False, ("./main.py", "f")
        )
        files = ["main.py", "deep/__init__.py", "deep/more.py", "registry.py", "util.py"]
        self.assertEqual(found["entries"][0]["files"], files)


if __name__ == "__main__":
    unittest.main()
