"""Data from a Python cell to one in C, which reads all of it: beside a bare program that does."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from common import MAKER, Common, took

FLOW_CODE = """import polyloom
x = polyloom.empty(COUNT, "f8")
memoryview(x).cast("B")[:] = bytes(8 * COUNT)
x[0] = salt"""

FLOW = (
    MAKER.replace("TYPE", "tensor<f64,[n]>").replace("MAKE", FLOW_CODE)
    + """
[cells.take]
lang = "c"
inputs = { x = "make.x" }
outputs = { sum = "float" }
memory = "8GiB"
code = '''
#include <polyloom.h>
int main(void) {
  pl_span_f64 x = pl_in_f64("x");
  double sum = 0;
  for (int64_t i = 0; i < x.size; i++) sum += x.data[i];
  pl_out_float("sum", sum);
  return 0;
}
'''
"""
)

FLOOR = """
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
int main(int argc, char **argv) {
  struct stat stat;
  int fd = open(argv[argc - 1], O_RDONLY);
  if (fd < 0 || fstat(fd, &stat) != 0) return 1;
  const double *x = mmap(0, stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
  if (x == MAP_FAILED) return 1;
  double sum = 0;
  for (int64_t i = 0; i < stat.st_size / 8; i++) sum += x[i];
  printf("%g\\n", sum);
  return 0;
}
"""


def summing(bench: Common) -> None:
    """A tensor that Python makes and C sums, and the same sum over a file in memory."""
    size = (16 if bench.quick else 1024) << 20
    memory = Path("/dev/shm")
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None or shutil.disk_usage(memory).free < 2 * size:
        bench.note("no C compiler, or /dev/shm is too small: `sum` is left out")
        return
    code, program = bench.folder / "floor.c", bench.folder / "floor"
    code.write_text(FLOOR)
    # As cells are compiled.
    took([compiler, "-O1", str(code), "-o", str(program)], bench.folder, bench.env)
    project = bench.project("sum", FLOW.replace("COUNT", str(size // 8)))
    whole, alone, floor = [], [], []
    # The first one compiles. Other cases make tensors of the same code, whose results would do.
    first = 1000
    bench.ran(project, "-p", f"salt={first}")
    for turn in range(1 if bench.quick else min(bench.repeat, 5)):
        salt = first + 1 + turn
        cells = {cell.name: cell for cell in bench.ran(project, "-p", f"salt={salt}")}
        whole.append(cells["take"].gone - cells["make"].gone)
        alone.append(cells["take"].wall)
        with tempfile.NamedTemporaryFile(dir=memory, buffering=0) as file:
            block = bytes(4 << 20)
            for _ in range(size // len(block)):
                file.write(block)
            start = time.perf_counter()
            took([str(program), os.fspath(file.name)], bench.folder, bench.env)
            floor.append((time.perf_counter() - start) * 1e3)
    least, mib = statistics.median(floor), size >> 20
    bench.row("sum", f"floor: a C program maps and sums {mib} MiB in memory", least)
    bench.row("sum", f"{mib} MiB: the C cell that sums them alone", statistics.median(alone))
    whole_ms = statistics.median(whole)
    bench.row("sum", "from the end of the Python cell, hashing included", whole_ms, 1.1 * least)
    bench.ratio("sum", "of it / floor", whole_ms / least, 1.1)
