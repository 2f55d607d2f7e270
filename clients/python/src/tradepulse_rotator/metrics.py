"""Counts and durations, for whatever collects them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Metrics(Protocol):
    """What a service implements to have metrics; both methods are called on the event loop and must not block.

    Counters are ``secret.access``, ``secret.near_expiry``, ``secret.rotated``, ``secret.reload.failures``,
    ``admin.token.uses`` and ``rotator.events.rejected``; ``secret.reload.latency`` is a duration in seconds. They have the
    names and the attributes of the Go client.
    """

    def count(self, name: str, attributes: Mapping[str, str]) -> None:
        """Add one to a counter."""

    def record(self, name: str, seconds: float, attributes: Mapping[str, str]) -> None:
        """Add a duration to a histogram."""


class NoMetrics:
    """Collects nothing."""

    def count(self, name: str, attributes: Mapping[str, str]) -> None:
        """Do nothing."""

    def record(self, name: str, seconds: float, attributes: Mapping[str, str]) -> None:
        """Do nothing."""
