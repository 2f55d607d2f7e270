"""How long a process may use a version of a secret without confirming it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on two clocks, in nanoseconds."""

    boot: int
    """Time since the boot. It counts while the host is suspended."""
    wall: int
    """Time since 1970. It counts while a virtual machine is paused, once its clock was set."""


class Clock(Protocol):
    """Reads both clocks."""

    def __call__(self) -> Moment:
        """Return the present moment."""


def now() -> Moment:
    """Return the present moment."""
    return Moment(time.clock_gettime_ns(_BOOT), time.time_ns())


def elapsed(since: Moment, until: Moment) -> int:
    """Return the time between two moments: what the clock says on which more has passed."""
    return max(until.boot - since.boot, until.wall - since.wall)


class Fence:
    """What one process knows of its right to use the versions of one secret. It can be used in any thread.

    Each question reads the clocks: no timer that a pause delays changes the answer. A confirmation counts from before its
    request was sent.
    """

    def __init__(self, period: int, clock: Clock = now) -> None:
        """``period`` is the length of the fence in nanoseconds."""
        self.period = period
        self.clock = clock
        self._lock = threading.Lock()  # held by what changes the confirmations
        self._current = ""
        self._confirmed: dict[str, Moment] = {}  # :: version → when it was confirmed; replaced, never changed

    @property
    def holds(self) -> bool:
        """Whether the version in use may be used."""
        return self.covers(self._current)

    def covers(self, version: str) -> bool:
        """Report whether a version may be used: it was confirmed less than a period ago."""
        at = self._confirmed.get(version)
        return at is not None and elapsed(at, self.clock()) < self.period

    def end(self) -> None:
        """Refuse every version: the secret is not used any more."""
        with self._lock:
            self._current, self._confirmed = "", {}

    def use(self, version: str, sent: Moment) -> None:
        """Note that a version has come into use, which a read of the store's primary that began at ``sent`` called current."""
        with self._lock:
            self._current = version
            self._confirmed = {v: at for v, at in self._confirmed.items() if self.covers(v)} | {version: sent}

    def read(self, version: str, sent: Moment) -> None:
        """Note that a read of the store's primary, which began at ``sent``, called a version current.

        Of the versions that are accepted besides the one in use a read says nothing.
        """
        with self._lock:
            if version == self._current:
                self._extend(version, sent)

    def accept(self, version: str, sent: Moment) -> None:
        """Note that a version is accepted besides the one in use, as if it had been confirmed at ``sent``."""
        with self._lock:
            if version not in self._confirmed:
                self._confirmed = self._confirmed | {version: sent}

    def renewed(self, recorded: Iterable[str], sent: Moment) -> None:
        """Note that a renewal, sent at ``sent``, was acknowledged after the use of these versions was.

        It extends confirmations that have not run out, and revives none.
        """
        with self._lock:
            for version in recorded:
                if self.covers(version):
                    self._extend(version, sent)

    def _extend(self, version: str, sent: Moment) -> None:
        present, at = self.clock(), self._confirmed.get(version)
        if at is None or elapsed(sent, present) < elapsed(at, present):
            self._confirmed = self._confirmed | {version: sent}
