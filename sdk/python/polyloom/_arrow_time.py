"""Arrow's dates and times as those of `datetime`, both ways. Knows numbers and units, no files.

Python's clocks stop at microseconds: what is finer is cut off here and stays in a column's `view`.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

STORAGE = {
    **{"date32": "int32", "date64": "int64", "time32": "int32", "time64": "int64"},
    **{"timestamp": "int64", "duration": "int64"},
}
_MICROS = {"s": 10**6, "ms": 1000, "us": 1, "ns": 0}
_EPOCH = datetime(1970, 1, 1)
_DAY_ONE = date(1970, 1, 1).toordinal()


def _micros(number: int, unit: str) -> int:
    return number // 1000 if unit == "ns" else number * _MICROS[unit]


def converter(name: str, parameters: Sequence[Any]) -> Callable[[int], Any]:
    """From the stored number to the value."""
    unit: str = parameters[0] if parameters else "us"
    if name == "date32":
        return lambda days: date.fromordinal(_DAY_ONE + days)
    if name == "date64":
        return lambda millis: date.fromordinal(_DAY_ONE + millis // 86_400_000)
    if name == "duration":
        return lambda number: timedelta(microseconds=_micros(number, unit))
    if name in ("time32", "time64"):
        return lambda number: (_EPOCH + timedelta(microseconds=_micros(number, unit))).time()
    zone = _zone(parameters[1]) if len(parameters) > 1 and parameters[1] else None
    if zone is None:
        return lambda number: _EPOCH + timedelta(microseconds=_micros(number, unit))
    epoch = _EPOCH.replace(tzinfo=timezone.utc)
    return lambda number: (epoch + timedelta(microseconds=_micros(number, unit))).astimezone(zone)


def _zone(name: str) -> Any:
    if name.upper() in ("UTC", "Z", "ETC/UTC"):
        return timezone.utc
    try:
        if name[0] in "+-":
            hours, _, minutes = name[1:].partition(":")
            offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
            return timezone(offset if name[0] == "+" else -offset)
        from zoneinfo import ZoneInfo

        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # no data for that zone here
        return timezone.utc


def stored(name: str, parameters: Sequence[Any]) -> Callable[[Any], int]:
    """From the value to the stored number."""
    unit: str = parameters[0] if parameters else "us"

    def number(micros: int) -> int:
        return micros * 1000 if unit == "ns" else micros // _MICROS[unit]

    def span(value: timedelta) -> int:
        return (value.days * 86_400 + value.seconds) * 10**6 + value.microseconds

    def instant(value: datetime) -> int:
        if value.tzinfo is not None:
            value = value.astimezone(timezone.utc).replace(tzinfo=None)
        return number(span(value - _EPOCH))

    def of_day(value: time) -> int:
        return number(span(datetime.combine(_EPOCH.date(), value.replace(tzinfo=None)) - _EPOCH))

    if name == "date32":
        return lambda value: value.toordinal() - _DAY_ONE
    if name == "date64":
        return lambda value: (value.toordinal() - _DAY_ONE) * 86_400_000
    if name == "duration":
        return lambda value: number(span(value))
    return instant if name == "timestamp" else of_day


def kind_of(value: Any) -> tuple[str, tuple[Any, ...]]:
    """The Arrow type that holds a value of `datetime`; an empty name for anything else."""
    if isinstance(value, datetime):
        return "timestamp", ("us", "UTC" if value.tzinfo is not None else "")
    if isinstance(value, date):
        return "date32", ()
    if isinstance(value, time):
        return "time64", ("us",)
    if isinstance(value, timedelta):
        return "duration", ("us",)
    return "", ()
