"""Outputs as files, inputs from them, against numpy, pyarrow, pandas, polars where installed."""

from __future__ import annotations

import array
import datetime
import decimal
import os
import shutil
import struct
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from conversation import SDK

import polyloom
from polyloom import PortError, Table, _media, _npy
from polyloom._inputs import read_input
from polyloom._outputs import write_outputs
from polyloom._types import DTYPES

FLIGHTS = next((SDK.parent.parent / "examples").rglob("flights-200k.arrow"), None)


def library(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        raise unittest.SkipTest(f"{name} is not installed") from None


class Files(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name) / "out"
        self.work = Path(folder.name) / "work"
        self.out.mkdir()
        self.work.mkdir()
        patch = mock.patch.dict(os.environ, {"HOME": str(self.work), "TMPDIR": str(self.work)})
        patch.start()
        self.addCleanup(patch.stop)
        _media._moved.clear()
        _media._whole.clear()

    def without(self, *names: str) -> None:
        """As if these libraries were not installed."""
        patch = mock.patch.dict(sys.modules, dict.fromkeys(names))
        patch.start()
        self.addCleanup(patch.stop)

    def write(self, value: Any, kind: str) -> Path:
        write_outputs({"x": {"type": kind}}, str(self.out), {"x": value})
        (path,) = [path for path in self.out.iterdir() if not path.name.startswith(".")]
        return path

    def trip(self, value: Any, kind: str) -> Any:
        """Write and read again."""
        path = self.write(value, kind)
        encoding = {".npy": "npy", ".arrow": "arrow", ".msgpack": "msgpack"}.get(path.suffix, "raw")
        return read_input("x", {"path": str(path), "encoding": encoding, "type": kind})

    def refuses(self, value: Any, kind: str, message: str) -> None:
        with self.assertRaises(PortError) as caught:
            self.write(value, kind)
        self.assertIn(message, str(caught.exception))


class Tensors(Files):
    def test_plain_tensors_without_numpy(self) -> None:
        self.without("numpy")
        rows: list[tuple[Any, str, Any]] = [
            ([1, 2.5], "tensor<f64,[n]>", [1.0, 2.5]),
            ([[1, 2], [3, 4], [5, 6]], "tensor<i16,[n,n]>", [[1, 2], [3, 4], [5, 6]]),
            (array.array("f", [1, 2]), "tensor<f32,[2]>", [1.0, 2.0]),
            (array.array("f", [1, 2]), "tensor<f64,[2]>", [1.0, 2.0]),
            (memoryview(bytes(6)).cast("B", [2, 3]), "tensor<u8,[2,3]>", [[0] * 3] * 2),
            ([True, False], "tensor<bool,[n]>", [True, False]),
            ([], "tensor<f64,[n]>", []),
            (7, "tensor<i64,[]>", 7),
            (range(4), "tensor", [0, 1, 2, 3]),
        ]
        for value, kind, expected in rows:
            with self.subTest(kind):
                found = self.trip(value, kind)
                self.assertIsInstance(found, memoryview)
                self.assertTrue(found.readonly)
                self.assertEqual(found.tolist(), expected)

    def test_data_is_aligned(self) -> None:
        path = self.write([1.5] * 3, "tensor<f64,[n]>")
        data = path.read_bytes()
        start = 10 + int.from_bytes(data[8:10], "little")
        self.assertEqual(start % 64, 0)
        self.assertEqual(struct.unpack("<3d", data[start:]), (1.5, 1.5, 1.5))

    def test_mismatches(self) -> None:
        for value, kind, message in (
            ([[1, 2], [3]], "tensor<f64,[n,m]>", "`x[1]`: expected a list of 2, found list of 1"),
            ([[1.0, "a"]], "tensor<f64,[n,m]>", '`x[0][1]`: expected float, found str "a"'),
            ([1, 2], "tensor<f64,[3]>", "expected tensor<f64,[3]>, found the shape [2]"),
            ([[1, 2]], "tensor<f64,[n,3]>", "found the shape [1, 2]"),
            ([1], "tensor<f64,[n,m]>", "found the shape [1]"),
            ([300], "tensor<u8,[n]>", "out of range"),
            ([1.5], "tensor<i64,[n]>", "`x[0]`: expected int, found float 1.5"),
            ([True], "tensor<f64,[n]>", "`x[0]`: expected float, found bool True"),
        ):
            with self.subTest(kind):
                self.refuses(value, kind, message)

    def test_numpy_arrays(self) -> None:
        numpy = library("numpy")
        for dtype in DTYPES:
            with self.subTest(dtype):
                value = numpy.arange(12).reshape(3, 4).astype(DTYPES[dtype][0])
                found = self.trip(value.T, f"tensor<{dtype},[n,3]>")
                numpy.testing.assert_array_equal(found, value.T)
                self.assertEqual(found.dtype, value.dtype)
                self.assertFalse(found.flags.writeable)
                numpy.testing.assert_array_equal(numpy.load(self.out / "x.npy"), value.T)
        self.assertEqual(self.trip(numpy.arange(3, dtype=">i4"), "tensor<f64,[n]>").sum(), 3.0)
        self.assertEqual(self.trip(numpy.float64(3), "tensor<f64,[]>").shape, ())
        self.assertEqual(self.trip(numpy.zeros((0, 3)), "tensor<f64,[n,3]>").shape, (0, 3))
        fix = "found an array of f64, which `.astype('float32')` would convert"
        self.refuses(numpy.zeros(2), "tensor<f32,[n]>", fix)
        for lossy in ([1.5], [float("nan")], [300.0], [-1.0]):
            with self.subTest(lossy), self.assertRaises(PortError) as caught:
                self.write(numpy.array(lossy), "tensor<u8,[n]>")
            self.assertNotIn("astype", str(caught.exception))

    def test_arrays_of_other_libraries(self) -> None:
        pandas, polars = library("pandas"), library("polars")
        self.assertEqual(self.trip(pandas.Series([1.5, 2]), "tensor<f64,[n]>").tolist(), [1.5, 2.0])
        self.assertEqual(self.trip(polars.Series([1, 2]), "tensor<i64,[n]>").tolist(), [1, 2])

    def test_empty_is_given_without_a_copy(self) -> None:
        for names in ((), ("numpy",)):
            if names:
                self.without(*names)
            value = _npy.empty([2, 3], "f64", str(self.out))
            value[1, 2] = 5.0
            (born,) = (self.out / ".tmp").iterdir()
            inode = born.stat().st_ino
            path = self.write(value, "tensor<f64,[n,3]>")
            self.assertEqual(path.stat().st_ino, inode)
            found = read_input("x", {"path": str(path), "encoding": "npy"})
            self.assertEqual(found.tolist(), [[0, 0, 0], [0, 0, 5.0]])
            path.unlink()

    def test_a_part_of_empty_is_written_on_its_own(self) -> None:
        value = _npy.empty(4, "i32", str(self.out))
        value[:] = memoryview(array.array("i", [1, 2, 3, 4]))
        self.assertEqual(self.trip(value[1:3], "tensor<i32,[n]>").tolist(), [2, 3])

    def test_empty_that_was_converted_is_what_it_was_converted_to(self) -> None:
        # As many bytes of another type: the file of the first must not pass for it.
        value = _npy.empty(2, "i64", str(self.out))
        value[0] = 7
        numpy = library("numpy")
        self.assertTrue(numpy.can_cast("i8", "f8", "safe"))
        self.assertEqual(self.trip(value, "tensor<f64,[n]>").tolist(), [7.0, 0.0])
        value = _npy.empty((2, 2), "f8", str(self.out))
        value[:] = [[1, 2], [3, 4]]
        for view in (value[::-1], value.T, value[:, ::-1], value + 1, value[:1]):
            found = self.trip(view, "tensor<f64>")
            numpy.testing.assert_array_equal(found, view)
        numpy.testing.assert_array_equal(self.trip(value.reshape(4), "tensor<f64>"), [1, 2, 3, 4])

    def test_where_the_process_goes_on_its_files_stay(self) -> None:
        file, folder = self.work / "a.txt", self.work / "d"
        file.write_text("held")
        folder.mkdir()
        (folder / "in.txt").write_text("held")
        for _ in range(2):
            slots = {"x": {"type": "file"}, "d": {"type": "dir"}}
            write_outputs(slots, str(self.out), {"x": file, "d": folder}, goes_on=True)
            self.assertEqual((self.out / "x.txt").read_text(), "held")
            self.assertEqual((self.out / "d" / "in.txt").read_text(), "held")
            self.assertEqual(file.read_text(), "held")
            self.assertEqual((folder / "in.txt").read_text(), "held")
            (self.out / "x.txt").unlink()
            shutil.rmtree(self.out / "d")
        self.assertEqual(file.read_text(), "held")

    def test_empty_given_twice_is_moved_once_and_copied_once(self) -> None:
        value = _npy.empty(2, "f8", str(self.out))
        value[1] = 1.5
        first = self.write(value, "tensor<f64,[n]>").rename(self.work / "first.npy")
        second = self.write(value, "tensor<f64,[n]>")
        self.assertNotEqual(first.stat().st_ino, second.stat().st_ino)
        self.assertEqual(first.read_bytes()[-16:], second.read_bytes()[-16:])

    def test_empty_in_a_forked_process_is_another(self) -> None:
        value = _npy.empty(1, "f8", str(self.out))
        value[0] = 1.5
        pid = os.fork()
        if pid == 0:
            try:
                _npy._born.clear()
                _npy.empty(1, "f8", str(self.out))[0] = 2.5
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        self.assertEqual(len(list((self.out / ".tmp").iterdir())), 2)
        self.assertEqual(self.trip(value, "tensor<f64,[n]>").tolist(), [1.5])
        _npy.drop_unused()
        self.assertEqual(len(list((self.out / ".tmp").iterdir())), 1)

    def test_dtypes_of_empty(self) -> None:
        for dtype in ("f4", "<f4", "f32"):
            self.assertEqual(memoryview(_npy.empty(1, dtype, None)).format, "f")
        self.assertEqual(memoryview(_npy.empty(1, float, None)).itemsize, 8)
        for dtype, shape in ((">f8", 1), ("c16", 1), ("words", 1), ("f8", [-1])):
            with self.assertRaises(ValueError):
                _npy.empty(shape, dtype, None)

    def test_an_input_can_not_be_written_to(self) -> None:
        path = self.write([1.5, 2.5], "tensor<f64,[n]>")
        found = read_input("x", {"path": str(path), "encoding": "npy"})
        with self.assertRaisesRegex((ValueError, TypeError), "read-only"):
            found[0] = 9.0
        self.assertEqual(path.read_bytes()[128:136], array.array("d", [1.5]).tobytes())

    def test_a_table_is_the_mapped_file(self) -> None:
        pyarrow = library("pyarrow")
        path = self.write({"n": list(range(100_000))}, "table")
        before = pyarrow.total_allocated_bytes()
        found = read_input("x", {"path": str(path), "encoding": "arrow"})
        # Nothing was allocated, and each buffer lies in the one mapping of the file.
        self.assertEqual(pyarrow.total_allocated_bytes(), before)
        maps = Path("/proc/self/maps").read_text().splitlines()
        low, high = next(line.split()[0] for line in maps if line.endswith(str(path))).split("-")
        for buffer in found.column("n").chunk(0).buffers():
            if buffer is not None:
                self.assertTrue(int(low, 16) <= buffer.address < int(high, 16))

    def test_empty_outside_of_a_worker(self) -> None:
        self.assertEqual(polyloom.empty(3, "u8").tolist(), [0, 0, 0])


UTC = datetime.timezone.utc
COLUMNS: dict[str, list[Any]] = {
    "int": [1, None, -3],
    "big": [1 << 63, 2, None],
    "float": [1.5, None, 2],
    "bool": [True, None, False],
    "str": ["a", "grüße 😀", None],
    "bytes": [b"\0", b"", None],
    "date": [datetime.date(1969, 12, 31), None, datetime.date(2024, 2, 29)],
    "time": [datetime.time(1, 2, 3, 4), None, datetime.time()],
    "naive": [datetime.datetime(1960, 1, 1, 0, 0, 0, 5), None, datetime.datetime(2024, 1, 1)],
    "aware": [datetime.datetime(2024, 1, 1, tzinfo=UTC), None, None],
    "span": [datetime.timedelta(days=-1, microseconds=5), None, datetime.timedelta()],
    "money": [decimal.Decimal("1.25"), None, decimal.Decimal("-3")],
    "list": [[1, 2], None, []],
    "record": [{"a": 1, "b": "x"}, None, {"a": 2, "b": "y"}],
    "null": [None, None, None],
}


class Tables(Files):
    def test_every_type_comes_back(self) -> None:
        self.without("pyarrow")
        table = self.trip(COLUMNS, "table")
        self.assertIsInstance(table, Table)
        self.assertEqual(table.to_pydict(), COLUMNS)
        self.assertEqual(len(table), 3)
        self.assertEqual(table.to_pylist()[2]["int"], -3)
        self.assertEqual(table["int"].null_count, 1)
        self.assertEqual(table["str"][-2], "grüße 😀")
        self.assertEqual(table["str"][:2], ["a", "grüße 😀"])
        again = self.trip(table, "table")
        self.assertEqual(again.to_pydict(), COLUMNS)
        self.assertEqual(str(again["aware"].type), "timestamp[us, UTC]")

    def test_pyarrow_reads_what_we_write(self) -> None:
        library("pyarrow")
        table = self.trip(COLUMNS, "table")
        table.validate(full=True)
        self.assertEqual(table.to_pydict(), COLUMNS)
        for batch in table.to_batches():
            for column in batch.columns:
                for buffer in column.buffers():
                    self.assertEqual(buffer.address % 64 if buffer else 0, 0)

    def test_we_read_what_pyarrow_writes(self) -> None:
        pyarrow = library("pyarrow")
        library("pyarrow.ipc")
        whole = pyarrow.table({**COLUMNS, "big": pyarrow.array(COLUMNS["big"], pyarrow.uint64())})
        chunks = [whole, whole.slice(1)]
        large = pyarrow.concat_tables(chunks)
        extra: dict[str, Any] = {
            "category": pyarrow.array(["a", None, "b", "a", "b"]).dictionary_encode(),
            "large": pyarrow.array(["x", None, "", "y", "z"], pyarrow.large_string()),
            "view": pyarrow.array(["x", None, "y" * 20, "", "z"], pyarrow.string_view()),
            "i8": pyarrow.array([1, None, 3, 4, 5], pyarrow.int8()),
            "f16": pyarrow.array([1.5, None, 0, 1, 2], pyarrow.float16()),
            "ms": pyarrow.array([1, 2, 3, 4, None], pyarrow.timestamp("ms", "Europe/Berlin")),
            "d64": pyarrow.array([datetime.date(2020, 1, 1)] * 5, pyarrow.date64()),
            "pair": pyarrow.array([[1, 2]] * 4 + [None], pyarrow.list_(pyarrow.int32(), 2)),
            "fixed": pyarrow.array([b"ab"] * 5, pyarrow.binary(2)),
        }
        for name, values in extra.items():
            large = large.append_column(name, values)
        path = self.out / "x.arrow"
        with pyarrow.ipc.new_file(path, large.schema) as writer:
            writer.write_table(large)
        table = Table.read(path)
        self.assertEqual(len(table), 5)
        for name, values in large.to_pydict().items():
            with self.subTest(name):
                self.assertEqual(table[name].to_pylist(), values)
                self.assertEqual([table[name][at] for at in range(5)], values)

    def test_compressed_and_damaged_files_are_refused(self) -> None:
        self.write({"a": [1, 2, 3]}, "table")
        data = (self.out / "x.arrow").read_bytes()
        bad = self.out / "bad.arrow"
        refused = 0
        for at in range(0, len(data), 3):
            bad.write_bytes(data[:at] + bytes((data[at] ^ 0xFF,)) + data[at + 1 :])
            try:
                Table.read(bad).to_pylist()
            except (ValueError, TypeError, OverflowError, MemoryError, RecursionError):
                refused += 1
        self.assertGreater(refused, 50)
        bad.write_bytes(b"ARROW1")
        with self.assertRaisesRegex(ValueError, "not an Arrow IPC file"):
            Table.read(bad)

    def test_forms_a_table_may_have(self) -> None:
        self.without("pyarrow")
        rows = [{"a": 1, "b": "x"}, {"b": "y", "c": 2.5}]
        expected = {"a": [1, None], "b": ["x", "y"], "c": [None, 2.5]}
        self.assertEqual(self.trip(rows, "table").to_pydict(), expected)
        numbers = array.array("f", [1.5, 2.5])
        table = self.trip({"a": numbers, "b": range(2), "c": ("x", "y")}, "table")
        self.assertEqual(table["a"].type, "float32")
        self.assertEqual(table["a"].view.tolist(), [1.5, 2.5])
        self.assertEqual(self.trip({}, "table").to_pydict(), {})
        self.assertEqual(self.trip([], "table").to_pylist(), [])
        self.assertEqual(self.trip({"a": []}, "table").to_pydict(), {"a": []})

    def test_forms_a_table_may_not_have(self) -> None:
        for value, message in (
            (3, "expected a table: pyarrow, pandas, polars, polyloom.Table"),
            ({"a": [1], "b": [1, 2]}, "column `b` has 2 values, column `a` has 1"),
            ({"a": "xy"}, 'column `a`: expected a list, found str "xy"'),
            ([1, 2], "row 0: expected a dict, found int 1"),
            ({"a": [1, "x"]}, '`a[1]`: expected `int` as before, found str "x"'),
            ({"a": [1 << 70]}, "`a[0]`"),
            ({"a": [object()]}, "`a`: expected values that a table can hold, found `object`"),
        ):
            with self.subTest(message):
                self.refuses(value, "table", message)

    def test_frames_of_pandas_with_and_without_pyarrow(self) -> None:
        pandas = library("pandas")
        data = {"a": [1, 2], "b": ["x", None], "c": [1.5, 2.5]}
        data["t"] = [datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 2)]
        frame = pandas.DataFrame(data)
        self.trip(frame, "table")
        self.assertEqual(Table.read(self.out / "x.arrow").to_pydict(), data)
        frame["b"] = pandas.Series(data["b"], dtype=object)  # by default it would be pyarrow's
        self.without("pyarrow", "pyarrow.ipc")
        self.assertEqual(self.trip(frame, "table").to_pydict(), data)

    def test_frames_of_polars(self) -> None:
        polars = library("polars")
        data = {"a": [1, None], "b": ["x", "a text longer than twelve"], "c": [[1], [2, 3]]}
        for frame in (polars.DataFrame(data), polars.LazyFrame(data)):
            self.trip(frame, "table")
            self.assertEqual(Table.read(self.out / "x.arrow").to_pydict(), data)

    def test_missing_values_of_pandas(self) -> None:
        pandas = library("pandas")
        rows = [{"t": pandas.Timestamp(2024, 1, 1), "n": 1}, {"t": pandas.NaT, "n": pandas.NA}]
        self.trip(rows, "table")
        found = Table.read(self.out / "x.arrow").to_pydict()
        self.assertEqual(found, {"t": [datetime.datetime(2024, 1, 1), None], "n": [1, None]})

    def test_numpy_columns(self) -> None:
        numpy = library("numpy")
        self.without("pyarrow", "pyarrow.ipc")
        table = self.trip(
            {"a": numpy.arange(3, dtype="u2"), "b": numpy.array(["x", "y", "z"])}, "table"
        )
        self.assertEqual(table["a"].type, "uint16")
        self.assertEqual(numpy.asarray(table["a"]).dtype, numpy.uint16)
        self.assertEqual(numpy.asarray(table["b"]).tolist(), ["x", "y", "z"])

    @unittest.skipUnless(FLIGHTS, "no example has the file")
    def test_a_file_of_others(self) -> None:
        assert FLIGHTS is not None
        table = Table.read(FLIGHTS)
        self.assertEqual(table.column_names, ["delay", "distance", "time"])
        self.assertEqual(table["delay"].view[:3].tolist(), [0, 171, 177])


