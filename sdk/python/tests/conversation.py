"""A small host for the worker's tests: a socketpair, one worker process, and what it sent.

Knows the protocol from its contract and uses the SDK's own codec only for bodies.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

SDK = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SDK))

from polyloom import _msgpack  # noqa: E402

KINDS = {
    **{1: "Hello", 2: "Started", 3: "Log", 4: "Progress", 5: "Display", 6: "Diagnostic"},
    **{7: "Artifact", 8: "Done", 9: "Catalog", 10: "Pong", 127: "Error"},
    **{11: "Kept", 12: "Completions", 13: "Saved"},
}
NUMBERS = {"HelloOk": 65, "HelloNo": 66, "Exec": 68, "Cancel": 69, "Credit": 70, "Ping": 75}
NUMBERS.update(Prepare=67, Describe=71, Reset=72, Shutdown=76)
NUMBERS.update(Snapshot=73, Restore=74, Forget=77, Complete=78, Save=79, Load=80)
HEADER = struct.Struct("<IBBHQ")
TIMEOUT = 30.0


class Host:
    """The host's end of one conversation, with a folder that stands for `/cell`."""

    def __init__(
        self,
        *,
        python: str = sys.executable,
        env: Optional[dict[str, str]] = None,
        program: Sequence[str] = ("worker.py",),
    ) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.cell = Path(self.folder.name)
        for name in ("code", "in", "out", "work", "tmp"):
            (self.cell / name).mkdir()
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(TIMEOUT)
        os.set_inheritable(theirs.fileno(), True)
        self.stdout = open(self.cell / "stdout", "w+b")
        self.stderr = open(self.cell / "stderr", "w+b")
        self.process = subprocess.Popen(
            [python, "-B", "-s", "-X", "utf8", str(SDK / program[0]), *program[1:]],
            pass_fds=(theirs.fileno(),),
            cwd=self.cell / "work",
            stdin=subprocess.DEVNULL,
            stdout=self.stdout,
            stderr=self.stderr,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(self.cell / "work"),
                "TMPDIR": str(self.cell / "tmp"),
                "OUT": str(self.cell / "out"),
                "PYTHONHASHSEED": "0",
                "POLYLOOM_W": str(theirs.fileno()),
                **(env or {}),
            },
        )
        theirs.close()
        self.hello: dict[str, Any] = {}
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.metered = 0
        self.next_id = 1
        self._held: Optional[list[bytes]] = None

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for file in (self.socket, self.stdout, self.stderr):
            file.close()
        self.folder.cleanup()

    def greet(self) -> None:
        """Take the preamble and Hello, and answer with HelloOk."""
        assert self._exactly(8) == b"PLYW\x01\x01\0\0"
        kind, _, self.hello = self.receive()
        assert kind == "Hello"
        self.socket.sendall(b"PLYW\x01\x01\0\0")
        self.send("HelloOk", 0, {"major": 1, "minor": 0, "features": self.hello["features"]})

    def send(self, kind: str, exec_id: int, body: dict[str, Any]) -> None:
        """Send one frame."""
        data = _msgpack.encode(body)
        frame = HEADER.pack(len(data), NUMBERS[kind], 0, 0, exec_id) + data
        if self._held is None:
            self.socket.sendall(frame)
        else:
            self._held.append(frame)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send in one piece what is sent in here."""
        self._held = []
        yield
        held, self._held = b"".join(self._held), None
        self.socket.sendall(held)

    def receive(self) -> tuple[str, int, dict[str, Any]]:
        """Wait for one frame."""
        size, kind, flags, zero, exec_id = HEADER.unpack(self._exactly(16))
        assert size <= 1 << 20 and not flags and not zero
        if 3 <= kind <= 6:
            assert size <= 64 << 10
            self.metered += size
        return KINDS[kind], exec_id, _msgpack.decode(self._exactly(size))

    def start(
        self,
        code: str,
        outputs: Optional[dict[str, str]] = None,
        inputs: Optional[dict[str, Any]] = None,
        in_message: bool = False,
        **more: Any,
    ) -> int:
        """Send an Exec for `code`; the id of the exec.

        What is `in_message` lies in no file: its code, and values that it is given.
        """
        path = self.cell / "code" / "cell.py"
        if in_message:
            path = self.cell / "code" / f"{self.next_id}.py"
            more["source"] = code
        else:
            path.write_bytes(code.encode("utf-8", "surrogateescape"))
        slots: dict[str, dict[str, Any]] = {}
        for name, value in (inputs or {}).items():
            if isinstance(value, Path):
                form = {".npy": "npy", ".arrow": "arrow"}.get(value.suffix, "raw")
                slots[name] = {"type": "any", "path": str(value), "encoding": form, "media": None}
            else:
                file = self.cell / "in" / f"{name}.msgpack"
                slots[name] = {"type": "any", "path": str(file), "encoding": "msgpack"}
                if in_message:
                    slots[name]["value"] = _msgpack.encode(value)
                else:
                    file.write_bytes(_msgpack.encode(value))
        exec_id = self.next_id
        self.next_id += 1
        body = {
            "cell": "cell",
            "code": str(path),
            "inputs": slots,
            "outputs": {name: {"type": text} for name, text in (outputs or {}).items()},
            "out": str(self.cell / "out"),
            "argv": [],
            "seed": None,
            "deadline_ms": None,
            **more,
        }
        self.send("Exec", exec_id, body)
        return exec_id

    def finish(self, exec_id: int, *, grant: bool = True) -> dict[str, Any]:
        """Receive until Done, granting what was used; Done's body."""
        while True:
            kind, of, body = self.receive()
            assert of == exec_id, (kind, of, exec_id)
            self.seen.append((kind, body))
            if kind == "Done":
                return body
            if grant and kind in ("Log", "Progress", "Display", "Diagnostic"):
                self.send("Credit", exec_id, {"bytes": len(_msgpack.encode(body))})

    def run(self, code: str, *arguments: Any, **more: Any) -> dict[str, Any]:
        """Greet if need be, run one cell to its Done."""
        if not self.hello:
            self.greet()
        return self.finish(self.start(code, *arguments, **more))

    def end(self) -> int:
        """Shut the worker down; its exit code."""
        self.send("Shutdown", 0, {"grace_ms": 1000})
        return self.process.wait(TIMEOUT)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The bodies seen of one kind."""
        return [body for name, body in self.seen if name == kind]

    def output(self, name: str) -> Any:
        """The decoded value of a msgpack output, from the last Done or else its file."""
        told: dict[str, bytes] = self.of("Done")[-1].get("values", {})
        if name in told:
            return _msgpack.decode(told[name], 64)
        return _msgpack.decode((self.cell / "out" / f"{name}.msgpack").read_bytes(), 64)

    def text(self, stream: str) -> str:
        """What the worker wrote to `stdout` or `stderr` so far."""
        return (self.cell / stream).read_text("utf-8", "backslashreplace")

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data


class Conversation(unittest.TestCase):
    """A test with one worker."""

    def setUp(self) -> None:
        self.host = Host()
        self.addCleanup(self.host.__exit__)

    def run_cell(self, code: str, *arguments: Any, **more: Any) -> dict[str, Any]:
        """Run a cell to its Done."""
        return self.host.run(code, *arguments, **more)

    def error(self) -> dict[str, Any]:
        """The one error that was reported."""
        errors = [body for body in self.host.of("Diagnostic") if body["severity"] == "error"]
        self.assertEqual(len(errors), 1, self.host.seen)
        return errors[0]

    def fails(self, code: str, *arguments: Any, **more: Any) -> dict[str, Any]:
        """Run a cell that fails; its error."""
        self.assertIs(self.run_cell(code, *arguments, **more)["ok"], False)
        return self.error()
