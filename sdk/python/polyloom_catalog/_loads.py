"""What compiled code says: a form of it without places, and the global names it loads.

The only module that knows bytecode. Of a Python that is newer than what is known here, all names of
a code are taken for loaded, which is more than there are and therefore safe.
"""

from __future__ import annotations

import opcode
import re
import sys
from types import CodeType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NEWEST = (3, 14)
_KNOWN = sys.version_info[:2] <= _NEWEST
_GLOBALS = {
    opcode.opmap[name]
    for name in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    if name in opcode.opmap
}
_GLOBAL = re.compile(
    b"[" + b"".join(re.escape(bytes([op])) for op in _GLOBALS) + b"]", re.S
).finditer
_ATTRS = {opcode.opmap[name] for name in ("LOAD_ATTR", "LOAD_METHOD") if name in opcode.opmap}
_CACHE = opcode.opmap.get("CACHE", -1)
_EXTENDED = opcode.opmap["EXTENDED_ARG"]
_LOAD_GLOBAL = opcode.opmap["LOAD_GLOBAL"]
_LOAD_ATTR = opcode.opmap["LOAD_ATTR"]
_GLOBAL_SHIFT = 1 if sys.version_info >= (3, 11) else 0
_ATTR_SHIFT = 1 if sys.version_info >= (3, 12) else 0

# What a code that may look at itself has among its names: those of `[normalise]` of
# executors/python/executor.toml, and those that find names by their text.
_PARTS = (
    "inspect getsource getframe currentframe linecache lineno traceback tokenize __file__ /cell"
    " co_lines co_positions __loader__ __spec__ findsource symtable exc_info redirect_stderr stderr"
    " warn __code__ co_code marshal __dict__ importlib __import__ pkgutil"
).split()
_WORDS = frozenset(
    "getattr argv ast bdb code dis doctest exception help pydoc pytest unittest pdb profile"
    " cProfile trace settrace setprofile tracemalloc"
    " monitoring globals locals vars eval exec compile"
    " get_type_hints __annotations__ __defaults__ __kwdefaults__ modules".split()
)


_PLAIN = frozenset((str, int, float, bool, bytes, complex, type(None), type(...)))
_seen: dict[str, bool] = {}
_harmless: set[str] = set()


def looks(word: str) -> bool:
    """Whether a name is one with which code looks at itself."""
    found = _seen.get(word)
    if found is None:
        found = _seen[word] = word in _WORDS or any(part in word for part in _PARTS)
        if not found:
            _harmless.add(word)
    return found


def any_looks(words: tuple[str, ...]) -> bool:
    """Whether one of them is one."""
    return not _harmless.issuperset(words) and any(map(looks, words))


def say(code: CodeType, said: list[str]) -> None:
    """Put what a code is, without places and without the codes in it, into a list."""
    consts = code.co_consts
    if not _PLAIN.issuperset(map(type, consts)):
        consts = tuple(map(_const, consts))
    parts: tuple[Any, ...] = (code.co_name, code.co_flags, code.co_argcount)
    parts += (code.co_posonlyargcount, code.co_kwonlyargcount, code.co_names)
    parts += (code.co_varnames, code.co_freevars)
    parts += (code.co_cellvars, code.co_code, getattr(code, "co_exceptiontable", b""), consts)
    said.append(repr(parts))


def _const(const: object) -> str:
    if isinstance(const, CodeType):
        return "code"
    if isinstance(const, frozenset):
        return "{" + ",".join(sorted(map(_const, const))) + "}"
    if isinstance(const, tuple):
        plain = _PLAIN.issuperset(map(type, const))
        return "(" + ",".join(map(repr if plain else _const, const)) + ")"
    return repr(const)


def loads(code: CodeType) -> list[tuple[str, str]]:
    """The names loaded from the module, each with the attribute that is read of it, or nothing."""
    names = code.co_names
    if not names:
        return []
    if not _KNOWN:
        return [(name, "") for name in names]
    found: dict[tuple[str, str], None] = {}
    raw = code.co_code
    ops = raw[::2]
    for match in _GLOBAL(ops):
        at = match.start()
        arg = _arg(raw, ops, at)
        name = names[arg >> _GLOBAL_SHIFT if ops[at] == _LOAD_GLOBAL else arg]
        at += 1
        while ops[at] == _CACHE or ops[at] == _EXTENDED:
            at += 1
        attr = ""
        if ops[at] in _ATTRS:
            arg = _arg(raw, ops, at)
            attr = names[arg >> _ATTR_SHIFT if ops[at] == _LOAD_ATTR else arg]
        found[name, attr] = None
    return list(found)


def _arg(raw: bytes, ops: bytes, at: int) -> int:
    """The argument of an instruction, with what stands before it."""
    arg, high = raw[2 * at + 1], 8
    while at and ops[at - 1] == _EXTENDED:
        at -= 1
        arg |= raw[2 * at + 1] << high
        high += 8
    return arg
