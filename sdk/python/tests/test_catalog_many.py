"""A catalog of many files is the same, however many processes read it."""

from __future__ import annotations

import json
import os
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from polyloom_catalog import _many, catalog
from polyloom_catalog._catalog import Reader, shares

MODULE = """from dataclasses import dataclass
from broken import Thing
from common import Shared

@dataclass
class Kind:
    next: "Kind"
    shared: Shared

def f{at}(x: Kind, y: Shared) -> int:
    return y.size

def lost{at}(x: Thing) -> int: ...
def untyped{at}(x): ...
"""
FILES = {f"m{at}.py": MODULE.replace("{at}", str(at)) + "#" * 20_000 for at in range(12)}
FILES["common.py"] = """from dataclasses import dataclass

@dataclass
class Shared:
    size: int
"""
FILES["broken.py"] = "def f(:\n"


class Many(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, text in FILES.items():
            Path(folder.name, name).write_text(text)
        targets = [{"location": location, "object": None} for location in ("./m3.py", ".", "./")]
        targets += [{"location": "./m3.py", "object": name} for name in ("f3", "none")]
        self.request: dict[str, Any] = {"root": folder.name, "targets": targets}
        self.whole = catalog(self.request)

    def written(self, processes: int) -> Any:
        with mock.patch.object(_many, "_processors", return_value=processes):
            return json.loads(_many.written(self.request))

    def test_it_is_in_shares(self) -> None:
        places = Reader(self.request).places
        self.assertEqual(len(places), len({place.location for place in places}))
        self.assertGreater(len(shares(places)), 2)
        told = [(row["file"], row["object"], row["message"]) for row in self.whole["problems"]]
        self.assertEqual(len(told), len(set(told)))
        self.assertEqual(len([row for row in told if row[0] == "broken.py"]), 1)
        self.assertEqual(len(self.whole["entries"]), 12)
        self.assertEqual(len(self.whole["types"]), 13)

    def test_any_number_of_processes_says_the_same(self) -> None:
        for count in (1, 2, 3, 16):
            self.assertEqual(self.written(count), self.whole, count)

    def test_what_a_process_did_not_say_is_read_once_more(self) -> None:
        mine = os.getpid()
        read = Reader.read

        def dies(reader: Reader, share: Any) -> Any:
            if os.getpid() != mine:
                os._exit(1)
            return read(reader, share)

        with mock.patch.object(Reader, "read", dies):
            self.assertEqual(self.written(3), self.whole)
        with mock.patch.object(os, "fork", side_effect=OSError):
            self.assertEqual(self.written(3), self.whole)
