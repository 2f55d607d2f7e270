"""The manager on a real bus and real stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from conftest import Bao, Recorder, TestBus, eventually
from tradepulse_rotator import (
    Change,
    Keyring,
    KeyUse,
    Manager,
    MissingSecretsError,
    NatsBus,
    NatsOptions,
    SecretValue,
    Source,
    Spec,
    StoreError,
    Verifier,
    Version,
    errors,
    events,
    times,
)
from tradepulse_rotator.providers.env import EnvProvider
from tradepulse_rotator.providers.vault import VaultProvider

Logged = Callable[[str], list[dict[str, Any]]]

NEVER = timedelta(hours=1)
SOON = timedelta(milliseconds=20)


class Counted(EnvProvider):
    """The environment, with a count of the reads."""

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(env)
        self.env = env
        self.reads = 0

    def read(self, path: str, version: str | None = None) -> tuple[Version, SecretValue]:
        self.reads += 1
        return super().read(path, version)


@pytest.fixture
def store() -> Counted:
    return Counted({"KEY": "value one", "TOKEN": "token one"})


def source(store: Counted, *ids: str, **options: Any) -> Source:
    return Source(store, [Spec(i, **options) for i in ids or ("KEY",)], store.env)


def nats_bus(bus: TestBus, **options: Any) -> NatsBus:
    return NatsBus(NatsOptions((bus.url,)), Verifier.from_files(bus.key), **options)


@asynccontextmanager
async def running(bus: TestBus, store: Counted, **options: Any) -> AsyncIterator[Manager]:
    """Run a manager that hears and reports, but does not poll."""
    options = {"poll_interval": NEVER, "retry": SOON, "lease": timedelta(seconds=30)} | options
    async with Manager(service="api", source=source(store), bus=nats_bus(bus), **options) as manager:
        await eventually(lambda: bus.running("KEY"), "the first report")
        yield manager


def text(manager: Manager, secret_id: str = "KEY") -> str:
    return manager.secret(secret_id).get().value.reveal_text()


def is_text(manager: Manager, value: str) -> bool:
    return text(manager) == value


# Reload and report.


async def test_a_rotation_arrives_in_place_and_is_reported(bus: TestBus, store: Counted, metrics: Recorder, logged: Logged) -> None:
    async with running(bus, store, metrics=metrics) as manager:
        handle = manager.secret("KEY")
        assert bus.running("KEY")["version_id"] == "env-1"
        store.env["KEY"] = "value two"
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: handle.get().version.id == "env-2")
        assert handle.get().value == SecretValue("value two")
        await eventually(lambda: bus.running("KEY")["version_id"] == "env-2")
        report = bus.presences()[0]
        assert (report["service"], report["instance"]) == ("api", manager.instance)
        assert bus.running("KEY")["status"] == "applied"
    assert [e["version_id"] for e in logged("secret.rotated")] == ["env-1", "env-2"]
    assert metrics.counts["secret.rotated"] == 2
    assert len(metrics.seconds) == 1
    assert metrics.seconds[0] > 0


async def test_a_process_that_starts_late_hears_of_what_it_missed(bus: TestBus, store: Counted) -> None:
    read = store.read
    store.env["KEY"] = "value two"
    old = (Version("env-1", 0), SecretValue("value one"))
    bus.notify("api", "KEY", "env-2")
    # The first read comes from a replica that lags behind.
    answers = [old]
    store.read = lambda path, version=None: answers.pop() if answers else read(path, version)  # type: ignore[method-assign]
    store._seen["KEY"] = (1, 0, SecretValue("value one"))
    async with Manager(service="api", source=source(store), bus=nats_bus(bus), poll_interval=None) as manager:
        await eventually(lambda: text(manager) == "value two")


async def test_a_replica_that_lags_behind_is_asked_again(bus: TestBus, store: Counted) -> None:
    """No poll finds what a notification announced: the manager reads until the store returns it."""
    read, old = store.read, store.read("KEY")
    async with running(bus, store, poll_interval=None) as manager:
        store.env["KEY"] = "value two"
        answers = [old] * 3
        store.read = lambda path, version=None: answers.pop() if answers else read(path, version)  # type: ignore[method-assign]
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: text(manager) == "value two")
        assert not answers


async def test_an_outage_of_the_bus_keeps_nothing_from_reading(bus: TestBus, store: Counted, logged: Logged) -> None:
    async with running(bus, store) as manager:
        bus.stop()
        await eventually(lambda: logged("nats.disconnected"))
        assert text(manager) == "value one"
        # A rotation while no service hears: it is announced when the bus is back, before this process is.
        store.env["KEY"] = "value two"
        bus.start()
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: text(manager) == "value two")
        await eventually(lambda: bus.running("KEY").get("version_id") == "env-2")


async def test_a_bus_that_is_not_there_yet_keeps_nothing_from_starting(
    bus: TestBus, store: Counted, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.stop()
    monkeypatch.setattr("tradepulse_rotator.manager._JOIN_WAIT", 0.1)
    async with Manager(service="api", source=source(store), bus=nats_bus(bus), poll_interval=None) as manager:
        assert text(manager) == "value one"
        await eventually(lambda: logged("nats.error"))
        bus.start()
        await eventually(lambda: bus.running("KEY"))
        store.env["KEY"] = "value two"
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: text(manager) == "value two")


def test_how_to_log_in_is_not_shown() -> None:
    options = NatsOptions(("nats://127.0.0.1:4222",), user="ada", password=SecretValue("Nats-Password-1!"))
    assert options.login() == {"user": "ada", "password": "Nats-Password-1!"}
    assert "Nats-Password" not in repr(options)


async def test_a_bus_that_never_comes_keeps_nothing_from_ending(
    bus: TestBus, store: Counted, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.stop()
    monkeypatch.setattr("tradepulse_rotator.manager._JOIN_WAIT", 0.1)
    before = asyncio.all_tasks()
    async with Manager(service="api", source=source(store), bus=nats_bus(bus), poll_interval=None):
        await eventually(lambda: logged("nats.error"))
    await eventually(lambda: asyncio.all_tasks() == before)


async def test_without_a_bus_it_polls_and_says_so(store: Counted, logged: Logged) -> None:
    async with Manager(service="api", source=source(store), poll_interval=SOON) as manager:
        assert "cannot report" in logged("secret.poll_only")[0]["detail"]
        store.env["KEY"] = "value two"
        await eventually(lambda: text(manager) == "value two")


# Failures.


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_hook_that_fails_keeps_the_old_version(bus: TestBus, store: Counted, is_async: bool, logged: Logged) -> None:  # noqa: FBT001
    broken = True
    seen: list[str] = []

    def hook(change: Change) -> None:
        seen.append(change.version.id)
        if broken and change.version.id != "env-1":
            raise ValueError(f"cannot use {change.value.reveal_text()}")

    async def async_hook(change: Change) -> None:
        hook(change)

    async with running(bus, store) as manager:
        await manager.subscribe("KEY", async_hook if is_async else hook)
        store.env["KEY"] = "value two"
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: bus.running("KEY")["status"] == "failed")
        report = bus.running("KEY")
        assert (report["version_id"], report["wanted"]) == ("env-1", "env-2")
        assert report["reason"] == "the hook failed: ValueError: cannot use [redacted]"
        assert text(manager) == "value one"
        broken = False
        await eventually(lambda: text(manager) == "value two")
        await eventually(lambda: bus.running("KEY")["status"] == "applied")
        assert "reason" not in bus.running("KEY")
    assert seen[0] == "env-1"
    assert all("value two" not in str(e) for e in logged("secret.reload.failed"))


async def test_a_store_that_denies_keeps_the_old_version(bus: TestBus, bao: Bao) -> None:
    number = bao.put("manager/key", {"value": "one"})
    rules = 'path "secret/data/manager/*" { capabilities = ["%s"] }'
    provider = VaultProvider(url=bao.url, token=SecretValue(bao.policy("manager", rules % "read")), prefix="manager")
    held = Source(provider, [Spec("KEY", path="key")])
    async with Manager(service="api", source=held, bus=nats_bus(bus), poll_interval=None, retry=SOON) as manager:
        await eventually(lambda: bus.running("KEY"))
        second = bao.put("manager/key", {"value": "two"})
        bao.do("PUT", "sys/policies/acl/manager", {"policy": rules % "deny"})
        bus.notify("api", "KEY", second)
        await eventually(lambda: bus.running("KEY")["status"] == "failed")
        assert "Forbidden" in bus.running("KEY")["reason"]
        assert bus.running("KEY")["version_id"] == number
        assert text(manager) == "one"
        bao.do("PUT", "sys/policies/acl/manager", {"policy": rules % "read"})
        await eventually(lambda: bus.running("KEY")["version_id"] == second)
        assert text(manager) == "two"


async def test_a_store_that_is_down_keeps_the_old_version(bus: TestBus, tmp_path: Path) -> None:
    bao = Bao(tmp_path)
    try:
        bao.put("key", {"value": "one"})
        held = Source(VaultProvider(url=bao.url, token=SecretValue("root"), timeout=0.5), [Spec("KEY", path="key")])
        async with Manager(service="api", source=held, bus=nats_bus(bus), poll_interval=None, retry=SOON) as manager:
            await eventually(lambda: bus.running("KEY"))
            second = bao.put("key", {"value": "two"})
            bao.hang()
            bus.notify("api", "KEY", second)
            await eventually(lambda: bus.running("KEY")["status"] == "failed")
            assert "Timeout" in bus.running("KEY")["reason"]
            assert text(manager) == "one"
            bao.go_on()
            await eventually(lambda: bus.running("KEY")["version_id"] == second)
            assert text(manager) == "two"
    finally:
        bao.kill()


async def test_all_that_is_missing_is_in_one_error(store: Counted) -> None:
    store.env["LONG_TTL_SECONDS"], store.env["LONG"] = "0", "x"
    with pytest.raises(MissingSecretsError) as caught:
        async with Manager(service="api", source=source(store, "KEY", "NONE_ID", "OTHER", "LONG")):
            pass
    told = str(caught.value)
    assert told.startswith("3 of 4 secrets cannot be resolved:")
    for part in ("NONE_ID: env: neither NONE nor NONE_ID is set (set NONE)", "OTHER: env:", "LONG: LONG_TTL_SECONDS is not a whole number"):
        assert part in told
    assert "KEY:" not in told


async def test_hundreds_of_secrets_start_and_hear_together(bus: TestBus, logged: Logged) -> None:
    store = Counted({f"S{n}": "one" for n in range(300)})
    async with Manager(service="api", source=source(store, *store.env), bus=nats_bus(bus), poll_interval=None) as manager:
        await eventually(lambda: bus.running("S299"))
        assert len({r["body"]["secret_id"] for r in bus.records() if "secret_id" in r["body"]}) == 300
        store.env["S7"] = "two"
        bus.notify("api", "S7", "env-2")
        await eventually(lambda: text(manager, "S7") == "two")
        assert store.reads == 301
        bus.stop()
        await eventually(lambda: logged("nats.disconnected"))
        store.env["S8"] = "two"
        bus.start()
        bus.notify("api", "S8", "env-2")
        await eventually(lambda: text(manager, "S8") == "two")


async def test_nothing_is_left_of_a_manager_that_did_not_start(bus: TestBus, store: Counted) -> None:
    before = asyncio.all_tasks()
    with pytest.raises(MissingSecretsError):
        await Manager(service="api", source=source(store, "NONE"), bus=nats_bus(bus)).start()
    await eventually(lambda: asyncio.all_tasks() == before)
    assert [p["ended"] for p in bus.presences()] == [True]


async def test_a_first_hook_that_fails_is_not_added(store: Counted) -> None:
    async with Manager(service="api", source=source(store), poll_interval=SOON) as manager:

        def refuse(_change: Change) -> None:
            raise RuntimeError("no")

        with pytest.raises(RuntimeError):
            await manager.subscribe("KEY", refuse)
        store.env["KEY"] = "value two"
        await eventually(lambda: text(manager) == "value two")


async def test_a_hook_that_was_taken_away_is_not_called(store: Counted) -> None:
    async with Manager(service="api", source=source(store), poll_interval=SOON) as manager:
        seen: list[str] = []
        stop = await manager.subscribe("KEY", lambda c: seen.append(c.version.id))
        stop()
        stop()
        store.env["KEY"] = "value two"
        await eventually(lambda: text(manager) == "value two")
        assert seen == ["env-1"]


# Hostile messages.


async def test_a_notification_costs_at_most_one_read(bus: TestBus, store: Counted, metrics: Recorder, logged: Logged) -> None:
    bus_of_it = nats_bus(bus, metrics=metrics)
    nc = Client()
    await nc.connect(bus.url)
    heard = await nc.subscribe("live.>")
    await nc.flush()
    async with Manager(service="api", source=source(store), bus=bus_of_it, poll_interval=None) as manager:
        await eventually(lambda: bus.running("KEY"))
        # An announcement that is older than the version in use: it is replayed a hundred times.
        bus.notify("api", "KEY", "env-0", at=times.now_ns() - 60_000_000_000)
        late = await heard.next_msg(timeout=30)
        await eventually(lambda: store.reads == 2)
        store.env["KEY"] = "value two"
        bus.notify("api", "KEY", "env-2")
        genuine = await heard.next_msg(timeout=30)
        await eventually(lambda: text(manager) == "value two")
        assert late.headers is not None
        assert genuine.headers is not None
        forged = dict(genuine.headers) | {"ce-id": "forged"}
        for _ in range(100):
            await nc.publish(genuine.subject, genuine.data, headers=genuine.headers)
            await nc.publish(late.subject, late.data, headers=late.headers)
            await nc.publish(genuine.subject, genuine.data, headers=forged)
            await nc.publish("live.api.TOKEN", genuine.data, headers=genuine.headers)
            await nc.publish("live.other.KEY", late.data, headers=late.headers)
            await nc.publish(genuine.subject, b"\xff" * 20000)
        await nc.flush()
        await eventually(lambda: metrics.counts["rotator.events.rejected"] == 300)
        store.env["KEY"] = "value three"
        bus.notify("api", "KEY", "env-3")
        await eventually(lambda: text(manager) == "value three")
        assert store.reads == 4
    await nc.close()
    reasons = {a["reason"] for n, a in metrics.attributes if n == "rotator.events.rejected"}
    assert reasons == {"untrusted", "subject_mismatch", "oversized"}
    assert len(logged("event.rejected")) == 300


async def test_an_event_of_a_key_that_is_not_trusted_does_nothing(bus: TestBus, testbus: Path, tmp_path: Path, store: Counted) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = TestBus(testbus, folder)
    other.stop()
    metrics = Recorder()
    deaf = NatsBus(NatsOptions((bus.url,)), Verifier.from_files(other.key), metrics=metrics)
    async with Manager(service="api", source=source(store), bus=deaf, poll_interval=None):
        await eventually(lambda: bus.running("KEY"))
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: metrics.counts["rotator.events.rejected"])
        assert store.reads == 1


# Staged versions.


async def test_a_staged_version_verifies_before_it_signs(bus: TestBus, bao: Bao) -> None:
    bao.put("staged/key", {"value": "one"})
    provider = VaultProvider(url=bao.url, token=SecretValue("root"), prefix="staged")
    async with Manager(
        service="api", source=Source(provider, [Spec("KEY", path="key")]), bus=nats_bus(bus), poll_interval=None, retry=SOON
    ) as manager:
        ring = await Keyring.open(manager, "KEY", KeyUse.HISTORY)
        await eventually(lambda: bus.running("KEY"))
        # It is announced before this process can read it: it is tried again.
        bus.notify("api", "KEY", "2", kind="secret.staged")
        await eventually(lambda: bus.running("KEY")["status"] == "failed")
        state = '{"pending":{"token":"t","from":1,"data":{"value":"two"},"created_at":"2026-01-01T00:00:00Z"}}'
        bao.put("rotator-state/staged/key", {"state": state})
        await eventually(lambda: bus.running("KEY")["status"] == "staged")
        assert bus.running("KEY")["wanted"] == "2"
        assert ring.current().id == "1"
        staged = ring.key("2")
        assert staged is not None
        assert staged.value == SecretValue("two")
        assert text(manager) == "one"
        bao.put("staged/key", {"value": "two"})
        bus.notify("api", "KEY", "2")
        await eventually(lambda: ring.current().id == "2")
        assert (await ring.fetch("1")).value == SecretValue("one")
        with pytest.raises(StoreError):
            await ring.fetch("7")


async def test_a_staged_version_that_failed_is_not_in_the_way_once_it_is_current(bus: TestBus, bao: Bao) -> None:
    bao.put("deadline/key", {"value": "one"})
    state = '{"pending":{"token":"t","from":1,"data":{"value":"two"},"created_at":"2026-01-01T00:00:00Z"}}'
    bao.put("rotator-state/deadline/key", {"state": state})
    provider = VaultProvider(url=bao.url, token=SecretValue("root"), prefix="deadline")
    promoted, offered, broken = asyncio.Event(), asyncio.Event(), True

    async def hook(change: Change) -> None:
        if change.staged:
            await promoted.wait()
        elif change.version.id == "2":
            offered.set()
        if broken and change.version.id == "2":
            raise OSError("not now")

    async with Manager(
        service="api",
        source=Source(provider, [Spec("KEY", path="key")]),
        bus=nats_bus(bus),
        poll_interval=None,
        retry=timedelta(seconds=1),
    ) as manager:
        await manager.subscribe("KEY", hook)
        await eventually(lambda: bus.running("KEY"))
        bus.notify("api", "KEY", "2", kind="secret.staged")
        await eventually(lambda: manager._entries["KEY"].state.phase == "prepare", "the staging")
        # It takes so long that it is promoted meanwhile, and then it fails, and so does what follows.
        bao.put("deadline/key", {"value": "two"})
        bus.notify("api", "KEY", "2")
        await eventually(lambda: manager._entries["KEY"].state.queued, "the reload behind it")
        promoted.set()
        await eventually(offered.is_set, "the promoted version")
        broken = False
        await eventually(lambda: is_text(manager, "two"), "a try that is not about the staging")
        await eventually(lambda: bus.running("KEY")["status"] == "applied")


async def test_a_staged_version_that_never_comes_keeps_no_other_from_being_found(bus: TestBus, bao: Bao) -> None:
    bao.put("never/key", {"value": "one"})
    provider = VaultProvider(url=bao.url, token=SecretValue("root"), prefix="never")
    async with Manager(
        service="api", source=Source(provider, [Spec("KEY", path="key")]), bus=nats_bus(bus), poll_interval=SOON, retry=SOON
    ) as manager:
        await eventually(lambda: bus.running("KEY"))
        bus.notify("api", "KEY", "7", kind="secret.staged")
        await eventually(lambda: bus.running("KEY")["status"] == "failed")
        bao.put("never/key", {"value": "two"})
        await eventually(lambda: is_text(manager, "two"), "the poll")


async def test_a_key_ring_keeps_what_it_has_seen_for_a_time(store: Counted) -> None:
    async with Manager(service="api", source=source(store), poll_interval=SOON) as manager:
        ever = await Keyring.open(manager, "KEY", KeyUse.HISTORY)
        brief = await Keyring.open(manager, "KEY", KeyUse.HISTORY, keep=SOON)
        store.env["KEY"] = "value two"
        await eventually(lambda: brief.current().id == "env-2")
        await eventually(lambda: brief.key("env-1") is None)
        assert ever.key("env-1") is not None
        brief.close()
        store.env["KEY"] = "value three"
        await eventually(lambda: ever.current().id == "env-3")
        with pytest.raises(errors.NotStartedError):
            brief.current()


# Time.


async def test_an_announced_end_counts(bus: TestBus, store: Counted, metrics: Recorder, logged: Logged) -> None:
    """A worker knows the end that a tag gives a version, whether the announcement comes before the version or after it."""
    minute, hour = ((times.now_ns() // 10**9 + seconds) * 10**9 for seconds in (60, 3600))
    async with running(bus, store, metrics=metrics) as manager:
        assert manager.get("KEY").not_after is None
        bus.notify("api", "KEY", "env-1", not_after=times.write(minute))
        await eventually(lambda: manager.get("KEY").not_after == minute)
        await eventually(lambda: logged("secret.near_expiry"))
        left = [g.value for g in manager.gauges() if g.name == "secret.time_to_expiry"]
        assert len(left) == 1
        assert 0 < left[0] <= 60
        store.env["KEY"] = "value two"
        bus.notify("api", "KEY", "env-2", not_after=times.write(hour))
        await eventually(lambda: manager.get("KEY").version.id == "env-2" and manager.get("KEY").not_after == hour)
    assert metrics.counts["secret.near_expiry"] == 1


async def test_a_version_near_its_end_is_said_once_and_read_again(store: Counted, metrics: Recorder, logged: Logged) -> None:
    store.env["KEY_TTL_SECONDS"] = "60"
    async with Manager(
        service="api", source=source(store, refresh_margin=timedelta(seconds=60)), poll_interval=None, metrics=metrics
    ) as manager:
        await eventually(lambda: logged("secret.near_expiry"))
        await eventually(lambda: store.reads == 2)
        manager._wake.set()
        await asyncio.sleep(0.05)
        assert logged("secret.near_expiry")[0]["secret_id"] == "KEY"
        assert logged("secret.near_expiry")[0]["left_seconds"] <= 60
    assert metrics.counts["secret.near_expiry"] == 1


class Failing(Counted):
    """The environment, which cannot be read for a while."""

    broken = False

    def read(self, path: str, version: str | None = None) -> tuple[Version, SecretValue]:
        if self.broken:
            self.reads += 1
            raise errors.UnavailableError("env: out of order")
        return super().read(path, version)


async def test_a_value_is_served_stale_with_a_warning(logged: Logged) -> None:
    store = Failing({"KEY": "value one", "KEY_TTL_SECONDS": "1"})
    async with Manager(service="api", source=source(store), poll_interval=None, retry=SOON) as manager:
        handle = manager.secret("KEY")
        store.broken = True
        await eventually(lambda: handle.get().stale)
        assert handle.get().value == SecretValue("value one")
        assert logged("secret.stale")
        store.broken = False
        store.env["KEY"] = "value two"
        await eventually(lambda: not handle.get().stale)
        assert handle.get().value == SecretValue("value two")


async def test_a_cached_value_is_refreshed_before_its_lifetime_ends() -> None:
    store = Counted({"KEY": "value one"})
    held = Source(store, [Spec("KEY")], {"KEY_TTL_SECONDS": "1"})
    async with Manager(service="api", source=held, poll_interval=None):
        await eventually(lambda: store.reads >= 3)


async def test_the_poll_is_spread(store: Counted) -> None:
    manager = Manager(service="api", source=source(store), poll_interval=timedelta(seconds=100))
    times_to_wait = {manager._poll_in() for _ in range(20)}
    assert len(times_to_wait) == 20
    assert all(90 <= t <= 100 for t in times_to_wait)


async def test_a_poll_of_many_secrets_is_spread_over_its_interval() -> None:
    store = Counted({f"S{n}": "one" for n in range(300)})
    manager = Manager(service="api", source=source(store, *store.env), poll_interval=timedelta(seconds=60))
    assert len(manager._parts) == 60
    assert [e.id for part in manager._parts for e in part] == list(store.env)
    assert all(0.9 <= manager._poll_in() <= 1 for _ in range(20))
    async with Manager(service="api", source=source(store, *store.env), poll_interval=timedelta(seconds=2)):
        start = store.reads
        await eventually(lambda: store.reads > start)
        assert store.reads < start + 300, "all were read at once"
        await eventually(lambda: store.reads >= start + 300)


async def test_a_refresh_reads_now(store: Counted) -> None:
    async with Manager(service="api", source=source(store), poll_interval=None) as manager:
        store.env["KEY"] = "value two"
        for _ in range(3):
            await manager.refresh("KEY")
        assert text(manager) == "value two"
        assert store.reads == 2
        with pytest.raises(errors.UnknownSecretError):
            await manager.refresh("TOKEN")
    with pytest.raises(errors.RefreshError, match="closed"):
        await manager.refresh("KEY")


async def test_a_refresh_that_fails_says_why_and_is_tried_again() -> None:
    store = Failing({"KEY": "value one"})
    async with Manager(service="api", source=source(store), poll_interval=None, retry=SOON) as manager:
        store.env["KEY"], store.broken = "value two", True
        with pytest.raises(errors.RefreshError, match="out of order"):
            await manager.refresh("KEY")
        assert text(manager) == "value one"
        store.broken = False
        await eventually(lambda: is_text(manager, "value two"))


async def test_a_refresh_ends_with_the_manager(store: Counted) -> None:
    stuck = asyncio.Event()

    async def hook(change: Change) -> None:
        if change.version.id == "env-2":
            stuck.set()
            await asyncio.Event().wait()

    async with Manager(service="api", source=source(store), poll_interval=None) as manager:
        await manager.subscribe("KEY", hook)
        store.env["KEY"] = "value two"
        refresh = asyncio.create_task(manager.refresh("KEY"))
        await stuck.wait()
    with pytest.raises(errors.RefreshError, match="closed"):
        await refresh


async def test_a_hook_knows_when_and_why_a_version_was_announced(bus: TestBus, store: Counted) -> None:
    seen: list[Change] = []
    async with running(bus, store) as manager:
        await manager.subscribe("KEY", seen.append)
        store.env["KEY"], at = "value two", times.now_ns()
        bus.notify("api", "KEY", "env-2", at=at)
        await eventually(lambda: is_text(manager, "value two"))
    assert [c.announced_at for c in seen] == [None, at]


# Reading.


async def test_an_access_by_name_is_counted_and_logged(store: Counted, metrics: Recorder, logged: Logged) -> None:
    async with Manager(service="api", source=source(store), metrics=metrics) as manager:
        assert manager.get("KEY").value == SecretValue("value one")
        with pytest.raises(errors.UnknownSecretError, match="TOKEN"):
            manager.get("TOKEN")
    assert metrics.counts["secret.access"] == 1
    assert logged("secret.access") == [{"secret_id": "KEY", "count": 1}]


async def test_metrics_that_fail_break_nothing(store: Counted, logged: Logged) -> None:
    class Broken(Recorder):
        def count(self, name: str, attributes: Mapping[str, str]) -> None:
            raise RuntimeError(name + str(attributes))

    async with Manager(service="api", source=source(store), poll_interval=SOON, metrics=Broken()) as manager:
        for value in ("value two", "value three"):
            store.env["KEY"] = value
            await eventually(partial(is_text, manager, value))
    assert len(logged("metrics.failed")) == 1


async def test_what_is_announced_to_a_manager_that_has_ended_does_nothing(store: Counted) -> None:
    async with Manager(service="api", source=source(store)) as manager:
        pass
    manager._notified(events.Event("1", events.ROTATED, "/x", times.now_ns(), "KEY", "env-2"))
    assert not manager._tasks


async def test_what_is_configured_wrong_is_said_before_anything_starts(store: Counted) -> None:
    for wrong in ({"service": "a.b"}, {"service": "api", "instance": "a b"}, {"service": "api", "source": Source(store, [])}):
        with pytest.raises(errors.ConfigurationError):
            Manager(**({"source": source(store)} | wrong))
    with pytest.raises(errors.ConfigurationError):
        Spec("a\nb")
