"""Counts the uses of retired versions, by version and client."""

from __future__ import annotations

import string
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tradepulse_rotator import times
from tradepulse_rotator.records import RetiredUse

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_RETIRED_USES: Final = 8
UNKNOWN: Final = "unknown"
"""The client of a user that has no address of its client, or not a valid one."""
OTHERS: Final = "others"
"""Clients for which there was no room, together."""

_SECOND: Final = 1_000_000_000
_EVERY: Final = 60 * _SECOND  # the least time between two records or log lines of one client
_FORGET: Final = 3600 * _SECOND  # after how long without a use the room of a client is given to another one
_MAX_CLIENT: Final = 64
_ALLOWED: Final = frozenset(string.ascii_letters + string.digits + ".:-_%[]")


def client_name(client: str) -> str:
    """Return the name of a client in a record: the text if it is an address or a host name, else ``UNKNOWN``."""
    return client if 0 < len(client) <= _MAX_CLIENT and _ALLOWED.issuperset(client) else UNKNOWN


@dataclass(slots=True)
class _Trip:
    """What is known of one client, and what of that is on record."""

    version_id: str
    client: str
    uses: int = 0
    last: int = 0
    shown: RetiredUse | None = None
    shown_at: int | None = None
    said_at: int | None = None

    @property
    def use(self) -> RetiredUse:
        return RetiredUse(self.version_id, self.client, self.uses, self.last)


class Tripwire:
    """The uses of retired versions of one secret. Its methods may be called in any thread."""

    def __init__(self, clock: Callable[[], int] = times.now_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._trips: list[_Trip] = []

    def used(self, version_id: str, client: str) -> int:
        """Count a use. It returns how many there are of the client if that is to be reported now, else 0."""
        with self._lock:
            now = self._clock()
            trip = self._find(version_id, client_name(client), now)
            trip.uses, trip.last = trip.uses + 1, now
            if trip.said_at is not None and now - trip.said_at < _EVERY:
                return 0
            trip.said_at = now
            return trip.uses

    def _find(self, version_id: str, client: str, now: int) -> _Trip:
        for trip in self._trips:
            if (trip.version_id, trip.client) == (version_id, client):
                return trip
        if len(self._trips) >= MAX_RETIRED_USES - 1 and not self._make_room(now):
            client = OTHERS
            for trip in self._trips:
                if trip.client == OTHERS:
                    trip.version_id = version_id  # the last one stands for all
                    return trip
        self._trips.append(_Trip(version_id, client))
        return self._trips[-1]

    def _make_room(self, now: int) -> bool:
        """Drop the client whose last use is the oldest, if that is long ago and on record."""
        over = [t for t in self._trips if t.client != OTHERS and t.use == t.shown and now - t.last >= _FORGET]
        if over:
            self._trips.remove(min(over, key=lambda t: t.last))
        return bool(over)

    def record(self) -> tuple[RetiredUse, ...]:
        """Return what the next record says. A client is in it with as many uses as before, unless that was a minute ago."""
        with self._lock:
            now = self._clock()
            for trip in self._trips:
                if trip.shown != trip.use and (trip.shown_at is None or now - trip.shown_at >= _EVERY):
                    trip.shown, trip.shown_at = trip.use, now
            return tuple(sorted((t.shown for t in self._trips if t.shown), key=lambda u: (u.version_id, u.client)))
