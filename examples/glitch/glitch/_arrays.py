"""What the functions take and give, and the checks at their boundary.

Knows no effect. Arithmetic is with integers, or with single operations on floats, so that no
processor rounds otherwise.
"""

from __future__ import annotations

from typing import Annotated, Any, Optional

import numpy as np
from numpy.typing import NDArray

from polyloom import Color, Doc, Seed, Shape, Slider, Unit

Image = Annotated[NDArray[np.uint8], Shape("h", "w", 3)]
Resized = Annotated[NDArray[np.uint8], Shape("rows", "columns", 3)]
Mask = Annotated[NDArray[np.float32], Shape("h", "w")]
Selection = Annotated[NDArray[np.bool_], Shape("h", "w")]
Labels = Annotated[NDArray[np.int32], Shape("h", "w")]
Field = Annotated[NDArray[np.float32], Shape("h", "w", 2)]

Pixels = Annotated[int, Slider(1, 4096, 1), Unit("px")]
Offset = Annotated[int, Slider(-512, 512, 1), Unit("px")]
Share = Annotated[float, Slider(0, 1, 0.01)]
Level = Annotated[int, Slider(0, 255, 1)]
Tint = Annotated[str, Color()]
Luck = Annotated[int, Seed(), Doc("where all randomness of this function comes from")]

FULL = 256
"""The weight of a mask's 1 in integers."""


def found(value: Any) -> str:
    """An array as messages name it."""
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return f"{value.dtype} of shape ({', '.join(map(str, value.shape))})"


def check_image(image: Any, name: str = "image") -> tuple[int, int]:
    """The height and width of what has to be a picture."""
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3) or (
        image.shape[2] != 3 or image.size == 0
    ):
        raise ValueError(f"`{name}`: expected uint8 of shape (h, w, 3), found {found(image)}")
    return int(image.shape[0]), int(image.shape[1])


def check_plane(plane: Any, dtype: Any, size: tuple[int, int], name: str) -> None:
    """A plane has to be of that type, and as large as the picture it belongs to."""
    if not isinstance(plane, np.ndarray) or plane.dtype != dtype or plane.shape != size:
        wanted = f"{np.dtype(dtype).name} of shape ({size[0]}, {size[1]})"
        raise ValueError(f"`{name}`: expected {wanted}, found {found(plane)}")


def check_mask(mask: Any, size: Optional[tuple[int, int]] = None, name: str = "mask") -> None:
    """A mask has to have numbers from 0 to 1."""
    if size is None:
        if not isinstance(mask, np.ndarray) or mask.ndim != 2:
            raise ValueError(f"`{name}`: expected float32 of shape (h, w), found {found(mask)}")
        size = (mask.shape[0], mask.shape[1])
    check_plane(mask, np.float32, size, name)
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise ValueError(f"`{name}`: expected numbers from 0 to 1, found others")


def check_field(field: Any, size: tuple[int, int], name: str = "field") -> None:
    """A field has two finite numbers for each pixel: right and down."""
    if not isinstance(field, np.ndarray) or field.dtype != np.float32 or field.shape != (*size, 2):
        wanted = f"float32 of shape ({size[0]}, {size[1]}, 2)"
        raise ValueError(f"`{name}`: expected {wanted}, found {found(field)}")
    if not bool(np.isfinite(field).all()):
        raise ValueError(f"`{name}`: expected finite numbers, found others")


def check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"`{name}`: expected {low} to {high}, found {value}")


def check_choice(name: str, value: str, *choices: str) -> None:
    if value not in choices:
        raise ValueError(f"`{name}`: expected one of {', '.join(choices)}, found {value!r}")


def check_size(width: int, height: int) -> tuple[int, int]:
    """Height and width of a picture to be made."""
    check_range("width", width, 1, 4096)
    check_range("height", height, 1, 4096)
    return height, width


def weights(mask: Any, size: tuple[int, int], opacity: float = 1.0) -> Any:
    """A mask as whole numbers from 0 to 256, `(h, w, 1)`; none is 1 everywhere."""
    check_range("opacity", opacity, 0, 1)
    whole = round(opacity * FULL)
    if mask is None:
        return np.full((*size, 1), whole, np.int32)
    check_mask(mask, size)
    return (np.rint(mask * np.float32(FULL)).astype(np.int32)[..., None] * whole) >> 8


def mix(below: Any, above: Any, weight: Any) -> Any:
    """`above` over `below`; a weight of 0 or 256 gives either exactly."""
    mixed = below.astype(np.int32) * (FULL - weight) + above.astype(np.int32) * weight
    return ((mixed + FULL // 2) >> 8).astype(np.uint8)


def rgb(color: str, name: str = "color") -> Any:
    """`#rrggbb` as three whole numbers."""
    try:
        if len(color) != 7 or color[0] != "#":
            raise ValueError
        return np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)], np.int32)
    except ValueError:
        raise ValueError(f"`{name}`: expected a color like #ff8800, found {color!r}") from None


def luminance(image: Any) -> Any:
    """How bright each pixel is, 0 to 255."""
    parts = image.astype(np.int32)
    return (parts[..., 0] * 77 + parts[..., 1] * 150 + parts[..., 2] * 29) >> 8


def unit(levels: Any, top: int) -> Any:
    """Whole numbers from 0 to `top` as a mask."""
    return np.clip(levels, 0, top).astype(np.float32) / np.float32(top)


def grid(height: int, width: int) -> tuple[Any, Any]:
    """Columns and rows of all pixels, as two arrays that broadcast."""
    return np.arange(width)[None, :], np.arange(height)[:, None]
