"""The program: a request in, a catalog out."""

from __future__ import annotations

import gc
import json
import sys
import warnings

from polyloom_catalog._catalog import catalog

LONGEST = 4 << 20


def main() -> int:
    """Answer the request on stdin."""
    gc.disable()  # everything that is made is kept to the end
    warnings.simplefilter("ignore")  # of the code that is parsed
    sys.setrecursionlimit(3000)
    sys.dont_write_bytecode = True
    try:
        request = json.loads(sys.stdin.buffer.readline(LONGEST))
        version = request["version"]
        root = request["root"]
        targets = request.get("targets", [])
        if version != 1 or not isinstance(root, str) or not isinstance(targets, list):
            raise ValueError("expected `version` 1, `root` and a list of `targets`")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        print(f"error: the request can't be read: {error}", file=sys.stderr)
        return 2
    text = json.dumps(catalog(request), separators=(",", ":"))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    return 0
