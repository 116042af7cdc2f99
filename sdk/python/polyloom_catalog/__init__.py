"""The catalog of typed Python functions, read from their source and never imported.

`catalog(request)` is the whole interface. Knows nothing of flows, hosts and workers: it gets a
folder and places to look at, and says what functions are there, of which types, and what is wrong.
"""

from __future__ import annotations

from polyloom_catalog._catalog import catalog

__all__ = ["catalog"]
