"""One source file: its text, its syntax tree, and what each name at its top level is bound to.

Nothing is run. Of branches, what is bound first counts: `try` before `except`, `if TYPE_CHECKING`
before its `else`; tests of `sys.version_info`, `sys.platform` and `os.name` are answered.
"""

from __future__ import annotations

import ast
import os
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Optional, Union

    Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]

_INNER = re.compile(rb"^[ \t]+(?:from|import)[ \t]|[:;][ \t]*(?:from|import)[ \t]", re.M)
_PLATFORM = {("platform", "sys"): sys.platform, ("name", "os"): os.name}
LARGEST = 1 << 20
"""Of one file, in bytes. What is larger is made by a program, and no place for functions."""


class SourceError(Exception):
    """A file that can't be read as source: the code, message, place and help of a problem."""

    def __init__(
        self, code: str, message: str, place: tuple[int, int, int] = (0, 0, 0), help: str = ""
    ) -> None:
        super().__init__(message)
        self.help = help
        self.code = code
        self.message = message
        self.place = place


class Binding:
    """What a name is: `import`, `function`, `class` or `value`."""

    __slots__ = ("kind", "node", "others", "target")

    def __init__(self, kind: str, node: ast.AST, target: str = "") -> None:
        self.kind = kind
        self.node = node
        self.target = target
        """Of an import: the dotted name of what is imported."""
        self.others: list[ast.AST] = []
        """Earlier definitions: overloads, or clashes."""


class Module:
    """A module of which only the source is known."""

    def __init__(self, name: str, path: str, shown: str, project: bool, package: bool) -> None:
        self.name = name
        self.path = path
        self.shown = shown
        self.project = project
        self.package = package
        self.stub = path.endswith(".pyi")
        self.data = b""
        self.tree = ast.Module([], [])
        self.bindings: dict[str, Binding] = {}
        self.stars: list[str] = []
        self.public: Optional[list[str]] = None
        self.future = False
        self._lines: Optional[list[bytes]] = None
        self._ascii: Optional[bool] = None
        self._inner: Optional[bool] = None

    def place(self, node: ast.AST) -> tuple[int, int, int]:
        """Line, first column and the column after the last, in characters from 1."""
        line = getattr(node, "lineno", 1)
        start = getattr(node, "col_offset", 0)
        end = getattr(node, "end_col_offset", None)
        if end is None or getattr(node, "end_lineno", line) != line:
            end = start
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            # The whole of it would be said of its name.
            words = 6 if isinstance(node, ast.ClassDef) else 4
            start += 10 if isinstance(node, ast.AsyncFunctionDef) else words
            end = start + len(node.name.encode("utf-8", "replace"))
        if self._ascii is None:
            self._ascii = self.data.isascii()
        if not self._ascii:
            text = self.line(line)
            start = len(text[:start].decode("utf-8", "replace"))
            end = len(text[:end].decode("utf-8", "replace"))
        return line, start + 1, max(end, start) + 1

    def segment(self, node: ast.expr) -> bytes:
        """The text of an expression on one line, else nothing."""
        if node.lineno != node.end_lineno:
            return b""
        return self.line(node.lineno)[node.col_offset : node.end_col_offset]

    def line(self, number: int) -> bytes:
        """A line, as Python counts them."""
        if self._lines is None:
            data = self.data
            if b"\r" in data:
                data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            self._lines = data.split(b"\n")
        return self._lines[number - 1] if 0 < number <= len(self._lines) else b""

    @property
    def imports_within(self) -> bool:
        """Whether there may be an import within something."""
        if self._inner is None:
            outer = sum(isinstance(node, (ast.Import, ast.ImportFrom)) for node in self.tree.body)
            # Each of those has the word once at least.
            some = self.data.count(b"import") != outer
            self._inner = some and _INNER.search(self.data) is not None
        return self._inner

    def absolute(self, name: Optional[str], level: int) -> Optional[str]:
        """The dotted name of what `from NAME import` names here; None above the top."""
        if level == 0:
            return name or ""
        parts = self.name.split(".")
        drop = level - 1 if self.package else level
        if drop > len(parts):
            return None
        base = parts[: len(parts) - drop]
        return ".".join(base + ([name] if name else []))

    def is_public(self, name: str) -> bool:
        """Whether `from MODULE import *` would bind it."""
        return name in self.public if self.public is not None else not name.startswith("_")


