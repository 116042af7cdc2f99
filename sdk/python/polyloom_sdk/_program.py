"""Runs a program for a cell: what it prints is the cell's, and is read for diagnostics.

The time is the host's: a cell that is cancelled or killed takes its programs with it. How much is
kept is bounded; what is passed on is not. Knows no wire.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Callable, Optional, Union

from polyloom_sdk._failure import Diagnostic, Failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Word = Union[str, "os.PathLike[str]"]

MOST = 200
"""More diagnostics are of no use to a reader."""
KEPT = 64 << 10
"""What is kept of a stream, from its beginning and from its end: as much as the host reads."""
LONGEST_LINE = 4096
_GRACE = 0.5
_STRAY = 0.1
_CHUNK = 64 << 10


@dataclass(frozen=True)
class Ran:
    """How a program ended, and the beginning and the end of what it printed."""

    argv: tuple[str, ...]
    exit_code: int
    """Its status, or 128 and the number of the signal that ended it."""
    stdout: bytes
    stderr: bytes
    diagnostics: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        """Whether it ended with status 0."""
        return self.exit_code == 0

    def failure(self) -> Failure:
        """The failure of a cell whose program ended so: its first error, or else its status."""
        for found in self.diagnostics:
            if found.severity == "error":
                return Failure.told_by(found, exit_code=self.exit_code or 1, printed=True)
        name = os.path.basename(self.argv[0])
        how = f"exited with status {self.exit_code}"
        if self.exit_code > 128:
            how = f"was ended by signal {self.exit_code - 128}"
        return Failure(f"`{name}` {how}", exit_code=self.exit_code or 1)


class _Kept:
    """The beginning and the end of a stream."""

    def __init__(self) -> None:
        self._head, self._tail = bytearray(), bytearray()
        self._lost = 0

    def add(self, data: bytes) -> None:
        room = KEPT - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * KEPT:
            self._lost += len(self._tail) - KEPT
            del self._tail[:-KEPT]

    def text(self) -> bytes:
        gap = b"\n" if self._lost else b""
        return bytes(self._head + gap + self._tail)


def run(
    argv: Sequence[Word],
    *,
    cwd: Optional[Word],
    env: Optional[Mapping[str, str]],
    stdin: Optional[bytes],
    diagnostics: Optional[str],
    stream: str,
    code: str,
    shielded: Callable[[], AbstractContextManager[None]],
) -> Ran:
    """Run a program to its end. `shielded` keeps an interrupt away while it is being ended."""
    if stream not in ("stderr", "stdout"):
        raise ValueError(f"stream `{stream}` is none of stderr, stdout")
    words = tuple(os.fspath(word) for word in argv)
    if not words:
        raise ValueError("argv is empty: it begins with the program")
    for ours in (sys.stdout, sys.stderr):
        if ours is not None:
            ours.flush()  # what was printed before comes before
    given = _given(stdin)
    kept = {"stdout": _Kept(), "stderr": _Kept()}
    process: Optional[subprocess.Popen[bytes]] = None
    try:
        with shielded():
            process = subprocess.Popen(
                words,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=None if env is None else {**os.environ, **env},
                start_new_session=True,
            )
        _pass_on(process, kept)
        status = process.wait()
    except OSError as error:
        if process is not None:
            raise
        raise Failure(f"`{words[0]}` can't be started: {error}", exit_code=127) from error
    finally:
        if given is not None:
            given.close()
        if process is not None:
            with shielded():
                _end(process)
    texts = {name: each.text() for name, each in kept.items()}
    found: tuple[Diagnostic, ...] = ()
    if diagnostics is not None:
        found = tuple(parse(diagnostics, texts[stream], code))
    exit_code = status if status >= 0 else 128 - status
    return Ran(words, exit_code, texts["stdout"], texts["stderr"], found)


def _given(stdin: Optional[bytes]) -> Optional[IO[bytes]]:
    """A file to read from; None for the cell's own standard input."""
    if stdin is None:
        return None
    file = tempfile.TemporaryFile()
    file.write(stdin)
    file.seek(0)
    return file


def _pass_on(process: subprocess.Popen[bytes], kept: dict[str, _Kept]) -> None:
    with selectors.DefaultSelector() as selector:
        for number, name, pipe in ((1, "stdout", process.stdout), (2, "stderr", process.stderr)):
            assert pipe is not None
            selector.register(pipe, selectors.EVENT_READ, (number, kept[name]))
        while selector.get_map():
            ready = selector.select(_STRAY)
            if not ready and process.poll() is not None:
                return  # what it left in the background still holds the pipes
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                    continue
                number, each = key.data
                each.add(data)
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(number, rest) :]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask what still runs of it to end, then end it."""
    for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        if process.poll() is not None:
            break
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


_SEVERITIES = {"warning": "warning", "warn": "warning"}
_SEVERITIES.update(dict.fromkeys(("note", "info", "information", "hint", "help"), "info"))


def parse(pattern: str, text: bytes, code: str) -> list[Diagnostic]:
    """Read what a tool printed as a manifest's `[diagnostics]` would.

    The pattern has the named group `message` and any of `file` `line` `line2` `col` `severity`
    `code`; `^` and `$` match at lines. A file of the name of `code` is the cell's own.
    """
    lines = text.decode("utf-8", "replace").split("\n")
    plain = "\n".join(line[:LONGEST_LINE] for line in lines)
    compiled = re.compile(pattern, re.MULTILINE)
    if "message" not in compiled.groupindex:
        raise ValueError("the pattern of diagnostics has no group `message`")
    found: list[Diagnostic] = []
    for match in compiled.finditer(plain):
        groups = {name: (value or "").strip() for name, value in match.groupdict().items()}
        if not groups["message"]:
            continue
        file = groups.get("file") or None
        if file == os.path.basename(code):
            file = code
        word = (groups.get("severity") or "error").lower()
        found.append(
            Diagnostic(
                groups["message"][:LONGEST_LINE],
                _SEVERITIES.get(word, "error"),
                line=_number(groups.get("line")) or _number(groups.get("line2")),
                col=_number(groups.get("col")),
                code=groups.get("code") or None,
                file=file,
            )
        )
        if len(found) == MOST:
            break
    return found


def _number(text: Optional[str]) -> Optional[int]:
    if text and text.isdigit() and text.isascii() and len(text) < 10:
        return int(text) or None
    return None
