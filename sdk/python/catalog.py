"""Reads typed functions: a request of one JSON line on stdin, the catalog as JSON on stdout.

    {"version": 1, "root": "/flow", "targets": [{"location": "./filters.py", "object": null}]}

What is wrong with the source is in the catalog; the status is 2 only for a request that is none.
"""

import sys

sys.path.insert(0, __file__.rpartition("/")[0] or ".")
from polyloom_catalog._program import main

del sys.path[0]

if __name__ == "__main__":
    sys.exit(main())
