"""Counts and durations, for whatever collects them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from tradepulse_rotator import logs

if TYPE_CHECKING:
    from collections.abc import Mapping


class Metrics(Protocol):
    """What a service implements to have metrics; both methods must not block. ``count`` may be called in any thread.

    Counters are ``secret.access``, ``secret.near_expiry``, ``secret.rotated``, ``secret.reload.failures``,
    ``admin.token.uses`` and ``rotator.events.rejected``; ``secret.fenced`` counts uses that were refused past the fence, and
    ``secret.retired_used`` those of versions after they were retired. ``secret.reload.latency`` is a duration in seconds. They
    have the names and the attributes of the Go client. ``secret.task.failures`` counts the exceptions that work in the
    background did not expect, by ``task``; the work goes on after each.
    """

    def count(self, name: str, attributes: Mapping[str, str]) -> None:
        """Add one to a counter."""

    def record(self, name: str, seconds: float, attributes: Mapping[str, str]) -> None:
        """Add a duration to a histogram."""


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

    def _failed(self, name: str, err: Exception) -> None:
        if not self._said:
            logs.event(logging.ERROR, "metrics.failed", metric=name, error=f"{type(err).__name__}: {err}")
        self._said = True
