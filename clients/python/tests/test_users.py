"""All users of a secret take a version, or none does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from conftest import Recorder, TestBus, eventually
from tradepulse_rotator import Change, Hooks, Manager, NatsBus, NatsOptions, SecretValue, Source, Spec, Verifier, times
from tradepulse_rotator.errors import RefreshError
from tradepulse_rotator.providers.env import EnvProvider

Logged = Callable[[str], list[dict[str, Any]]]

SOON = timedelta(milliseconds=20)


class Store(EnvProvider):
    """The environment, whose versions come again when their value does."""

    def __init__(self, value: str) -> None:
        self.env = {"KEY": value}
        super().__init__(self.env)

    def set(self, value: str, number: int) -> None:
        """Make a value the current version with a number."""
        self.env["KEY"] = value
        self._seen["KEY"] = (number, times.now_ns(), SecretValue(value))


def manager_of(store: Store, **options: Any) -> Manager:
    settings: dict[str, Any] = {"service": "api", "source": Source(store, [Spec("KEY")], {}), "poll_interval": SOON, "retry": SOON}
    return Manager(**(settings | options))


class User:
    """A user of two phases that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.uses = ""

    def hooks(self) -> Hooks:
        return Hooks(self._prepare, self._commit, self._withdraw)

    def _prepare(self, change: Change) -> None:
        self.told.append("prepare " + change.version.id)

    def _commit(self, change: Change) -> None:
        self.told.append("commit " + change.version.id)
        self.uses = change.version.id

    def _withdraw(self, version_id: str) -> None:
        self.told.append("withdraw " + version_id)


class Refusing:
    """A hook that refuses a version."""

    def __init__(self, version: str) -> None:
        self.version, self.refused = version, 0

    def __call__(self, change: Change) -> None:
        if change.version.id == self.version:
            self.refused += 1
            raise ValueError("not this one")


async def test_a_version_is_committed_once_every_user_prepared_it() -> None:
    store, user, refusing = Store("one"), User(), Refusing("env-2")
    async with manager_of(store) as manager:
        await manager.subscribe("KEY", user.hooks())
        await manager.subscribe("KEY", refusing)
        assert user.told == ["prepare env-1", "commit env-1"]
        store.set("two", 2)
        await eventually(lambda: refusing.refused)
        assert "commit env-2" not in user.told
        assert user.uses == "env-1"
        refusing.version = ""
        await eventually(lambda: user.uses == "env-2")
        assert manager.secret("KEY").get().version.id == "env-2"


async def test_after_a_rollback_a_user_that_took_the_other_version_gets_the_one_in_use_again(bus: TestBus) -> None:
    store, refusing, plain, user = Store("one"), Refusing("env-2"), list[str](), User()
    nats_bus = NatsBus(NatsOptions((bus.url,)), Verifier.from_files(bus.key))
    async with manager_of(store, bus=nats_bus) as manager:
        await manager.subscribe("KEY", lambda change: plain.append(change.version.id))
        await manager.subscribe("KEY", user.hooks())
        await manager.subscribe("KEY", refusing)
        store.set("two", 2)
        await eventually(lambda: bus.running("KEY").get("status") == "failed")
        await eventually(lambda: bus.running("KEY")["accepts"] == ["env-2"], "what hooks hold in the record")
        store.set("one", 1)
        await eventually(lambda: plain[-1] == "env-1", "the version in use again", lambda: plain)
        await eventually(lambda: bus.running("KEY")["status"] == "applied")
        await eventually(lambda: bus.running("KEY")["accepts"] == [])
        assert user.told[-1] == "withdraw env-2"
        assert user.uses == "env-1"


