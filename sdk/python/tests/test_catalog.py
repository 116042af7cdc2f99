"""What the catalog says of typed functions: annotation in, types and schemas out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, Optional, get_args

import conversation

import polyloom
from polyloom_catalog import catalog

HEAD = """
import dataclasses, datetime, decimal, enum, os, pathlib, uuid
import collections.abc as abc
import typing as t
import numpy as np
import numpy.typing as npt
import pandas as pd
from collections import deque
from dataclasses import dataclass, field
from typing import Annotated, Any, Callable, Final, Generator, Iterable, Iterator, List, Literal
from typing import Mapping, NamedTuple, NewType, Optional, Protocol, TYPE_CHECKING, TypedDict
from typing import TypeVar, Union, overload
from typing_extensions import Required
from typing import Optional as O
from PIL import Image
from polyloom import *
if TYPE_CHECKING:
    import pyarrow as pa
try:
    import polars as pl
except ImportError:
    pl = None

class Mode(enum.Enum):
    SOFT = 1
    HARD = "h"

@dataclass
class Point:
    "A place."
    x: float
    y: float

@dataclass
class Kernel(Point):
    "A kernel."
    size: int = 3
    names: list[str] = field(default_factory=list)

class Part(TypedDict, total=False):
    a: Required[int]
    b: str

class Two(NamedTuple):
    image: npt.NDArray[np.float64]
    count: int

class Out(TypedDict):
    low: float
    "The lowest."
    high: Optional[float]

