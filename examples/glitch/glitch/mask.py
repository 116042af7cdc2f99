"""Where an effect applies: planes of numbers from 0 to 1."""

from __future__ import annotations

from typing import Annotated, Optional

import numpy as np

from polyloom import Choices, Slider, Unit

from ._arrays import (
    Image,
    Level,
    Luck,
    Mask,
    Pixels,
    Selection,
    Share,
    Tint,
    check_choice,
    check_image,
    check_mask,
    check_plane,
    check_range,
    check_size,
    grid,
    luminance,
    rgb,
    unit,
)
from ._maths import blurred, noise


def luminance_mask(
    image: Image, *, low: Level = 96, high: Level = 224, softness: Level = 24
) -> Mask:
    """Where the picture is neither darker nor brighter.

    Tags: pure

    Args:
        softness: over how many levels it goes from 0 to 1
    """
    check_image(image)
    for name, value in (("low", low), ("high", high), ("softness", softness)):
        check_range(name, value, 0, 255)
    light = luminance(image)
    inside = np.minimum(light - low, high - light)
    return unit(inside + softness + 1, softness + 1)


def edge_mask(
    image: Image,
    *,
    threshold: Level = 40,
    width: Annotated[int, Slider(0, 16, 1), Unit("px")] = 1,
) -> Mask:
    """Where the picture changes from one pixel to the next, after Sobel.

    Tags: pure

    Args:
        width: by how much the edges are widened
    """
    h, w = check_image(image)
    check_range("threshold", threshold, 0, 255)
    check_range("width", width, 0, 16)
    light = np.pad(luminance(image), 1, mode="edge")
    down = light[:-2] - light[2:]
    across = light[:, :-2] - light[:, 2:]
    steep = np.abs(down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:])
    steep = steep + np.abs(across[:-2] + 2 * across[1:-1] + across[2:])
    edges = unit((steep >> 2) - threshold, 32)
    wide = np.pad(edges, width)
    rows = np.max([wide[at : at + h] for at in range(2 * width + 1)], axis=0)
    return np.max([rows[:, at : at + w] for at in range(2 * width + 1)], axis=0)


def color_mask(
    image: Image,
    *,
    color: Tint = "#ff3d7f",
    reach: Annotated[int, Slider(1, 441, 1)] = 120,
) -> Mask:
    """Where the picture is near to a color.

    Tags: pure

    Args:
        reach: how far off a color is that counts no more
    """
    check_image(image)
    check_range("reach", reach, 1, 441)
    off = image.astype(np.int64) - rgb(color)
    far = np.sqrt((off * off).sum(axis=2).astype(np.float64)).astype(np.int64)
    return unit(reach - far, reach)


def shape_mask(
    *,
    width: Pixels = 480,
    height: Pixels = 270,
    shape: Annotated[str, Choices("circle", "box", "diamond", "stripes")] = "circle",
    x: Share = 0.5,
    y: Share = 0.5,
    size: Annotated[float, Slider(0.01, 1, 0.01)] = 0.6,
    feather: Annotated[int, Slider(0, 256, 1), Unit("px")] = 12,
) -> Mask:
    """A circle, a box, a diamond, or stripes.

    Tags: pure

    Args:
        x: the middle, as a part of the width
        y: the middle, as a part of the height
        size: as a part of the height; of stripes, how wide they are
        feather: over how many pixels it goes from 0 to 1
    """
    h, w = check_size(width, height)
    check_choice("shape", shape, "circle", "box", "diamond", "stripes")
    check_range("x", x, 0, 1)
    check_range("y", y, 0, 1)
    check_range("size", size, 0.01, 1)
    check_range("feather", feather, 0, 256)
    columns, rows = grid(h, w)
    right = np.abs(columns - round(x * (w - 1)))
    down = np.abs(rows - round(y * (h - 1)))
    radius = max(round(size * h) // 2, 1)
    if shape == "circle":
        far = np.sqrt((right * right + down * down).astype(np.float64)).astype(np.int64)
    elif shape == "box":
        far = np.maximum(right, down)
    elif shape == "diamond":
        far = right + down
    else:
        far = np.abs(rows % (4 * radius) - 2 * radius) + 0 * columns
    return unit(radius - far + feather // 2, max(feather, 1))


def noise_mask(
    *,
    width: Pixels = 480,
    height: Pixels = 270,
    scale: Annotated[int, Slider(2, 512, 1), Unit("px")] = 80,
    octaves: Annotated[int, Slider(1, 8, 1)] = 4,
    contrast: Annotated[float, Slider(0, 16, 0.1)] = 3.0,
    seed: Luck,
) -> Mask:
    """Blots.

    Tags: pure

    Args:
        octaves: how many sizes of blots there are
    """
    size = check_size(width, height)
    check_range("scale", scale, 2, 512)
    check_range("octaves", octaves, 1, 8)
    check_range("contrast", contrast, 0, 16)
    blots = noise(*size, scale, octaves, seed) - 32768
    return unit(32768 + ((blots * round(contrast * 256)) >> 8), 65535)


def combine(
    first: Mask,
    second: Mask,
    *,
    how: Annotated[str, Choices("both", "either", "without", "difference")] = "both",
) -> Mask:
    """Two masks in one.

    Tags: pure
    """
    check_mask(first, name="first")
    check_mask(second, first.shape, "second")
    check_choice("how", how, "both", "either", "without", "difference")
    if how == "both":
        return first * second
    if how == "either":
        return np.maximum(first, second)
    return first * (1 - second) if how == "without" else np.abs(first - second)


def inverse(mask: Mask) -> Mask:
    """Everywhere else.

    Tags: pure
    """
    check_mask(mask)
    return 1 - mask


def feather(mask: Mask, *, radius: Annotated[int, Slider(0, 128, 1), Unit("px")] = 8) -> Mask:
    """Softer edges.

    Tags: pure
    """
    check_mask(mask)
    check_range("radius", radius, 0, 128)
    return unit(blurred(np.rint(mask * np.float32(65536)).astype(np.int64), radius), 65536)


def threshold(mask: Mask, *, at: Share = 0.5) -> Selection:
    """Where a mask is at least so much: yes or no.

    Tags: pure
    """
    check_mask(mask)
    check_range("at", at, 0, 1)
    return mask >= np.float32(at)


def from_selection(selection: Selection, mask: Optional[Mask] = None) -> Mask:
    """Yes and no as 1 and 0, within a mask.

    Tags: pure
    """
    if not isinstance(selection, np.ndarray) or selection.ndim != 2:
        raise ValueError("`selection`: expected bool of shape (h, w)")
    check_plane(selection, np.bool_, selection.shape, "selection")
    plain = selection.astype(np.float32)
    if mask is None:
        return plain
    check_mask(mask, selection.shape)
    return plain * mask
