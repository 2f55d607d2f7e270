"""Ages, times to expiry and counts, as Prometheus and OpenTelemetry read them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from conftest import Recorder, eventually
from tradepulse_rotator import Manager, SecretValue, Source, Spec, TokenAuthenticator, manager, times
from tradepulse_rotator.otel import OtelMetrics
from tradepulse_rotator.prometheus import PrometheusMetrics
from tradepulse_rotator.providers.env import EnvProvider

Logged = Callable[[str], list[dict[str, Any]]]
HOUR = timedelta(hours=1)


class At:
    """The clock of the package, which a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = times.now_ns()
        monkeypatch.setattr(times, "now_ns", lambda: self.now)

    def pass_(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    return At(monkeypatch)


def source(ttl: timedelta | None = HOUR) -> Source:
    env = {"KEY": "value one", "TOKEN": "token-one"}
    return Source(EnvProvider(env), [Spec("KEY", ttl=ttl), Spec("TOKEN")], env)


def scraped(metrics: PrometheusMetrics) -> dict[tuple[str, str], float]:
    """Return every sample as a scrape reads it, by its name and its secret."""
    from prometheus_client import generate_latest

    text = generate_latest(metrics.registry).decode()
    return {(s.name, s.labels.get("secret_id", "")): s.value for f in text_string_to_metric_families(text) for s in f.samples}


async def test_age_and_time_to_expiry_are_computed_at_the_scrape(at: At) -> None:
    metrics = PrometheusMetrics(CollectorRegistry())
    async with Manager(service="api", source=source(), metrics=metrics, poll_interval=None):
        for passed in (0.0, 90.0, 5310.0):
            at.pass_(passed)
            got = scraped(metrics)
        assert got["secret_age_seconds", "KEY"] == got["secret_age_seconds", "TOKEN"] == pytest.approx(5400)
        assert got["secret_time_to_expiry_seconds", "KEY"] == pytest.approx(-1800)
        assert ("secret_time_to_expiry_seconds", "TOKEN") not in got
    assert ("secret_age_seconds", "KEY") not in scraped(metrics)


async def test_opentelemetry_reads_the_same(at: At) -> None:
    reader = InMemoryMetricReader()
    metrics = OtelMetrics(MeterProvider([reader]))

    def read() -> dict[tuple[str, str], float]:
        data = reader.get_metrics_data()
        assert data is not None
        found = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        return {(m.name, str((p.attributes or {}).get("secret.id"))): getattr(p, "value", 0) for m in found for p in m.data.data_points}

    async with Manager(service="api", source=source(), metrics=metrics, poll_interval=None) as m:
        m.get("KEY")
        at.pass_(600)
        got = read()
        assert got["secret.age", "KEY"] == pytest.approx(600)
        assert got["secret.time_to_expiry", "KEY"] == pytest.approx(3000)
        assert got["secret.access", "KEY"] == 1
        metrics.record("secret.reload.latency", 1.0, {"secret.id": "KEY"})
        assert ("secret.reload.latency", "KEY") in read()


async def test_counts_and_durations_are_what_prometheus_reads() -> None:
    metrics = PrometheusMetrics(CollectorRegistry())
    for attributes in ({"secret.id": "KEY", "read": "name"}, {"secret.id": "KEY"}):
        metrics.count("secret.near_expiry", attributes)
    for seconds in (0.002, 0.5, 1000):
        metrics.record("secret.reload.latency", seconds, {"secret.id": "KEY"})
    names = {name for name, _ in scraped(metrics)}
    assert "secret_near_expiry_total" in names
    got = scraped(metrics)
    assert got["secret_reload_latency_seconds_count", "KEY"] == 3
    assert got["secret_reload_latency_seconds_sum", "KEY"] == pytest.approx(1000.502)


async def test_every_access_is_counted_and_logged_once_in_a_while(
    metrics: Recorder, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "_TELL_ACCESSES", 0.05)
    async with Manager(service="api", source=source(), metrics=metrics, checked_at_use=["TOKEN"]) as m:
        auth = await TokenAuthenticator.open(m, "TOKEN", overlap=HOUR)
        handle = m.secret("KEY")
        for _ in range(3):
            assert m.get("KEY").value == SecretValue("value one")
            assert handle.get().value == SecretValue("value one")
            auth.check("token-one")
        monkeypatch.setattr(manager, "_TELL_ACCESSES", 3600)
        await eventually(lambda: len(logged("secret.access")) == 2)
        handle.get()
    counted = [a for name, a in metrics.attributes if name == "secret.access"]
    for secret_id, read, n in (("KEY", "name", 3), ("KEY", "handle", 4), ("TOKEN", "use", 3)):
        assert counted.count({"secret.id": secret_id, "read": read}) == n
    assert logged("secret.access") == [
        {"secret_id": "KEY", "count": 6},
        {"secret_id": "TOKEN", "count": 3},
        {"secret_id": "KEY", "count": 1},
    ]
