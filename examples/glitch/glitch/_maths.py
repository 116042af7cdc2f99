"""Noise, waves and sampling in whole numbers. Knows arrays, no effect."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

TURN = 1024
"""Steps of a whole turn, and the height of a wave."""

_WAVE = np.array([round(math.sin(math.tau * step / TURN) * TURN) for step in range(TURN)], np.int32)


def wave(steps: Any) -> Any:
    """The sine of an angle in steps of 1/1024 turn, from -1024 to 1024."""
    return _WAVE[np.asarray(steps) & (TURN - 1)]


def heading(degrees: float) -> tuple[int, int]:
    """The cosine and the sine of an angle, times 1024."""
    steps = round(degrees * TURN / 360)
    return int(wave(steps + TURN // 4)), int(wave(steps))


def hashed(seed: int, *places: Any) -> Any:
    """32 random bits for each place, always the same for a seed and whole coordinates."""
    seed = int(seed)
    state = np.full(1, (seed ^ (seed >> 32) ^ 0x9E3779B9) & 0xFFFFFFFF, np.uint32)
    for place in places:
        state = state ^ (np.asarray(place).astype(np.uint32) * np.uint32(0x85EBCA77))
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            state = (state ^ (state >> np.uint32(shift))) * np.uint32(factor)
        state = state ^ (state >> np.uint32(16))
    return state


def noise(height: int, width: int, scale: int, octaves: int, seed: int) -> Any:
    """Smooth noise from 0 to 65535: blots of `scale` pixels, and `octaves - 1` times finer ones."""
    total = np.zeros((height, width), np.int64)
    weight = 0
    for octave in range(octaves):
        size = max(scale >> octave, 1)
        y, x = np.arange(height), np.arange(width)
        rows = _eased((y % size) * 256 // size)[:, None]
        columns = _eased((x % size) * 256 // size)[None, :]
        y, x = (y // size)[:, None], (x // size)[None, :]
        corners = [
            (hashed(seed + octave, y + down, x + right) >> np.uint32(16)).astype(np.int64)
            for down in (0, 1)
            for right in (0, 1)
        ]
        top = corners[0] * (256 - columns) + corners[1] * columns
        bottom = corners[2] * (256 - columns) + corners[3] * columns
        share = 1 << (octaves - octave)
        total += ((top * (256 - rows) + bottom * rows) >> 16) * share
        weight += share
    return total // weight


def _eased(part: Any) -> Any:
    """From 0 to 256, slow at both ends."""
    return (part * part * (768 - 2 * part)) >> 16


def moved(image: Any, right: Any, down: Any, edge: str = "wrap") -> Any:
    """Each pixel is what lies that far off; beyond the edge the picture is repeated, or its rim."""
    height, width = image.shape[:2]
    x = np.arange(width)[None, :] + right
    y = np.arange(height)[:, None] + down
    if edge == "wrap":
        return image[y % height, x % width]
    return image[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]


def as_field(height: int, width: int, right: Any, down: Any) -> Any:
    """Offsets as a field: for each pixel how far right and how far down its source lies."""
    field = np.zeros((height, width, 2), np.float32)
    field[..., 0] = right
    field[..., 1] = down
    return field


def whole(field: Any) -> tuple[Any, Any]:
    """A field's offsets to the right and down, in whole pixels, within reach of any picture."""
    near = np.rint(np.clip(field, np.float32(-65536), np.float32(65536))).astype(np.int64)
    return near[..., 0], near[..., 1]


def boxed(plane: Any, radius: int, axis: int) -> Any:
    """Sums of `2 * radius + 1` whole numbers along an axis, the rim repeated."""
    pads = [(0, 0)] * plane.ndim
    pads[axis] = (radius + 1, radius)
    sums = np.cumsum(np.pad(plane.astype(np.int64), pads, mode="edge"), axis=axis)
    length = plane.shape[axis]
    after = np.take(sums, np.arange(2 * radius + 1, 2 * radius + 1 + length), axis=axis)
    return after - np.take(sums, np.arange(length), axis=axis)


def blurred(plane: Any, radius: int, times: int = 2) -> Any:
    """A plane or picture of whole numbers, softened as by `times` boxes."""
    soft = plane.astype(np.int64)
    size = 2 * radius + 1
    for _ in range(times if radius else 0):
        for axis in (0, 1):
            soft = (boxed(soft, radius, axis) + size // 2) // size
    return soft
