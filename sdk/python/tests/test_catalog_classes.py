"""Classes of attrs and pydantic, and generic ones with arguments, as types: read, and called."""

from __future__ import annotations

import importlib.util
import tempfile
import unittest
from pathlib import Path
from typing import Any

from test_call import Calls
from test_catalog import without_libraries

from polyloom_catalog import catalog

GENERIC = """
from dataclasses import dataclass
from typing import Generic, NamedTuple, NewType, Optional, TypedDict, TypeVar
import numpy as np
from typing import Literal
from lib import Below, T

N = TypeVar("N", bound=float)
H = NewType("H", int)
Pair = tuple[T, N]

@dataclass
class Box(Generic[T]):
    value: T
    next: Optional["Box[T]"] = None

@dataclass
class Two(Box[str], Generic[N]):
    other: Below[N, int]
    bare: Below

class Out(NamedTuple):
    box: Box[float]
    flag: bool
"""
LIB = """
from dataclasses import dataclass
from typing import Generic, TypeVar
T = TypeVar("T")
U = TypeVar("U")

@dataclass
class Below(Generic[U, T]):
    first: U
    second: list[T]
"""
ATTRS = """
import attr, attrs
from attrs import define, field, frozen

@define
class Point:
    x: float
    y: float = 0.5
    tags: list[str] = field(factory=list)
    hidden: int = field(init=False, default=7)

@frozen
class Far(Point):
    far: int = attrs.field(default=3)

@attr.s(auto_attribs=True)
class Old:
    _size: int
    x: int = attr.ib(default=1)

@attr.s
class Older:
    x = attr.ib(type=int)
"""
PYDANTIC = """
from typing import Annotated, ClassVar, Generic, Optional, TypeVar
import pydantic
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

T = TypeVar("T")

class Base(BaseModel):
    model_config = ConfigDict(extra="forbid")
    count: ClassVar[int] = 3
    _secret: int = 4
    name: str

class Item(Base):
    size: int = Field(3, ge=0, lt=10, description="how large")
    need: float = Field(..., gt=0)
    some: list[int] = Field(default_factory=list, max_length=3)
    other: Optional["Item"] = None
    positive: PositiveInt = 1
    named: Annotated[int, Field(le=5)] = Field(2, alias="Named")

class Holds(BaseModel, Generic[T]):
    it: T

@pydantic.dataclasses.dataclass
class Data:
    x: int
"""


