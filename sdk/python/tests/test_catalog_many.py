"""A catalog of many files is the same, however many processes read it."""

from __future__ import annotations

import json
import os
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from polyloom_catalog import _catalog, _many, catalog
from polyloom_catalog._catalog import Reader

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

    def lines(self, processes: int, **more: Any) -> list[Any]:
        with mock.patch.object(_many, "_processors", return_value=processes):
            return [json.loads(line) for line in _many.written({**self.request, **more})]

    def written(self, processes: int) -> Any:
        """All lines as one catalog."""
        whole: dict[str, Any] = {"version": 1, "entries": [], "types": {}, "problems": []}
        for line in self.lines(processes):
            whole["entries"] += line.get("entries", [])
            whole["types"] = {**line.get("types", {}), **whole["types"]}
            whole["problems"] += [row for row in line["problems"] if row not in whole["problems"]]
        return whole

    def test_each_place_is_a_part_that_depends_on_its_files_alone(self) -> None:
        places = Reader(self.request).places
        self.assertEqual(len(places), len({place.location for place in places}))
        told = [(row["file"], row["object"], row["message"]) for row in self.whole["problems"]]
        self.assertEqual(len(told), len(set(told)))
        self.assertEqual(len([row for row in told if row[0] == "broken.py"]), 1)
        self.assertEqual(len(self.whole["entries"]), 12)
        self.assertEqual(len(self.whole["types"]), 13)
        parts = {line["location"]: line for line in self.lines(1)[1:]}
        self.assertEqual(len(parts), len(places))
        for at in range(12):
            part = parts[f"./m{at}.py"]
            self.assertEqual(part["files"], [f"m{at}.py", "common.py"])
            # What is wrong with a file is said by each that reads it.
            self.assertEqual(part["problems"][0]["file"], "broken.py")
            alone = {**self.request, "targets": [{"location": f"./m{at}.py", "object": None}]}
            _, one = map(json.loads, _many.written(alone))
            if at != 3:  # of which more is asked
                self.assertEqual(one, part)

    def test_what_is_known_is_not_said_again(self) -> None:
        known = [f"./m{at}.py" for at in range(1, 12)]
        whole, part = self.lines(2), self.lines(2, known=known)
        locations = [line.get("location") for line in whole]
        self.assertEqual([line.get("location") for line in part], locations)
        for before, line in zip(whole, part):
            if line.get("location") in known:
                self.assertEqual(line, {"version": 1, "location": line["location"], "known": True})
            else:
                self.assertEqual(line, before)
        with mock.patch.object(Reader, "read", side_effect=AssertionError):
            self.lines(1, known=[line["location"] for line in whole[1:]])

    def test_what_is_too_much_is_left_out_and_told(self) -> None:
        for name, words in (("MOST", "functions"), ("MOST_PROBLEMS", "problems")):
            with mock.patch.object(_catalog, name, 5):
                whole = self.written(1)
            told = [row["message"] for row in whole["problems"] if row["code"] == "PY012"]
            self.assertEqual(len(told), 1)
            self.assertIn(f"more than 5 {words}", told[0])
            self.assertEqual(len(whole["entries"]), 5 if name == "MOST" else 12)

    def test_any_number_of_processes_says_the_same(self) -> None:
        for count in (1, 2, 3, 16):
            self.assertEqual(self.written(count), self.whole, count)

    def test_what_a_process_did_not_say_is_read_once_more(self) -> None:
        mine = os.getpid()
        read = Reader.read

        def dies(reader: Reader, place: Any) -> Any:
            if os.getpid() != mine:
                os._exit(1)
            return read(reader, place)

        with mock.patch.object(Reader, "read", dies):
            self.assertEqual(self.written(3), self.whole)
        with mock.patch.object(os, "fork", side_effect=OSError):
            self.assertEqual(self.written(3), self.whole)
