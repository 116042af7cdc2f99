"""What each function promises; and that the flow's picture depends on nothing but its seed.

python3 -m unittest discover tests    # in examples/glitch, with numpy
POLYLOOM_UPDATE=1 …                  # what they give now is what they are to give
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import random
import sys
import typing
import unittest
from collections import Counter
from pathlib import Path
from typing import Any, Callable

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

try:
    import numpy as np
except ImportError:
    raise unittest.SkipTest("numpy is not installed") from None

import render  # noqa: E402  it leads to the two packages
from glitch import _arrays, utility  # noqa: E402

from polyloom import Context  # noqa: E402

HERE = Path(__file__).resolve().parent
CATEGORIES = ["generate", "transform", "displace", "sort", "color", "corrupt", "texture", "mask"]
CATEGORIES += ["utility"]
SIZES = [(18, 31), (7, 5), (1, 1)]
FLOW = sys.version_info >= (3, 11)  # the flow is read with `tomllib`
SEED = 7

# The dtype of what an annotation names, and its axes after height and width.
ARRAYS: list[tuple[Any, Any, Any]] = [
    (_arrays.Image, np.uint8, (3,)),
    (_arrays.Resized, np.uint8, (3,)),
    (_arrays.Mask, np.float32, ()),
    (_arrays.Selection, np.bool_, ()),
    (_arrays.Labels, np.int32, ()),
    (_arrays.Field, np.float32, (2,)),
    (utility.Plane, np.uint8, ()),
]


def functions() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for category in CATEGORIES:
        module = importlib.import_module(f"glitch.{category}")
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_":
                found[f"{category}.{name}"] = value
    return found


def hints(function: Any) -> dict[str, Any]:
    return typing.get_type_hints(function, include_extras=True)


def array(hint: Any) -> Any:
    """The dtype and further axes of an annotation of an array, an optional one too; else None."""
    if typing.get_origin(hint) is typing.Union:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is typing.Annotated and any(
        typing.get_args(hint)[0] == typing.get_args(known)[0] for known, _, _ in ARRAYS
    ):
        shape = getattr(hint, "__metadata__", ())[0]
        for known, dtype, axes in ARRAYS:
            if (
                typing.get_args(known)[0] == typing.get_args(hint)[0]
                and known.__metadata__[0] == shape
            ):
                return dtype, axes
    return None


def made(dtype: Any, axes: Any, size: tuple[int, int], salt: int) -> Any:
    """An array that no function may change."""
    rng = np.random.default_rng(salt)
    shape = (*size, *axes)
    if dtype is np.uint8:
        some = rng.integers(0, 256, shape).astype(np.uint8)
    elif dtype is np.bool_:
        some = rng.integers(0, 2, shape).astype(bool)
    elif axes == (2,):
        some = rng.integers(-9, 10, shape).astype(np.float32)
    else:
        some = (rng.integers(0, 17, shape) / np.float32(16)).astype(np.float32)
    some.setflags(write=False)
    return some


def arguments(function: Any, size: tuple[int, int], seed: int = SEED) -> dict[str, Any]:
    """An argument for each parameter; those with a default that are no arrays keep it."""
    given: dict[str, Any] = {}
    known = hints(function)
    for number, parameter in enumerate(inspect.signature(function).parameters.values()):
        name = parameter.name
        found = array(known[name])
        if name == "ctx":
            given[name] = Context(seed, "cell")
        elif name == "seed":
            given[name] = seed
        elif found is not None:
            given[name] = made(*found, size, number)
        elif (
            name in ("width", "height")
            and parameter.kind is parameter.KEYWORD_ONLY
            and (known[name] == _arrays.Pixels)
        ):
            given[name] = size[name == "width"]
        elif name == "colors":
            given[name] = ["#0b0524", "#d81e78", "#33f0ff"]
    return given


def outputs(result: Any) -> dict[str, Any]:
    return dict(result._asdict()) if hasattr(result, "_asdict") else {"result": result}


def digest(value: Any) -> str:
    hashed = hashlib.sha256()
    for name, one in outputs(value).items():
        told = f"{one.dtype.str} {one.shape}" if isinstance(one, np.ndarray) else repr(one)
        hashed.update(f"{name} {told}\n".encode())
        hashed.update(one.tobytes() if isinstance(one, np.ndarray) else b"")
    return hashed.hexdigest()[:32]


def golden(name: str, found: dict[str, str]) -> dict[str, str]:
    path = HERE / "golden.json"
    kept: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.exists() else {}
    if "POLYLOOM_UPDATE" in os.environ:
        kept[name] = found
        path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return kept[name]


class Functions(unittest.TestCase):
    def each(self) -> typing.Iterator[tuple[str, Callable[..., Any], tuple[int, int]]]:
        for name, function in functions().items():
            for size in SIZES:
                yield name, function, size

    def test_there_are_enough_in_every_category(self) -> None:
        count = Counter(name.split(".")[0] for name in functions())
        self.assertGreaterEqual(sum(count.values()), 36)
        self.assertEqual([name for name in CATEGORIES if count[name] < 4], [])

    def test_all_are_typed_and_described(self) -> None:
        for name, function in functions().items():
            with self.subTest(function=name):
                known = hints(function)
                parameters = inspect.signature(function).parameters
                self.assertEqual([p for p in parameters if p not in known], [])
                self.assertIn("return", known)
                self.assertIn("Tags: pure", function.__doc__ or "")

    def test_inputs_stay_as_they_are_and_outputs_share_nothing_with_them(self) -> None:
        for name, function, size in self.each():
            with self.subTest(function=name, size=size):
                given = arguments(function, size)
                arrays = [value for value in given.values() if isinstance(value, np.ndarray)]
                before = [value.copy() for value in arrays]
                result = outputs(function(**given))
                for value, copy in zip(arrays, before):
                    np.testing.assert_array_equal(value, copy)
                    for output in result.values():
                        if isinstance(output, np.ndarray):
                            self.assertFalse(np.shares_memory(output, value))

    def test_outputs_are_as_annotated(self) -> None:
        for name, function, size in self.each():
            with self.subTest(function=name, size=size):
                declared = hints(function)["return"]
                result = function(**arguments(function, size))
                fields = hints(declared) if hasattr(result, "_asdict") else {"result": declared}
                for port, hint in fields.items():
                    output, found = outputs(result)[port], array(hint)
                    if found is None:
                        self.assertIsInstance(output, utility.Measures)
                        continue
                    self.assertIsInstance(output, np.ndarray)
                    self.assertEqual(output.dtype, found[0])
                    self.assertEqual(output.shape[2:], found[1])
                    tall, wide = size[::-1] if name == "transform.quarter_turn" else size
                    if name == "transform.resize":
                        tall, wide = size
                    self.assertEqual(output.shape[:2], (tall, wide))
                    if hint == _arrays.Mask:
                        self.assertTrue(bool(((output >= 0) & (output <= 1)).all()))

    def test_the_same_arguments_give_the_same_bytes(self) -> None:
        for name, function, size in self.each():
            with self.subTest(function=name, size=size):
                once, again = (digest(function(**arguments(function, size))) for _ in range(2))
                self.assertEqual(once, again)

    def test_only_a_seed_is_chance(self) -> None:
        for name, function in functions().items():
            given = [arguments(function, (64, 64), seed) for seed in (1, 2)]
            lucky = "ctx" in given[0] or "seed" in given[0]
            one, two = (digest(function(**arguments)) for arguments in given)
            with self.subTest(function=name):
                self.assertEqual(one != two, lucky)

    def test_a_mask_of_zero_leaves_the_picture(self) -> None:
        seen = 0
        for name, function, size in self.each():
            with self.subTest(function=name, size=size):
                given = arguments(function, size)
                first = next(iter(given))
                if "mask" not in given or len(given) < 2 or given[first].dtype != np.uint8:
                    continue
                seen += 1
                given["mask"] = np.zeros(size, np.float32)
                picture = next(iter(outputs(function(**given)).values()))
                np.testing.assert_array_equal(picture, given[first])
        self.assertGreater(seen, 60)

    def test_wrong_arrays_are_named_at_the_boundary(self) -> None:
        for name, function in functions().items():
            known = hints(function)
            for port, hint in known.items():
                if port == "return" or array(hint) is None:
                    continue
                wrongs: list[Any] = [np.zeros((3, 4), np.int64), np.zeros((2, 2, 5), np.uint8)]
                if typing.get_origin(hint) is not typing.Union:
                    wrongs.append(None)
                for wrong in wrongs:
                    given = arguments(function, (8, 9))
                    given[port] = wrong
                    with (
                        self.subTest(function=name, port=port),
                        self.assertRaisesRegex(ValueError, f"`{port}`"),
                    ):
                        function(**given)

    def test_masks_have_numbers_from_0_to_1(self) -> None:
        for bad in (float("nan"), -0.1, 1.5, float("inf")):
            image = made(np.uint8, (3,), (4, 4), 1)
            with self.assertRaisesRegex(ValueError, "`mask`: expected numbers from 0 to 1"):
                utility.blur(image, np.full((4, 4), bad, np.float32))

    def test_bytes_are_those_of_every_machine(self) -> None:
        found = {}
        for name, function in functions().items():
            found[name] = digest(function(**arguments(function, SIZES[0])))
        self.assertEqual(found, golden("functions", found))


class Effects(unittest.TestCase):
    """Laws that single effects obey."""

    def setUp(self) -> None:
        self.all = functions()
        self.image = made(np.uint8, (3,), (20, 33), 5)

    def test_sorts_lose_no_pixel(self) -> None:
        for name in ("pixel_sort", "span_sort", "row_sort", "melt"):
            function = self.all[f"sort.{name}"]
            given = {"ctx": Context(3, "cell")} if name == "span_sort" else {}
            result = next(iter(outputs(function(self.image, **given)).values()))
            one, two = (
                sorted(map(tuple, pixels.reshape(-1, 3).tolist()))
                for pixels in (self.image, result)
            )
            self.assertEqual(one, two, name)

    def test_intervals_are_sorted(self) -> None:
        for direction in ("right", "left", "down", "up"):
            result = self.all["sort.pixel_sort"](self.image, direction=direction)
            light, labels = _arrays.luminance(result.result), result.intervals
            if direction in ("down", "up"):
                light, labels = light.T, labels.T
            if direction in ("left", "up"):
                light, labels = light[:, ::-1], labels[:, ::-1]
            same = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] > 0)
            self.assertTrue(bool((np.diff(light, axis=1)[same] >= 0).all()))

    def test_what_is_turned_back_is_as_before(self) -> None:
        flip, turn = self.all["transform.flip"], self.all["transform.quarter_turn"]
        for axis in ("x", "y", "both"):
            np.testing.assert_array_equal(flip(flip(self.image, axis=axis), axis=axis), self.image)
        np.testing.assert_array_equal(turn(turn(self.image, turns=1), turns=3), self.image)
        invert = self.all["color.invert"]
        np.testing.assert_array_equal(invert(invert(self.image)), self.image)
        parts = self.all["utility.split_channels"](self.image)
        np.testing.assert_array_equal(self.all["utility.join_channels"](*parts), self.image)

    def test_a_field_tells_where_pixels_come_from(self) -> None:
        for name, given in (("wave_shift", {}), ("slice_shift", {"ctx": Context(1, "cell")})):
            warped = self.all[f"displace.{name}"](self.image, **given)
            again = self.all["displace.displace"](self.image, warped.field)
            np.testing.assert_array_equal(again, warped.result)

    def test_heat_is_where_the_picture_changed(self) -> None:
        for name in ("bit_rot", "byte_slip", "filter_leak", "block_rot", "lost_rows"):
            result = self.all[f"corrupt.{name}"](self.image, Context(9, "cell"))
            changed = (result.result != self.image).any(axis=2)
            np.testing.assert_array_equal(changed, result.heat > 0)


@unittest.skipUnless(FLOW, "no tomllib")
class Flow(unittest.TestCase):
    known: dict[str, dict[str, Any]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.known = render.render(SEED) if FLOW else {}

    def same(self, outputs: dict[str, dict[str, Any]]) -> None:
        self.assertEqual(outputs.keys(), self.known.keys())
        for cell, ports in self.known.items():
            for port, value in ports.items():
                np.testing.assert_array_equal(outputs[cell][port], value, f"{cell}.{port}")

    def test_the_order_of_evaluation_never_matters(self) -> None:
        self.same(render.render(SEED, max))
        for salt in range(3):
            self.same(render.render(SEED, random.Random(salt).choice))

    def test_what_is_cached_never_changes_a_result(self) -> None:
        for salt in range(4):
            some = random.Random(salt).sample(sorted(self.known), len(self.known) // 2)
            self.same(render.render(SEED, known={cell: self.known[cell] for cell in some}))

    def test_another_seed_is_another_picture(self) -> None:
        self.assertFalse(
            np.array_equal(render.picture(self.known), render.picture(render.render(SEED + 1)))
        )

    def test_the_picture_is_the_golden_one(self) -> None:
        pixels = render.picture(self.known)
        path = HERE.parent / "datamosh.png"
        if "POLYLOOM_UPDATE" in os.environ:
            path.write_bytes(render.png(render.coarse(pixels)))
        # What differs in a digest may still be near: the picture says by how much.
        near = np.abs(render.pixels(path.read_bytes()).astype(int) - pixels)
        self.assertLessEqual(float(near.mean()), 4.0)
        found = {"7": digest(pixels)}
        self.assertEqual(found, golden("datamosh", found))


if __name__ == "__main__":
    unittest.main()