def of(text: str, files: dict[str, str] | None = None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as root:
        for name, source in {"f.py": text, **(files or {})}.items():
            Path(root, name).write_text(source)
        return without_libraries(catalog({"root": root, "targets": [{"location": "./f.py"}]}))


class Types(unittest.TestCase):
    def types(self, head: str, rows: list[tuple[str, str]], **files: str) -> dict[str, Any]:
        functions = [f"def f{at}(a: {note}) -> int: ...\n" for at, (note, _) in enumerate(rows)]
        named = {f"{name}.py": text for name, text in files.items()}
        found = of(head + "\n" + "".join(functions), named)
        self.assertEqual(found["problems"], [])
        entries = {entry["object"]: entry for entry in found["entries"]}
        for at, (note, text) in enumerate(rows):
            with self.subTest(note):
                self.assertEqual(entries[f"f{at}"]["inputs"][0]["type"], text)
        return found

    def test_generics_are_of_their_arguments(self) -> None:
        box = "map<any>"  # `next` may be left out
        rows = [
            ("Box[int]", box),
            ("Below[int, str]", "record{first:int,second:list<str>}"),
            ("Below[int, Below[str, float]]",
             "record{first:int,second:list<record{first:str,second:list<float>}>}"),
            ("Below", "record{first:any,second:list<any>}"),
            ("Below[int]", "record{first:int,second:list<any>}"),
            ("list[Below[bool, bool]]", "list<record{first:bool,second:list<bool>}>"),
            ("Pair[int, str]", "list<int|str>"),
            ("Pair", "list<any>"),
            ("Two[int]", box),
            ("np.ndarray[tuple[H, int, Literal[3]], np.dtype[np.uint8]]", "tensor<u8,[h,d1,3]>"),
        ]  # fmt: skip
        found = self.types(GENERIC, rows, lib=LIB)
        types = found["types"]
        fields = {row["name"]: row["type"] for row in types["f.Box[int]"]["fields"]}
        self.assertEqual(fields, {"value": "int", "next": "any"})
        self.assertEqual(types["f.Box[int]"]["name"], "Box[int]")
        schema = types["f.Box[int]"]["schema"]["properties"]["next"]
        self.assertEqual(schema, {"$ref": "#/types/f.Box[int]"})
        fields = {row["name"]: row["type"] for row in types["f.Two[int]"]["fields"]}
        self.assertEqual(fields["value"], "str")
        self.assertEqual(fields["other"], "record{first:int,second:list<int>}")
        self.assertEqual(fields["bare"], "record{first:any,second:list<any>}")
        found = of(GENERIC + "\ndef f() -> Out: ...\ndef g(a: Below[int, int, int]) -> int: ...",
                   {"lib.py": LIB})  # fmt: skip
        self.assertEqual([row["name"] for row in found["entries"][0]["outputs"]], ["box", "flag"])
        (problem,) = found["problems"]
        self.assertIn("`Below` takes 2 types, not 3", problem["message"])

    def test_generics_without_end_are_refused(self) -> None:
        text = GENERIC + "\n@dataclass\nclass Ever(Generic[T]):\n    x: 'Ever[list[T]]'\n"
        found = of(text + "def f(a: Ever[int]) -> int: ...\ndef ok() -> int: ...", {"lib.py": LIB})
        self.assertEqual([entry["object"] for entry in found["entries"]], ["ok"])
        self.assertEqual({row["code"] for row in found["problems"]}, {"PY007"})

    def test_classes_of_attrs(self) -> None:
        rows = [("Old", "map<any>"), ("Older", "record{x:int}"), ("Far", "map<any>")]
        found = self.types(ATTRS, rows)
        told = {name: kind["kind"] for name, kind in found["types"].items()}
        self.assertEqual(told, {"f.Old": "attrs", "f.Older": "attrs", "f.Far": "attrs"})
        fields = {row["name"]: row.get("default") for row in found["types"]["f.Far"]["fields"]}
        self.assertEqual(fields, {"x": None, "y": 0.5, "tags": None, "far": 3})
        required = found["types"]["f.Far"]["schema"]["required"]
        self.assertEqual(required, ["x"])
        found = of("import attr\n@attr.s\nclass C:\n    x = attr.ib()\ndef f(a: C) -> int: ...")
        (problem,) = found["problems"] if len(found["problems"]) == 1 else found["problems"][-1:]
        self.assertIn("the field `x` of `C` has no type (f.py:4)", problem["message"])

    @unittest.skipUnless(importlib.util.find_spec("pydantic"), "pydantic is not installed")
    def test_models_of_pydantic(self) -> None:
        rows = [("Item", "map<any>"), ("Data", "record{x:int}"), ("Holds[int]", "record{it:int}")]
        found = self.types(PYDANTIC, rows)
        item = found["types"]["f.Item"]
        self.assertEqual(item["kind"], "model")
        names = [row["name"] for row in item["fields"]]
        self.assertEqual(names, ["name", "size", "need", "some", "other", "positive", "named"])
        self.assertEqual(item["schema"]["required"], ["name", "need"])
        schemas = item["schema"]["properties"]
        self.assertEqual(schemas["size"], {"type": "integer", "minimum": 0, "exclusiveMaximum": 10})
        self.assertEqual(schemas["need"], {"type": "number", "exclusiveMinimum": 0})
        self.assertEqual(schemas["some"]["maxItems"], 3)
        self.assertEqual(schemas["named"]["maximum"], 5)
        self.assertEqual(item["fields"][1]["doc"], "how large")


class Called(Calls):
    @unittest.skipUnless(importlib.util.find_spec("attrs"), "attrs is not installed")
    def test_instances_of_attrs(self) -> None:
        source = ATTRS + "\ndef f(a: Far, b: Old) -> Far:\n"
        source += "    return Far(a.x + b._size, far=a.far + len(a.tags))"
        given = {"a": {"x": 1.0, "tags": ["t"], "far": 4}, "b": {"_size": 2}}
        done = self.result(source, given)
        self.assertEqual(done, {"x": 3.0, "y": 0.5, "tags": [], "hidden": 7, "far": 5})
        kind = "record{x:float,y:float,tags:list<str>,far:int}"
        self.assertNotIn("hidden", self.result(source, given, kind=kind))
        error = self.fails(source, {"a": {"y": 1.0}, "b": {"_size": 2}})
        self.assertIn("argument `a.x`", error["message"])
        changes = "\ndef f(a: Point) -> int:\n    a.tags.append('x')\n    return 1"
        error = self.fails(ATTRS + changes, {"a": {"x": 1.0}})
        self.assertIn("argument `a` was changed", error["message"])

    @unittest.skipUnless(importlib.util.find_spec("pydantic"), "pydantic is not installed")
    def test_models(self) -> None:
        source = PYDANTIC + "\ndef f(a: Item, h: Holds[int]) -> Item:\n"
        source += "    return a.model_copy(update={'size': a.size + h.it})"
        given = {"a": {"name": "n", "need": 1.5, "size": 4, "named": 1}, "h": {"it": 2}}
        found = self.result(source, given)
        self.assertEqual((found["size"], found["named"], found["name"]), (6, 1, "n"))
        error = self.fails(source, {**given, "a": {"name": "n", "need": -1.0}})
        self.assertIn("values that it refuses", error["message"])
        error = self.fails(source, {**given, "a": {"name": 3, "need": 1.0}})
        self.assertIn("argument `a.name`: expected str", error["message"])


del Calls  # its tests are run where they are

if __name__ == "__main__":
    unittest.main()