SVG = "<svg xmlns='http://www.w3.org/2000/svg'/>"


class Media(Files):
    def test_pictures(self) -> None:
        png = _media.png(1, 1, 3, b"abc")
        (self.work / "p.png").write_bytes(png)
        for value, name in (
            (png, "x.png"),
            (SVG, "x.svg"),
            (b"\xff\xd8\xff\xe0", "x.jpg"),
            (self.work / "p.png", "x.png"),
            (str(self.work / "p.png"), "x.png"),
        ):
            path = self.write(value, "image")
            self.assertEqual(path.name, name)
            path.unlink()
        self.refuses(b"hello", "image", "`x`: expected a picture")
        self.refuses("nowhere.png", "image", "a path that cannot be read")

    def test_pictures_of_libraries(self) -> None:
        numpy, image = library("numpy"), library("PIL.Image").Image
        pixels = numpy.arange(24, dtype="u1").reshape(2, 4, 3)
        path = self.write(pixels, "image")
        self.assertEqual(numpy.asarray(image.open(path)).tolist(), pixels.tolist())
        self.write(image.fromarray(pixels), "image")
        figure = library("matplotlib.figure").figure.Figure()
        figure.subplots().plot([1, 2])
        with image.open(self.write(figure, "image")) as shown:
            self.assertEqual(shown.format, "PNG")

    def test_files(self) -> None:
        (self.work / "a.csv").write_text("1,2")
        path = self.write(self.work / "a.csv", "file")
        self.assertEqual((path.name, path.read_text()), ("x.csv", "1,2"))
        path.unlink()
        self.assertEqual(self.write("text\n", "file").read_text(), "text\n")
        (self.out / "x.txt").unlink()
        self.assertEqual(self.write(b"\0", "file").name, "x")
        self.refuses(self.work / "none", "file", "which is none")
        self.refuses(3, "file", "expected a file: a Path, bytes or str")

    def test_one_file_for_two_outputs(self) -> None:
        (self.work / "a.csv").write_text("1,2")
        slots = {"x": {"type": "file"}, "y": {"type": "file"}}
        write_outputs(slots, str(self.out), {"x": self.work / "a.csv", "y": self.work / "a.csv"})
        self.assertEqual((self.out / "x.csv").read_text(), (self.out / "y.csv").read_text())

    def test_folders(self) -> None:
        (self.work / "d").mkdir()
        (self.work / "d" / "f").write_text("1")
        self.assertEqual((self.write(self.work / "d", "dir") / "f").read_text(), "1")
        self.refuses(self.work / "none", "dir", "which is none")

    def test_a_file_in_a_folder_that_is_an_output_too(self) -> None:
        inner = self.work / "d" / "inner"
        inner.mkdir(parents=True)
        (inner / "f.txt").write_text("1")
        values = {"a": self.work / "d", "b": inner, "c": inner / "f.txt", "d": self.work / "d"}
        kinds = {"a": "dir", "b": "dir", "c": "file", "d": "dir"}
        slots = {name: {"type": kind} for name, kind in kinds.items()}
        write_outputs(slots, str(self.out), values)
        for path in ("a/inner/f.txt", "b/f.txt", "c.txt", "d/inner/f.txt"):
            self.assertEqual((self.out / path).read_text(), "1")

    def test_files_the_cell_wrote_itself(self) -> None:
        (self.out / "x.png").write_bytes(b"any")
        write_outputs({"x": {"type": "image"}}, str(self.out), {})
        write_outputs({"x": {"type": "image"}}, str(self.out), {"x": str(self.out / "x.png")})
        self.assertEqual((self.out / "x.png").read_bytes(), b"any")
        self.assertEqual(self.write(SVG, "image").name, "x.svg")

    def test_outside_of_a_worker_the_module_prints(self) -> None:
        import contextlib
        import io

        text = io.StringIO()
        with contextlib.redirect_stderr(text):
            polyloom.log("hello", "warn")
            polyloom.progress(0.5, "half")
            polyloom.display(SVG)
            polyloom.artifact("a", b"")
            polyloom.output("x", 1)
        lines = text.getvalue().splitlines()
        self.assertEqual(lines[:2], ["warn: hello", "progress: 50% half"])
        self.assertEqual(
            lines[2:], ["display: image/svg+xml, 41 bytes", "artifact: a", "output: x = 1"]
        )


if __name__ == "__main__":
    unittest.main()
