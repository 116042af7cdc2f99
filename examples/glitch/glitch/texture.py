"""The surface that a picture is shown on: screens, paper, film."""

from __future__ import annotations

from typing import Annotated, Optional

import numpy as np

from polyloom import Slider, Unit

from ._arrays import (
    Image,
    Luck,
    Mask,
    Share,
    Tint,
    check_image,
    check_range,
    grid,
    luminance,
    mix,
    rgb,
    weights,
)
from ._maths import TURN, blurred, hashed, heading, wave


def scanlines(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    period: Annotated[int, Slider(2, 32, 1), Unit("px")] = 3,
    depth: Share = 0.35,
) -> Image:
    """Dark lines between the rows of a tube.

    Tags: pure
    """
    h, w = check_image(image)
    check_range("period", period, 2, 32)
    check_range("depth", depth, 0, 1)
    dark = ((TURN - wave(np.arange(h) * TURN // period + TURN // 4)) * round(depth * 256)) // (
        2 * TURN
    )
    return mix(image, image * 0, (weights(mask, (h, w)) * dark[:, None, None]) >> 8)


def phosphor(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    size: Annotated[int, Slider(1, 8, 1), Unit("px")] = 1,
    depth: Share = 0.4,
) -> Image:
    """Stripes that glow in one color each, every other row moved by half.

    Tags: pure
    """
    h, w = check_image(image)
    check_range("size", size, 1, 8)
    check_range("depth", depth, 0, 1)
    x, y = grid(h, w)
    stripe = (x // size + y // (3 * size) % 2) % 3
    others = stripe[..., None] != np.arange(3)
    dim = (image.astype(np.int32) * (256 - round(depth * 256))) >> 8
    bright = np.minimum(image.astype(np.int32) * (256 + round(depth * 160)) >> 8, 255)
    return mix(image, np.where(others, dim, bright), weights(mask, (h, w)))


def halftone(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    period: Annotated[int, Slider(2, 64, 1), Unit("px")] = 6,
    angle: Annotated[float, Slider(0, 90, 1), Unit("deg")] = 30.0,
    ink: Tint = "#12061f",
    opacity: Share = 1.0,
) -> Image:
    """Dots of ink, the darker the larger, over the picture's own colors.

    Tags: pure
    """
    h, w = check_image(image)
    check_range("period", period, 2, 64)
    cos, sin = heading(angle)
    x, y = grid(h, w)
    across = (x * cos + y * sin) // period
    down = (y * cos - x * sin) // period
    dot = (wave(across) + wave(down) + 2 * TURN) >> 4
    black = np.clip((dot - luminance(image)) * 8 + 128, 0, 256)
    paper = np.clip(image.astype(np.int32) * 5 // 4 + 24, 0, 255)
    printed = mix(paper, np.broadcast_to(rgb(ink, "ink"), image.shape), black[..., None])
    return mix(image, printed, weights(mask, (h, w), opacity))


def grain(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    amount: Annotated[int, Slider(0, 128, 1)] = 18,
    seed: Luck,
) -> Image:
    """Grains of a film, most of them where it is neither dark nor bright.

    Tags: pure
    """
    h, w = check_image(image)
    check_range("amount", amount, 0, 128)
    x, y = grid(h, w)
    bits = hashed(seed, y, x)
    # Two dice are nearer to how grains lie than one.
    dice = (bits & np.uint32(255)).astype(np.int32) + (
        bits >> np.uint32(8) & np.uint32(255)
    ).astype(np.int32)
    light = luminance(image)
    room = np.minimum(light, 255 - light) + 64
    shift = (dice - 255) * amount * room // (256 * 192)
    return mix(image, np.clip(image + shift[..., None], 0, 255), weights(mask, (h, w)))


def vignette(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    depth: Share = 0.6,
    color: Tint = "#05010d",
) -> Image:
    """Dark corners.

    Tags: pure
    """
    h, w = check_image(image)
    check_range("depth", depth, 0, 1)
    x, y = grid(h, w)
    far = (2 * x - w + 1) ** 2 * 256 // (w * w) + (2 * y - h + 1) ** 2 * 256 // (h * h)
    dark = (np.minimum(far * far // 512, 256) * round(depth * 256)) >> 8
    edge = np.broadcast_to(rgb(color), image.shape)
    return mix(image, edge, (weights(mask, (h, w)) * dark[..., None]) >> 8)


def bloom(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    threshold: Annotated[int, Slider(0, 255, 1)] = 150,
    radius: Annotated[int, Slider(1, 64, 1), Unit("px")] = 9,
    amount: Annotated[float, Slider(0, 4, 0.05)] = 1.2,
) -> Image:
    """What is bright shines beyond itself.

    Tags: pure
    """
    size = check_image(image)
    check_range("threshold", threshold, 0, 255)
    check_range("radius", radius, 1, 64)
    check_range("amount", amount, 0, 4)
    bright = np.clip(luminance(image) - threshold, 0, 255)[..., None]
    light = blurred(image * bright // max(255 - threshold, 1), radius, 3)
    shine = image + ((light * round(amount * 256)) >> 8)
    return mix(image, np.clip(shine, 0, 255), weights(mask, size))
