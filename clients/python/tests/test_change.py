"""Secrets are added, moved and dropped while a manager runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from conftest import TestBus, eventually
from tradepulse_rotator import (
    Change,
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
    times,
)
from tradepulse_rotator.providers.env import EnvProvider


class Seen(EnvProvider):
    """The environment, which notes what is on record of a path at its first read."""

    def __init__(self, bus: TestBus) -> None:
        super().__init__({"KEY": "value one", "TOKEN": "token-one", "OTHER": "moved value", "THIRD": "third value"})
        self._bus, self.first = bus, dict[str, list[dict[str, Any]]]()

    def read(self, path: str, version: str | None = None) -> tuple[Version, SecretValue]:
        self.first.setdefault(path, self._bus.uses(path))
        return super().read(path, version)


class Running:
    """A manager whose configuration is what ``specs`` says at each reload."""

    def __init__(self, bus: TestBus) -> None:
        self.store = Seen(bus)
        self.specs = [Spec("KEY"), Spec("TOKEN")]
        source = Source(self.store, self.specs, {})
        nats = NatsBus(NatsOptions((bus.url,)), Verifier.from_files(bus.key))
        self.manager = Manager(service="api", source=source, bus=nats, poll_interval=timedelta(hours=1), reconfigure=lambda: self.specs)

    def text(self, secret_id: str) -> str:
        return self.manager.get(secret_id).value.reveal_text()


@pytest.fixture
async def running(bus: TestBus) -> AsyncIterator[Running]:
    r = Running(bus)
    async with r.manager:
        await eventually(lambda: bus.running("KEY"))
        yield r


async def test_a_reload_adds_moves_and_drops(running: Running, bus: TestBus) -> None:
    given: list[str] = []
    await running.manager.subscribe("KEY", lambda c: given.append(c.value.reveal_text()))
    handle = running.manager.secret("KEY")
    running.specs = [Spec("KEY", path="OTHER"), Spec("THIRD")]
    await running.manager.reload()
    assert given == ["value one", "moved value"]
    assert handle.get().value.reveal_text() == running.text("KEY") == "moved value"
    assert running.text("THIRD") == "third value"
    assert [u["version_id"] for u in running.store.first["THIRD"]] == [""]
    with pytest.raises(errors.UnknownSecretError):
        running.manager.get("TOKEN")
    await eventually(lambda: [(u["version_id"], u["accepts"], u["ended"]) for u in bus.uses("TOKEN")] == [("", [], True)])
    await eventually(lambda: bus.running("THIRD"))

    running.specs = [Spec("KEY"), Spec("TOKEN")]
    await running.manager.reload()
    assert running.text("KEY") == "value one"
    await eventually(lambda: [u for u in bus.uses("TOKEN") if u["version_id"] and "ended" not in u])


@pytest.mark.parametrize(
    ("specs", "why"),
    [
        ([Spec("KEY"), Spec("TOKEN"), Spec("THIRD"), Spec("NOWHERE")], "NOWHERE"),
        ([Spec("KEY", path="NOWHERE"), Spec("TOKEN"), Spec("THIRD")], "KEY"),
        ([Spec("TOKEN", path="OTHER"), Spec("KEY"), Spec("THIRD")], "not this one"),
        ([Spec("KEY"), Spec("THIRD")], "TOKEN"),
        ([], "no secret"),
    ],
)
async def test_a_reload_that_fails_changes_nothing(running: Running, bus: TestBus, specs: list[Spec], why: str) -> None:
    def hook(change: Change) -> None:
        if change.value.reveal_text() == "moved value":
            raise ValueError("not this one")

    await running.manager.subscribe("TOKEN", hook)
    running.specs = specs
    with pytest.raises(errors.RotatorError, match=why):
        await running.manager.reload()
    for secret_id, value in (("KEY", "value one"), ("TOKEN", "token-one")):
        await running.manager.refresh(secret_id)
        assert running.text(secret_id) == value
    with pytest.raises(errors.UnknownSecretError):
        running.manager.get("THIRD")
    await eventually(lambda: all(u.get("ended") for u in bus.uses("THIRD")))


class Places:
    """A store whose paths may have versions of one id, and whose reads of a path wait where a test says so."""

    name = "places"

    def __init__(self, **at: tuple[str, str]) -> None:
        self.at = dict(at)
        self.gates = dict[str, threading.Event]()
        self.reading, self.answered = list[str](), list[str]()

    def read(self, path: str, version: str | None = None) -> tuple[Version, SecretValue]:
        self.reading.append(path)
        if path in self.gates:
            self.gates[path].wait(20)
            self.answered.append(path)
        if path not in self.at:
            raise errors.NotFoundError(f"there is no {path}")
        version_id, text = self.at[path]
        if version not in {None, version_id}:
            raise errors.NotFoundError(f"{path} has no version {version}")
        return Version(version_id, times.now_ns() - 10**12), SecretValue(text)

    def read_previous(self, path: str, current: Version) -> tuple[Version, SecretValue]:
        raise errors.NotFoundError(f"{path} has none before {current.id}")

    def hint(self, path: str) -> str:
        return f"write {path}"


def moving(places: Places, *specs: Spec, **options: Any) -> Manager:
    """Return a manager of KEY and TOKEN, if there is one, whose configuration is ``specs`` at a reload."""
    before = [Spec(i) for i in ("KEY", "TOKEN") if i in places.at]
    return Manager(service="api", source=Source(places, before, {}), poll_interval=None, reconfigure=lambda: specs, **options)


async def test_a_move_to_a_version_of_the_same_id_leaves_no_previous_token() -> None:
    places = Places(KEY=("1", "old-place"), OTHER=("1", "new-place"))
    async with moving(places, Spec("KEY", path="OTHER")) as manager:
        auth = await TokenAuthenticator.open(manager, "KEY", overlap=timedelta(hours=1))
        await manager.reload()
        assert auth.check("new-place") is TokenUse.CURRENT
        assert not auth.check("old-place").accepted


async def test_a_read_that_began_before_a_move_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradepulse_rotator.machine.REFRESH_PAUSE", 0)
    places = Places(KEY=("o1", "old-place"), OTHER=("n1", "new-place"))
    async with moving(places, Spec("KEY", path="OTHER")) as manager:
        places.gates["KEY"] = threading.Event()
        first = asyncio.ensure_future(manager.refresh("KEY"))
        await eventually(lambda: places.reading.count("KEY") == 2)
        await manager.reload()
        places.gates["OTHER"] = threading.Event()
        second = asyncio.ensure_future(manager.refresh("KEY"))
        await eventually(lambda: places.reading.count("OTHER") == 2)
        places.gates["KEY"].set()
        await eventually(lambda: "KEY" in places.answered)
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)  # the answer has come
        places.gates["OTHER"].set()
        await asyncio.gather(first, second)
        assert manager.get("KEY").value.reveal_text() == "new-place"


@pytest.mark.parametrize("version", ["1", "2"])
async def test_users_of_a_refused_move_have_the_version_in_use_again(version: str) -> None:
    def refusing(change: Change) -> None:
        if change.value.reveal_text() == "new-place":
            raise ValueError("not this one")

    uses = list[str]()
    async with moving(Places(KEY=("1", "old-place"), OTHER=(version, "new-place")), Spec("KEY", path="OTHER")) as manager:
        await manager.subscribe("KEY", lambda change: uses.append(change.value.reveal_text()))
        await manager.subscribe("KEY", refusing)
        with pytest.raises(errors.RotatorError, match="not this one"):
            await manager.reload()
        assert uses == ["old-place", "new-place", "old-place"]


async def test_a_reload_that_fails_has_no_read_go_to_the_new_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradepulse_rotator.machine.REFRESH_PAUSE", 0)
    places = Places(KEY=("o1", "old-place"), OTHER=("n1", "new-place"))
    places.gates["NOWHERE"] = threading.Event()
    async with moving(places, Spec("KEY", path="OTHER"), Spec("NOWHERE")) as manager:
        reload = asyncio.ensure_future(manager.reload())
        await eventually(lambda: "NOWHERE" in places.reading)
        await manager.refresh("KEY")
        assert manager.get("KEY").value.reveal_text() == "old-place"
        places.gates["NOWHERE"].set()
        with pytest.raises(errors.MissingSecretsError, match="NOWHERE"):
            await reload
        await manager.refresh("KEY")
        assert manager.get("KEY").value.reveal_text() == "old-place"
        assert "OTHER" not in places.reading


async def test_a_user_that_comes_while_its_secret_is_dropped_keeps_it() -> None:
    places = Places(KEY=("1", "the-key"), TOKEN=("1", "the-token"), THIRD=("1", "third"))
    places.gates["THIRD"] = threading.Event()
    async with moving(places, Spec("KEY"), Spec("THIRD")) as manager:
        reload = asyncio.ensure_future(manager.reload())
        await eventually(lambda: "THIRD" in places.reading)
        stop = await manager.subscribe("TOKEN", lambda _: None)
        places.gates["THIRD"].set()
        with pytest.raises(errors.ConfigurationError, match="TOKEN"):
            await reload
        assert manager.get("TOKEN").value.reveal_text() == "the-token"
        stop()
        await manager.reload()
        with pytest.raises(errors.UnknownSecretError):
            await manager.subscribe("TOKEN", lambda _: None)


@pytest.mark.parametrize("refused", [False, True])
async def test_a_user_is_refused_once_its_secret_is_leaving(*, refused: bool) -> None:
    """A hook of a secret that moves holds the reload up after the last look at the users of what is dropped."""
    places = Places(KEY=("1", "old-place"), OTHER=("1", "new-place"), TOKEN=("1", "the-token"))
    moves, go_on = asyncio.Event(), asyncio.Event()

    async def hook(change: Change) -> None:
        if change.value.reveal_text() == "new-place":
            moves.set()
            await go_on.wait()
            if refused:
                raise ValueError("not this one")

    async with moving(places, Spec("KEY", path="OTHER")) as manager:
        await manager.subscribe("KEY", hook)
        reload = asyncio.ensure_future(manager.reload())
        await moves.wait()
        with pytest.raises(errors.UnknownSecretError, match="TOKEN"):
            await manager.subscribe("TOKEN", lambda _: None)
        go_on.set()
        if not refused:
            await reload
            return
        with pytest.raises(errors.RotatorError, match="not this one"):
            await reload
        await manager.subscribe("TOKEN", lambda _: None)
