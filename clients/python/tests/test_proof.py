"""What rotator can rely on: every process is on record before it uses a secret, and refuses what it cannot confirm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from io import BytesIO
from typing import Any

import pytest

from conftest import Bao, Recorder, TestBus, eventually
from tradepulse_rotator import (
    AuditLogger,
    Change,
    FenceError,
    Keyring,
    KeyUse,
    Manager,
    NatsBus,
    NatsOptions,
    SecretValue,
    Source,
    Spec,
    TokenAuthenticator,
    TokenUse,
    Verifier,
    Version,
    errors,
    events,
    options_from_env,
    times,
)
from tradepulse_rotator.providers.env import EnvProvider
from tradepulse_rotator.providers.vault import VaultProvider

Logged = Callable[[str], list[dict[str, Any]]]

SOON = timedelta(milliseconds=20)
HOUR = 3600 * 10**9


class Store(EnvProvider):
    """The environment, with a count of the reads, which cannot be read for a while."""

    def __init__(self, value: str = "one") -> None:
        self.env = {"KEY": value}
        super().__init__(self.env)
        self.reads, self.broken = 0, False
        self.before: Callable[[], None] = lambda: None

    def read(self, path: str, version: str | None = None) -> tuple[Version, SecretValue]:
        self.before()
        self.reads += 1
        if self.broken:
            raise errors.UnavailableError("env: out of order")
        return super().read(path, version)

    def read_previous(self, path: str, current: Version) -> tuple[Version, SecretValue]:
        if "BEFORE" not in self.env:
            return super().read_previous(path, current)
        return Version("env-0", 0), SecretValue(self.env["BEFORE"])


class Clocks:
    """The clocks of a fence, which tests move. It stands in for the module time there."""

    def __init__(self) -> None:
        self._ahead = 0

    def clock_gettime_ns(self, clock: int) -> int:
        return time.clock_gettime_ns(clock) + self._ahead

    def time_ns(self) -> int:
        return time.time_ns() + self._ahead

    def advance(self, ns: int) -> None:
        self._ahead += ns


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr("tradepulse_rotator.fence.time", clocks)
    return clocks


@pytest.fixture
def store() -> Store:
    return Store()


def nats_bus(bus: TestBus) -> NatsBus:
    return NatsBus(NatsOptions((bus.url,)), Verifier.from_files(bus.key))


def manager_of(server: TestBus | None, store: Store, **options: Any) -> Manager:
    settings: dict[str, Any] = {"service": "api", "source": Source(store, [Spec("KEY")], {}), "poll_interval": None, "retry": SOON}
    return Manager(**(settings | {"bus": None if server is None else nats_bus(server)} | options))


@asynccontextmanager
async def running(bus: TestBus, store: Store, **options: Any) -> AsyncIterator[Manager]:
    """Run a manager until its first version is on record."""
    async with manager_of(bus, store, **options) as manager:
        await eventually(lambda: bus.running("KEY"), "the first use")
        yield manager


async def renewal(bus: TestBus, manager: Manager) -> None:
    """Wait for a renewal that is sent from now on."""
    await eventually(bus.presences, "a presence")
    last = bus.presences()[-1]["seq"]
    manager.changed()
    await eventually(lambda: bus.presences()[-1]["seq"] > last, "a renewal")
    await eventually(lambda: manager._recorder is not None and manager._recorder._seq == bus.presences()[-1]["seq"])


# Records.


async def test_the_use_is_on_record_before_the_first_read(bus: TestBus, store: Store) -> None:
    seen: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = []
    store.before = lambda: seen.append((bus.uses("KEY"), bus.presences()))
    async with running(bus, store, fence=timedelta(minutes=10), lease=timedelta(seconds=9), fleet="eu") as manager:
        (use,), (presence,) = seen[0]
        assert presence["fleet"] == "eu"
        assert (use["version_id"], use["accepts"], use["past_fence"], use["fence_seconds"]) == ("", [], "serve", 600)
        assert (presence["service"], presence["instance"], presence["lease_seconds"]) == ("api", manager.instance, 9)
        assert use["incarnation"] == presence["incarnation"]
        assert bus.running("KEY")["joined"] is True


async def test_rotator_understands_the_records(bus: TestBus, store: Store) -> None:
    async with running(bus, store, checked_at_use=["KEY"]) as manager:
        await eventually(lambda: bus.fleet("KEY")[0]["Use"]["version_id"] == "env-1")
        (user,) = bus.fleet("KEY")
        assert user["Problem"] == ""
        assert user["Use"]["past_fence"] == "refuse"
        assert user["Presence"]["instance"] == manager.instance
        assert times.parse(user["RenewedAt"]) > times.parse("2000-01-01T00:00:00Z")
    (user,) = bus.fleet("KEY")
    assert (user["Problem"], user["Presence"]["ended"]) == ("", True)


async def test_the_presence_is_renewed_within_its_lease(bus: TestBus, store: Store) -> None:
    async with running(bus, store, lease=timedelta(seconds=1)):
        first = bus.presences()[0]
        await eventually(lambda: bus.presences()[0]["seq"] > first["seq"])
        assert [p["incarnation"] for p in bus.presences()] == [first["incarnation"]]


async def test_the_fence_of_the_environment_is_that_of_the_records(bus: TestBus, store: Store) -> None:
    async with running(bus, store, **options_from_env({"ROTATOR_FENCE": "20m"})):
        assert bus.running("KEY")["fence_seconds"] == 1200


async def test_the_presence_is_renewed_within_the_shortest_fence(bus: TestBus, store: Store) -> None:
    async with running(bus, store, lease=timedelta(hours=1), fence=timedelta(seconds=1)):
        first = bus.presences()[0]
        await eventually(lambda: bus.presences()[0]["seq"] > first["seq"])


@pytest.mark.parametrize("how", ["forgotten", "lost"])
async def test_records_that_are_gone_are_written_again(bus: TestBus, store: Store, logged: Logged, how: str) -> None:
    async with running(bus, store, lease=timedelta(seconds=1)) as manager:
        presence, reads = bus.presences()[0], store.reads
        if how == "lost":
            bus.lose()
        else:
            bus.forget(presence)
        await eventually(lambda: logged("secret.records_lost"))
        await eventually(lambda: bus.running("KEY") and bus.presences(), "every record")
        assert bus.presences()[0]["incarnation"] == presence["incarnation"]
        await eventually(lambda: store.reads > reads, "a read: the version may have been retired meanwhile")
        await renewal(bus, manager)


async def test_a_renewal_whose_acknowledgement_was_lost_is_joined_again(bus: TestBus, store: Store) -> None:
    async with running(bus, store, lease=timedelta(seconds=1)) as manager:
        assert manager._recorder is not None
        manager._recorder._seq = 1  # the presence was renewed after that
        await renewal(bus, manager)
        manager._recorder._seq = 1
    assert [p.get("ended") for p in bus.presences()] == [True]


async def test_closing_ends_this_incarnation_and_no_other(bus: TestBus, store: Store) -> None:
    async with running(bus, store, instance="api-0") as first:
        pass
    async with manager_of(bus, store, instance="api-0") as second:
        await eventually(lambda: bus.running("KEY"))
        await first.close()
        assert {p["incarnation"]: p.get("ended") for p in bus.presences()} == {
            first._me.incarnation: True,
            second._me.incarnation: None,
        }
        assert {p["instance"] for p in bus.presences()} == {"api-0"}


async def test_a_process_that_serves_waits_for_its_record(
    bus: TestBus, store: Store, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.stop()
    monkeypatch.setattr("tradepulse_rotator.manager._JOIN_WAIT", 0.05)
    manager = manager_of(bus, store, join="required")
    start = asyncio.create_task(manager.start())
    await eventually(lambda: logged("secret.report"), "a join that fails")
    assert store.reads == 0
    assert not start.done()
    bus.start()
    await start
    assert store.reads == 1
    await eventually(lambda: bus.running("KEY").get("joined"))
    await manager.close()


async def test_a_process_that_starts_without_a_record_says_so(
    bus: TestBus, store: Store, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.stop()
    monkeypatch.setattr("tradepulse_rotator.manager._JOIN_WAIT", 0.05)
    async with manager_of(bus, store) as manager:
        assert manager.secret("KEY").get().value == SecretValue("one")
        assert logged("secret.not_joined")[0]["secrets"] == 1
        bus.start()
        await eventually(lambda: bus.running("KEY").get("joined") is False)
        store.env["KEY"] = "two"
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: bus.running("KEY").get("version_id") == "env-2" and bus.running("KEY")["joined"])


async def test_a_version_is_on_record_before_it_is_offered(bus: TestBus, store: Store) -> None:
    seen: list[tuple[str, list[str]]] = []

    def hook(change: Change) -> None:
        if change.version.id == "env-2":
            use = bus.running("KEY")
            seen.append((use["version_id"], use["accepts"]))

    async with running(bus, store) as manager:
        await manager.subscribe("KEY", hook)
        store.env["KEY"] = "two"
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: bus.running("KEY").get("version_id") == "env-2" and bus.running("KEY")["accepts"] == [])
    assert seen == [("env-1", ["env-2"])]


async def test_an_announcement_is_ordered_by_its_sequence_before_its_clock(bus: TestBus, store: Store) -> None:
    async with running(bus, store) as manager:
        store.env["KEY"] = "two"
        bus.notify("api", "KEY", "env-2", at=times.now_ns() + HOUR)  # the clock of that host is ahead
        await eventually(lambda: manager.version("KEY").id == "env-2")
        store.env["KEY"] = "three"
        bus.notify("api", "KEY", "env-3")
        await eventually(lambda: manager.version("KEY").id == "env-3")


# The fence.


class Users:
    """Everything that checks at use."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager

    async def open(self) -> Users:
        self.auth = await TokenAuthenticator.open(self.manager, "KEY", overlap=timedelta(hours=24))
        self.live = await Keyring.open(self.manager, "KEY", KeyUse.LIVE)
        self.history = await Keyring.open(self.manager, "KEY", KeyUse.HISTORY)
        self.audit = await AuditLogger.open(self.manager, self.history, BytesIO())
        return self

    def calls(self) -> list[Callable[[], object]]:
        return [lambda: self.auth.check("one"), self.live.current, lambda: self.live.key("env-1"), lambda: self.audit.log("x")]

    async def refuse(self) -> None:
        for call in self.calls():
            with pytest.raises(FenceError):
                call()
            with pytest.raises(FenceError):
                await asyncio.to_thread(call)
        with pytest.raises(FenceError):
            await self.live.confirm()

    def pass_all(self) -> None:
        assert all(call() for call in self.calls())


