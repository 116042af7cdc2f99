"""What is wrong with an executor's own code: where, and what of it is shown. Knows no wire."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Optional

from polyloom._diagnose import headline

_SDK = os.path.dirname(os.path.abspath(__file__))
_NOT_OWN = (
    _SDK + os.sep,
    os.path.join(os.path.dirname(_SDK), "polyloom") + os.sep,
    os.path.dirname(os.path.abspath(os.__file__)) + os.sep,
    "<frozen ",
)
_LIBRARIES = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))


def told(error: BaseException, id: str) -> Optional[str]:
    """An error as the executor's, with its place there; None where it is that of code it ran."""
    own = _own(error)
    if own and own[-1].filename.startswith("<"):
        return None
    if isinstance(error, SystemExit):
        what = f"ended itself with exit code {error.code}"
    else:
        what = f"failed: {headline(error)}"
    place = f" ({os.path.basename(own[-1].filename)}, line {own[-1].lineno})" if own else ""
    return f"the executor `{id}` {what}{place}"


def complain(error: BaseException, named: str) -> None:
    """Print why an executor could not be loaded: the frames of its own files alone."""
    print(f"polyloom executor.py: `{named}` can't be loaded:", file=sys.stderr)
    said = traceback.format_list(_own(error))
    said += traceback.format_exception_only(type(error), error)
    print("".join(said), end="", file=sys.stderr)


def _own(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames in files that are neither the SDK's nor of a library."""
    frames = traceback.extract_tb(error.__traceback__)
    return [
        frame
        for frame in frames
        if not frame.filename.startswith(_NOT_OWN)
        and not any(name in frame.filename for name in _LIBRARIES)
    ]
