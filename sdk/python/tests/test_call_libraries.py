"""Typed functions of arrays, frames and pictures, where their libraries are installed."""

from __future__ import annotations

import shutil
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from test_call import Calls

import polyloom
from polyloom._npy import write_tensor
from polyloom._types import parse

Tested = TypeVar("Tested")


def needs(*names: str) -> Callable[[Tested], Tested]:
    missing = []
    for name in names:
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    skip: Any = unittest.skipIf(missing, f"{missing} is not installed")
    return skip  # type: ignore[no-any-return]


class Libraries(Calls):
    def tensor(self, name: str, value: Any, kind: str) -> Path:
        path = self.host.cell / "in" / f"{name}.npy"
        write_tensor(value, parse(kind), name, str(path))
        return path

    def table(self, name: str, rows: Any) -> Path:
        path = self.host.cell / "in" / f"{name}.arrow"
        polyloom.Table(rows).write(path)
        return path

    def read(self, name: str = "result") -> Any:
        (path,) = (self.host.cell / "out").glob(f"{name}.*")
        form = {".npy": "npy", ".arrow": "arrow"}.get(path.suffix, "raw")
        from polyloom._inputs import read_input

        return read_input(name, {"path": str(path), "encoding": form})


NUMPY = """
from __future__ import annotations
from typing import Any, Annotated, NamedTuple
import numpy as np
from numpy.typing import NDArray
def f(img: %s) -> %s:
    %s
"""


