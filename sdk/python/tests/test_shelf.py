"""What was loaded ahead: what a cell sees is what it sees where nothing was."""

from __future__ import annotations

import json
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent.parent
# Prints what there is to see after a cell: modules, attributes, filters, finders.
CELL = """
import sys
names, code, home = sys.argv[1].split(",") if sys.argv[1] else [], sys.argv[2], sys.argv[3]
sys.path.insert(0, home)
import json, os, warnings
from polyloom import _shelf, _seed
base = set(sys.modules)
fits = _shelf.SHELF.load(names)
assert set(sys.modules) == base, set(sys.modules) ^ base
unfit = []
_shelf.SHELF.begin("/cell/code/x.py", lambda: unfit.append(1))
exec(code, {})
held = {}
for name, module in list(sys.modules.items()):
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        held[name] = getattr(sys.modules[parent], child, None) is module
stray = [n + "." + c for n, m in list(sys.modules.items()) for c, v in list(vars(m).items())
         if type(v) is type(sys) and v.__name__ == n + "." + c and v.__name__ not in sys.modules]
loaders = {n: type(m.__spec__.loader).__name__ for n, m in sys.modules.items()
           if getattr(m, "__spec__", None)}
print(json.dumps([sorted(set(sys.modules) - base), held, stray, loaders, len(warnings.filters),
                  len(sys.meta_path), fits, unfit]))
"""


def seen(names: str, code: str) -> Any:
    argv = [sys.executable, "-B", "-s", "-c", CELL, names, code, str(HOME)]
    ended = subprocess.run(argv, capture_output=True, check=False)
    if ended.returncode:
        raise AssertionError(ended.stderr.decode())
    return json.loads(ended.stdout)


class Shelves(unittest.TestCase):
    def test_a_cell_sees_what_it_sees_where_nothing_was_loaded(self) -> None:
        for names, code in (
            ("xml.dom.minidom,email.message", "x = 1"),
            ("xml.dom.minidom,email.message", "import xml"),
            ("xml.dom.minidom", "import xml.dom.minidom"),
            ("email.message", "import email.message"),
            ("email.message,asyncio", "from asyncio import Queue"),
            ("asyncio", "import concurrent"),
            ("logging.handlers,no.such", "import logging.handlers, logging.config"),
            ("unittest.mock", "import unittest.mock"),
        ):
            with self.subTest(names=names, code=code):
                self.assertEqual(seen(names, code), seen("", code))

    def test_it_is_the_one_that_was_loaded_and_none_is_loaded_twice(self) -> None:
        code = "import email.message as m, sys; assert sys.modules['email.message'] is m"
        code += "; assert sys.modules['email'].message is m; from email.message import Message"
        code += "; assert m.Message is Message and m.__spec__.name == 'email.message'"
        seen("email.message", code)

    def test_what_a_seed_is_for_is_seeded_when_it_comes(self) -> None:
        code = "from polyloom._seed import seed_generators as s; s(5); import random, builtins"
        first = f"{code}; assert random.random() == random.Random(5).random()"
        for names in ("", "random", "tempfile"):
            seen(names, first)

    def test_a_cell_that_has_changed_what_a_library_may_look_at_is_told(self) -> None:
        for change in ("os.environ['A'] = 'b'", "sys.path.append('/x')"):
            self.assertEqual(seen("asyncio", f"import os, sys; {change}; import asyncio")[-1], [1])
        self.assertEqual(seen("asyncio", "import os; os.environ['A'] = 'b'")[-1], [])

    def test_only_what_takes_time_is_noted(self) -> None:
        code = "import json.tool; from polyloom._shelf import SHELF; assert SHELF.loaded() == [], 1"
        seen("", code)


if __name__ == "__main__":
    unittest.main()
