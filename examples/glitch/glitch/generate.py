"""Pictures out of nothing."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np

from polyloom import Slider, Unit

from ._arrays import (
    Image,
    Luck,
    Mask,
    Pixels,
    Tint,
    check_range,
    check_size,
    grid,
    mix,
    rgb,
    unit,
)
from ._maths import TURN, hashed, heading, noise, wave


class Horizon(NamedTuple):
    result: Image
    sun: Mask
    ground: Mask


class Tiles(NamedTuple):
    result: Image
    distance: Mask
    border: Mask


def gradient(
    *,
    width: Pixels = 480,
    height: Pixels = 270,
    start: Tint = "#12002f",
    end: Tint = "#ff6a3d",
    angle: Annotated[float, Slider(0, 360, 1), Unit("deg")] = 90.0,
) -> Image:
    """One color goes over into another.

    Tags: pure

    Args:
        angle: where to it goes; 0 is right, 90 is down
    """
    size = check_size(width, height)
    right, down = heading(angle)
    x, y = grid(*size)
    along = x * right + y * down
    along = along - along.min()
    part = along * 256 // max(int(along.max()), 1)
    first, second = rgb(start, "start"), rgb(end, "end")
    return mix(
        np.broadcast_to(first, (*size, 3)), np.broadcast_to(second, (*size, 3)), part[..., None]
    )


def horizon(
    *,
    width: Pixels = 480,
    height: Pixels = 270,
    bars: Annotated[int, Slider(0, 16, 1)] = 7,
    seed: Luck,
) -> Horizon:
    """A sun sets behind mountains and a plain of lines.

    Tags: pure

    Args:
        bars: stripes that are cut out of the sun
    """
    check_range("bars", bars, 0, 16)
    h, w = check_size(width, height)
    x, y = grid(h, w)
    line = h * 62 // 100
    sky = _ramp(
        np.clip(y * 256 // max(line, 1), 0, 256),
        ["#0b0524", "#2a0a52", "#7a1b7e", "#e8466b", "#ffb05c"],
    )
    image = np.broadcast_to(sky, (h, w, 3)).astype(np.uint8)
    spark = hashed(seed, y, x)
    stars = (spark % np.uint32(997) == 0) & (y < line * 6 // 10)
    image[stars] = (160 + (spark[stars] >> np.uint32(8)) % np.uint32(96)).astype(np.uint8)[:, None]

    radius = max(h * 27 // 100, 1)
    middle = line - radius * 55 // 100
    far = (x - w // 2) ** 2 + (y - middle) ** 2
    inside = np.clip((radius * radius - far) * 128 // (radius * 2), 0, 256)
    glow = np.clip(150 - far * 150 // (radius * radius * 5), 0, 150) * (y < line)
    image = mix(image, np.broadcast_to(rgb("#ff5a7a"), (h, w, 3)), glow[..., None])
    if bars:
        step = max(radius * 3 // (2 * bars), 2)
        below = y - (middle - radius // 2)
        gap = (below > 0) & (below % step < 1 + below * step // (radius * 3))
        inside = np.where(gap, 0, inside)
    part = np.clip((y - middle + radius) * 128 // radius, 0, 256)
    disc = np.broadcast_to(_ramp(part, ["#fff3a0", "#ffb545", "#ff3d7f"]), (h, w, 3))
    sun = inside * (y < line)
    image = mix(image, disc, sun[..., None])

    for depth, (tall, wide, color) in enumerate(((34, 90, "#3a0f5e"), (22, 48, "#1c0838"))):
        ridge = noise(1, w, max(w * wide // 480, 4), 5, seed + 101 * depth)[0]
        top = line - ridge * (h * tall // 100) // 65536
        rock = (y >= top) & (y < line)
        image[rock] = rgb(color).astype(np.uint8)
        image[(y == top) & (y < line)] = rgb("#a13fa8" if depth == 0 else "#ff4fb0").astype(
            np.uint8
        )
        sun = np.where(rock, 0, sun)

    ground = np.broadcast_to(y >= line, (h, w))
    deep = np.maximum(y - line, 0)
    image = np.where(
        ground[..., None],
        _ramp(np.clip(deep * 256 // max(h - line, 1), 0, 256), ["#2b0a4a", "#0a0320"]),
        image,
    )
    # Perspective: a tile's edge lies where the tile's number is another than that of a neighbour.
    row = h * 1200 // (deep + 3)
    before = h * 1200 // np.maximum(deep + 2 - deep * 2 // h, 1)
    rows = (row // 1000 != before // 1000) & (deep > 4)
    left = (x - w // 2) * 240 // (deep + 3)
    after = (x - w // 2 + 1 + deep * 4 // h) * 240 // (deep + 3)
    lines = (rows | ((left + 80) // 160 != (after + 80) // 160)) & ground
    neon = np.where(lines, np.clip(deep * 420 // max(h - line, 1) - 12, 0, 256), 0)
    image = mix(image, np.broadcast_to(rgb("#33f0ff"), (h, w, 3)), neon[..., None])
    haze = np.clip(200 - np.abs(y - line) * 200 * 18 // h, 0, 200)
    image = mix(
        image, np.broadcast_to(rgb("#ff7ac0"), (h, w, 3)), np.broadcast_to(haze, (h, w))[..., None]
    )
    return Horizon(image, unit(sun, 256), ground.astype(np.float32))


def _ramp(part: np.ndarray, colors: list[str]) -> np.ndarray:
    """Colors in a row, at `part` of 256."""
    stops = np.stack([rgb(color) for color in colors])
    at = np.asarray(part).astype(np.int64) * (len(colors) - 1)
    first = np.minimum(at >> 8, len(colors) - 2)
    rest = (at - (first << 8))[..., None]
    return ((stops[first] * (256 - rest) + stops[first + 1] * rest) >> 8).astype(np.uint8)


def voronoi(
    *,
    width: Pixels = 480,
    height: Pixels = 270,
    cells: Annotated[int, Slider(2, 256, 1)] = 48,
    start: Tint = "#1b0b3a",
    end: Tint = "#21e6c1",
    seed: Luck,
) -> Tiles:
    """Every pixel belongs to the nearest of some points.

    Tags: pure

    Args:
        cells: how many points
    """
    check_range("cells", cells, 2, 256)
    size = check_size(width, height)
    x, y = grid(*size)
    number = np.arange(cells)
    at_x = hashed(seed, number, 0).astype(np.int64) % size[1]
    at_y = hashed(seed, number, 1).astype(np.int64) % size[0]
    nearest = np.full(size, 1 << 40, np.int64)
    second = nearest.copy()
    owner = np.zeros(size, np.int64)
    for cell in range(cells):
        far = (x - at_x[cell]) ** 2 + (y - at_y[cell]) ** 2
        closer = far < nearest
        second = np.where(closer, nearest, np.minimum(second, far))
        owner = np.where(closer, cell, owner)
        nearest = np.where(closer, far, nearest)
    near, next_one = np.sqrt(nearest.astype(np.float64)), np.sqrt(second.astype(np.float64))
    reach = max(float(near.max()), 1.0)
    distance = (near / reach).astype(np.float32)
    border = np.clip(1.0 - (next_one - near) / 3.0, 0.0, 1.0).astype(np.float32)
    shade = (hashed(seed, owner, 2) % np.uint32(257)).astype(np.int64)
    fill = mix(rgb(start, "start"), rgb(end, "end"), shade[..., None])
    dark = np.rint(distance * np.float32(170)).astype(np.int32)[..., None]
    return Tiles(mix(fill, np.zeros_like(fill), dark), distance, border)


def plasma(
    *,
    width: Pixels = 480,
    height: Pixels = 270,
    scale: Annotated[int, Slider(4, 512, 1), Unit("px")] = 96,
    start: Tint = "#05102e",
    middle: Tint = "#c81d77",
    end: Tint = "#ffe66d",
    seed: Luck,
) -> Image:
    """Clouds that are folded into themselves.

    Tags: pure
    """
    check_range("scale", scale, 4, 512)
    size = check_size(width, height)
    fold = noise(*size, scale, 3, seed) >> 5
    cloud = noise(*size, scale, 5, seed + 1) >> 6
    part = (wave(cloud + fold) + TURN) >> 3
    colors = [start, middle, end]
    for name, color in zip(("start", "middle", "end"), colors):
        rgb(color, name)
    return _ramp(part, colors)


def rings(
    *,
    width: Pixels = 480,
    height: Pixels = 270,
    period: Annotated[int, Slider(2, 256, 1), Unit("px")] = 24,
    start: Tint = "#0a0a12",
    end: Tint = "#f4f1de",
) -> Image:
    """Waves around the middle.

    Tags: pure

    Args:
        period: from one ring to the next
    """
    check_range("period", period, 2, 256)
    size = check_size(width, height)
    x, y = grid(*size)
    far = np.sqrt(((x - size[1] // 2) ** 2 + (y - size[0] // 2) ** 2).astype(np.float64))
    part = (wave((far * TURN).astype(np.int64) // period) + TURN) >> 3
    return mix(rgb(start, "start"), rgb(end, "end"), part[..., None])


def color_bars(*, width: Pixels = 480, height: Pixels = 270) -> Image:
    """The bars of a station that is not on the air.

    Tags: pure
    """
    h, w = check_size(width, height)
    bars = ["#c0c0c0", "#c0c000", "#00c0c0", "#00c000", "#c000c0", "#c00000", "#0000c0"]
    castle = ["#0000c0", "#131313", "#c000c0", "#131313", "#00c0c0", "#131313", "#c0c0c0"]
    x, y = grid(h, w)
    upper = np.stack([rgb(color) for color in bars])[x * 7 // w]
    lower = np.stack([rgb(color) for color in castle])[x * 7 // w]
    steps = np.broadcast_to((x * 8 // w * 255 // 7)[..., None], (1, w, 3))
    card = np.where((y < h * 2 // 3)[..., None], upper, lower)
    return np.where((y < h * 3 // 4)[..., None], card, steps).astype(np.uint8)
