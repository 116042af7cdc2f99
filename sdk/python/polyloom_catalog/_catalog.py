"""The catalog of what was asked for: places, their functions and types, and their problems."""

from __future__ import annotations

import ast
import sys

from polyloom_catalog._annotations import Annotations
from polyloom_catalog._functions import Functions
from polyloom_catalog._imports import failing
from polyloom_catalog._library import Library
from polyloom_catalog._places import Places
from polyloom_catalog._problems import (
    CLASH,
    COMPILED,
    HIDES,
    INTERNAL,
    LOCATION,
    MOST_PROBLEMS,
    NOT_FOUND,
    TOO_LARGE,
    Problems,
    Refusal,
    row,
)
from polyloom_catalog._reach import Reach
from polyloom_catalog._resolve import Definition, Resolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from polyloom_catalog._places import Place
    from polyloom_catalog._source import Binding, Module

MOST = 10_000
MOST_OVERLOADS = 32
OURS = "this is an error of polyloom's reader: please report it; write it otherwise until then"


def catalog(request: dict[str, Any]) -> dict[str, Any]:
    """The whole catalog, as JSON has it, of a request `{root, targets, allow_untyped}`."""
    reader = Reader(request)
    bounds = Bounds()
    whole: dict[str, Any] = {"version": 1, "entries": [], "types": {}}
    problems = Problems()
    problems.take(reader.lost.found)
    for place in reader.places:
        part = bounds.hold(reader.read(place))
        whole["entries"] += part.entries
        for name, type in part.types.items():
            whole["types"].setdefault(name, type)
        problems.take(part.problems)
    return {**whole, "problems": problems.found}


class Part:
    """What is said of one place, and the project's files that it rests on.

    It depends on nothing else, whoever reads it and whatever was read before: so it is good for as
    long as these files are what they were.
    """

    def __init__(
        self,
        location: str,
        files: list[str],
        entries: list[Any],
        types: dict[str, Any],
        problems: list[Any],
    ) -> None:
        self.location = location
        self.files = files
        self.entries = entries
        self.types = types
        self.problems = problems


class Bounds:
    """What a catalog has at most: the parts of one are held to it in their order."""

    def __init__(self) -> None:
        self._functions = MOST
        self._problems = MOST_PROBLEMS

    def hold(self, part: Part) -> Part:
        """The next part, as far as there is room, which says what is left out."""
        self._functions -= len(part.entries)
        if self._functions < 0 and part.entries:
            del part.entries[self._functions :]
            message = f"there are more than {MOST} functions"
            part.problems.insert(0, row(TOO_LARGE, message, help="name fewer files"))
        self._problems -= len(part.problems)
        if self._problems < 0 and part.problems:
            del part.problems[self._problems :]
            message = f"more than {MOST_PROBLEMS} problems"
            part.problems.append(row(TOO_LARGE, message, help="the rest is left out"))
        return part


