"""Many files, read by as many processes as there are processors: copies of the one that is asked.

Each takes places that lie beside each other, and answers with their parts; those of which nothing
was heard are read once more. So what is said is the same as from one process.
"""

from __future__ import annotations

import marshal
import os
from json import JSONEncoder

from polyloom_catalog._catalog import Bounds, Part, Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Optional

    from polyloom_catalog._places import Place

MOST_PROCESSES = 16
WORTH = 32 << 10
"""A copy is made for this much source, in bytes."""


def written(request: dict[str, Any]) -> Iterator[str]:
    """The catalog of a request: a line of JSON for each place, and one before them."""
    reader = Reader(request)
    known = frozenset(request.get("known") or ())
    places = [place for place in reader.places if place.location not in known]
    first, *rest = _split(places, _processors()) or [[]]
    others = [(some, _begin(reader, some)) for some in rest]
    bounds = Bounds()
    yield _text({"version": 1, "problems": reader.lost.found})
    parts = iter(_parts(reader, first))
    for place in reader.places:
        if place.location in known:
            yield _text({"version": 1, "location": place.location, "known": True})
            continue
        part = next(parts, None)
        while part is None:
            some, answer = others.pop(0)
            parts = iter(_heard(answer) or _parts(reader, some))
            part = next(parts, None)
        yield _line(bounds.hold(part))


_text = JSONEncoder(separators=(",", ":")).encode


def _line(part: Part) -> str:
    head = _text({"version": 1, "location": part.location, "files": part.files})
    rest = _text({"types": part.types, "problems": part.problems})
    return f'{head[:-1]},"entries":[{",".join(part.entries)}],{rest[1:]}'


def _parts(reader: Reader, some: list[Place]) -> list[Part]:
    """What is said of places, each entry as text."""
    parts = list(map(reader.read, some))
    for part in parts:
        part.entries = list(map(_text, part.entries))
    return parts


def _begin(reader: Reader, some: list[Place]) -> Optional[tuple[int, int]]:
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
            marshal.dump([tuple(vars(part).values()) for part in parts], file)
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


def _split(places: list[Place], count: int) -> list[list[Place]]:
    """Places for each of so many processes at most, as equal as may be."""
    whole, at = sum(place.size for place in places), 0
    count = max(1, min(count, whole // WORTH))
    found: list[list[Place]] = [[] for _ in range(count)]
    for place in places:
        middle = at + place.size / 2
        found[min(count - 1, int(middle * count / whole)) if whole else 0].append(place)
        at += place.size
    return [some for some in found if some]


def _processors() -> int:
    try:
        count = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return 1  # where there is no way to fork, or none that is safe
    return min(count, MOST_PROCESSES)
