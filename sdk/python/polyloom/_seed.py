"""Seeds: how a cell's is derived, the generator made of one, and the global generators of a cell.

Those of a cell that declares a seed are seeded each at the moment it is imported.
Importing `random` or numpy just to seed them would cost every such cell what only some need.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SEEDERS: dict[str, Callable[[Any, int], Any]] = {
    "random": lambda module, seed: module.seed(seed),
    "numpy.random": lambda module, seed: module.seed(seed % (1 << 32)),
    "torch": lambda module, seed: module.manual_seed(seed % (1 << 63)),
}


class _Finder:
    """Finds like everyone else, but has the module seeded once it has been executed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.left = dict(_SEEDERS)

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        seeder = self.left.pop(name, None)
        if seeder is None:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find is not None and finder is not self else None
            if spec is not None:
                break
        else:
            return None
        execute = getattr(spec.loader, "exec_module", None)
        if execute is not None:

            def execute_and_seed(module: Any) -> None:
                execute(module)
                seeder(module, self.seed)

            spec.loader.exec_module = execute_and_seed
        return spec

    def came(self, name: str, module: Any) -> None:
        """A module was loaded that no finder was asked for."""
        seeder = self.left.pop(name, None)
        if seeder is not None:
            seeder(module, self.seed)


def seed_generators(seed: int) -> None:
    """Seed what is loaded already, and the rest when it comes."""
    for finder in list(sys.meta_path):
        if isinstance(finder, _Finder):
            sys.meta_path.remove(finder)
    later = _Finder(seed)
    for name in _SEEDERS:
        if name in sys.modules:
            _SEEDERS[name](sys.modules[name], seed)
            del later.left[name]
    sys.meta_path.insert(0, later)


def cell_seed(flow: int, cell: str) -> int:
    """The seed of a cell from the flow's seed and the cell's id (SPEC.md, "Seeds")."""
    from hashlib import sha256

    digest = sha256(b"polyloom seed 1\0%d\0%s" % (flow, cell.encode())).digest()
    return int.from_bytes(digest[:8], "little") & (1 << 63) - 1


def generator(seed: int) -> Any:
    """The stream of a seed: numpy's where it is installed, else Python's."""
    try:
        from numpy.random import PCG64, Generator, SeedSequence
    except ImportError:
        from random import Random

        return Random(seed)
    return Generator(PCG64(SeedSequence(seed)))
