"""Starts the Python worker: `polyloom` runs this file with a W socket in `POLYLOOM_W`."""

import sys

_home = __file__.rpartition("/")[0] or "."
if _home in sys.path:
    sys.path.remove(_home)
# Bytecode of the same modules, where the host has had it made: nothing of this can be kept in a
# read-only sandbox.
_first = [_home]
if _home.endswith("/polyloom/sdk/python"):
    _first.insert(0, _home[: -len("sdk/python")] + "once")
sys.path[:0] = _first
from polyloom._worker import main  # noqa: E402

# Where cells see it, whichever was loaded.
sys.modules["polyloom"].__file__ = _home + "/polyloom/__init__.py"
# Last on the path from here on, so that nothing of ours can hide a module of the cell's.
del sys.path[: len(_first)]
sys.path.append(_home)

if __name__ == "__main__":
    code = main()
    zygote = sys.modules.get("polyloom._zygote")
    if zygote is not None:
        zygote.leave(code)
    sys.exit(code)
