"""Pixels that are somewhere else.

Every effect also gives its field: where each pixel was taken from.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, Optional

import numpy as np

from polyloom import Choices, Context, Slider, Unit

from ._arrays import (
    Field,
    Image,
    Mask,
    Offset,
    Selection,
    Share,
    check_choice,
    check_field,
    check_image,
    check_mask,
    check_range,
    grid,
    mix,
    weights,
)
from ._maths import TURN, as_field, blurred, moved, wave, whole


class Warped(NamedTuple):
    result: Image
    field: Field


class Moved(NamedTuple):
    result: Image
    field: Field
    blocks: Selection


def displace(
    image: Image,
    field: Field,
    mask: Optional[Mask] = None,
    *,
    strength: Annotated[float, Slider(-8, 8, 0.1)] = 1.0,
    edge: Annotated[str, Choices("wrap", "hold")] = "wrap",
) -> Image:
    """Takes each pixel from where a field says.

    Tags: pure

    Args:
        edge: beyond the rim the picture is repeated, or its rim is
    """
    size = check_image(image)
    check_field(field, size)
    check_range("strength", strength, -8, 8)
    check_choice("edge", edge, "wrap", "hold")
    right, down = whole(field * np.float32(strength))
    return mix(image, moved(image, right, down, edge), weights(mask, size))


def wave_shift(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    amplitude: Annotated[float, Slider(0, 128, 0.5), Unit("px")] = 8.0,
    period: Annotated[int, Slider(2, 512, 1), Unit("px")] = 48,
    phase: Annotated[float, Slider(0, 360, 1), Unit("deg")] = 0.0,
    axis: Annotated[str, Choices("rows", "columns")] = "rows",
) -> Warped:
    """Rows or columns sway.

    Tags: pure
    """
    h, w = check_image(image)
    check_range("amplitude", amplitude, 0, 128)
    check_range("period", period, 2, 512)
    check_choice("axis", axis, "rows", "columns")
    along = np.arange(h if axis == "rows" else w)
    steps = along * TURN // period + round(phase * TURN / 360)
    far = (wave(steps).astype(np.int64) * round(amplitude * 16) + 8 * TURN) // (16 * TURN)
    right, down = (far[:, None], 0) if axis == "rows" else (0, far[None, :])
    return _warped(image, mask, right, down)


def slice_shift(
    image: Image,
    ctx: Context,
    mask: Optional[Mask] = None,
    *,
    slices: Annotated[int, Slider(1, 128, 1)] = 18,
    reach: Annotated[int, Slider(0, 512, 1), Unit("px")] = 40,
    share: Share = 0.5,
) -> Warped:
    """Bands of rows jump sideways, as when a signal loses its line.

    Tags: pure

    Args:
        share: how many of the bands jump
    """
    h, _w = check_image(image)
    check_range("slices", slices, 1, 128)
    check_range("reach", reach, 0, 512)
    check_range("share", share, 0, 1)
    cuts = np.sort(ctx.rng.integers(0, h, slices - 1)) if slices > 1 else np.zeros(0, np.int64)
    jump = ctx.rng.integers(-reach, reach + 1, slices)
    jump = np.where(ctx.rng.integers(0, 1000, slices) < round(share * 1000), jump, 0)
    band = np.searchsorted(cuts, np.arange(h), side="right")
    return _warped(image, mask, jump[band][:, None], 0)


def swirl(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    turns: Annotated[float, Slider(-4, 4, 0.05)] = 0.5,
    radius: Annotated[int, Slider(1, 2048, 1), Unit("px")] = 120,
) -> Warped:
    """The middle is turned, less and less towards the radius.

    Tags: pure
    """
    h, w = check_image(image)
    check_range("turns", turns, -4, 4)
    check_range("radius", radius, 1, 2048)
    x, y = grid(h, w)
    x, y = x - w // 2, y - h // 2
    far = np.sqrt((x * x + y * y).astype(np.float64)).astype(np.int64)
    left = np.maximum(radius - far, 0)
    steps = round(turns * TURN) * left * left // (radius * radius)
    cos, sin = wave(steps + TURN // 4).astype(np.int64), wave(steps).astype(np.int64)
    right = (x * cos - y * sin + TURN // 2) // TURN - x
    down = (x * sin + y * cos + TURN // 2) // TURN - y
    return _warped(image, mask, np.where(left, right, 0), np.where(left, down, 0), "hold")


def block_motion(
    image: Image,
    ctx: Context,
    mask: Optional[Mask] = None,
    *,
    block: Annotated[int, Slider(2, 64, 1), Unit("px")] = 16,
    reach: Annotated[int, Slider(0, 256, 1), Unit("px")] = 32,
    share: Share = 0.6,
    drift: Annotated[str, Choices("any", "rows", "columns")] = "any",
) -> Moved:
    """Blocks follow the motion of a film that is not there.

    Tags: pure

    Args:
        share: how many of the blocks move
        drift: where to: anywhere, or along rows or columns
    """
    h, w = check_image(image)
    check_range("block", block, 2, 64)
    check_range("reach", reach, 0, 256)
    check_range("share", share, 0, 1)
    check_choice("drift", drift, "any", "rows", "columns")
    size = (-(-h // block), -(-w // block))
    # Vectors of blocks near one another are alike, as those of a codec are; some are far off.
    flow = ctx.rng.integers(-4 * reach, 4 * reach + 1, (2, *size))
    flow = np.stack([blurred(plane, 2) for plane in flow])
    wild = ctx.rng.integers(0, 12, size) == 0
    flow = np.where(wild, ctx.rng.integers(-reach, reach + 1, (2, *size)), flow)
    flow = np.clip(flow, -reach, reach)
    still = ctx.rng.integers(0, 1000, size) >= round(share * 1000)
    flow = np.where(still, 0, flow)
    if drift != "any":
        flow[1 if drift == "rows" else 0] = 0
    x, y = np.arange(w) // block, np.arange(h) // block
    right, down = flow[:, y[:, None], x[None, :]]
    warped = _warped(image, mask, right, down, "hold")
    blocks = (right != 0) | (down != 0)
    if mask is not None:
        blocks = blocks & (mask > 0)
    return Moved(warped.result, warped.field, blocks)


def mosh(
    still: Image,
    moving: Image,
    field: Field,
    mask: Optional[Mask] = None,
    *,
    frames: Annotated[int, Slider(0, 32, 1)] = 6,
    residue: Share = 0.35,
) -> Image:
    """One film's motion carries another film's pixels, since the key frame between them was lost.

    Tags: pure

    Args:
        still: what is carried; a mask of 0 leaves it as it is
        moving: whose differences from frame to frame are added
        frames: how often the motion is followed
        residue: how much of the differences gets through
    """
    size = check_image(still, "still")
    if check_image(moving, "moving") != size:
        raise ValueError(
            f"`moving`: expected the size of `still`, {size}, found {moving.shape[:2]}"
        )
    check_field(field, size)
    check_range("frames", frames, 0, 32)
    check_range("residue", residue, 0, 1)
    right, down = whole(field)
    share = round(residue * 256)
    frame = still
    for _ in range(frames):
        new = moving.astype(np.int32) - moved(moving, right, down, "hold")
        frame = moved(frame, right, down, "hold") + ((new * share) >> 8)
        frame = np.clip(frame, 0, 255).astype(np.uint8)
    return mix(still, frame, weights(mask, size))


def push(mask: Mask, *, right: Offset = 12, down: Offset = 0) -> Field:
    """A field out of a mask: where it is 1, pixels are taken from that far away.

    Tags: pure
    """
    check_mask(mask)
    h, w = mask.shape
    return as_field(h, w, mask * np.float32(right), mask * np.float32(down))


def _warped(
    image: Image,
    mask: Optional[Mask],
    right: np.ndarray | int,
    down: np.ndarray | int,
    edge: str = "wrap",
) -> Warped:
    h, w = check_image(image)
    shifted = mix(image, moved(image, right, down, edge), weights(mask, (h, w)))
    field = as_field(h, w, right, down)
    if mask is not None:
        field = field * (mask > 0)[..., None].astype(np.float32)
    return Warped(shifted, field)
