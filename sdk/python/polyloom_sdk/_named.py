"""Serves the executor that a command line names as MODULE:OBJECT. Knows modules, no wire."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from polyloom_sdk._executor import Executor
from polyloom_sdk._serve import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = "[--path FOLDER] [--offer FEATURES] [--version TEXT] [--legacy ID]"
USAGE = f"executor.py {OPTIONS} MODULE:OBJECT"


class Unusable(Exception):
    """What was named is no executor."""


def main(arguments: Sequence[str]) -> int:
    """Serve what is named; the exit code where it can't be."""
    options: dict[str, str] = {}
    rest = list(arguments)
    while len(rest) > 2 and rest[0] in ("--path", "--offer", "--version", "--legacy"):
        options[rest[0]] = rest[1]
        del rest[:2]
    if len(rest) != 1:
        return _complain(f"usage: {USAGE}")
    if "--path" in options:
        sys.path.insert(0, options["--path"])
    try:
        found = find(rest[0])
        if "--legacy" in options:
            from polyloom_sdk._legacy import Legacy

            found = Legacy(options["--legacy"], found)
        elif isinstance(found, type) and issubclass(found, Executor):
            found = found()
        if not isinstance(found, Executor):
            wanted = "an `Executor`, or a function with `@executor(ID, VERSION)`"
            raise Unusable(f"`{rest[0]}` is a `{type(found).__name__}`, not {wanted}")
    except Unusable as error:
        return _complain(str(error))
    except Exception as error:
        from polyloom_sdk._fault import complain

        complain(error, rest[0])
        return 2
    offer = options.get("--offer")
    serve(found, None if offer is None else offer.split(","), options.get("--version"))


def find(named: str) -> Any:
    """The object that MODULE:OBJECT names."""
    module, _, name = named.rpartition(":")
    if not module or not name:
        raise Unusable(f"`{named}` is not MODULE:OBJECT")
    found: Any = _from_file(module) if module.endswith(".py") else import_module(module)
    for part in name.split("."):
        if not hasattr(found, part):
            raise Unusable(f"`{module}` has no `{name}`")
        found = getattr(found, part)
    return found


def _from_file(path: str) -> Any:
    """The module in a file, which can import what lies beside it."""
    from importlib.util import module_from_spec, spec_from_file_location

    folder, file = os.path.split(os.path.abspath(path))
    spec = spec_from_file_location(file[: -len(".py")], path)
    if spec is None or spec.loader is None or not os.path.isfile(path):
        raise Unusable(f"there is no file `{path}`")
    sys.path.insert(0, folder)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _complain(text: str) -> int:
    print(f"polyloom executor.py: {text}", file=sys.stderr)
    return 2
