"""Points in time as events and audit records write them: RFC 3339, to the nanosecond."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

_FORM = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|m|s|ms|us|µs|ns))+|0", re.ASCII)
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)", re.ASCII)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000_000


def now_ns() -> int:
    """Return the nanoseconds since 1970."""
    return time.time_ns()


def parse(text: str) -> int:
    """Return the nanoseconds since 1970 that an RFC 3339 text stands for."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("no RFC 3339 time")
    whole = datetime.fromisoformat(match[1] + match[3])
    seconds = (whole - _EPOCH) // timedelta(seconds=1)
    return seconds * _SECOND + int((match[2] or "").ljust(9, "0"))


def write(ns: int) -> str:
    """Return a time as RFC 3339 in UTC, with as many digits of the second as are not zero."""
    seconds, rest = divmod(ns, _SECOND)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return text + f".{rest:09d}".rstrip("0").rstrip(".") + "Z"


def of(moment: datetime) -> int:
    """Return the nanoseconds since 1970 of an aware datetime."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def duration(text: str) -> timedelta:
    """Return the length of time that a text such as ``5m`` or ``1h30m`` stands for, as settings of Go services write it."""
    if _DURATION.fullmatch(text) is None:
        raise ValueError("is no duration such as 5m or 1h30m")
    return timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in _LENGTH.findall(text)))


def span(length: timedelta) -> int:
    """Return a length of time in nanoseconds."""
    return length // timedelta(microseconds=1) * 1000


def as_datetime(ns: int) -> datetime:
    """Return a time as a datetime in UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=ns // 1000)
