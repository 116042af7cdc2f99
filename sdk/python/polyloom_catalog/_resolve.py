"""From a name in a module to what it means: followed through imports, aliases and re-exports.

An answer is either the dotted name of something well known, or a definition in a module.
"""

from __future__ import annotations

import ast
import builtins

from polyloom_catalog._known import (
    ALIASES,
    LISTS,
    MAPS,
    PLAIN,
    REFUSED,
    STREAMS,
    THROUGH,
    TUPLES,
)
from polyloom_catalog._literals import shown
from polyloom_catalog._metadata import KNOWN as HINTS
from polyloom_catalog._problems import CIRCULAR, NO_TYPE, UNKNOWN_NAME, Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Union

    from polyloom_catalog._library import Library
    from polyloom_catalog._source import Binding, Module

HOPS = 64
KNOWN = frozenset([*PLAIN, *ALIASES, *REFUSED, *LISTS, *MAPS, *STREAMS, *THROUGH, *TUPLES])
# Modules whose names are known by themselves: nothing is gained by reading them.
CLOSED: tuple[str, ...] = (
    "typing",
    "builtins",
    "polyloom",
    "annotated_types",
    "enum",
    "dataclasses",
    "abc",
    "numpy",
)
SAME = {
    "typing_extensions": "typing",
    "collections.abc": "typing",
    "_collections_abc": "typing",
    "contextlib": "typing",
    "polyloom._hints": "polyloom",
    "polyloom._context": "polyloom",
}


class Definition:
    """What a name is bound to, and where."""

    __slots__ = ("binding", "module", "name")

    def __init__(self, module: Module, name: str, binding: Binding) -> None:
        self.module = module
        self.name = name
        self.binding = binding

    @property
    def dotted(self) -> str:
        """The name under which the catalog has it."""
        return f"{self.module.name}.{self.name}"


def dotted(found: Union[str, Definition]) -> str:
    """The dotted name of what was found, wherever it is known from."""
    return found.dotted if isinstance(found, Definition) else found


def canonical(dotted: str) -> str:
    """The one name of what has several: that of `typing` for `collections.abc`."""
    module, _, last = dotted.rpartition(".")
    if module in SAME:
        if last == "Set" and module != "typing_extensions":
            last = "AbstractSet"
        dotted = f"{SAME[module]}.{last}"
    return ALIASES.get(dotted, dotted)


def dotted_name(node: ast.expr) -> Optional[list[str]]:
    """The parts of `a.b.c`."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return [node.id, *reversed(parts)]


class Resolver:
    """Looks names up, each once."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._done: dict[tuple[str, str], Union[str, Definition, Refusal]] = {}
        self._closed = CLOSED

    def node(self, module: Module, node: ast.expr) -> Union[str, Definition]:
        """What a name or an attribute in an annotation means."""
        parts = dotted_name(node)
        if parts is None:
            raise Refusal(NO_TYPE, f"`{shown(node):.60}` is no expression of a type").at(node)
        try:
            return self.name(module, ".".join(parts))
        except Refusal as refusal:
            raise refusal.at(node) from None

    def function(self, module: Module, name: str) -> Union[str, Definition]:
        """What a public name of a module is: also of one whose types are known by themselves."""
        self._closed = ()
        try:
            return self._name(module, [name], 0)
        finally:
            self._closed = CLOSED

    def name(self, module: Module, text: str) -> Union[str, Definition]:
        """What a dotted name in a module means."""
        key = (module.path, text)
        found = self._done.get(key)
        if found is None:
            try:
                found = self._name(module, text.split("."), 0)
            except Refusal as refusal:
                found = refusal
            self._done[key] = found
        if isinstance(found, Refusal):
            raise Refusal(found.code, found.message, found.help)
        return found

    def _name(self, module: Module, parts: list[str], hops: int) -> Union[str, Definition]:
        first, rest = parts[0], parts[1:]
        if hops > HOPS:
            raise Refusal(CIRCULAR, f"`{first}` of `{module.name}` leads back to itself")
        binding = module.bindings.get(first)
        if binding is None:
            return self._unbound(module, parts, hops)
        if binding.kind == "import":
            return self._dotted(".".join([binding.target, *rest]), hops + 1)
        if binding.kind == "value" and not rest:
            alias = _alias(binding.node)
            if alias is not None and alias != parts:
                try:
                    return self._name(module, alias, hops + 1)
                except Refusal as refusal:
                    if refusal.code == CIRCULAR:
                        raise
        return self._inner(Definition(module, first, binding), rest)

    def _unbound(self, module: Module, parts: list[str], hops: int) -> Union[str, Definition]:
        first = parts[0]
        for star in reversed(module.stars):
            dotted = canonical(".".join([star, *parts]))
            if dotted in KNOWN or (star == "polyloom" and first in HINTS):
                return dotted
            there = self.library.module(star)
            if star.partition(".")[0] in self._closed:
                if there is not None and there.is_public(first) and first in there.bindings:
                    return dotted
                continue
            if there is not None and there is not module and there.is_public(first):
                try:
                    return self._name(there, parts, hops + 1)
                except Refusal as refusal:
                    if refusal.code != UNKNOWN_NAME:
                        raise
        if module.package:
            inner = self.library.module(f"{module.name}.{first}")
            if inner is not None and len(parts) > 1:
                return self._name(inner, parts[1:], hops + 1)
        if hasattr(builtins, first) and len(parts) == 1:
            return canonical(f"builtins.{first}")
        message = f"`{first}` is not defined in `{module.name}`"
        if module.stars:
            message += f", nor found in what it imports by `*` from `{module.stars[-1]}`"
        raise Refusal(UNKNOWN_NAME, message, "import it, or define it at the top level")

    def _dotted(self, dotted: str, hops: int) -> Union[str, Definition]:
        dotted = canonical(dotted)
        if dotted in KNOWN or dotted.partition(".")[0] in self._closed:
            return dotted
        parts = dotted.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            module = self.library.module(".".join(parts[:cut]))
            if module is not None:
                return self._name(module, parts[cut:], hops)
        return dotted

    def _inner(self, found: Definition, rest: list[str]) -> Definition:
        """A class within a class."""
        from polyloom_catalog._source import Binding

        for name in rest:
            body = found.binding.node.body if isinstance(found.binding.node, ast.ClassDef) else []
            for node in body:
                if isinstance(node, ast.ClassDef) and node.name == name:
                    found = Definition(found.module, f"{found.name}.{name}", Binding("class", node))
                    break
            else:
                raise Refusal(UNKNOWN_NAME, f"`{found.name}` has no class `{name}`")
        return found


def _alias(node: ast.AST) -> Optional[list[str]]:
    """The name that `X = NAME` gives another name."""
    value = getattr(node, "value", None)
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(value, ast.expr):
        return dotted_name(value)
    return None