async def test_a_commit_that_raises_is_reported_and_called_again(bus: TestBus, metrics: Recorder, logged: Logged) -> None:
    taken, broken = list[str](), ["env-2"]

    def commit(change: Change) -> None:
        if change.version.id in broken:
            raise RuntimeError("Canary-Value-4711")
        taken.append(change.version.id)

    store, user = Store("one"), User()
    nats_bus = NatsBus(NatsOptions((bus.url,)), Verifier.from_files(bus.key))
    async with manager_of(store, bus=nats_bus, metrics=metrics) as manager:
        await manager.subscribe("KEY", Hooks(lambda _change: None, commit))
        await manager.subscribe("KEY", user.hooks())
        store.set("two", 2)
        await eventually(lambda: user.uses == "env-2")
        assert manager.secret("KEY").get().version.id == "env-2"
        await eventually(lambda: bus.running("KEY")["status"] == "failed")
        running = bus.running("KEY")
        assert (running["version_id"], running["accepts"]) == ("env-2", ["env-1"])  # so that env-1 is not retired
        broken.clear()
        await eventually(lambda: taken == ["env-1", "env-2"], "the commit again", lambda: taken)
        await eventually(lambda: bus.running("KEY")["status"] == "applied")
        assert bus.running("KEY")["accepts"] == []
        assert user.told.count("commit env-2") == 1
    assert ("secret.task.failures", {"task": "hook"}) in metrics.attributes
    assert "Canary" not in str(logged("secret.task.failed"))
    assert "Canary" not in running["reason"]


async def test_a_hook_that_does_not_return_has_failed(logged: Logged) -> None:
    store, stuck = Store("one"), asyncio.Event()

    async def hook(change: Change) -> None:
        if change.version.id == "env-2":
            await stuck.wait()

    async with manager_of(store, hook_timeout=SOON) as manager:
        await manager.subscribe("KEY", hook)
        store.set("two", 2)
        await eventually(lambda: logged("secret.reload.failed"))
        assert "it did not return in 0.02 s" in logged("secret.reload.failed")[0]["error"]
        assert manager.secret("KEY").get().version.id == "env-1"
        stuck.set()
        await eventually(lambda: manager.secret("KEY").get().version.id == "env-2")


async def test_a_user_that_refuses_the_version_in_use_is_not_added() -> None:
    store = Store("one")
    async with manager_of(store) as manager:
        with pytest.raises(ValueError, match="not this one"):
            await manager.subscribe("KEY", Refusing("env-1"))
        store.set("two", 2)
        await eventually(lambda: manager.secret("KEY").get().version.id == "env-2")


async def test_a_hook_that_fails_is_counted(metrics: Recorder) -> None:
    store = Store("value one")
    async with manager_of(store, metrics=metrics) as manager:

        async def hook(change: Change) -> None:
            if change.version.id == "env-2":
                raise ValueError("cannot log in")

        await manager.subscribe("KEY", hook)
        assert metrics.counts["secret.hook.failures"] == 0
        store.set("value two", 2)
        await eventually(lambda: metrics.counts["secret.hook.failures"] > 0)
    assert ("secret.hook.failures", {"secret.id": "KEY"}) in metrics.attributes


async def test_a_hook_that_quotes_what_it_uses_tells_nothing(logged: Logged) -> None:
    values, store = ("Qx7rT2mB9kLw", "zP4nV8cD1hGs", "uY6kW3fJ5tRa"), Store("Qx7rT2mB9kLw")
    seen: list[str] = []

    def hook(change: Change) -> None:
        seen.append(change.value.reveal_text())
        if len(seen) > 1:
            raise ValueError(f"close postgres://app:{'@'.join(dict.fromkeys(seen))}@db")

    async with manager_of(store) as manager:
        await manager.subscribe("KEY", hook)
        for number, value in enumerate(values[1:], 2):
            store.set(value, number)
            await eventually(partial(lambda wanted: manager._entries["KEY"].state.wanted == wanted, f"env-{number}"))
            with pytest.raises(RefreshError) as error:
                await manager.refresh("KEY")
            assert "close postgres://app:[redacted]" in str(error.value)
            told = str(error.value) + str(logged("secret.reload.failed"))
            assert not [held for held in values if held in told]