UserId = NewType("UserId", int)
Num = TypeVar("Num", int, float)
Any1 = TypeVar("Any1")
Alias = Union[int, "list[int]"]
LIMIT = 4
"""


def reads(files: dict[str, str], allow: bool = False, *asked: tuple[str, Any]) -> dict[str, Any]:
    """The catalog of files: of all of them, or of places and objects."""
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
        targets = [
            {"location": location, "object": object}
            for location, object in asked or [(f"./{name}", None) for name in files]
        ]
        found = catalog({"root": root, "targets": targets, "allow_untyped": allow})
    json.dumps(found, allow_nan=False)
    return without_libraries(found)


def without_libraries(found: dict[str, Any]) -> dict[str, Any]:
    """The same, without warnings of libraries that this interpreter has not: read by name."""
    missing = re.compile("PY020 no module `.*` is (there|installed)")
    told = found["problems"]
    found["problems"] = [
        row for row in told if not missing.match(f"{row['code']} {row['message']}")
    ]
    return found


def of(text: str, allow: bool = False, head: str = HEAD) -> dict[str, Any]:
    """The catalog of the functions in a text."""
    return reads({"f.py": head + text}, allow)


class Types(unittest.TestCase):
    def rows(self, rows: list[tuple[str, str]], form: str) -> None:
        text = "\n".join(form.format(at, note) for at, (note, _) in enumerate(rows))
        found = of(text)
        self.assertEqual(found["problems"], [])
        by_name = {entry["object"]: entry for entry in found["entries"]}
        for at, (note, wanted) in enumerate(rows):
            entry = by_name[f"f{at}"]
            ports = entry["inputs"] or entry["outputs"]
            said = " ".join(
                port["type"]
                + ("" if port["required"] else "?")
                + ("" if port["name"] in ("x", "result") else f" {port['name']}")
                for port in ports
            )
            self.assertEqual(said, wanted, note)

    def test_parameters(self) -> None:
        rows = [
            ("int", "int"), ("float", "float"), ("str", "str"), ("bool", "bool"),
            ("bytes", "bytes"), ("None", "null"), ("Any", "any"), ("object", "any"),
            ("list", "list<any>"), ("List[int]", "list<int>"), ("abc.Sequence[str]", "list<str>"),
            ("set[int]", "list<int>"), ("tuple[int, ...]", "list<int>"),
            ("deque[float]", "list<float>"), ("Iterable[int]", "list<int>"),
            ("tuple[float, float]", "list<float>"), ("tuple[int, str]", "list<int|str>"),
            ("dict[str, list[int]]", "map<list<int>>"), ("Mapping[str, Any]", "map<any>"),
            ("O[int]", "int|null"), ("t.Optional[str]", "null|str"), ("int | None", "int|null"),
            ("str | int", "int|str"), ("Union[float, int, None]", "float|int|null"),
            ("Optional[npt.NDArray[np.float32]]", "tensor<f32>?"),
            ("Union[str, pathlib.Path]", "file"), ("os.PathLike[str]", "file"),
            ("np.ndarray", "tensor<any>"), ("npt.NDArray[Any]", "tensor<any>"),
            ("npt.NDArray[np.floating[Any]]", "tensor<any>"),
            ("npt.NDArray[np.bool_]", "tensor<bool>"),
            ("np.ndarray[Any, np.dtype[np.uint8]]", "tensor<u8>"),
            ("np.ndarray[tuple[int, int], np.dtype[np.int16]]", "tensor<i16,[d0,d1]>"),
            ('Annotated[npt.NDArray[np.uint8], Shape("h", "w", 3)]', "tensor<u8,[h,w,3]>"),
            ("np.float32", "float"), ("np.int64", "int"), ("npt.ArrayLike", "tensor<any>"),
            ("pd.DataFrame", "table"), ("pd.Series", "table"), ("pl.DataFrame", "table"),
            ("'pa.Table'", "table"), ("Image.Image", "image"), ("pathlib.Path", "file"),
            ("Annotated[pathlib.Path, Dir()]", "dir"), ("datetime.datetime", "str"),
            ("decimal.Decimal", "str"), ("uuid.UUID", "str"),
            ("Mode", "enum{SOFT,HARD}"), ('Literal["a", "b"]', "enum{a,b}"),
            ('Literal["a b"]', "str"), ("Literal[1, 2]", "int"), ('Literal["a", 1]', "enum{a}|int"),
            ('Literal["a", None]', "enum{a}|null"),
            ('Union[Literal["a"], Literal["b"]]', "enum{a,b}"),
            ("Point", "record{x:float,y:float}"), ("list[Point]", "list<record{x:float,y:float}>"),
            ("Kernel", "map<any>"),
            ("Part", "map<any>"), ("Out", "record{high:float|null,low:float}"),
            ("UserId", "int"), ("Num", "float|int"), ("Any1", "any"), ("Alias", "int|list<int>"),
            ("'list[Mode]'", "list<enum{SOFT,HARD}>"), ("Final[int]", "int"),
            ("SeedInt", "seed?"), ("Annotated[int, Seed()]", "seed?"),
            ("Annotated[str, Color()]", "color"),
            ('Annotated[str, Choices("x", "y")]', "enum{x,y}"),
        ]  # fmt: skip
        self.rows(rows, "def f{0}(x: {1}) -> None: ...")

    def test_results(self) -> None:
        rows = [
            ("int", "int"), ("tuple[int, str]", "int result_1 str result_2"),
            ("tuple[int, ...]", "list<int>"), ("None", ""), ("Optional[int]", "int|null"),
            ("Two", "tensor<f64> image int count"), ("Out", "float low float|null high"),
            ("Kernel", "record{names:list<str>,size:int,x:float,y:float}"),
            ("tuple[npt.NDArray[np.float64], int]", "tensor<f64> result_1 int result_2"),
            ("Iterator[int]", "list<int>"), ("abc.Generator[str, None, None]", "list<str>"),
            ("Iterator[npt.NDArray[np.float64]]", "dir"),
            ('Annotated[float, Output("mean")]', "float mean"), ("list[Two]", ""),
        ]  # fmt: skip
        self.rows(rows[:-1], "def f{0}() -> {1}: ...")

    @unittest.skipIf(sys.version_info < (3, 12), "a syntax of Python 3.12")
    def test_type_parameters_and_aliases(self) -> None:
        found = of("type N = int | float\ndef f0[T: str, U](x: T, y: U, n: N) -> list[T]: ...")
        entry = found["entries"][0]
        self.assertEqual([p["type"] for p in entry["inputs"]], ["str", "any", "float|int"])
        self.assertEqual(entry["outputs"][0]["type"], "list<str>")

    @unittest.skipIf(sys.version_info >= (3, 12), "a syntax of Python 3.12")
    def test_newer_syntax_is_told(self) -> None:
        (problem,) = of("type N = int")["problems"]
        self.assertEqual(problem["code"], "PY010")
        self.assertIn("this is Python 3.", problem["message"])


class Entries(unittest.TestCase):
    def test_everything_of_an_entry(self) -> None:
        found = of(
            "\n\nasync def soft_blur(img: 'npt.NDArray[np.float64]', mode: Mode = Mode.SOFT, /,"
            " *more: float, radius: Annotated[float, Slider(0, 10, 0.5), Unit('px'),"
            " Doc('how far')] = 4, ctx: Context, limit: int = LIMIT, at: float = np.pi,"
            " k: Optional[Kernel] = None, **rest: str) -> Annotated[int, Tag('pure')]:\n"
            '    """Blur.\n\n    More.\n\n    Args:\n        img: the picture,\n'
            "            as it is\n"
            '        more (float): more\n\n    Tags: cached\n    """\n'
        )
        self.assertEqual(found["problems"], [])
        (entry,) = found["entries"]
        line = HEAD.count("\n") + 3
        plain = {key: entry[key] for key in entry if key not in ("inputs", "params", "outputs")}
        self.assertEqual(len(plain.pop("digest")), 64)
        self.assertEqual(
            plain,
            {
                "id": "python:./f.py:soft_blur",
                "executor": "python",
                "location": "./f.py",
                "object": "soft_blur",
                "module": "f",
                "title": "Soft blur",
                "category": "f",
                "doc": "Blur.",
                "file": "f.py",
                "line": line,
                "col": 11,
                "tags": ["cached", "pure"],
                "async": True,
                "generator": False,
                "context": True,
                "files": ["f.py"],
            },
        )
        img, mode, more = entry["inputs"]
        self.assertEqual((img["doc"], img["line"], img["col"]), ("the picture, as it is", line, 21))
        self.assertEqual((mode["default"], mode["required"]), ("SOFT", False))
        self.assertEqual((more["type"], more["variadic"]), ("list<float>", "list"))
        radius, limit, at, k, rest = entry["params"]
        self.assertEqual(radius["widget"], {"kind": "slider", "min": 0, "max": 10, "step": 0.5})
        self.assertEqual((radius["unit"], radius["doc"], radius["default"]), ("px", "how far", 4.0))
        self.assertEqual(radius["schema"], {"type": "number", "minimum": 0, "maximum": 10})
        self.assertEqual(limit["default"], 4)
        self.assertEqual((at["default_text"], "default" in at), ("np.pi", False))
        self.assertEqual((k["type"], k["required"], k["default_text"]), ("map<any>", False, "None"))
        self.assertEqual((rest["type"], rest["variadic"]), ("map<str>", "map"))

    def test_classes_are_collected_once_and_recursively(self) -> None:
        types = of(
            "@dataclass\nclass Tree:\n    kids: list['Tree']\n    at: Point\n"
            "def f(a: Tree, b: list[Tree], c: Point, d: Mode, e: UserId) -> None: ..."
        )["types"]
        self.assertEqual(sorted(types), ["f.Mode", "f.Point", "f.Tree", "f.UserId"])
        tree = types["f.Tree"]
        self.assertEqual(tree["type"], "record{at:record{x:float,y:float},kids:list<any>}")
        kids = tree["schema"]["properties"]["kids"]
        self.assertEqual(kids, {"type": "array", "items": {"$ref": "#/types/f.Tree"}})
        self.assertEqual(types["f.Point"]["doc"], "A place.")
        self.assertEqual([row["name"] for row in types["f.Point"]["fields"]], ["x", "y"])
        self.assertEqual(types["f.Mode"]["schema"], {"title": "Mode", "enum": ["SOFT", "HARD"]})
        self.assertEqual(types["f.UserId"]["kind"], "newtype")

    def test_lines_end_as_they_like(self) -> None:
        for end in ("\n", "\r\n", "\r"):
            text = f"import os{end}def f(ab: int, b: str) -> int: ...{end}def g(b: str) -> int: ..."
            entries = of(text, head="")["entries"]
            said = [[(p["type"], p["col"]) for p in entry["inputs"]] for entry in entries]
            self.assertEqual(said, [[("int", 7), ("str", 16)], [("str", 7)]])
            self.assertEqual([entry["line"] for entry in entries], [2, 3])

    def test_docstrings_of_three_styles(self) -> None:
        for text in (
            "Do.\n\n    Args:\n        a: one\n        b (int): two",
            "Do.\n\n    Parameters\n    ----------\n    a : int\n        one\n"
            "    b : int\n        two",
            "Do.\n\n    :param a: one\n    :param int b: two\n    :returns: c",
        ):
            found = of(f'def f(a: int, b: int) -> int:\n    """{text}\n    """')
            docs = [port["doc"] for port in found["entries"][0]["inputs"]]
            self.assertEqual(docs, ["one", "two"], text)

    def test_names_are_followed_through_files(self) -> None:
        files = {
            "pkg/__init__.py": "from .inner import *\nfrom .inner import Two as Pair\n",
            "pkg/inner.py": "from typing import NamedTuple\n__all__ = ['Two', 'make']\n"
            "class Two(NamedTuple):\n    a: int\n    b: str\ndef make(n: int) -> Two: ...\n",
            "main.py": "from __future__ import annotations\nimport pkg.inner as deep, pkg\n"
            "from pkg import Pair\n"
            "def f(x: Pair, y: deep.Two, z: pkg.Pair) -> pkg.inner.Two: ...\n",
        }
        found = reads(files, False, ("./main.py", None))
        self.assertEqual(found["problems"], [])
        (entry,) = found["entries"]
        self.assertEqual({port["type"] for port in entry["inputs"]}, {"record{a:int,b:str}"})
        self.assertEqual(entry["files"], ["main.py", "pkg/__init__.py", "pkg/inner.py"])
        self.assertEqual(list(found["types"]), ["pkg.inner.Two"])
        whole = reads(files, False, ("./pkg", None))
        self.assertEqual(
            [entry["id"] for entry in whole["entries"]], ["python:./pkg/inner.py:make"]
        )
        self.assertEqual(whole["entries"][0]["module"], "pkg.inner")

    def test_star_imports_of_well_known_modules(self) -> None:
        head = "from typing import *\nfrom polyloom import *\n"
        (entry,) = of(
            "def f(x: Optional[Annotated[int, Seed()]] = 1) -> List[Any]: ...", head=head
        )["entries"]
        self.assertEqual(entry["inputs"][0]["type"], "seed")
        self.assertEqual(entry["outputs"][0]["type"], "list<any>")

    def test_an_overload_speaks_for_a_function_that_says_nothing(self) -> None:
        (entry,) = of(
            "@overload\ndef f(a: complex) -> int: ...\n@overload\ndef f(a: int) -> int: ...\n"
            "@overload\ndef f(a: str) -> str: ...\n"
            "def f(a): return a"
        )["entries"]
        self.assertEqual(entry["inputs"][0]["type"], "int")


