"""Colors changed where they are."""

from __future__ import annotations

from typing import Annotated, NamedTuple, Optional

import numpy as np

from polyloom import Slider, Unit

from ._arrays import (
    Image,
    Labels,
    Level,
    Mask,
    Share,
    Tint,
    check_image,
    check_range,
    luminance,
    mix,
    rgb,
    weights,
)
from ._maths import TURN, heading, moved, wave


class Paletted(NamedTuple):
    result: Image
    shades: Labels


def channel_shift(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    reach: Annotated[int, Slider(0, 128, 1), Unit("px")] = 6,
    angle: Annotated[float, Slider(0, 360, 1), Unit("deg")] = 0.0,
) -> Image:
    """Red goes one way, blue the other.

    Tags: pure
    """
    size = check_image(image)
    check_range("reach", reach, 0, 128)
    cos, sin = heading(angle)
    right, down = (reach * cos + TURN // 2) // TURN, (reach * sin + TURN // 2) // TURN
    red = moved(image, -right, -down, "hold")[..., 0]
    blue = moved(image, right, down, "hold")[..., 2]
    return mix(image, np.stack([red, image[..., 1], blue], axis=2), weights(mask, size))


def levels(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    black: Level = 0,
    white: Level = 255,
) -> Image:
    """What is `black` or less becomes black, what is `white` or more white.

    Tags: pure
    """
    size = check_image(image)
    check_range("black", black, 0, 254)
    check_range("white", white, black + 1, 255)
    spread = (np.arange(256) - black) * 255 // (white - black)
    table = np.clip(spread, 0, 255).astype(np.uint8)
    return mix(image, table[image], weights(mask, size))


def posterize(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    steps: Annotated[int, Slider(2, 64, 1)] = 5,
) -> Image:
    """Few steps from dark to bright in each channel.

    Tags: pure
    """
    size = check_image(image)
    check_range("steps", steps, 2, 64)
    table = (np.arange(256) * steps // 256 * 255 // (steps - 1)).astype(np.uint8)
    return mix(image, table[image], weights(mask, size))


def invert(image: Image, mask: Optional[Mask] = None) -> Image:
    """The negative.

    Tags: pure
    """
    size = check_image(image)
    return mix(image, 255 - image, weights(mask, size))


def saturate(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    amount: Annotated[float, Slider(0, 4, 0.05)] = 1.5,
) -> Image:
    """More color, or with less than 1 less of it.

    Tags: pure
    """
    size = check_image(image)
    check_range("amount", amount, 0, 4)
    grey = luminance(image)[..., None]
    vivid = grey + (((image - grey) * round(amount * 256)) >> 8)
    return mix(image, np.clip(vivid, 0, 255), weights(mask, size))


def hue_turn(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    angle: Annotated[float, Slider(0, 360, 1), Unit("deg")] = 90.0,
) -> Image:
    """Every color moves around the wheel; grey stays grey.

    Tags: pure
    """
    size = check_image(image)
    steps = round(angle * TURN / 360)
    cos, sin = int(wave(steps + TURN // 4)), int(wave(steps))
    # The rotation about the grey axis, times 1024: (1 - cos) / 3 + …, and sin / sqrt(3).
    same, side = (TURN - cos) // 3, sin * 591 // TURN
    third = same + cos + (TURN - cos - 3 * same)
    parts = image.astype(np.int32)
    turned = [
        parts[..., at] * third
        + parts[..., (at + 1) % 3] * (same - side)
        + parts[..., (at + 2) % 3] * (same + side)
        for at in range(3)
    ]
    turned_image = np.clip((np.stack(turned, axis=2) + TURN // 2) >> 10, 0, 255)
    return mix(image, turned_image, weights(mask, size))


def gradient_map(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    dark: Tint = "#0b0524",
    middle: Tint = "#d81e78",
    bright: Tint = "#fff1b8",
    opacity: Share = 1.0,
) -> Image:
    """Three colors for dark, middle and bright.

    Tags: pure
    """
    size = check_image(image)
    stops = [rgb(dark, "dark"), rgb(middle, "middle"), rgb(bright, "bright")]
    part = np.arange(256)[:, None] * 2
    lower = (stops[0] * (255 - part) + stops[1] * part) // 255
    upper = (stops[1] * (510 - part) + stops[2] * (part - 255)) // 255
    table = np.where(part < 255, lower, upper).astype(np.uint8)
    return mix(image, table[luminance(image)], weights(mask, size, opacity))


def palette(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    colors: list[Tint],
    dither: Share = 0.5,
) -> Paletted:
    """Only these colors, those between them by an ordered pattern of dots.

    Tags: pure

    Args:
        dither: how far the pattern goes
    """
    h, w = check_image(image)
    check_range("the number of `colors`", len(colors), 1, 256)
    check_range("dither", dither, 0, 1)
    shades = np.stack([rgb(color, "colors") for color in colors])
    # Bayer's matrix of 8 × 8, by interleaving the bits of x ^ y and y (Bayer 1973).
    x, y = np.arange(8)[None, :], np.arange(8)[:, None]
    bayer = sum(
        (((x ^ y) >> bit & 1) << (5 - 2 * bit)) | ((y >> bit & 1) << (4 - 2 * bit))
        for bit in range(3)
    )
    tile = np.tile(bayer, (-(-h // 8), -(-w // 8)))[:h, :w]
    noisy = image.astype(np.int32) + (((tile * 2 - 63) * round(dither * 256)) >> 8)[..., None]
    best, index = np.full((h, w), 1 << 30), np.zeros((h, w), np.int32)
    for number, shade in enumerate(shades):
        off = noisy - shade
        # Eyes see green best: weights of 2, 4 and 3.
        far = 2 * off[..., 0] ** 2 + 4 * off[..., 1] ** 2 + 3 * off[..., 2] ** 2
        index = np.where(far < best, np.int32(number), index)
        best = np.minimum(far, best)
    return Paletted(mix(image, shades[index], weights(mask, (h, w))), index)
