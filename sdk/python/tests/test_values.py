"""Types and values: what conforms, what is turned into what, and how a mismatch is worded."""

from __future__ import annotations

import array
import enum
import unittest
from typing import Any

import conversation  # noqa: F401  (puts the SDK on the path)

from polyloom._types import parse
from polyloom._values import Mismatch, conform


class Grammar(unittest.TestCase):
    def test_types_are_read(self) -> None:
        record = parse(" record { day : str , temps: list< map<float> > } ")
        self.assertEqual(list(record.fields), ["day", "temps"])
        self.assertEqual(record.fields["temps"].text, "list< map<float> >")
        self.assertEqual(parse("enum{a, b-c}").options, ["a", "b-c"])
        tensor = parse("tensor<f64,[n, 3, *]>")
        self.assertEqual((tensor.dtype, tensor.shape), ("f64", ["n", 3, "*"]))
        self.assertIsNone(parse("tensor<u8>").shape)
        self.assertEqual(parse("my.plugin/Mesh").name, "my.plugin/Mesh")

    def test_mistakes_are_placed(self) -> None:
        for text, place in (("list<int", "`>` at character 9"), ("", "a name at character 1")):
            with self.assertRaisesRegex(ValueError, place):
                parse(text)
        with self.assertRaisesRegex(ValueError, "the end at character 5"):
            parse("int x")
        with self.assertRaisesRegex(ValueError, "`f16` is none of bool"):
            parse("tensor<f16,[2]>")


class Color(enum.Enum):
    RED = "red"


class Values(unittest.TestCase):
    def check(self, value: Any, text: str) -> Any:
        return conform(value, parse(text), "x")

    def test_values_that_conform(self) -> None:
        rows: list[tuple[Any, str, Any]] = [
            (None, "null", None),
            (3, "float", 3.0),
            (2**60, "float", 2.0**60),
            (True, "bool", True),
            ((1, 2), "list<int>", [1, 2]),
            (range(3), "list<int>", [0, 1, 2]),
            (array.array("d", [1, 2]), "list<float>", [1.0, 2.0]),
            (bytearray(b"a"), "bytes", b"a"),
            (memoryview(b"a"), "any", b"a"),
            ({"b": 1, "a": 2}, "map<float>", {"a": 2.0, "b": 1.0}),
            ({"a": 1}, "record{a: float}", {"a": 1.0}),
            (Color.RED, "enum{red,blue}", "red"),
            ((1, 2.5), "vec2", [1.0, 2.5]),
            ("#A0b1c2", "color", "#A0b1c2"),
            ({"a": (1, None)}, "any", {"a": [1, None]}),
            ({"a": 1}, "plugin.Thing", {"a": 1}),
        ]
        for value, text, expected in rows:
            with self.subTest(text):
                found = self.check(value, text)
                self.assertEqual(found, expected)
                self.assertIs(type(found), type(expected))

    def test_mismatches_are_named(self) -> None:
        rows: list[tuple[Any, str, str]] = [
            (1.0, "int", "`x`: expected int, found float 1.0"),
            (True, "int", "`x`: expected int, found bool True"),
            (True, "float", "`x`: expected float, found bool True"),
            (2**53 + 1, "float", "found int 9007199254740993, which no float is"),
            (1, "bool", "`x`: expected bool, found int 1"),
            (None, "str", "`x`: expected str, found null (None)"),
            (1 << 63, "int", "`x`: expected an int of 64 bits, found int 9223372036854775808"),
            ("abc", "list<str>", '`x`: expected list<str>, found str "abc"'),
            ([1, "a"], "list<int>", '`x[1]`: expected int, found str "a"'),
            ({1}, "list<int>", "which has no order: use `sorted()`"),
            ({"a": {"b c": [1, {}]}}, "map<map<list<int>>>", "`x.a['b c'][1]`: expected int"),
            ({1: 2}, "map<int>", "`x`: expected keys of type str, found the key int 1"),
            ({"a": 1}, "record{a: int, b: str}", "`x.b`: expected str, found no such field"),
            ({"c": 1}, "record{a: int}", "`x.c`: expected one of the fields `a`"),
            ("c", "enum{a,b}", '`x`: expected one of "a", "b", found str "c"'),
            ([1], "vec2", "`x`: expected vec2, two floats, found list of 1"),
            ("red", "color", '`x`: expected color, "#rrggbb"'),
            ([object()], "any", "`x[0]`: expected a plain value, found `object`"),
        ]
        for value, text, message in rows:
            with self.subTest(text), self.assertRaises(Mismatch) as caught:
                self.check(value, text)
            self.assertIn(message, str(caught.exception))

    def test_scalars_and_arrays_of_numpy(self) -> None:
        try:
            import numpy
        except ImportError:
            self.skipTest("numpy is not installed")
        self.assertIs(type(self.check(numpy.int64(3), "int")), int)
        self.assertIs(type(self.check(numpy.float32(0.5), "float")), float)
        self.assertIs(type(self.check(numpy.float64(0.5), "any")), float)
        self.assertIs(self.check(numpy.bool_(True), "bool"), True)
        self.assertEqual(self.check(numpy.arange(3), "list<float>"), [0.0, 1.0, 2.0])
        self.assertEqual(self.check({"a": numpy.eye(2)}, "any"), {"a": [[1.0, 0.0], [0.0, 1.0]]})
        self.assertEqual(self.check(numpy.str_("a"), "str"), "a")
        with self.assertRaises(Mismatch):
            self.check(numpy.float64(1), "int")


if __name__ == "__main__":
    unittest.main()
