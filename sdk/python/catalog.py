"""Reads typed functions: a request of one JSON line on stdin, the catalog as JSON on stdout.

    {"version": 1, "root": "/flow", "targets": [{"location": "./filters.py", "object": null}]}

What is wrong with the source is in the catalog; the status is 2 only for a request that is none.
"""

import sys

_home = __file__.rpartition("/")[0] or "."
# Bytecode of the same modules, where the host has had it made.
_first = [_home]
if _home.endswith("/polyloom/sdk/python"):
    _first.insert(0, _home[: -len("sdk/python")] + "once")
sys.path[:0] = _first
from polyloom_catalog._program import main  # noqa: E402

del sys.path[: len(_first)]

if __name__ == "__main__":
    sys.exit(main())
