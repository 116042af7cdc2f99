"""Many files, read by as many processes as there are processors: copies of the one that is asked.

Each takes shares that lie beside each other, and answers with their parts; a share of which nothing
was heard is read once more. So what is said is the same as from one process.
"""

from __future__ import annotations

import marshal
import os
from json import JSONEncoder

from polyloom_catalog._catalog import Part, Reader, Whole, shares

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from polyloom_catalog._places import Place

MOST_PROCESSES = 16


def written(request: dict[str, Any]) -> str:
    """The catalog of a request as JSON."""
    reader = Reader(request)
    first, *rest = _split(shares(reader.places), _processors()) or [[]]
    others = [(some, _begin(reader, some)) for some in rest]
    whole = Whole(reader.lost)
    for part in _parts(reader, first):
        whole.add(part)
    for some, answer in others:
        for part in _heard(answer) or _parts(reader, some):
            whole.add(part)
    entries = ",".join(whole.entries)
    told = _text({"types": whole.types, "problems": whole.problems.found})
    return f'{{"version":1,"entries":[{entries}],{told[1:]}'


_text = JSONEncoder(separators=(",", ":")).encode


def _parts(reader: Reader, some: list[list[Place]]) -> list[Part]:
    """What is said of shares, each entry as text."""
    parts = [reader.read(share) for share in some]
    for part in parts:
        part.entries = list(map(_text, part.entries))
    return parts


def _begin(reader: Reader, some: list[list[Place]]) -> Optional[tuple[int, int]]:
    """A copy of this process and where it answers; nothing where there can't be one."""
    try:
        answer, to = os.pipe()
        pid = os.fork()
    except OSError:
        return None
    if pid:
        os.close(to)
        return pid, answer
    try:
        parts = _parts(reader, some)
        with open(to, "wb") as file:
            marshal.dump([(part.entries, part.types, part.problems) for part in parts], file)
    finally:
        os._exit(0)


def _heard(other: Optional[tuple[int, int]]) -> list[Part]:
    """The parts that a copy read; none where it came to grief."""
    if other is None:
        return []
    pid, answer = other
    with open(answer, "rb") as file:
        text = file.read()
    os.waitpid(pid, 0)
    try:
        return [Part(*part) for part in marshal.loads(text)]
    except (EOFError, ValueError, TypeError):
        return []


def _split(all: list[list[Place]], count: int) -> list[list[list[Place]]]:
    """Shares for each of so many processes, as equal as may be."""
    sizes = [sum(place.size for place in share) for share in all]
    whole, at = sum(sizes), 0
    found: list[list[list[Place]]] = [[] for _ in range(count)]
    for share, size in zip(all, sizes):
        middle = at + size / 2
        found[min(count - 1, int(middle * count / whole)) if whole else 0].append(share)
        at += size
    return [some for some in found if some]


def _processors() -> int:
    try:
        count = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return 1  # where there is no way to fork, or none that is safe
    return min(count, MOST_PROCESSES)