def read(module: Module) -> Module:
    """Fill in what the file says; raise SourceError where it is no source."""
    try:
        # To open a pipe waits for who writes to it.
        if not os.path.isfile(module.path):
            raise SourceError("PY011", "can't be read: it is no file")
        with open(module.path, "rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise SourceError("PY011", f"can't be read: {error.strerror or error}") from None
    if len(data) > LARGEST:
        raise SourceError("PY012", f"is larger than {LARGEST >> 20} MiB")
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    module.data = data
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        col = error.start - data.rfind(b"\n", 0, error.start)
        what = f"is not UTF-8: byte 0x{data[error.start]:02x}"
        raise SourceError("PY011", what, (line, col, col + 1), "save it as UTF-8") from None
    at = data.find(b"\0")
    if at >= 0:
        line, col = data.count(b"\n", 0, at) + 1, at - data.rfind(b"\n", 0, at)
        raise SourceError("PY010", "has a null byte, which no source has", (line, col, col + 1))
    module.tree = parse(text)
    _bind(module, module.tree.body, False)
    return module


def parse(text: str) -> ast.Module:
    """The syntax tree; SourceError with line and column where there is none."""
    try:
        return ast.parse(text)
    except SyntaxError as error:
        line, col = error.lineno or 1, max(error.offset or 1, 1)
        message = f"{error.msg} (this is Python {sys.version_info[0]}.{sys.version_info[1]})"
        raise SourceError("PY010", message, (line, col, col + 1)) from None
    except ValueError as error:
        raise SourceError("PY010", str(error), (1, 1, 1)) from None
    except (RecursionError, MemoryError):
        raise SourceError("PY010", "is nested too deep to be parsed", (1, 1, 1)) from None


def _bind(module: Module, body: Sequence[ast.stmt], branch: bool, depth: int = 0) -> None:
    """Bind the names of statements; on a branch what is bound already stays."""
    if depth > 20:
        return
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            _define(module, node.name, Binding("function", node), branch)
        elif isinstance(node, ast.ClassDef):
            _define(module, node.name, Binding("class", node), branch)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    _define(module, alias.asname, Binding("import", node, alias.name), branch)
                else:
                    top = alias.name.partition(".")[0]
                    _define(module, top, Binding("import", node, top), branch)
        elif isinstance(node, ast.ImportFrom):
            _bind_from(module, node, branch)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    _define(module, target.id, Binding("value", node), branch)
                    if target.id == "__all__":
                        module.public = _names(module, node.value)
        elif isinstance(node, ast.AnnAssign):
            if isinstance(node.target, ast.Name) and (node.value is not None or module.stub):
                _define(module, node.target.id, Binding("value", node), branch)
                if node.target.id == "__all__" and node.value is not None:
                    module.public = _names(module, node.value)
        elif isinstance(node, ast.AugAssign):
            if isinstance(node.target, ast.Name) and node.target.id == "__all__":
                if module.public is not None:
                    module.public += _names(module, node.value) or []
        elif type(node).__name__ == "TypeAlias":  # since Python 3.12
            name = getattr(node, "name", None)
            if isinstance(name, ast.Name):
                _define(module, name.id, Binding("value", node), branch)
        elif isinstance(node, ast.Expr):
            _extend(module, node.value)
        elif isinstance(node, ast.If):
            known = _test(node.test)
            if known is not False:
                _bind(module, node.body, branch, depth + 1)
            if known is not True:
                _bind(module, node.orelse, branch or known is None, depth + 1)
        elif isinstance(node, ast.Try):
            _bind(module, node.body, branch, depth + 1)
            for handler in node.handlers:
                _bind(module, handler.body, True, depth + 1)
            _bind(module, node.orelse, branch, depth + 1)
            _bind(module, node.finalbody, branch, depth + 1)
        elif isinstance(node, ast.With):
            _bind(module, node.body, branch, depth + 1)


def _bind_from(module: Module, node: ast.ImportFrom, branch: bool) -> None:
    if node.module == "__future__":
        module.future = module.future or any(name.name == "annotations" for name in node.names)
        return
    base = module.absolute(node.module, node.level)
    if base is None:
        return
    for alias in node.names:
        if alias.name == "*":
            module.stars.append(base)
        else:
            target = f"{base}.{alias.name}" if base else alias.name
            _define(module, alias.asname or alias.name, Binding("import", node, target), branch)


def _define(module: Module, name: str, binding: Binding, branch: bool) -> None:
    before = module.bindings.get(name)
    if before is not None:
        if branch:
            return
        if before.kind == binding.kind == "function":
            binding.others = [*before.others, before.node]
    module.bindings[name] = binding


def _names(module: Module, node: ast.expr) -> Optional[list[str]]:
    """The names of an `__all__`, as far as it is written out."""
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        parts = [part.value for part in node.elts if isinstance(part, ast.Constant)]
        return [part for part in parts if isinstance(part, str)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left = _names(module, node.left)
        return None if left is None else left + (_names(module, node.right) or [])
    return None


def _extend(module: Module, node: ast.expr) -> None:
    """`__all__.extend([...])`, `__all__.append("x")`."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "__all__"
        and module.public is not None
        and node.args
    ):
        first = node.args[0]
        if node.func.attr == "extend":
            module.public += _names(module, first) or []
        elif node.func.attr == "append" and isinstance(first, ast.Constant):
            module.public.append(str(first.value))


def _test(node: ast.expr) -> Optional[bool]:
    """What an `if` at the top level is for a reader, None where it can't be said."""
    if isinstance(node, ast.Name):
        return True if node.id == "TYPE_CHECKING" else None
    if isinstance(node, ast.Attribute):
        return True if node.attr == "TYPE_CHECKING" else None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        known = _test(node.operand)
        return None if known is None else not known
    if (
        isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Attribute)
        and (node.left.attr, getattr(node.left.value, "id", "")) in _PLATFORM
        and isinstance(node.comparators[0], ast.Constant)
        and isinstance(node.ops[0], (ast.Eq, ast.NotEq))
    ):
        named = _PLATFORM[node.left.attr, getattr(node.left.value, "id", "")]
        return (named == node.comparators[0].value) is isinstance(node.ops[0], ast.Eq)
    if (
        isinstance(node, ast.Compare)
        and len(node.ops) == 1
        and isinstance(node.left, ast.Attribute)
        and node.left.attr == "version_info"
        and isinstance(node.comparators[0], ast.Tuple)
    ):
        parts = [part.value for part in node.comparators[0].elts if isinstance(part, ast.Constant)]
        version = tuple(part for part in parts if isinstance(part, int))
        here = tuple(sys.version_info[:3])
        if isinstance(node.ops[0], ast.GtE):
            return here >= version
        if isinstance(node.ops[0], ast.Lt):
            return here < version
    return None
