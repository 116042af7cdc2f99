"""Starts an executor written with `polyloom_sdk`: the host runs it with a W socket.

    executor.py [--path FOLDER] [--offer FEATURES] [--version TEXT] [--legacy ID] MODULE:OBJECT

MODULE is a file (`{dir}/upper.py`) or a module that is imported by its name, from FOLDER first.
"""

import sys

_home = __file__.rpartition("/")[0] or "."
if _home in sys.path:
    sys.path.remove(_home)
sys.path.insert(0, _home)
from polyloom_sdk._named import main  # noqa: E402

# Last on the path from here on, so that nothing of ours can hide a module of the executor's.
sys.path.remove(_home)
sys.path.append(_home)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
