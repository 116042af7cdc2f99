"""Functions that an executor offers by name, as entries of its catalog. Knows no wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Function:
    """A function that cells can be calls of: `uses = "EXECUTOR:LOCATION:OBJECT"`.

    `location` is a name of the executor's own choice. The types are those of flows. Params may be
    left out; `defaults` are for those who read the catalog. Tags: `pure` gives the same for the
    same, `seed` draws on the cell's seed.
    """

    location: str
    object: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    doc: str = ""
    tags: Sequence[str] = ()

    def entry(self) -> dict[str, Any]:
        """Itself as the catalog has it."""
        params = _ports(self.params, required=False)
        for port in params:
            if port["name"] in self.defaults:
                port["default"] = self.defaults[port["name"]]
        return {
            "location": self.location,
            "object": self.object,
            "doc": self.doc,
            "tags": list(self.tags),
            "inputs": _ports(self.inputs, required=True),
            "params": params,
            "outputs": _ports(self.outputs, required=True),
        }


@dataclass(frozen=True)
class Call:
    """The function that a cell is."""

    module: str
    """The location that the catalog says."""
    object: str


def _ports(types: Mapping[str, str], required: bool) -> list[dict[str, Any]]:
    return [{"name": name, "type": type, "required": required} for name, type in types.items()]
