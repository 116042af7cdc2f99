"""Data that was damaged on its way.

Every effect also gives its heat: how much each pixel was changed.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, Optional

import numpy as np

from polyloom import Context, Slider, Unit

from ._arrays import (
    Image,
    Mask,
    Share,
    check_image,
    check_range,
    mix,
    unit,
    weights,
)


class Corrupted(NamedTuple):
    result: Image
    heat: Mask


def bit_rot(
    image: Image,
    ctx: Context,
    mask: Optional[Mask] = None,
    *,
    share: Annotated[float, Slider(0, 0.2, 0.001)] = 0.01,
    highest: Annotated[int, Slider(0, 7, 1)] = 7,
) -> Corrupted:
    """Single bits flip.

    Tags: pure

    Args:
        share: how many of the bytes lose a bit
        highest: the most significant bit that may flip
    """
    check_image(image)
    check_range("share", share, 0, 0.2)
    check_range("highest", highest, 0, 7)
    hit = ctx.rng.integers(0, 1 << 20, image.shape) < round(share * (1 << 20))
    bit = ctx.rng.integers(0, highest + 1, image.shape).astype(np.uint8)
    flipped = image ^ np.where(hit, np.left_shift(np.uint8(1), bit), 0).astype(np.uint8)
    return _corrupted(image, flipped, mask)


def byte_slip(
    image: Image,
    ctx: Context,
    mask: Optional[Mask] = None,
    *,
    slips: Annotated[int, Slider(0, 64, 1)] = 5,
    longest: Annotated[int, Slider(1, 4096, 1), Unit("B")] = 900,
) -> Corrupted:
    """Some bytes are lost, and all after them come too early: rows lean, channels change places.

    Tags: pure

    Args:
        slips: how often
        longest: how many bytes at a time
    """
    check_image(image)
    check_range("slips", slips, 0, 64)
    check_range("longest", longest, 1, 4096)
    places = ctx.rng.integers(0, image.size, slips)
    lost = np.zeros(image.size, np.int64)
    np.add.at(lost, places, ctx.rng.integers(1, longest + 1, slips))
    early = (np.arange(image.size) + np.cumsum(lost)) % image.size
    return _corrupted(image, image.ravel()[early].reshape(image.shape), mask)


def filter_leak(
    image: Image,
    ctx: Context,
    mask: Optional[Mask] = None,
    *,
    errors: Annotated[int, Slider(0, 512, 1)] = 60,
    size: Annotated[int, Slider(0, 255, 1)] = 90,
    fade: Annotated[int, Slider(1, 1024, 1), Unit("px")] = 160,
) -> Corrupted:
    """A PNG whose rows are told by their differences: an error goes on to the right until it fades.

    Tags: pure

    Args:
        errors: how many differences are wrong
        size: by how much at most
        fade: how far an error goes
    """
    h, w = check_image(image)
    check_range("errors", errors, 0, 512)
    check_range("size", size, 0, 255)
    check_range("fade", fade, 1, 1024)
    wrong = np.zeros((h, w + fade, 3), np.int64)
    rows, columns = ctx.rng.integers(0, h, errors), ctx.rng.integers(0, w, errors)
    thick = ctx.rng.integers(1, 6, errors)
    by = ctx.rng.integers(-size, size + 1, (errors, 3))
    for number in range(errors):
        band = slice(rows[number], rows[number] + thick[number])
        wrong[band, columns[number]] += by[number]
        wrong[band, columns[number] + fade] -= by[number]
    leaked = image + np.cumsum(wrong, axis=1)[:, :w]
    return _corrupted(image, leaked & 255, mask)


def block_rot(
    image: Image,
    ctx: Context,
    mask: Optional[Mask] = None,
    *,
    share: Share = 0.12,
    quality: Annotated[int, Slider(1, 64, 1)] = 24,
) -> Corrupted:
    """Blocks of a JPEG: coarse everywhere, and in some of them a coefficient is wrong.

    Tags: pure

    Args:
        share: how many of the blocks are wrong
        quality: the step by which coefficients are rounded; 1 is fine
    """
    h, w = check_image(image)
    check_range("share", share, 0, 1)
    check_range("quality", quality, 1, 64)
    pads = ((0, -h % 8), (0, -w % 8), (0, 0))
    whole = np.pad(image, pads, mode="edge").astype(np.int64) - 128
    rows, columns = whole.shape[0] // 8, whole.shape[1] // 8
    blocks = whole.reshape(rows, 8, columns, 8, 3).transpose(0, 2, 4, 1, 3)
    # Each coefficient is 2^15 times as large as an orthonormal transform has it.
    waves = _COSINES @ blocks @ _COSINES.T
    step = quality * (16 + 6 * (np.arange(8)[:, None] + np.arange(8)[None, :])) * 2**10
    kept = (waves + step // 2) // step * step
    hit = ctx.rng.integers(0, 1000, (rows, columns)) < round(share * 1000)
    row, column = ctx.rng.integers(0, 4, (2, rows, columns))
    channel = ctx.rng.integers(0, 3, (rows, columns))
    by = ctx.rng.integers(-90, 91, (rows, columns)) * 8 * 2**15
    at_y, at_x = np.nonzero(hit)
    place = (at_y, at_x, channel[hit], row[hit], column[hit])
    kept[place] += by[hit]
    again = ((_COSINES.T @ kept @ _COSINES) + (1 << 29)) >> 30
    back = again.transpose(0, 3, 1, 4, 2).reshape(whole.shape)[:h, :w]
    return _corrupted(image, np.clip(back + 128, 0, 255), mask)


def lost_rows(
    image: Image,
    ctx: Context,
    mask: Optional[Mask] = None,
    *,
    share: Share = 0.15,
    tallest: Annotated[int, Slider(1, 64, 1), Unit("px")] = 6,
) -> Corrupted:
    """Rows did not arrive: the one before them is shown once more.

    Tags: pure

    Args:
        share: how many bands of rows are lost
        tallest: how many rows at a time
    """
    h, _w = check_image(image)
    check_range("share", share, 0, 1)
    check_range("tallest", tallest, 1, 64)
    here = np.arange(h)
    lost = np.zeros(h, bool)
    first = np.flatnonzero(ctx.rng.integers(0, 1000, h) * tallest < round(share * 1000))
    for start, tall in zip(first, ctx.rng.integers(1, tallest + 1, len(first))):
        lost[max(start, 1) : start + tall] = True
    held = np.maximum.accumulate(np.where(lost, 0, here))
    return _corrupted(image, image[held], mask)


# The cosine transform of HEVC (ITU-T H.265, 8.6.4.2): rows of length 181, as good as orthogonal.
_COSINES = np.array(
    [
        [64, 64, 64, 64, 64, 64, 64, 64],
        [89, 75, 50, 18, -18, -50, -75, -89],
        [83, 36, -36, -83, -83, -36, 36, 83],
        [75, -18, -89, -50, 50, 89, 18, -75],
        [64, -64, -64, 64, 64, -64, -64, 64],
        [50, -89, 18, 75, -75, -18, 89, -50],
        [36, -83, 83, -36, -36, 83, -83, 36],
        [18, -50, 75, -89, 89, -75, 50, -18],
    ],
    np.int64,
)


def _corrupted(image: Image, damaged: np.ndarray, mask: Optional[Mask]) -> Corrupted:
    h, w = check_image(image)
    shown = mix(image, damaged, weights(mask, (h, w)))
    off = np.abs(shown.astype(np.int32) - image).max(axis=2)
    return Corrupted(shown, unit(off, 255))