class Hints(unittest.TestCase):
    def test_hints_are_plain_values(self) -> None:
        self.assertEqual(polyloom.Slider(0, 1), polyloom.Slider(0, 1))
        self.assertNotEqual(polyloom.Slider(0, 1), polyloom.Slider(0, 2))
        self.assertEqual(repr(polyloom.Shape("h", 3)), "Shape('h', 3)")
        self.assertEqual(len({polyloom.Unit("px"), polyloom.Unit("px"), polyloom.Doc("px")}), 2)
        with self.assertRaises(AttributeError):
            polyloom.Color().said = 1
        self.assertIn(polyloom.Seed(), get_args(polyloom.SeedInt))


class Installed(unittest.TestCase):
    def ask(self, location: str, object: Optional[str] = None, allow: bool = False) -> Any:
        return reads({}, allow, (location, object))

    def test_the_standard_library_has_few_types(self) -> None:
        found = self.ask("statistics", "mean", True)
        (entry,) = found["entries"]
        self.assertEqual((entry["id"], entry["module"]), ("python:statistics:mean", "statistics"))
        self.assertEqual(entry["files"], [])
        self.assertEqual({row["code"] for row in found["problems"]}, {"PY001", "PY002"})
        self.assertEqual({row["severity"] for row in found["problems"]}, {"warning"})
        self.assertEqual(self.ask("statistics", "mean")["entries"], [])

    def test_what_is_compiled_or_missing_is_told(self) -> None:
        for location, code in (("math", "PY015"), ("no_such_module", "PY013")):
            (problem,) = self.ask(location)["problems"]
            self.assertEqual(problem["code"], code)
        (problem,) = self.ask("statistics", "meen")["problems"]
        self.assertIn("`mean`", problem["help"])

    def test_the_program(self) -> None:
        with tempfile.TemporaryDirectory() as root:
            Path(root, "a.py").write_text("def f(x: int) -> int: ...")
            line = {"version": 1, "root": root, "targets": [{"location": "./a.py"}]}
            argv = [sys.executable, "-I", str(conversation.SDK / "catalog.py")]
            done = subprocess.run(
                argv, input=json.dumps(line).encode() + b"\n", stdout=subprocess.PIPE, check=True
            )
            first, part = map(json.loads, done.stdout.splitlines())
            self.assertEqual(first, {"version": 1, "problems": []})
            self.assertEqual(len(part["entries"]), 1)
            bad = subprocess.run(argv, input=b"{}\n", stderr=subprocess.PIPE, check=False)
            self.assertEqual(bad.returncode, 2)


if __name__ == "__main__":
    unittest.main()
