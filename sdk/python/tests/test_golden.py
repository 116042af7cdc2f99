"""The golden conversations of the protocol with an executor in Python, byte for byte."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from conversation import SDK

CONVERSATIONS = SDK.parent.parent / "protocol" / "vectors" / "conversations"
EXECUTOR = Path(__file__).resolve().parent / "golden.py"
PATIENCE = 30.0


def exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes, or what there is before the end."""
    data = b""
    while len(data) < size:
        try:
            part = sock.recv(size - len(data))
        except ConnectionResetError:
            # A worker that ends with something unread leaves this instead of an end.
            break
        if not part:
            break
        data += part
    return data


def frame(sock: socket.socket) -> bytes:
    """The next frame, or nothing at the end."""
    header = exactly(sock, 16)
    size = struct.unpack_from("<I", header)[0] if len(header) == 16 else 0
    return header + exactly(sock, size)


def pattern(written: str) -> str:
    """What is written down as an expression: `?` is any digit, `*` any rest."""
    return written.replace("?", "[0-9a-f]").replace("*", ".*")


class Golden(unittest.TestCase):
    def replay(self, text: str, cell: Path, sock: socket.socket) -> None:
        """Say what the host says, and hear what the worker is to say."""
        first = True
        for number, line in enumerate(text.splitlines(), 1):
            mark, _, rest = line.partition(" ")
            if mark == ">":
                try:
                    sock.sendall(bytes.fromhex(rest))
                except (BrokenPipeError, ConnectionResetError):
                    pass  # one that was refused may be gone already
            elif mark == "<":
                came = (exactly(sock, 8) if first else frame(sock)).hex()
                first = False
                self.assertRegex(came, re.compile(rf"\A{pattern(rest)}\Z"), f"line {number}")
            elif mark == "close":
                sock.shutdown(socket.SHUT_WR)
            elif mark == "end":
                self.assertEqual(frame(sock).hex(), "", f"line {number}")
            elif mark == "file":
                name, _, content = rest.partition(" ")
                (cell / name).write_bytes(json.loads(content).encode())
            else:
                self.assertIn(mark[:1], ("", "#"), f"line {number}")

    def test_conversations_are_golden(self) -> None:
        files = sorted(CONVERSATIONS.iterdir())
        self.assertGreaterEqual(len(files), 20)
        for file in files:
            ours, theirs = socket.socketpair()
            with self.subTest(file.name), tempfile.TemporaryDirectory() as folder, ours:
                cell = Path(folder)
                for name in ("code", "in", "out"):
                    (cell / name).mkdir()
                ours.settimeout(PATIENCE)
                with theirs:
                    worker = subprocess.Popen(
                        [sys.executable, "-B", "-s", SDK / "executor.py", f"{EXECUTOR}:Golden"],
                        pass_fds=(theirs.fileno(),),
                        cwd=cell,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        env={**os.environ, "POLYLOOM_W": str(theirs.fileno())},
                    )
                try:
                    self.replay(file.read_text("utf-8"), cell, ours)
                    worker.wait(PATIENCE)
                finally:
                    worker.kill()
                    worker.wait()


if __name__ == "__main__":
    unittest.main()
