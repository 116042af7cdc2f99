"""Pictures turned, folded and cut to size. Nothing is lost but resolution."""

from __future__ import annotations

from typing import Annotated, Optional

import numpy as np

from polyloom import Choices, Slider, Unit

from ._arrays import (
    Image,
    Mask,
    Offset,
    Pixels,
    Resized,
    check_choice,
    check_image,
    check_range,
    check_size,
    mix,
    weights,
)


def flip(image: Image, *, axis: Annotated[str, Choices("x", "y", "both")] = "x") -> Image:
    """The picture in a mirror.

    Tags: pure
    """
    check_image(image)
    check_choice("axis", axis, "x", "y", "both")
    rows = slice(None, None, -1 if axis in ("y", "both") else 1)
    columns = slice(None, None, -1 if axis in ("x", "both") else 1)
    return image[rows, columns].copy()


def quarter_turn(image: Image, *, turns: Annotated[int, Slider(0, 3, 1)] = 1) -> Resized:
    """The picture turned left by quarters.

    Tags: pure
    """
    check_image(image)
    return np.rot90(image, turns % 4).copy()


def roll(image: Image, *, right: Offset = 0, down: Offset = 0) -> Image:
    """What leaves on one side comes back on the other.

    Tags: pure
    """
    check_image(image)
    return np.roll(image, (down, right), (0, 1))


def resize(image: Image, *, width: Pixels = 480, height: Pixels = 270) -> Resized:
    """Another size, each pixel the nearest one: hard edges stay hard.

    Tags: pure
    """
    h, w = check_image(image)
    rows, columns = check_size(width, height)
    return image[
        (np.arange(rows) * h // rows)[:, None], (np.arange(columns) * w // columns)[None, :]
    ]


def zoom(
    image: Image,
    *,
    factor: Annotated[float, Slider(1, 16, 0.1)] = 2.0,
    x: Annotated[float, Slider(0, 1, 0.01)] = 0.5,
    y: Annotated[float, Slider(0, 1, 0.01)] = 0.5,
) -> Image:
    """Closer to a point, which stays where it is.

    Tags: pure

    Args:
        x: the point, as a part of the width
        y: the point, as a part of the height
    """
    h, w = check_image(image)
    check_range("factor", factor, 1, 16)
    check_range("x", x, 0, 1)
    check_range("y", y, 0, 1)
    steps = round(factor * 256)

    def near(length: int, part: float) -> np.ndarray:
        fixed = round(part * (length - 1))
        return np.clip(fixed + (np.arange(length) - fixed) * 256 // steps, 0, length - 1)

    return image[near(h, y)[:, None], near(w, x)[None, :]]


def kaleidoscope(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    diagonal: bool = True,
) -> Image:
    """The upper left quarter in four mirrors, or in eight.

    Tags: pure

    Args:
        diagonal: whether there are mirrors along the diagonals, too
    """
    h, w = check_image(image)
    x, y = np.arange(w)[None, :], np.arange(h)[:, None]
    x, y = np.minimum(x, w - 1 - x), np.minimum(y, h - 1 - y)
    if diagonal:
        # In parts of the height and width, so that the mirror goes from corner to corner.
        x, y = np.maximum(x * h, y * w) // h, np.minimum(x * h, y * w) // w
    return mix(image, image[np.minimum(y, h - 1), np.minimum(x, w - 1)], weights(mask, (h, w)))


def mosaic(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    size: Annotated[int, Slider(1, 128, 1), Unit("px")] = 8,
) -> Image:
    """Squares of one color, the mean of what they cover.

    Tags: pure
    """
    h, w = check_image(image)
    check_range("size", size, 1, 128)
    rows, columns = np.arange(0, h, size), np.arange(0, w, size)
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.int64), rows, 0), columns, 1)
    tall, wide = np.diff(np.append(rows, h)), np.diff(np.append(columns, w))
    area = (tall[:, None] * wide[None, :])[..., None]
    means = (sums + area // 2) // area
    tiles = means[(np.arange(h) // size)[:, None], (np.arange(w) // size)[None, :]]
    return mix(image, tiles, weights(mask, (h, w)))
