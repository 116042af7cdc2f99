"""Execs of a live Python worker, without the host: `python3 tests/bench/session_worker.py`.

Prebuilt bytes go to the worker over a socketpair, one Exec after the other. Told are the medians of
the round trip and of the processor time that the worker had for it, in microseconds.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "sdk" / "python" / "tests")]

from conversation import HEADER, NUMBERS, Host, _msgpack  # noqa: E402

DONE = 8


def exec_frame(host: Host, exec_id: int, code: str, in_message: bool) -> bytes:
    """An Exec as the host sends it."""
    path = host.cell / "code" / (f"{exec_id}.py" if in_message else "cell.py")
    body: dict[str, Any] = {
        **{"cell": "cell", "code": str(path), "inputs": {}, "outputs": {}, "argv": []},
        **{"out": str(host.cell / "out"), "seed": None, "deadline_ms": None, "session": True},
    }
    if in_message:
        body["source"] = code
    else:
        path.write_text(code)
    data = _msgpack.encode(body)
    return HEADER.pack(len(data), NUMBERS["Exec"], 0, 0, exec_id) + data


def until_done(sock: socket.socket) -> int:
    """Takes frames up to Done; how many reads that took."""
    have, reads = b"", 0
    while True:
        have += sock.recv(1 << 16)
        reads += 1
        while len(have) >= 16:
            size, kind = HEADER.unpack_from(have)[:2]
            if len(have) < 16 + size:
                break
            have = have[16 + size :]
            if kind == DONE:
                assert not have
                return reads


def processor_time(pid: int) -> int:
    """Nanoseconds on a processor, of the main thread of a process."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def living(keeper: int) -> int:
    """The process of the session that runs cells: the keeper's child."""
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    return int(children[-1])


def measure(code: str, in_message: bool, count: int) -> tuple[float, float, float]:
    """Medians of the round trip and the processor time, and the mean number of reads."""
    with Host() as host:
        host.greet()
        frames = [exec_frame(host, number, code, in_message) for number in range(1, count + 1)]
        walls, times, reads = [], [], 0
        pid = 0
        for number, frame in enumerate(frames):
            began = time.perf_counter_ns()
            host.socket.sendall(frame)
            got = until_done(host.socket)
            ended = time.perf_counter_ns()
            if number == 0:
                pid = living(host.process.pid)
            if number % 50 == 0:
                # The worker has gone to sleep by now, nearly always.
                times.append(processor_time(pid))
            if number >= count // 10:
                walls.append((ended - began) / 1e3)
                reads += got
        each = [(after - before) / 50e3 for before, after in zip(times[1:], times[2:])]
        return statistics.median(walls), statistics.median(each), reads / len(walls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    arguments = parser.parse_args()
    for what, code in (("x = 1", "x = 1"), ("print", "print(1)"), ("100 lines", "x = 1\n" * 100)):
        for in_message in (True, False):
            wall, busy, reads = measure(code, in_message, arguments.count)
            where = "in the message" if in_message else "a file"
            print(f"{what}, {where}: {wall:.1f} us, worker {busy:.1f} us, {reads:.2f} reads")


if __name__ == "__main__":
    main()
