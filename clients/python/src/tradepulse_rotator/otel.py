"""Metrics for OpenTelemetry: ``pip install tradepulse-rotator[otel]``.

.. code-block:: python

    manager = Manager(service="orders", source=source, metrics=OtelMetrics())
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from opentelemetry import metrics as api
from opentelemetry.metrics import CallbackOptions, Observation

from tradepulse_rotator.metrics import AGE, TIME_TO_EXPIRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider

    from tradepulse_rotator.metrics import Gauge

_SCOPE = "tradepulse_rotator"


class OtelMetrics:
    """The metrics of the managers that it is given to, as instruments with the names and attributes of the Go client."""

    def __init__(self, provider: MeterProvider | None = None) -> None:
        """Make the instruments of a provider, without one of the global provider."""
        self._meter: Meter = api.get_meter(_SCOPE, meter_provider=provider)
        self._lock = threading.Lock()
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._watched: list[Callable[[], Iterable[Gauge]]] = []
        for name, what in ((AGE, "Time since the version in use was made."), (TIME_TO_EXPIRY, "Time to the end of the version in use.")):
            self._meter.create_observable_gauge(name, [self._observer(name)], "s", what)

    def count(self, name: str, attributes: Mapping[str, str]) -> None:
        """Add one to a counter."""
        with self._lock:
            counter = self._counters.get(name) or self._counters.setdefault(name, self._meter.create_counter(name))
        counter.add(1, dict(attributes))

    def record(self, name: str, seconds: float, attributes: Mapping[str, str]) -> None:
        """Add a duration to a histogram."""
        with self._lock:
            histogram = self._histograms.get(name) or self._histograms.setdefault(name, self._meter.create_histogram(name, "s"))
        histogram.record(seconds, dict(attributes))

    def watch(self, gauges: Callable[[], Iterable[Gauge]]) -> Callable[[], None]:
        """Call ``gauges`` at each collection until the returned function is called."""
        with self._lock:
            self._watched.append(gauges)

        def stop() -> None:
            with self._lock:
                if gauges in self._watched:
                    self._watched.remove(gauges)

        return stop

    def _observer(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            with self._lock:
                watched = tuple(self._watched)
            return [Observation(g.value, dict(g.attributes)) for gauges in watched for g in gauges() if g.name == name]

        return observe
