"""Starts the Python worker: `polyloom` runs this file with a W socket in `POLYLOOM_W`."""

import sys

_home = __file__.rpartition("/")[0] or "."
if _home in sys.path:
    sys.path.remove(_home)
sys.path.insert(0, _home)
from polyloom._worker import main  # noqa: E402

# Last on the path from here on, so that nothing of ours can hide a module of the cell's.
sys.path.remove(_home)
sys.path.append(_home)

if __name__ == "__main__":
    code = main()
    zygote = sys.modules.get("polyloom._zygote")
    if zygote is not None:
        zygote.leave(code)
    sys.exit(code)
