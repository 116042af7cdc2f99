"""A session's state in files: values by their types' encodings, definitions by their source text.

There is no pickle: what is loaded again is data, imports and code that a cell has run before. What
cannot be saved so is named with the reason. Knows files and namespaces, no messages.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Optional

INDEX = "state.msgpack"
_SOURCE = "source"


def save(names: dict[str, Any], out: str) -> dict[str, Any]:
    """Write what can be written into the folder `out`; Saved's body."""
    from polyloom._msgpack import encode
    from polyloom._outputs import VALUE_DEPTH

    saved: list[list[str]] = []
    unsaved: list[dict[str, str]] = []
    for name, value in list(names.items()):
        if type(name) is not str or name.startswith("__") or name == "_":
            continue
        try:
            if type(value) is type(sys):
                saved.append([name, "import", value.__name__])
            elif _is_definition(value):
                saved.append([name, *_defined(name, value)])
            else:
                at = str(len(saved))
                kind = _type_of(value)
                from polyloom._outputs import write_output

                write_output(at, {"type": kind}, out, value)
                saved.append([name, kind, at])
        except Exception as error:
            _drop(out, str(len(saved)))
            text = f"{type(value).__qualname__}: {_why(error)}"
            unsaved.append({"name": name, "why": text[:300]})
    try:
        with open(os.path.join(out, INDEX), "wb") as file:
            file.write(encode({"version": 1, "saved": saved}, VALUE_DEPTH))
    except Exception as error:
        # Without it nothing of the rest can be had again; the session goes on.
        unsaved += [{"name": entry[0], "why": f"{INDEX}: {_why(error)}"[:300]} for entry in saved]
        saved.clear()
        for entry in os.listdir(out):
            _drop(out, entry.lstrip(".").partition(".")[0])
    return {"saved": [entry[0] for entry in saved], "unsaved": unsaved}


def _drop(out: str, name: str) -> None:
    """Remove what was begun of a file, whose room others may need."""
    for entry in os.listdir(out):
        if entry.lstrip(".").partition(".")[0] == name:
            os.unlink(os.path.join(out, entry))


def _why(error: Exception) -> str:
    from errno import EDQUOT, EFBIG, ENOSPC

    cause = error.__cause__ or error
    if isinstance(cause, OSError) and cause.errno in (EDQUOT, EFBIG, ENOSPC):
        return "the session's own file system has no room for it; `disk` bounds that"
    return str(error) or type(error).__name__


def load(names: dict[str, Any], path: str) -> dict[str, Any]:
    """Take over what `save` wrote; Saved's body."""
    from polyloom._msgpack import decode
    from polyloom._outputs import VALUE_DEPTH

    saved: list[str] = []
    unsaved: list[dict[str, str]] = []
    try:
        with open(os.path.join(path, INDEX), "rb") as file:
            index = decode(file.read(), VALUE_DEPTH)
        entries = [(str(name), str(kind), str(rest)) for name, kind, rest in index["saved"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        return {"saved": [], "unsaved": [{"name": INDEX, "why": str(error)}]}
    # Values and modules first: a definition may look at them, in a default or as a decorator.
    for name, kind, rest in sorted(entries, key=lambda entry: entry[1] == _SOURCE):
        try:
            _load(names, name, kind, rest, path)
            saved.append(name)
        except BaseException as error:
            unsaved.append({"name": name, "why": f"{type(error).__name__}: {error}"[:300]})
    return {"saved": saved, "unsaved": unsaved}


def _load(names: dict[str, Any], name: str, kind: str, rest: str, path: str) -> None:
    import importlib

    if kind == "import":
        names[name] = importlib.import_module(rest)
    elif kind == "from":
        module, _, attribute = rest.partition(":")
        value: Any = importlib.import_module(module)
        for part in attribute.split("."):
            value = getattr(value, part)
        names[name] = value
    elif kind == _SOURCE:
        import linecache

        code = f"<saved {name}>"
        linecache.cache[code] = (len(rest), None, rest.splitlines(True), code)
        exec(compile(rest, code, "exec", dont_inherit=True), names)
    else:
        from polyloom._inputs import read_input

        [file] = [entry for entry in os.listdir(path) if entry.partition(".")[0] == rest]
        end = file.rpartition(".")[2]
        encoding = {"msgpack": "msgpack", "npy": "npy", "arrow": "arrow"}.get(end, "raw")
        slot = {"type": kind, "path": os.path.join(path, file), "encoding": encoding}
        value = read_input(name, slot)
        if kind == "tensor":
            value = value.copy()  # as it was: not read-only
        elif kind == "bytes":
            value = value.read_bytes()
        names[name] = value


def _is_definition(value: Any) -> bool:
    return isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__"))


def _defined(name: str, value: Any) -> tuple[str, str]:
    """How a function or class is had again: from its module, or by its source text."""
    module: Optional[str] = getattr(value, "__module__", None)
    qualified: str = value.__qualname__
    if module not in (None, "__main__"):
        home: Optional[ModuleType] = sys.modules.get(str(module))
        found: Any = home
        for part in qualified.split("."):
            found = getattr(found, part, None)
        if found is value:
            return "from", f"{module}:{qualified}"
        raise ValueError(f"it is not to be found in its module `{module}`")
    import inspect
    import textwrap

    if qualified != name:
        raise ValueError(f"it was defined as `{qualified}`")
    if getattr(value, "__closure__", None):
        raise ValueError("it was made inside of a function, whose variables it has")
    return _SOURCE, textwrap.dedent("".join(_lines(value, inspect)))


def _lines(value: Any, inspect: Any) -> list[str]:
    if not isinstance(value, type):
        return inspect.getsourcelines(value)[0]  # type: ignore[no-any-return]
    # `inspect` looks for a class in the file of its module, of which a session has many.
    import ast
    import linecache

    for method in vars(value).values():
        code = getattr(getattr(method, "__func__", method), "__code__", None)
        if code is not None and code.co_filename in linecache.cache:
            lines = linecache.getlines(code.co_filename)
            for node in ast.parse("".join(lines)).body:
                if isinstance(node, ast.ClassDef) and node.name == value.__name__:
                    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                    if first <= code.co_firstlineno <= (node.end_lineno or 0):
                        return lines[first - 1 : node.end_lineno]
    raise ValueError("its source text is not known: it has no method of its own")


def _type_of(value: Any) -> str:
    """The declared type by which a value is written; what reads back as another value has none."""
    kind = type(value)
    if kind in (bool, int, float, str, bytes):
        return str(kind.__name__)
    if value is None or kind in (list, dict):
        _plain(value)
        return "any"
    module = str(kind.__module__).partition(".")[0]
    if module == "numpy" and kind.__name__ == "ndarray":
        return "tensor"
    if (module, kind.__name__) in (("pyarrow", "Table"), ("polyloom", "Table")):
        return "table"
    raise ValueError("there is no encoding for values of this type")


def _plain(value: Any) -> None:
    kind = type(value)
    if kind is list:
        for item in value:
            _plain(item)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise ValueError(f"a key is {type(key).__name__}, not str")
            _plain(item)
    elif value is not None and kind not in (bool, int, float, str, bytes):
        raise ValueError(f"it holds a value of type {kind.__qualname__}, which has no encoding")
