"""What copies of a zygote ask of C's library, which Python's own modules do not.

It does not know what a zygote is.
"""

from __future__ import annotations

import _thread
import ctypes
import os

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4  # linux/prctl.h
_SIGKILL = 9
_POINTER = ctypes.sizeof(ctypes.c_void_p)
# In `struct r_debug` of link.h, the first library; in its `struct link_map`, the next one.
_R_MAP, _L_NEXT = _POINTER, 3 * _POINTER


class Libc:
    """C's library, and the libraries that are loaded with it."""

    def __init__(self) -> None:
        # The lock is kept: no other thread of Python's goes on meanwhile.
        python, libc = ctypes.PyDLL(None), ctypes.CDLL(None)
        self._exit, self._flush = python.exit, python.fflush
        self._prctl, self._capset = libc.prctl, libc.capset
        # Version 3 of capset(2), and no capabilities.
        self._header, self._none = (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()
        self._after_last: object = None

    def settle(self) -> None:
        """Take what is loaded now for all that is there."""
        try:
            debug = ctypes.addressof(ctypes.c_void_p.in_dll(ctypes.CDLL(None), "_r_debug"))
            at = ctypes.c_void_p.from_address(debug + _R_MAP).value
            while at is not None:
                after = ctypes.c_void_p.from_address(at + _L_NEXT)
                at, self._after_last = after.value, after
        except ValueError:
            pass  # this loader has no such list

    def has_loaded(self) -> bool:
        """Whether libraries may have been loaded since."""
        after = self._after_last
        return not isinstance(after, ctypes.c_void_p) or after.value is not None

    def exit(self, code: int) -> None:
        """End as C ends a program: what is buffered is written, libraries do what they have to.

        Those that were settled have nothing to do: to ask them takes longer than all the rest.
        """
        # A thread may be in the middle of a stream, for which to flush it would wait.
        if self.has_loaded() or _thread._count() > 0:
            self._exit(code)
        self._flush(None)
        os._exit(code)

    def die_with_parent(self) -> None:
        """Tie this process to its parent, until it changes its user."""
        self._prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)

    def restore(self) -> None:
        """Give this process back to itself after a change of user, without capabilities."""
        # It could not read its own /proc/self/environ.
        self._prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
        self.die_with_parent()
        if self._capset(self._header, self._none) != 0:
            raise OSError("capset")
