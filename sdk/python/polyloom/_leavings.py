"""What a cell leaves that the host has to take before another one may begin.

Knows that something is there, not what, and not the protocol.
"""

from __future__ import annotations

import os
from fcntl import F_DUPFD_CLOEXEC, fcntl, ioctl
from time import time

_FIONREAD = 0x541B  # ioctl_tty(2) and pipe(7); `termios` would be loaded for this number alone
_NOTHING = bytes(4)
_TICK = 0.1


class Leavings:
    """Standard output and error as the host reads them, whatever cells do to them later."""

    def __init__(self) -> None:
        self._pipes = [_copied(fd) for fd in (1, 2)]
        self._empty: tuple[int, ...] = ()

    def any(self, out: str) -> bool:
        """Whether something was printed that nobody has read yet, or lies in the folder `out`."""
        try:
            printed = any(ioctl(pipe, _FIONREAD, _NOTHING) != _NOTHING for pipe in self._pipes)
            return printed or not self._is_empty(out)
        except OSError:
            return True  # who can't say has the host look

    def _is_empty(self, out: str) -> bool:
        """Whether a folder is empty. One that is as it was when that was seen has not changed.

        A change within the same tick of the clock may leave no trace in its time, so a folder that
        has just changed is looked through again.
        """
        found = os.stat(out)
        state = (found.st_dev, found.st_ino, found.st_size, found.st_nlink, found.st_mtime_ns)
        if state == self._empty:
            return True
        if os.listdir(out):
            return False
        if time() - found.st_mtime > _TICK:
            self._empty = state
        return True


def _copied(fd: int) -> int:
    try:
        return fcntl(fd, F_DUPFD_CLOEXEC, 192)
    except OSError:  # the limit on descriptors is lower than that
        return fd