@needs("numpy")
class Arrays(Libraries):
    def setUp(self) -> None:
        super().setUp()
        self.img = {"img": self.tensor("img", [[1.0, 2.0], [3.0, 4.0]], "tensor<f64,[n,m]>")}
        self.types = {"img": "tensor<f64,[h,w]>"}

    def fails_with(self, text: str, *parts: str, kind: str = "tensor<f64,[h,w]>") -> dict[str, Any]:
        error = self.fails(NUMPY % parts, self.img, {"result": kind}, types=self.types)
        self.assertEqual(error["message"], text)
        return error

    def test_what_is_masked_is_no_data(self) -> None:
        masked = "return np.ma.masked_greater(img, 2.5)"
        self.fails_with(
            "output `result`: expected tensor<f64,[h,w]>, found a masked array of 4 of which 2 are"
            " masked, for which `.filled(…)` has a value",
            "NDArray[np.float64]",
            "NDArray[np.float64]",
            masked,
        )
        # One of a class of its own, and what only looks like one.
        body = "return type('Own', (np.ma.MaskedArray,), {'__module__': 'own'})(img, img > 2.5)"
        error = self.fails(NUMPY % ("Any", "Any", body), self.img, {"result": "tensor"})
        self.assertIn("of which 2 are masked", error["message"])
        body = "return type('Like', (), {'fill_value': 0, '__array__': lambda *_, **__: img + 0})()"
        done = self.call(NUMPY % ("Any", "Any", body), self.img, {"result": "tensor"})
        self.assertTrue(done["ok"], self.host.seen)
        source = NUMPY % ("NDArray[np.float64]", "NDArray[np.float64]", masked + ".filled(0)")
        done = self.call(source, self.img, {"result": "tensor<f64,[h,w]>"}, types=self.types)
        self.assertTrue(done["ok"], self.host.seen)
        self.assertEqual(self.read().tolist(), [[1.0, 2.0], [0.0, 0.0]])

    def test_arrays_come_and_go(self) -> None:
        for hint in (
            "NDArray[np.float64]",
            "NDArray[np.floating[Any]]",
            "np.ndarray",
            "NDArray[Any]",
        ):
            with self.subTest(hint):
                source = NUMPY % (hint, "NDArray[np.float64]", "return img * 2")
                done = self.call(
                    source, self.img, {"result": "tensor<f64,[h,w]>"}, types=self.types
                )
                self.assertTrue(done["ok"], self.host.seen)
                self.assertEqual(self.read().tolist(), [[2.0, 4.0], [6.0, 8.0]])

    def test_folders_of_arrays_are_lists(self) -> None:
        folder = self.host.cell / "in" / "img"
        folder.mkdir()
        for at in range(1100):  # more than descriptors
            write_tensor([[float(at)]], parse("tensor"), "img", str(folder / f"{at:04}.npy"))
        source = NUMPY.replace("img: ", "%simg: ")
        for star, hint in (("*", "NDArray[np.float64]"), ("", "list[NDArray[np.float64]]")):
            body = "return [each * 2 for each in img]"
            done = self.call(
                source % (star, hint, "list[NDArray[np.float64]]", body),
                {"img": folder},
                {"result": "dir"},
                types={"img": "dir"},
            )
            self.assertTrue(done["ok"], self.host.seen)
            written = sorted((self.host.cell / "out" / "result").iterdir())
            found = [self.of_file(path).tolist() for path in written]
            self.assertEqual(found, [[[at * 2.0]] for at in range(1100)])
            for path in written:
                path.unlink()
            (self.host.cell / "out" / "result").rmdir()
        error = self.fails(
            source % ("*", "NDArray[np.uint8]", "Any", "return 1"),
            {"img": folder},
            {"result": "int"},
            types={"img": "dir"},
        )
        self.assertIn("argument `img[0]`: expected tensor<u8>", error["message"])

    def test_items_of_a_result_are_what_its_annotation_says(self) -> None:
        array = "NDArray[np.float64]"
        for hint, body, message in (
            (f"list[{array}]", "return [img, img.astype('i2')]", ""),
            ("list[NDArray[Any]]", "return [img, img > 0]", ""),
            ("list[NDArray[np.floating[Any]]]", "return [img.astype('f4')]", ""),
            (f"list[{array}]", "return [img, img + 1j]", "`result[1]`: expected tensor<f64>"),
            ("list[NDArray[np.uint8]]", "return [img / 3]", "`result[0]`: expected tensor<u8>"),
            (f"list[{array}]", "return [img, 'x']", "`result[1]`: expected tensor<f64>"),
            ("Iterator[NDArray[np.uint8]]", "yield img / 3", "`result[0]`: expected tensor<u8>"),
        ):
            with self.subTest(hint, body=body):
                source = "from collections.abc import Iterator\n" + NUMPY.replace(
                    "\nfrom __future__ import annotations", ""
                ) % (array, hint, body)
                shutil.rmtree(self.host.cell / "out" / "result", ignore_errors=True)
                if message:
                    error = self.fails(source, self.img, {"result": "dir"}, types=self.types)
                    self.assertIn(message, error["message"])
                else:
                    done = self.call(source, self.img, {"result": "dir"}, types=self.types)
                    self.assertTrue(done["ok"], self.host.seen)

    def of_file(self, path: Path) -> Any:
        from polyloom._inputs import read_input

        return read_input("x", {"path": str(path), "encoding": "npy"})

    def test_arguments_of_another_type(self) -> None:
        self.types = {"img": "tensor<any>"}
        self.fails_with(
            "argument `img`: expected tensor<any>, found tensor<f64,[2,2]>",
            "NDArray[np.uint8]",
            "Any",
            "return img",
        )
        self.types = {"img": "tensor<f64,[h,w,3]>"}
        self.fails_with(
            "argument `img`: expected tensor<f64,[h,w,3]>, found tensor<f64,[2,2]>",
            "NDArray[np.float64]",
            "Any",
            "return img",
        )

    def test_results_of_another_type(self) -> None:
        array = "NDArray[np.float64]"
        for kind, body, found in (
            ("tensor<u8,[h,w]>", "return img", "tensor<f64,[2,2]>"),
            ("tensor<f64,[h,w]>", "return img.astype('f4')", "tensor<f32,[2,2]>"),
            ("tensor<f64,[h]>", "return img", "tensor<f64,[2,2]>"),
            ("tensor<f64,[h]>", "return None", "null (None)"),
        ):
            message = f"output `result`: expected {kind}, found {found}"
            error = self.fails_with(message, array, "Any", body, kind=kind)
            self.assertEqual(error["code"], "output")

    def test_an_argument_that_is_written_to_is_named(self) -> None:
        for body in ("img[0] = 1", "img += 1", "part = img[0]; part *= 2", "img.sort()"):
            with self.subTest(body):
                error = self.fails_with(
                    "argument `img` was to be changed by the function `f`: "
                    "inputs are read-only, work on a copy",
                    "NDArray[np.float64]",
                    "Any",
                    body,
                )
                self.assertEqual((error["line"], error["code"]), (7, "changed"))

    def test_scalars_and_lists(self) -> None:
        source = (
            "import numpy as np\n"
            "def f(v: np.float32, w: list[float]) -> float:\n    return v * len(w)"
        )
        inputs = {"v": 2, "w": self.tensor("w", [1.0, 2.0], "tensor<f64,[n]>")}
        self.assertEqual(self.result(source, inputs, kind="float"), 4.0)

    def test_the_same_seed_gives_the_same_bytes(self) -> None:
        source = (
            "import numpy as np, polyloom\n"
            "def f(ctx: polyloom.Context) -> np.ndarray:\n    return ctx.rng.random(4)"
        )
        seen = []
        for seed in (1, 1, 2):
            self.assertTrue(self.call(source, None, {"result": "tensor<f64,[n]>"}, seed=seed)["ok"])
            seen.append(self.read().tolist())
        self.assertEqual(seen[0], seen[1])
        self.assertNotEqual(seen[0], seen[2])

    def test_arrays_that_a_generator_yields_make_a_folder(self) -> None:
        body = "yield from img"
        source = NUMPY % ("NDArray[np.float64]", "Any", body)
        self.assertTrue(self.call(source, self.img, {"result": "dir"}, types=self.types)["ok"])
        names = sorted(path.name for path in (self.host.cell / "out" / "result").iterdir())
        self.assertEqual(names, ["00000.npy", "00001.npy"])