async def test_past_the_fence_every_user_refuses_until_the_store_answers(
    bus: TestBus, store: Store, clocks: Clocks, metrics: Recorder, logged: Logged
) -> None:
    async with running(bus, store, checked_at_use=["KEY"], metrics=metrics) as manager:
        assert bus.running("KEY")["past_fence"] == "refuse"
        users = await Users(manager).open()
        users.pass_all()
        bus.stop()
        await eventually(lambda: logged("nats.disconnected"))
        store.broken = True
        clocks.advance(HOUR - 60 * 10**9)
        users.pass_all()
        clocks.advance(60 * 10**9)
        reads = store.reads
        await users.refuse()
        assert reads < store.reads <= reads + 3, "the store is asked, and not for every use"
        assert users.history.key("env-1"), "an old record is verified whatever the fence says"
        assert "env-1" in logged("secret.fenced")[0]["error"]
        store.broken = False
        await eventually(lambda: manager._entries["KEY"].fence.holds or not _raises(users.live.current))
        users.pass_all()
    assert metrics.counts["secret.fenced"] >= 9


def _raises(call: Callable[[], object]) -> bool:
    try:
        call()
    except FenceError:
        return True
    return False


async def test_a_renewal_extends_the_fence_while_the_store_is_down(bus: TestBus, store: Store, clocks: Clocks) -> None:
    async with running(bus, store, checked_at_use=["KEY"]) as manager:
        users = await Users(manager).open()
        store.broken = True
        for _ in range(3):
            clocks.advance(HOUR * 3 // 4)
            await renewal(bus, manager)
        users.pass_all()


async def test_a_renewal_revives_nothing(bus: TestBus, store: Store, clocks: Clocks) -> None:
    async with running(bus, store, checked_at_use=["KEY"]) as manager:
        users = await Users(manager).open()
        store.broken = True
        clocks.advance(HOUR)
        await renewal(bus, manager)
        await users.refuse()


async def test_a_renewal_confirms_nothing_before_the_use_is_stored(
    bus: TestBus, store: Store, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradepulse_rotator.presence._OFFER_WAIT", 0.05)
    async with running(bus, store, checked_at_use=["KEY"]) as manager:
        assert manager._recorder is not None
        users = await Users(manager).open()
        await eventually(lambda: manager._recorder is not None and manager._recorder._acked)
        write = manager._recorder._write_use

        async def unwritten(use: Any) -> None:
            if "env-2" not in {use.version_id, *use.accepts}:
                await write(use)

        manager._recorder._write_use = unwritten  # type: ignore[method-assign]
        store.env["KEY"] = "two"
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: manager.version("KEY").id == "env-2")
        store.broken = True
        clocks.advance(HOUR * 3 // 4)
        await renewal(bus, manager)
        clocks.advance(HOUR * 3 // 4)
        with pytest.raises(FenceError):
            users.auth.check("two")


async def test_a_read_confirms_nothing_while_a_hook_refuses_what_is_current(store: Store, clocks: Clocks) -> None:
    async with manager_of(None, store, checked_at_use=["KEY"]) as manager:
        auth = await TokenAuthenticator.open(manager, "KEY", overlap=timedelta(hours=1))
        store.env["KEY"] = "no token\n"
        clocks.advance(HOUR)
        with pytest.raises(FenceError):
            await auth.confirm()
        with pytest.raises(FenceError):
            auth.check("one")


async def test_a_newer_version_is_in_use_when_a_check_returns(store: Store, clocks: Clocks) -> None:
    async with manager_of(None, store, checked_at_use=["KEY"]) as manager:
        auth = await TokenAuthenticator.open(manager, "KEY", overlap=timedelta(hours=24))
        store.env["KEY"] = "two"
        clocks.advance(HOUR)
        await auth.confirm()
        assert auth.check("two") is TokenUse.CURRENT
        assert auth.check("one") is TokenUse.REJECTED, "nothing confirms the version before"


async def test_a_previous_token_that_nothing_confirms_is_refused(bus: TestBus, store: Store, clocks: Clocks, logged: Logged) -> None:
    async with running(bus, store, checked_at_use=["KEY"]) as manager:
        auth = await TokenAuthenticator.open(manager, "KEY", overlap=timedelta(hours=24))
        store.env["KEY"] = "two"
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: bus.running("KEY").get("version_id") == "env-2" and bus.running("KEY")["accepts"] == ["env-1"])
        for _ in range(2):
            clocks.advance(HOUR * 3 // 4)
            await renewal(bus, manager)
        assert auth.check("one") is TokenUse.PREVIOUS
        bus.stop()
        await eventually(lambda: logged("nats.disconnected"))
        clocks.advance(HOUR)
        await eventually(lambda: not _raises(partial(auth.check, "two")))
        assert [auth.check(t) for t in ("one", "two")] == [TokenUse.REJECTED, TokenUse.CURRENT]


async def test_a_manager_that_has_ended_refuses(store: Store) -> None:
    async with manager_of(None, store) as manager:
        users = await Users(manager).open()
    for call in users.calls():
        with pytest.raises(FenceError, match="closed"):
            call()
    assert manager.secret("KEY").get().value == SecretValue("one")


async def test_a_value_that_is_checked_at_use_is_not_handed_out(store: Store) -> None:
    async with manager_of(None, store, checked_at_use=["KEY"]) as manager:
        for copy in (manager.secret, manager.get):
            with pytest.raises(errors.ConfigurationError, match="checked_at_use"):
                copy("KEY")
        with pytest.raises(errors.ConfigurationError, match="checked_at_use"):
            await manager.subscribe("KEY", lambda _change: None)


async def test_settings_of_the_proof_are_checked(bus: TestBus, store: Store) -> None:
    for wrong, said in (
        ({"max_stale": timedelta(hours=1)}, "fence"),
        ({"checked_at_use": ["OTHER"]}, "OTHER"),
        ({"join": "always"}, "required"),
        ({"join": "required", "bus": None}, "bus"),
        ({"fence": timedelta()}, "fence"),
    ):
        with pytest.raises(errors.ConfigurationError, match=said):
            manager_of(bus, store, **wrong)
    with pytest.raises(errors.ConfigurationError, match="quarter"):
        Spec("KEY", ttl=timedelta(hours=2), fence=timedelta(hours=1))
    assert Spec("KEY", ttl=timedelta(hours=2)).fence_period == HOUR // 2
    assert Spec("KEY", ttl=timedelta(days=2)).fence_period == HOUR
    variables = {"ROTATOR_CHECKED_AT_USE": "A: B", "ROTATOR_FENCE": "1h30m", "ROTATOR_JOIN": "required", "ROTATOR_FLEET": "eu"}
    assert options_from_env(variables) == {
        "checked_at_use": ("A", "B"),
        "fence": timedelta(minutes=90),
        "join": "required",
        "fleet": "eu",
    }
    assert options_from_env({}) == {"checked_at_use": (), "fence": None, "join": "", "fleet": ""}
    assert options_from_env({"ROTATOR_FENCE": "0"})["fence"] is None
    for text in ("soon", "-1h", "90", "1d"):
        with pytest.raises(errors.ConfigurationError, match="ROTATOR_FENCE is no duration such as 5m or 1h30m"):
            options_from_env({"ROTATOR_FENCE": text})
    with pytest.raises(errors.ConfigurationError, match="ROTATOR_FENCE"):
        options_from_env({"ROTATOR_MAX_STALE": "24h"})


# Retirement.


@asynccontextmanager
async def rotated(bus: TestBus, store: Store, **options: Any) -> AsyncIterator[Users]:
    """Run every user on its second version."""
    async with running(bus, store, checked_at_use=["KEY"], **options) as manager:
        users = await Users(manager).open()
        store.env["KEY"] = "two"
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: bus.running("KEY").get("version_id") == "env-2" and bus.running("KEY")["accepts"] == ["env-1"])
        yield users


async def test_the_overlap_is_on_record_until_it_ends(bus: TestBus, store: Store) -> None:
    async with running(bus, store) as manager:
        await TokenAuthenticator.open(manager, "KEY", overlap=timedelta(seconds=1))
        store.env["KEY"] = "two"
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: bus.running("KEY").get("accepts") == ["env-1"])
        await eventually(lambda: bus.running("KEY").get("accepts") == [])


async def test_what_is_drained_is_dropped_and_its_use_is_loud(bus: TestBus, store: Store, metrics: Recorder, logged: Logged) -> None:
    async with rotated(bus, store, metrics=metrics) as users:
        assert users.auth.check("one") is TokenUse.PREVIOUS
        assert users.live.key("env-1")
        bus.drain("api", "KEY", "env-2", "env-1")
        await eventually(lambda: bus.running("KEY")["accepts"] == [])
        for _ in range(2):
            assert users.auth.authenticate(["Bearer one"], "192.0.2.7") is TokenUse.RETIRED
            assert users.live.key("env-1", "192.0.2.8") is None
        assert users.auth.check("two") is TokenUse.CURRENT
        assert users.history.key("env-1"), "to verify an old record accepts nothing"
        await eventually(
            lambda: {u["client"]: u["uses"] for u in bus.running("KEY").get("retired_uses", [])} == {"192.0.2.7": 2, "192.0.2.8": 2}
        )
    assert [(e["secret_id"], e["version_id"], e["client"]) for e in logged("secret.retired_used")] == [
        ("KEY", "env-1", "192.0.2.7"),
        ("KEY", "env-1", "192.0.2.8"),
    ]
    assert metrics.attributes.count(("admin.token.uses", {"token": "retired"})) == 2
    assert metrics.counts["secret.retired_used"] == 4


async def test_an_order_to_drain_that_comes_before_the_version_waits_for_it(bus: TestBus, store: Store) -> None:
    async with running(bus, store) as manager:
        auth = await TokenAuthenticator.open(manager, "KEY", overlap=timedelta(hours=1))
        store.env["KEY"] = "two"
        bus.drain("api", "KEY", "env-2", "env-1")  # this process missed the rotation
        await eventually(lambda: bus.running("KEY").get("version_id") == "env-2")
        assert [auth.check(t) for t in ("one", "two")] == [TokenUse.RETIRED, TokenUse.CURRENT]


async def test_a_replayed_order_to_drain_costs_nothing(bus: TestBus, store: Store) -> None:
    async with rotated(bus, store) as users:
        before = times.now_ns()
        bus.drain("api", "KEY", "env-2", "env-1")
        await eventually(lambda: bus.running("KEY")["accepts"] == [])
        store.env["KEY"] = "three"
        bus.notify("api", "KEY", "env-3")
        await eventually(lambda: bus.running("KEY")["version_id"] == "env-3")
        old = events.Event("x", events.ROLLOUT, "/x", before, "KEY", "env-2", "env-1", state=events.DRAINING, seq=2)
        users.manager._notified(old)
        assert users.auth.check("two") is TokenUse.PREVIOUS
        assert store.reads == 3


async def test_a_process_that_starts_while_others_drain_accepts_no_previous_token(bus: TestBus, store: Store) -> None:
    store.env["BEFORE"] = "zero"
    bus.drain("api", "KEY", "env-1", "env-0")
    async with running(bus, store) as manager:
        await eventually(lambda: manager.drained("KEY"))
        auth = await TokenAuthenticator.open(manager, "KEY", overlap=timedelta(hours=1))
        assert auth.check("zero") is TokenUse.REJECTED


async def test_the_previous_token_of_the_store_is_on_record_before_it_is_accepted(bus: TestBus, store: Store) -> None:
    store.env["BEFORE"] = "zero"
    async with running(bus, store) as manager:
        auth = await TokenAuthenticator.open(manager, "KEY", overlap=timedelta(hours=1))
        assert bus.running("KEY")["accepts"] == ["env-0"]
        assert auth.check("zero") is TokenUse.PREVIOUS


async def test_the_previous_token_is_read_again_once_it_is_on_record(bus: TestBus, store: Store) -> None:
    store.env["BEFORE"] = "zero"
    async with running(bus, store) as manager:
        read = manager.read_previous

        async def retiring(secret_id: str) -> tuple[Version, SecretValue]:
            try:
                return await read(secret_id)
            finally:
                store.env.pop("BEFORE", None)

        manager.read_previous = retiring  # type: ignore[method-assign]
        auth = await TokenAuthenticator.open(manager, "KEY", overlap=timedelta(hours=1))
        assert auth.check("zero") is TokenUse.REJECTED
        await eventually(lambda: bus.running("KEY")["accepts"] == [])


async def test_a_previous_token_that_drains_while_it_is_read_is_refused(bus: TestBus, store: Store) -> None:
    store.env["BEFORE"] = "zero"
    async with running(bus, store) as manager:
        read = manager.read_previous

        async def draining(secret_id: str) -> tuple[Version, SecretValue]:
            got = await read(secret_id)
            bus.drain("api", "KEY", "env-1", "env-0")
            await eventually(lambda: manager.drained("KEY"))
            return got

        manager.read_previous = draining  # type: ignore[method-assign]
        auth = await TokenAuthenticator.open(manager, "KEY", overlap=timedelta(hours=1))
        assert auth.check("zero") is TokenUse.RETIRED
        await eventually(lambda: bus.running("KEY")["accepts"] == [])


async def test_a_staged_version_that_is_given_up_is_withdrawn(bus: TestBus, bao: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradepulse_rotator.machine.STAGED_PAUSE", 10_000_000)
    bao.put("given-up/key", {"value": "one"})
    bao.put(
        "rotator-state/given-up/key",
        {"state": '{"pending":{"token":"t","from":1,"data":{"value":"two"},"created_at":"2026-01-01T00:00:00Z"}}'},
    )
    source = Source(VaultProvider(url=bao.url, token=SecretValue("root"), prefix="given-up"), [Spec("KEY", path="key")], {})
    async with Manager(service="api", source=source, bus=nats_bus(bus), poll_interval=None, retry=SOON) as manager:
        auth = await TokenAuthenticator.open(manager, "KEY", overlap=timedelta(hours=1))
        ring = await Keyring.open(manager, "KEY", KeyUse.LIVE)
        bus.notify("api", "KEY", "2", kind="secret.staged")
        await eventually(lambda: bus.running("KEY").get("accepts") == ["2"])
        assert auth.check("two") is TokenUse.STAGED
        bao.put("rotator-state/given-up/key", {"state": "{}"})
        await eventually(lambda: bus.running("KEY")["accepts"] == [] and bus.running("KEY")["status"] == "applied")
        assert not auth.check("two").accepted
        assert ring.key("2") is None
