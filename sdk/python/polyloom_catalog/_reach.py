"""What a function's result can depend on: the files its import reads, and a digest of what it uses.

The digest is of the function's bytecode without places, and of everything at the top level of
files that it can reach by name, transitively; and of all statements there that do something by
themselves. So neither comments nor another function change it. Code that may look at itself, at
line numbers or at names by their text is taken as the bytes of all files.
"""

from __future__ import annotations

import ast
from types import CodeType

try:  # `hashlib` takes longer to load than most files to read
    from _sha2 import sha256
except ImportError:
    try:
        from _sha256 import sha256
    except ImportError:
        from hashlib import sha256

from polyloom_catalog._loads import any_looks, loads, looks, say
from polyloom_catalog._problems import Refusal
from polyloom_catalog._resolve import Definition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Optional

    from polyloom_catalog._library import Library
    from polyloom_catalog._resolve import Resolver
    from polyloom_catalog._source import Module

_FUTURE = 0x1000000  # annotations
CO_OPTIMIZED = 1


def digest(text: str) -> str:
    """A short name for a long one."""
    return str(sha256(text.encode("utf-8", "replace")).hexdigest()[:16])


class Part:
    """A statement at the top level: its form, the names it uses, and whether it does more."""

    __slots__ = ("form", "inner", "loads", "looks", "names", "quiet")

    def __init__(self, names: list[str], quiet: bool) -> None:
        self.names = names
        self.quiet = quiet
        self.form = b""
        self.loads: list[tuple[str, str]] = []
        self.inner: list[str] = []
        """Modules that are imported within it."""
        self.looks = False


class Reach:
    """Answers for one function after the other; what files say is kept."""

    def __init__(self, library: Library, resolver: Resolver) -> None:
        self.library = library
        self.resolver = resolver
        self._parts: dict[str, tuple[dict[str, list[Part]], list[Part]]] = {}
        self._closures: dict[str, list[Module]] = {}
        self._imports: dict[str, list[str]] = {}
        self._effects: dict[str, tuple[bytes, bool, list[tuple[Module, str]]]] = {}
        self._uses: dict[tuple[str, str, str], list[tuple[Module, str]]] = {}

    def files(self, module: Module) -> list[str]:
        """The project's files that importing it reads, relative to the root."""
        return [found.shown for found in self._closure(module)]

    def of(self, module: Module, name: str) -> tuple[list[str], str]:
        """The files, relative to the root, and the digest."""
        closure = self._closure(module)
        files = [found.shown for found in closure]
        if not closure:
            said = sha256(f"{module.name}:{name}\0".encode())
            said.update(module.data)
            return [], said.hexdigest()
        form, looked, wanted = self._start(module, closure)
        said = sha256(b"polyloom function 1\0" + name.encode() + b"\0" + form)
        queue = [(module, name), *wanted]
        seen: set[tuple[str, str]] = set()
        forms: list[tuple[str, str, bytes]] = []
        while queue:
            where, what = queue.pop()
            if (where.name, what) in seen:
                continue
            seen.add((where.name, what))
            for part in self._read(where)[0].get(what, ()):
                looked = looked or part.looks
                forms.append((where.name, what, part.form))
                queue += self._used(where, what, part)
        if looked:
            said = sha256(b"polyloom files 1\0" + name.encode() + b"\0")
            for found in closure:
                said.update(f"{found.shown}\0{len(found.data)}\0".encode())
                said.update(found.data)
            return files, said.hexdigest()
        for where_name, what, part_form in sorted(forms):
            said.update(f"{where_name}:{what}\0".encode() + part_form)
        return files, said.hexdigest()

    def _start(
        self, module: Module, closure: list[Module]
    ) -> tuple[bytes, bool, list[tuple[Module, str]]]:
        """What importing the module does by itself."""
        known = self._effects.get(module.name)
        if known is None:
            said = sha256()
            looked = False
            wanted: list[tuple[Module, str]] = []
            for found in closure:
                said.update(found.name.encode() + b"\0")
                for part in self._read(found)[1]:
                    said.update(part.form)
                    looked = looked or part.looks
                    wanted += self._used(found, "", part)
            known = self._effects[module.name] = (said.digest(), looked, wanted)
        return known

    def _used(self, module: Module, what: str, part: Part) -> list[tuple[Module, str]]:
        found: list[tuple[Module, str]] = []
        for name, attr in part.loads:
            key = (module.name, name, attr)
            known = self._uses.get(key)
            if known is None:
                known = self._uses[key] = self._names(module, name, attr)
            found += known
        for name in part.inner:
            target = self.library.module(name) if self._ours(name) else None
            found += self._everything(target) if target is not None else []
        return found

    def _everything(self, module: Module) -> list[tuple[Module, str]]:
        return [(each, name) for each in self._closure(module) for name in self._read(each)[0]]

    def _names(self, module: Module, name: str, attr: str) -> list[tuple[Module, str]]:
        """The definitions of project files that a name, with an attribute, leads to."""
        found = [(module, name)] if name in self._read(module)[0] else []
        binding = module.bindings.get(name)
        if binding is None or binding.kind != "import":
            if binding is None and module.stars:
                try:
                    there = self.resolver.name(module, name)
                except Refusal:
                    return found
                if isinstance(there, Definition) and there.module.project:
                    found.append((there.module, there.name))
            return found
        target = self.library.module(binding.target) if self._ours(binding.target) else None
        if target is None:
            try:
                there = self.resolver.name(module, name)
            except Refusal:
                return found
            if isinstance(there, Definition) and there.module.project:
                found.append((there.module, there.name.partition(".")[0]))
            return found
        if not target.project:
            return found
        if attr and attr in target.bindings:
            return [*found, *self._names(target, attr, ""), (target, attr)]
        # The module itself goes somewhere, or one within it is meant.
        return found + self._everything(target)

    def _ours(self, dotted: str) -> bool:
        module = self.library.find(dotted)
        return module is not None and module.project

    def _closure(self, module: Module) -> list[Module]:
        """The project's modules that importing this one can read, itself first."""
        known = self._closures.get(module.name)
        if known is not None:
            return known
        found: dict[str, Module] = {}
        queue = [module.name]
        while queue:
            name = queue.pop()
            if name in found:
                continue
            there = self.library.module(name)
            if there is None or not there.project:
                continue
            found[name] = there
            queue += self._imported(there)
            above = name.rpartition(".")[0]
            if above:
                queue.append(above)
        rest = sorted((one for one in found.values() if one is not module), key=lambda m: m.shown)
        result = [module, *rest] if module.project else []
        self._closures[module.name] = result
        return result

    def _imported(self, module: Module) -> list[str]:
        known = self._imports.get(module.name)
        if known is not None:
            return known
        inside = module.imports_within
        names = _named(module, ast.walk(module.tree) if inside else module.tree.body)
        ours = [name for name in dict.fromkeys(names) if self._ours(name)]
        self._imports[module.name] = ours
        return ours

    def _read(self, module: Module) -> tuple[dict[str, list[Part]], list[Part]]:
        known = self._parts.get(module.name)
        if known is not None:
            return known
        named: dict[str, list[Part]] = {}
        effects: list[Part] = []
        inner = module.imports_within
        for node in module.tree.body:
            part = _part(module, node)
            if part is None:
                continue
            if inner and not isinstance(node, (ast.Import, ast.ImportFrom)):
                part.inner = _named(module, ast.walk(node))
            for name in part.names:
                named.setdefault(name, []).append(part)
            if not part.quiet:
                effects.append(part)
        self._parts[module.name] = (named, effects)
        return named, effects


