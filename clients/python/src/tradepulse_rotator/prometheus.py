"""Metrics for Prometheus: ``pip install tradepulse-rotator[prometheus]``.

.. code-block:: python

    metrics = PrometheusMetrics()
    manager = Manager(service="orders", source=source, metrics=metrics)

``prometheus_client.generate_latest(metrics.registry)`` is what ``/metrics`` answers.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tradepulse_rotator.metrics import Gauge

_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""The upper bounds of the Go programs, in seconds."""

_Labels = tuple[tuple[str, str], ...]


class PrometheusMetrics(Collector):
    """The metrics of the managers that it is given to, in a registry of ``prometheus_client``.

    They have the names that the Go client has: ``secret_access_total`` with the labels ``secret_id`` and ``read``,
    ``secret_age_seconds``, ``secret_reload_latency_seconds`` and so on.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Register in a registry, without another one in the default of ``prometheus_client``."""
        self.registry = registry
        self._lock = threading.Lock()
        self._counts: defaultdict[str, defaultdict[_Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._durations: defaultdict[str, dict[_Labels, list[float]]] = defaultdict(dict)  # :: counts of the buckets, and the sum
        self._watched: list[Callable[[], Iterable[Gauge]]] = []
        registry.register(self)

    def count(self, name: str, attributes: Mapping[str, str]) -> None:
        """Add one to a counter."""
        with self._lock:
            self._counts[name][_labels(attributes)] += 1

    def record(self, name: str, seconds: float, attributes: Mapping[str, str]) -> None:
        """Add a duration to a histogram."""
        with self._lock:
            buckets = self._durations[name].setdefault(_labels(attributes), [0.0] * (len(_BUCKETS) + 2))
            buckets[bisect_left(_BUCKETS, seconds)] += 1
            buckets[-1] += seconds

    def watch(self, gauges: Callable[[], Iterable[Gauge]]) -> Callable[[], None]:
        """Call ``gauges`` at each scrape until the returned function is called."""
        with self._lock:
            self._watched.append(gauges)

        def stop() -> None:
            with self._lock:
                if gauges in self._watched:
                    self._watched.remove(gauges)

        return stop

    def describe(self) -> Iterable[Metric]:
        """Return nothing: which metrics there are is known when they are collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Return every metric as it is now."""
        with self._lock:
            counts = {name: dict(series) for name, series in self._counts.items()}
            durations = {name: {labels: tuple(b) for labels, b in series.items()} for name, series in self._durations.items()}
            watched = tuple(self._watched)
        for name, counted in counts.items():
            keys = _keys(counted)
            counter = CounterMetricFamily(_name(name), f"Counts {name}.", labels=keys)
            for labels, value in counted.items():
                counter.add_metric(_values(keys, labels), value)
            yield counter
        for name, timed in durations.items():
            keys = _keys(timed)
            histogram = HistogramMetricFamily(_name(name), f"Times {name}.", labels=keys, unit="seconds")
            for labels, buckets in timed.items():
                histogram.add_metric(_values(keys, labels), _cumulative(buckets[:-1]), buckets[-1])
            yield histogram
        yield from _gauges(g for gauges in watched for g in gauges())


def _gauges(gauges: Iterable[Gauge]) -> Iterable[Metric]:
    found: dict[str, GaugeMetricFamily] = {}
    for g in gauges:
        family = found.setdefault(
            g.name, GaugeMetricFamily(_name(g.name), f"Measures {g.name}.", labels=[_name(k) for k in g.attributes], unit="seconds")
        )
        family.add_metric(list(g.attributes.values()), g.value)
    return found.values()


def _name(name: str) -> str:
    return name.replace(".", "_")


def _labels(attributes: Mapping[str, str]) -> _Labels:
    return tuple(sorted((_name(k), v) for k, v in attributes.items()))


def _keys(series: Iterable[_Labels]) -> list[str]:
    """Return the names of all labels: in the exposition all series of a metric have the same."""
    return sorted({key for labels in series for key, _ in labels})


def _values(keys: list[str], labels: _Labels) -> list[str]:
    return [dict(labels).get(key, "") for key in keys]


def _cumulative(counts: tuple[float, ...]) -> list[tuple[str, float]]:
    out, total = [], 0.0
    for bound, n in zip([*map(str, _BUCKETS), "+Inf"], counts, strict=True):
        total += n
        out.append((bound, total))
    return out
