"""The program: a request in, a catalog out."""

from __future__ import annotations

import gc
import json
import os
import sys
import warnings

from polyloom_catalog._many import written

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST = 4 << 20
STACK = 512 << 20


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
    if not _deep(request):
        return 1
    sys.stdout.flush()
    # To take apart what was made would take as long as a tenth of the reading.
    os._exit(0)


def _deep(request: dict[str, Any]) -> bool:
    """Say the catalog; before Python 3.11 on a stack as deep as any source can be."""
    if sys.version_info >= (3, 11):
        return _say(request)
    import _thread

    said: list[bool] = []
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            said.append(_say(request))
        finally:
            done.release()

    _thread.stack_size(STACK)
    _thread.start_new_thread(run, ())
    done.acquire()
    return bool(said)


def _say(request: dict[str, Any]) -> bool:
    for line in written(request):
        sys.stdout.write(line + "\n")
    return True
