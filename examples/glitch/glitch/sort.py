"""Pixels put in order. All sorts are stable: what is equal stays in its order."""

from __future__ import annotations

from typing import Annotated, NamedTuple, Optional

import numpy as np

from polyloom import Choices, Context, Slider, Unit

from ._arrays import (
    Image,
    Labels,
    Level,
    Mask,
    check_choice,
    check_image,
    check_mask,
    check_range,
    luminance,
    mix,
    weights,
)

Direction = Annotated[str, Choices("right", "left", "down", "up")]
Key = Annotated[str, Choices("luminance", "red", "green", "blue", "saturation")]


class Sorted(NamedTuple):
    result: Image
    intervals: Labels


def pixel_sort(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    low: Level = 60,
    high: Level = 220,
    key: Key = "luminance",
    direction: Direction = "right",
) -> Sorted:
    """Runs of pixels that are neither too dark nor too bright are sorted.

    Tags: pure

    Args:
        mask: what may be sorted, from 0.5 on
        low: darker pixels stay
        high: brighter pixels stay
        direction: where the largest go
    """
    size = check_image(image)
    check_range("low", low, 0, 255)
    check_range("high", high, 0, 255)
    light = luminance(image)
    chosen = (light >= low) & (light <= high)
    if mask is not None:
        check_mask(mask, size)
        chosen = chosen & (mask >= 0.5)
    turned = _turned(chosen, direction)
    starts = turned.copy()
    starts[:, 1:] &= ~turned[:, :-1]
    labels = np.where(turned, np.cumsum(starts.ravel()).reshape(turned.shape), 0)
    return _in_order(image, labels, key, direction)


def span_sort(
    image: Image,
    ctx: Context,
    mask: Optional[Mask] = None,
    *,
    shortest: Annotated[int, Slider(1, 512, 1), Unit("px")] = 8,
    longest: Annotated[int, Slider(1, 1024, 1), Unit("px")] = 96,
    key: Key = "luminance",
    direction: Direction = "right",
) -> Sorted:
    """Spans of random length are sorted, whatever is in them.

    Tags: pure

    Args:
        mask: what may be sorted, from 0.5 on
    """
    size = check_image(image)
    check_range("shortest", shortest, 1, 512)
    check_range("longest", longest, shortest, 1024)
    chosen = np.ones(size, bool)
    if mask is not None:
        check_mask(mask, size)
        chosen = mask >= 0.5
    turned = _turned(chosen, direction)
    lengths = ctx.rng.integers(shortest, longest + 1, -(-turned.size // shortest))
    cuts = np.zeros(turned.size, bool)
    ends = np.cumsum(lengths)
    cuts[ends[ends < turned.size]] = True
    starts = cuts.reshape(turned.shape)
    starts[:, 0] = True
    starts = starts & turned
    starts[:, 1:] |= turned[:, 1:] & ~turned[:, :-1]
    labels = np.where(turned, np.cumsum(starts.ravel()).reshape(turned.shape), 0)
    return _in_order(image, labels, key, direction)


def row_sort(
    image: Image,
    *,
    key: Key = "luminance",
    axis: Annotated[str, Choices("rows", "columns")] = "rows",
) -> Image:
    """Whole rows or columns, in the order of their sums.

    Tags: pure
    """
    check_image(image)
    check_choice("axis", axis, "rows", "columns")
    across = 1 if axis == "rows" else 0
    order = np.argsort(_keys(image, key).astype(np.int64).sum(axis=across), kind="stable")
    return np.take(image, order, axis=1 - across)


def melt(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    passes: Annotated[int, Slider(0, 512, 1)] = 48,
    key: Key = "luminance",
) -> Image:
    """Columns begin to be sorted, and stop: bright pixels have sunk by some rows.

    Tags: pure

    Args:
        passes: how often neighbours are compared
        mask: what may sink, from 0.5 on
    """
    size = check_image(image)
    check_range("passes", passes, 0, 512)
    free = np.ones(size, bool)
    if mask is not None:
        check_mask(mask, size)
        free = mask >= 0.5
    rank = np.where(free, _keys(image, key), 0).astype(np.int64)
    place = np.broadcast_to(np.arange(size[0])[:, None], size).copy()
    both = free[1:] & free[:-1]
    for turn in range(passes):
        upper, lower = slice(turn % 2, size[0] - 1, 2), slice(turn % 2 + 1, size[0], 2)
        swap = both[upper] & (rank[upper] > rank[lower])
        for plane in (rank, place):
            above, below = plane[upper].copy(), plane[lower].copy()
            plane[upper], plane[lower] = np.where(swap, below, above), np.where(swap, above, below)
    return image[place, np.arange(size[1])[None, :]]


def channel_sort(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    order: Annotated[str, Choices("rising", "falling")] = "falling",
) -> Image:
    """Red, green and blue of every pixel, by size: warm colors, or cold ones.

    Tags: pure
    """
    size = check_image(image)
    check_choice("order", order, "rising", "falling")
    ranked = np.sort(image, axis=2)
    return mix(image, ranked if order == "rising" else ranked[..., ::-1], weights(mask, size))


def _turned(plane: np.ndarray, direction: str) -> np.ndarray:
    """The plane so that the direction is to the right."""
    check_choice("direction", direction, "right", "left", "down", "up")
    if direction in ("down", "up"):
        plane = plane.swapaxes(0, 1)
    return np.ascontiguousarray(plane[:, ::-1] if direction in ("left", "up") else plane)


def _back(plane: np.ndarray, direction: str) -> np.ndarray:
    if direction in ("left", "up"):
        plane = plane[:, ::-1]
    return np.ascontiguousarray(plane.swapaxes(0, 1) if direction in ("down", "up") else plane)


def _in_order(image: Image, labels: np.ndarray, key: str, direction: str) -> Sorted:
    """Sorts pixels of one label; those of label 0 stay. Labels rise row by row."""
    pixels = _turned(image, direction).reshape(-1, 3)
    inside = np.flatnonzero(labels)
    rank = (
        _keys(pixels[inside], key).astype(np.int64) + labels.ravel()[inside].astype(np.int64) * 1024
    )
    ordered = pixels.copy()
    ordered[inside] = pixels[inside[np.argsort(rank, kind="stable")]]
    turned = ordered.reshape(*labels.shape, 3)
    return Sorted(_back(turned, direction), _back(labels.astype(np.int32), direction))


def _keys(pixels: np.ndarray, key: str) -> np.ndarray:
    """What pixels are sorted by, 0 to 255."""
    check_choice("key", key, "luminance", "red", "green", "blue", "saturation")
    if key == "luminance":
        return luminance(pixels)
    if key == "saturation":
        return pixels.max(axis=-1).astype(np.int32) - pixels.min(axis=-1)
    return pixels[..., ("red", "green", "blue").index(key)].astype(np.int32)