def _named(module: Module, nodes: Iterable[ast.AST]) -> list[str]:
    """The dotted names of the modules that statements import, and of what may be one."""
    names: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                names += [".".join(parts[: at + 1]) for at in range(len(parts))]
        elif isinstance(node, ast.ImportFrom):
            base = module.absolute(node.module, node.level)
            if base is None:
                continue
            parts = base.split(".") if base else []
            names += [".".join(parts[: at + 1]) for at in range(len(parts))]
            names += [f"{base}.{a.name}" if base else a.name for a in node.names]
    return names


def _part(module: Module, node: ast.stmt) -> Optional[Part]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        part = Part([node.name], _quiet(node))
    elif isinstance(node, ast.ClassDef):
        part = Part([node.name], _quiet_class(node))
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            return None
        names = [(alias.asname or alias.name.partition(".")[0]) for alias in node.names]
        part = Part(names, "*" not in names)
        part.form = ast.dump(node).encode("utf-8", "replace")
        return part
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return None  # a docstring
    else:
        part = Part([], False)
    try:
        flags = _FUTURE if module.future else 0
        code = compile(ast.Module([node], []), "", "exec", flags, True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        part.looks = True
        return part
    said: list[str] = []
    part.looks = _say(code, said, part.loads)
    part.form = sha256("".join(said).encode("utf-8", "surrogatepass")).digest()
    return part


def _say(code: CodeType, said: list[str], found: list[tuple[str, str]]) -> bool:
    """Put the form of a code and what it loads into lists; say whether it may look at itself."""
    looked = False
    left = [code]
    while left:
        one = left.pop()
        say(one, said)
        found += loads(one)
        # The body of a class with fields writes its annotations, and does not look at them.
        if any_looks(one.co_names):
            body = "__qualname__" in one.co_names and not one.co_flags & CO_OPTIMIZED
            looked = looked or any(
                looks(name) and not (body and name == "__annotations__") for name in one.co_names
            )
        for const in one.co_consts:
            if type(const) is CodeType:
                left.append(const)
            elif type(const) is str and len(const) < 100 and " " not in const:
                looked = looked or looks(const)
    return looked


def _quiet(node: ast.stmt) -> bool:
    """Whether defining the function does nothing but that."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    for decorator in node.decorator_list:
        head = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = head.attr if isinstance(head, ast.Attribute) else getattr(head, "id", "")
        if name not in (
            "cache",
            "lru_cache",
            "overload",
            "staticmethod",
            "classmethod",
            "property",
        ):
            return False
    defaults = [*node.args.defaults, *(node for node in node.args.kw_defaults if node is not None)]
    return all(
        isinstance(each, (ast.Constant, ast.Name, ast.Attribute)) or _plain(each)
        for each in defaults
    )


def _plain(node: ast.expr) -> bool:
    return not any(isinstance(part, (ast.Call, ast.NamedExpr)) for part in ast.walk(node))


def _quiet_class(node: ast.ClassDef) -> bool:
    quiet_bases = ("NamedTuple", "TypedDict", "Enum", "IntEnum", "StrEnum", "Protocol", "object")
    for decorator in node.decorator_list:
        head = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = head.attr if isinstance(head, ast.Attribute) else getattr(head, "id", "")
        if name != "dataclass":
            return False
    for base in node.bases:
        name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
        if name not in quiet_bases:
            return False
    if any(word.arg != "total" for word in node.keywords):
        return False
    for line in node.body:
        if isinstance(line, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if not _quiet(line):
                return False
        elif isinstance(line, (ast.AnnAssign, ast.Assign)):
            value = line.value
            if isinstance(value, ast.Call) and getattr(value.func, "id", "") in ("field", "auto"):
                continue
            if value is not None and not _plain(value):
                return False
        elif not isinstance(line, ast.Pass) and not (
            isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
        ):
            return False
    return True
