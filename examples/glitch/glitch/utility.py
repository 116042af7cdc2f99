"""Pictures put together, taken apart, measured and made visible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from polyloom import Choices, Output, Shape, Slider, Unit

from ._arrays import (
    Field,
    Image,
    Mask,
    Share,
    check_choice,
    check_field,
    check_image,
    check_mask,
    check_plane,
    check_range,
    luminance,
    mix,
    weights,
)
from ._maths import blurred, moved, whole

Plane = Annotated[NDArray[np.uint8], Shape("h", "w")]
Mode = Annotated[
    str,
    Choices("normal", "multiply", "screen", "overlay", "add", "difference", "lighten", "darken"),
]


class Channels(NamedTuple):
    red: Plane
    green: Plane
    blue: Plane


@dataclass
class Measures:
    """What can be said of a picture in numbers."""

    width: int
    height: int
    darkest: int
    brightest: int
    mean: float
    colors: int


def blend(
    image: Image,
    top: Image,
    mask: Optional[Mask] = None,
    *,
    mode: Mode = "normal",
    opacity: Share = 1.0,
) -> Image:
    """One picture over another.

    Tags: pure
    """
    size = check_image(image)
    if check_image(top, "top") != size:
        raise ValueError(f"`top`: expected the size of `image`, {size}, found {top.shape[:2]}")
    check_choice(
        "mode",
        mode,
        "normal",
        "multiply",
        "screen",
        "overlay",
        "add",
        "difference",
        "lighten",
        "darken",
    )
    a, b = image.astype(np.int32), top.astype(np.int32)
    if mode == "normal":
        blended = b
    elif mode == "multiply":
        blended = (a * b + 127) // 255
    elif mode == "screen":
        blended = 255 - ((255 - a) * (255 - b) + 127) // 255
    elif mode == "overlay":
        dark, light = 2 * a * b // 255, 255 - 2 * (255 - a) * (255 - b) // 255
        blended = np.where(a < 128, dark, light)
    elif mode == "add":
        blended = np.minimum(a + b, 255)
    elif mode == "difference":
        blended = np.abs(a - b)
    else:
        blended = np.maximum(a, b) if mode == "lighten" else np.minimum(a, b)
    return mix(image, blended, weights(mask, size, opacity))


def stack(
    first: Image,
    second: Image,
    third: Optional[Image] = None,
    fourth: Optional[Image] = None,
    *,
    mode: Annotated[str, Choices("mean", "lighten", "darken")] = "mean",
) -> Image:
    """Up to four pictures in one.

    Tags: pure
    """
    check_choice("mode", mode, "mean", "lighten", "darken")
    size = check_image(first, "first")
    layers = [first]
    for name, layer in (("second", second), ("third", third), ("fourth", fourth)):
        if layer is None and name != "second":
            continue
        if check_image(layer, name) != size:
            raise ValueError(f"`{name}`: expected the size of `first`, {size}, found others")
        layers.append(layer)
    pile = np.stack(layers)
    if mode == "mean":
        count = len(layers)
        return ((pile.sum(axis=0, dtype=np.int64) + count // 2) // count).astype(np.uint8)
    return pile.max(axis=0) if mode == "lighten" else pile.min(axis=0)


def blur(
    image: Image,
    mask: Optional[Mask] = None,
    *,
    radius: Annotated[int, Slider(0, 128, 1), Unit("px")] = 4,
) -> Image:
    """Softer.

    Tags: pure
    """
    size = check_image(image)
    check_range("radius", radius, 0, 128)
    return mix(image, blurred(image, radius), weights(mask, size))


def trails(
    image: Image,
    field: Field,
    mask: Optional[Mask] = None,
    *,
    steps: Annotated[int, Slider(0, 64, 1)] = 12,
    decay: Share = 0.8,
) -> Image:
    """Feedback: what moves along a field leaves its light behind.

    Tags: pure

    Args:
        steps: how often the picture is fed back
        decay: how much of it is left each time
    """
    size = check_image(image)
    check_field(field, size)
    check_range("steps", steps, 0, 64)
    check_range("decay", decay, 0, 1)
    right, down = whole(field / np.float32(4))
    left = round(decay * 256)
    glow = image
    for _ in range(steps):
        faded = ((moved(glow, right, down, "hold").astype(np.int32) * left) >> 8).astype(np.uint8)
        glow = np.maximum(image, faded)
    return mix(image, glow, weights(mask, size))


def split_channels(image: Image) -> Channels:
    """Red, green and blue by themselves.

    Tags: pure
    """
    check_image(image)
    return Channels(*(image[..., at].copy() for at in range(3)))


def join_channels(red: Plane, green: Plane, blue: Plane) -> Image:
    """A picture out of red, green and blue.

    Tags: pure
    """
    if not isinstance(red, np.ndarray) or red.ndim != 2:
        raise ValueError("`red`: expected uint8 of shape (h, w)")
    for name, plane in (("red", red), ("green", green), ("blue", blue)):
        check_plane(plane, np.uint8, red.shape, name)
    return np.stack([red, green, blue], axis=2)


def show_mask(mask: Mask) -> Image:
    """A mask as one can see it: black, violet, orange, white.

    Tags: pure
    """
    check_mask(mask)
    part = np.rint(mask * np.float32(765)).astype(np.int32)
    ramp = [np.clip(part - low, 0, 255) for low in (128, 384, 510)]
    violet = np.where(part < 384, np.minimum(part, 200), np.maximum(584 - part, 0))
    return np.stack([ramp[0], ramp[1], np.maximum(violet, ramp[2])], axis=2).astype(np.uint8)


def show_field(field: Field, *, reach: Annotated[int, Slider(1, 512, 1), Unit("px")] = 32) -> Image:
    """A field as one can see it: right is red, down is green, grey is nowhere.

    Tags: pure

    Args:
        reach: what is as far or farther has the strongest color
    """
    if not isinstance(field, np.ndarray) or field.ndim != 3:
        raise ValueError("`field`: expected float32 of shape (h, w, 2)")
    check_field(field, field.shape[:2])
    check_range("reach", reach, 1, 512)
    right, down = (np.clip(part, -reach, reach) * 127 // reach + 128 for part in whole(field))
    return np.stack([right, down, np.full_like(right, 128)], axis=2).astype(np.uint8)


def measure(image: Image) -> Annotated[Measures, Output("measures")]:
    """A picture in numbers.

    Tags: pure
    """
    h, w = check_image(image)
    light = luminance(image)
    codes = image.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    return Measures(
        width=w,
        height=h,
        darkest=int(light.min()),
        brightest=int(light.max()),
        mean=int(light.sum(dtype=np.int64)) / (h * w),
        colors=len(np.unique(codes)),
    )
