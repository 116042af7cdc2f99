"""What other programs take for work of the same shape: a number in milliseconds on stdout.

    target/bench/bin/python tests/bench/peers.py ray 2000        a task, of as many
    target/bench/bin/python tests/bench/peers.py dask 2000       a task of Dask's threads
    target/bench/bin/python tests/bench/peers.py ipykernel 300   a round trip of `x = 1`

Task i takes what task i - 100 gave. Starting the program is not counted, nor its first tasks.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

STRIDE = 100


def one(*_: object) -> int:
    return 1


def ray_tasks(count: int) -> float:
    import ray

    ray.init("local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    task = ray.remote(num_cpus=1)(one)
    ray.get([task.remote() for _ in range(20)])
    start = time.perf_counter()
    made: list[object] = []
    for i in range(count):
        made.append(task.remote(*made[i - STRIDE : i - STRIDE + 1] if i >= STRIDE else []))
    ray.get(made[-STRIDE:])
    took = time.perf_counter() - start
    ray.shutdown()
    return took / count * 1e3


def dask_tasks(count: int) -> float:
    from dask.threaded import get

    graph = {f"t{i}": (one, f"t{i - STRIDE}") if i >= STRIDE else (one,) for i in range(count)}
    last = [f"t{i}" for i in range(max(0, count - STRIDE), count)]
    get({"a": (one,)}, ["a"])
    start = time.perf_counter()
    get(graph, last, num_workers=os.cpu_count())
    return (time.perf_counter() - start) / count * 1e3


def kernel_trips(count: int) -> float:
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        found = []
        for turn in range(20 + count):
            start = time.perf_counter()
            client.execute_interactive("x = 1", output_hook=lambda message: None)
            if turn >= 20:
                found.append(time.perf_counter() - start)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return statistics.median(found) * 1e3


PEERS = {"ray": ray_tasks, "dask": dask_tasks, "ipykernel": kernel_trips}

if __name__ == "__main__":
    print(PEERS[sys.argv[1]](int(sys.argv[2])))