class Frames(Libraries):
    def frame(self, library: str, hint: str, body: str, kind: str = "table") -> Any:
        rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
        source = (
            f"import {library}\n"
            f"def f(t: {hint}) -> object:\n    assert isinstance(t, {hint}), t\n    {body}"
        )
        done = self.call(
            source, {"t": self.table("t", rows)}, {"result": kind}, types={"t": "table"}
        )
        self.assertTrue(done["ok"], self.host.seen)
        return self.read() if kind == "table" else self.host.output("result")

    @needs("pandas")
    def test_pandas(self) -> None:
        found = self.frame("pandas", "pandas.DataFrame", "return t[t.a > 1]")
        self.assertEqual(found.to_pydict()["b"], ["y"])
        (shown,) = self.host.of("Display")
        self.assertEqual(shown["data"].decode().splitlines()[:3], ["result", "a  b", "2  y"])

    @needs("polars")
    def test_polars(self) -> None:
        found = self.frame("polars", "polars.DataFrame", "return t.filter(t['a'] > 1)")
        self.assertEqual(found.to_pydict()["b"], ["y"])
        self.assertEqual(len(self.host.of("Display")), 1)

    @needs("pyarrow")
    def test_pyarrow(self) -> None:
        found = self.frame("pyarrow", "pyarrow.Table", "return t.slice(1)")
        self.assertEqual(found.to_pydict()["b"], ["y"])
        self.assertEqual(len(self.host.of("Display")), 1)

    def test_our_own(self) -> None:
        body = "return t['a'].to_pylist()"
        self.assertEqual(self.frame("polyloom", "polyloom.Table", body, "list<int>"), [1, 2])

    @needs("pandas")
    def test_columns(self) -> None:
        source = "import pandas as pd\ndef f(s: pd.Series) -> float:\n    return float(s.sum())"
        inputs = {"s": self.table("s", {"a": [1, 2]})}
        self.assertEqual(self.result(source, inputs, kind="float"), 3.0)
        error = self.fails(
            source, {"s": self.table("s", {"a": [1], "b": [2]})}, types={"s": "table"}
        )
        self.assertEqual(
            error["message"], "argument `s`: expected a table of one column, found one of 2"
        )

    @needs("pandas", "polars")
    def test_columns_are_tables_of_one(self) -> None:
        for made, column in (
            ("pandas.Series([1, 2], name='n')", "n"),
            ("pandas.Series([1, 2])", "value"),
            ("polars.Series('n', [1, 2])", "n"),
        ):
            with self.subTest(made):
                library = made.partition(".")[0]
                source = f"import {library}\ndef f() -> {library}.Series:\n    return {made}"
                self.assertTrue(self.call(source, {}, {"result": "table"})["ok"], self.host.seen)
                self.assertEqual(self.read().to_pydict(), {column: [1, 2]})


class Pictures(Libraries):
    @needs("PIL")
    def test_pictures_come_and_go(self) -> None:
        from polyloom._media import png

        path = self.host.cell / "in" / "img.png"
        path.write_bytes(png(2, 1, 1, b"\x00\xff"))
        source = (
            "from PIL import Image, ImageOps\n"
            "def f(img: Image.Image) -> Image.Image:\n    return ImageOps.mirror(img)"
        )
        done = self.call(source, {"img": path}, {"result": "image"}, types={"img": "image"})
        self.assertTrue(done["ok"], self.host.seen)
        from PIL import Image

        self.assertEqual(Image.open(self.read()).tobytes(), b"\xff\x00")
        (shown,) = self.host.of("Display")
        self.assertEqual(shown["media"], "image/png")
        source = "from PIL import Image\ndef f() -> Image.Image:\n    return 3"
        error = self.fails(source, None, {"result": "image"})
        self.assertEqual(error["message"], "output `result`: expected image, found int 3")

    @needs("matplotlib")
    def test_figures_are_pictures(self) -> None:
        source = """
from matplotlib.figure import Figure
def f() -> Figure:
    figure = Figure()
    figure.subplots().plot([1, 2])
    return figure
"""
        self.assertTrue(self.call(source, None, {"result": "image"}, argv=[])["ok"], self.host.seen)
        self.assertEqual(self.read().suffix, ".png")


if __name__ == "__main__":
    unittest.main()
