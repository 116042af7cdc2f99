"""Execs of a live Python worker, without the host: `python3 tests/bench/session_worker.py`.

Prebuilt bytes go to the worker over a socketpair, one Exec after the other. Told are the medians of
the round trip and of the processor time that the worker had for it. The floor, which takes turns
with it, is a loop that receives, compiles, executes and answers, and decodes nothing.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "sdk" / "python" / "tests"))

from conversation import HEADER, NUMBERS, Host, _msgpack  # noqa: E402

DONE = 8
BATCH = 50
"""Execs in turn. The kernel counts processor time in slices, so it is asked for this many."""
FLOOR = """
import socket, sys
sock, code, names = socket.socket(fileno=int(sys.argv[1])), sys.argv[2], {}
while sock.recv(65536):
    exec(compile(code, "/cell/code/cell.py", "exec", dont_inherit=True), names)
    sock.send(b"." * 63)
"""


class Series:
    """Execs one after the other, of the worker or of the floor."""

    def __init__(self, pid: int, once: Callable[[], None]) -> None:
        self.pid = pid
        self.once = once
        self.walls: list[float] = []
        self.busy: list[float] = []

    def batch(self) -> None:
        """A few execs, each timed; after one that brings the processor back to it."""
        self.once()
        before = processor_time(self.pid)
        for _ in range(BATCH):
            began = time.perf_counter_ns()
            self.once()
            self.walls.append((time.perf_counter_ns() - began) / 1e3)
        self.busy.append((processor_time(self.pid) - before) / 1e3 / BATCH)

    def told(self) -> str:
        """What was measured, in microseconds."""
        wall, busy = statistics.median(self.walls), statistics.median(self.busy)
        return f"{wall:6.1f} in all, {busy:6.1f} of the worker, at best {min(self.busy):6.1f}"


def processor_time(pid: int) -> int:
    """Nanoseconds on a processor, of the main thread of a process."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def live(host: Host, code: str, in_message: bool) -> Series:
    """A session that has begun, and an Exec of it."""
    number = 0

    def once() -> None:
        nonlocal number
        number += 1
        host.socket.sendall(exec_frame(host, number, code, in_message))
        until_done(host.socket)

    host.greet()
    once()
    keeper = host.process.pid
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    return Series(int(children[-1]), once)


def exec_frame(host: Host, exec_id: int, code: str, in_message: bool) -> bytes:
    """An Exec as the host sends it."""
    path = host.cell / "code" / ("none.py" if in_message else "cell.py")
    body: dict[str, Any] = {
        **{"cell": "cell", "code": str(path), "inputs": {}, "outputs": {}, "argv": []},
        **{"out": str(host.cell / "out"), "seed": None, "deadline_ms": None, "session": True},
    }
    if in_message:
        body["source"] = code
    elif exec_id == 1:
        path.write_text(code)
    data = _msgpack.encode(body)
    return HEADER.pack(len(data), NUMBERS["Exec"], 0, 0, exec_id) + data


def until_done(sock: socket.socket) -> None:
    """Takes frames up to Done."""
    have = b""
    while True:
        have += sock.recv(1 << 16)
        while len(have) >= 16:
            size, kind = HEADER.unpack_from(have)[:2]
            if len(have) < 16 + size:
                break
            have = have[16 + size :]
            if kind == DONE:
                return


def compare(what: str, code: str, in_message: bool, batches: int) -> None:
    """One line of the table for the worker, one for the floor."""
    ours, theirs = socket.socketpair()
    os.set_inheritable(theirs.fileno(), True)
    argv = [sys.executable, "-c", FLOOR, str(theirs.fileno()), code]
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdout=quiet)
    with Host() as host, child as bare:
        theirs.close()

        def once() -> None:
            ours.send(b"." * 150)
            ours.recv(1 << 16)

        once()
        worker, floor = live(host, code, in_message), Series(bare.pid, once)
        for _ in range(batches):
            worker.batch()
            floor.batch()
        ours.close()
    print(f"{what + ', in the message' * in_message:24} {worker.told()}")
    print(f"{'  floor':24} {floor.told()}")


def main() -> None:
    """Compares a few codes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=100)
    batches = parser.parse_args().batches
    print("microseconds")
    for what, code in (("x = 1", "x = 1"), ("print", "print(1)"), ("100 lines", "x = 1\n" * 100)):
        for in_message in (True, False):
            compare(what, code, in_message, batches)


if __name__ == "__main__":
    main()
