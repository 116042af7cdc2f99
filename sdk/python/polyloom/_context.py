"""`polyloom.Context`: what a typed function is given as `ctx` besides its arguments.

Works without a worker too, so that `f(image, ctx=Context(seed=1))` can be called by hand.
"""

from __future__ import annotations

import polyloom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional


class Context:
    """One call of a function as a cell."""

    def __init__(self, seed: int = 0, cell: str = "") -> None:
        self.seed = seed
        """The cell's own seed, derived from the flow's and the cell's id."""
        self.cell = cell
        """The cell's id."""
        self._rng: Any = None

    @property
    def rng(self) -> Any:
        """The cell's stream of random numbers.

        A `numpy.random.Generator` (PCG64 of `SeedSequence(seed)`), or without numpy a
        `random.Random`.
        """
        if self._rng is None:
            from polyloom._seed import generator

            self._rng = generator(self.seed)
        return self._rng

    @property
    def cancelled(self) -> bool:
        """Whether the cell is to stop. It is interrupted, too, unless it catches that."""
        current = polyloom._current
        return current is not None and current.cancelled

    def progress(self, fraction: Optional[float] = None, text: str = "") -> None:
        """Say how far the cell is: a fraction from 0 to 1, or None for unknown."""
        polyloom.progress(fraction, text)

    def log(self, text: object, level: str = "info") -> None:
        """Add a line to the cell's log."""
        polyloom.log(text, level)

    def display(self, value: Any) -> None:
        """Show a value beside the cell."""
        polyloom.display(value)
