"""Counts, durations and gauges, for whatever collects them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tradepulse_rotator import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

AGE = "secret.age"
"""The gauge of the seconds since the version in use was made."""
TIME_TO_EXPIRY = "secret.time_to_expiry"
"""The gauge of the seconds to the end of the version in use, negative after it."""


@dataclass(frozen=True)
class Gauge:
    """A number as it is now."""

    name: str
    value: float
    attributes: Mapping[str, str]


@runtime_checkable
class Watcher(Protocol):
    """What a :class:`Metrics` also implements to export gauges."""

    def watch(self, gauges: Callable[[], Iterable[Gauge]]) -> Callable[[], None]:
        """Call ``gauges`` at each collection, in any thread, until the returned function is called."""


class Metrics(Protocol):
    """What a service implements to have metrics; both methods must not block. ``count`` may be called in any thread.

    Counters are ``secret.access``, ``secret.near_expiry``, ``secret.rotated``, ``secret.reload.failures``,
    ``secret.hook.failures``,
    ``admin.token.uses`` and ``rotator.events.rejected``; ``secret.fenced`` counts uses that were refused past the fence, and
    ``secret.retired_used`` those of versions after they were retired. ``secret.reload.latency`` is a duration in seconds. They
    have the names and the attributes of the Go client. ``secret.task.failures`` counts the exceptions that work in the
    background did not expect, by ``task``; the work goes on after each.
    """

    def count(self, name: str, attributes: Mapping[str, str]) -> None:
        """Add one to a counter."""

    def record(self, name: str, seconds: float, attributes: Mapping[str, str]) -> None:
        """Add a duration to a histogram."""


def _unwatch() -> None:
    """Do nothing: nothing watches."""


class SafeMetrics:
    """Passes on to a collector, or to none. One that raises breaks nothing: it is said in the log, once."""

    def __init__(self, collector: Metrics | None) -> None:
        self._collector = collector
        self._said = False

    def count(self, name: str, attributes: Mapping[str, str]) -> None:
        """Add one to a counter."""
        try:
            if self._collector is not None:
                self._collector.count(name, attributes)
        except Exception as err:  # noqa: BLE001  # the callback is the service's code
            self._failed(name, err)

    def record(self, name: str, seconds: float, attributes: Mapping[str, str]) -> None:
        """Add a duration to a histogram."""
        try:
            if self._collector is not None:
                self._collector.record(name, seconds, attributes)
        except Exception as err:  # noqa: BLE001  # the callback is the service's code
            self._failed(name, err)

    def watch(self, gauges: Callable[[], Iterable[Gauge]]) -> Callable[[], None]:
        """Have the collector export gauges, if it can."""
        watcher: object = self._collector
        try:
            return watcher.watch(gauges) if isinstance(watcher, Watcher) else _unwatch
        except Exception as err:  # noqa: BLE001  # the callback is the service's code
            self._failed("gauges", err)
            return _unwatch

    def _failed(self, name: str, err: Exception) -> None:
        if not self._said:
            logs.event(logging.ERROR, "metrics.failed", metric=name, error=f"{type(err).__name__}: {err}")
        self._said = True