class Reader:
    """Reads places, one after the other. What files say is kept between them."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.lost = self.problems = Problems()
        """What is wrong with targets by themselves."""
        self.library = Library(str(request["root"]).rstrip("/") or "/", self.problems)
        self.places = Places(self.library, self.problems).of(request.get("targets") or [])
        self.allow_untyped = bool(request.get("allow_untyped"))
        self.resolver = Resolver(self.library)
        self.reach = Reach(self.library, self.resolver)

    def read(self, place: Place) -> Part:
        """What there is to say of a place."""
        self.problems = self.library.problems = Problems()
        self.annotations = Annotations(self.resolver)
        self.functions = Functions(self.annotations, self.problems, self.allow_untyped)
        self.entries: dict[str, dict[str, Any]] = {}
        self.asked: set[str] = set()
        self.files: list[str] = []
        for object in place.objects:
            try:
                if place.path is None:
                    self._installed(place.location, object)
                else:
                    self._file(place.location, place.path, object)
            except Exception as error:
                file = place.path or place.location
                self.problems.add(INTERNAL, _failed(error), file=file, help=OURS)
        types = self.annotations.classes.types
        entries = list(self.entries.values())
        return Part(place.location, self.files, entries, types, self.problems.found)

    def _file(self, location: str, path: str, object: Optional[str]) -> None:
        name = path.rpartition(".")[0].replace("/", ".")
        if name.endswith(".__init__"):
            name = name[: -len(".__init__")]
        self.files = [path]
        module = self.library.module(name)
        if module is None:
            return  # it has said why
        self.files = self.reach.files(module)
        failing(module, self.library, self.problems)
        if name in getattr(sys, "stdlib_module_names", ()):
            message = f"`{name}` is the name of a module of Python's own, which this one hides"
            help = "give the file another name"
            self.problems.add(HIDES, message, module, help=help, warning=True)
        self._module(module, location, object)

    def _installed(self, location: str, object: Optional[str]) -> None:
        module = self.library.module(location)
        if module is not None and not module.project:
            self._module(module, location, object)
            return
        if module is not None:
            message = f"`{location}` is a module of the flow's folder"
            help = f"write `./{module.shown}`"
            self.problems.add(LOCATION, message, file=location, help=help)
        elif self.library.compiled(location):
            message = f"`{location}` is compiled, and has no stub that says its types"
            help = "write a function around it in a file of your own, or install its stubs"
            self.problems.add(COMPILED, message, file=location, help=help)
        else:
            version = f"{sys.version_info[0]}.{sys.version_info[1]}"
            message = f"no module `{location}` is installed for Python {version}: {sys.executable}"
            help = (
                "install it there, or name another interpreter: that of an active VIRTUAL_ENV, or"
                ' `[executors.python]` `python = ".venv/bin/python"`; a file begins with `./`'
            )
            self.problems.add(NOT_FOUND, message, file=location, help=help)

    def _module(self, module: Module, location: str, object: Optional[str]) -> None:
        if object is not None:
            self._object(module, location, object)
            return
        for name in self._public(module):
            self._object(module, location, name, False)

    def _public(self, module: Module, depth: int = 0) -> list[str]:
        """The names that a module offers, as far as it says them."""
        if module.public is not None:
            return module.public
        names = [
            name
            for name, binding in module.bindings.items()
            if binding.kind == "function" and not name.startswith("_")
        ]
        if module.package or depth:
            # A package that is installed offers what its modules have.
            for star in module.stars if not module.project and depth < 8 else ():
                there = self.library.module(star)
                if there is not None:
                    names += self._public(there, depth + 1)
        return list(dict.fromkeys(names))

    def _object(self, module: Module, location: str, name: str, asked: bool = True) -> None:
        id = f"python:{location}:{name}"
        if id in self.asked:
            return
        self.asked.add(id)
        if len(self.entries) > MOST:
            return  # nobody hears of more
        try:
            self._named(module, location, name, id, asked)
        except Exception as error:  # the others stand
            binding = module.bindings.get(name)
            node = binding.node if binding is not None else None
            if isinstance(error, RecursionError):
                self.problems.add("PY007", "is nested too deep", module, node, object=name)
            else:
                message = f"`{name}`: {_failed(error)}"
                self.problems.add(INTERNAL, message, module, node, object=name, help=OURS)

    def _named(self, module: Module, location: str, name: str, id: str, asked: bool) -> None:
        try:
            found = self.resolver.function(module, name)
        except Refusal as refusal:
            if asked:
                help = _near(name, module)
                message = f"`{location}` has no function `{name}`"
                self.problems.add(NOT_FOUND, message, module, object=name, help=help)
            elif module.project:
                self.problems.add(refusal.code, f"`__all__`: {refusal.message}", module)
            return
        if isinstance(found, Definition) and found.binding.kind == "function":
            self._function(found, module, location, name, id)
        elif asked:
            what = "is compiled, and has no stub that says its types"
            code = COMPILED
            if isinstance(found, Definition):
                what, code = f"is a {found.binding.kind}, no function", NOT_FOUND
            self.problems.add(code, f"`{name}` {what}", module, object=name)

    def _function(
        self, found: Definition, module: Module, location: str, name: str, id: str
    ) -> None:
        binding = found.binding
        node = self._chosen(found, binding)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        row = self.functions.entry(found.module, node, name, location)
        if row is None:
            return
        path = location[2:] if location.startswith("./") else location.replace(".", "/")
        category = path.rpartition(".py")[0] or path
        category = category[: -len("/__init__")] if category.endswith("/__init__") else category
        files, digest = self.reach.of(module, name)
        self.entries[id] = {
            "id": id,
            "executor": "python",
            "location": location,
            "object": name,
            "module": module.name,
            "title": row.pop("title"),
            "category": category,
            **row,
            "files": files,
            "digest": digest,
        }

    def _chosen(self, found: Definition, binding: Binding) -> ast.AST:
        """Of several definitions the last; where that has no types, the first overload that has."""
        node = binding.node
        overloads = []
        for other in binding.others:
            if _is_overload(other):
                overloads.append(other)
            elif found.module.project:
                line = getattr(other, "lineno", 1)
                message = f"`{found.name}` is defined again; the first is on line {line}"
                help = "only the last can be called; give it another name"
                self.problems.add(CLASH, message, found.module, node, object=found.name, help=help)
        if not overloads or not (_is_overload(node) or getattr(node, "returns", None) is None):
            return node
        if _is_overload(node):
            overloads.append(node)  # of a stub
        kept = self.functions.problems
        good: list[ast.AST] = []
        try:
            for overload in overloads[:MOST_OVERLOADS]:
                self.functions.problems = Problems()
                if isinstance(overload, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    if self.functions.entry(found.module, overload, found.name) is None:
                        continue
                    if not self.functions.problems.found:
                        return overload
                    good.append(overload)
        finally:
            self.functions.problems = kept
        return (good or overloads)[0]


def _failed(error: Exception) -> str:
    """What is said where the reader itself failed."""
    return f"can't be read: {type(error).__name__}: {error}"[:400]


def _is_overload(node: ast.AST) -> bool:
    for decorator in getattr(node, "decorator_list", ()):
        name = decorator.attr if isinstance(decorator, ast.Attribute) else None
        if (name or getattr(decorator, "id", "")) == "overload":
            return True
    return False


def _near(name: str, module: Module) -> str:
    from difflib import get_close_matches

    names = [name for name, binding in module.bindings.items() if binding.kind == "function"]
    close = get_close_matches(name, names, 1)
    if close:
        return f"did you mean `{close[0]}`?"
    return "it has " + ", ".join(f"`{name}`" for name in names[:8]) if names else "it has none"
