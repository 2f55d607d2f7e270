"""What was announced while a process had no connection, and which server answers afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from conftest import TestBus, eventually
from tradepulse_rotator import Manager, NatsBus, NatsOptions, SecretValue, Source, Spec, Verifier, missed
from tradepulse_rotator.bus import BusError
from tradepulse_rotator.providers.env import EnvProvider

if TYPE_CHECKING:
    from tradepulse_rotator.events import Event

HOUR = timedelta(hours=1)


class Counted(NatsBus):
    """A bus that counts the answers to reads of the last notification, and may answer with others."""

    def __init__(self, bus: TestBus) -> None:
        super().__init__(NatsOptions((bus.url,)), Verifier.from_files(bus.key))
        self.answers = 0
        self.old: Event | None = None
        self.error: BusError | None = None

    async def last_notified(self, service: str, secret_id: str) -> Event | None:
        event = await super().last_notified(service, secret_id)
        self.answers += 1
        if self.error is not None:
            raise self.error
        return self.old or event


def manager_of(env: dict[str, str], bus: NatsBus) -> Manager:
    source = Source(EnvProvider(env), [Spec("KEY")], env)
    return Manager(service="api", source=source, bus=bus, poll_interval=None, lease=HOUR)


def reads(manager: Manager, value: str) -> bool:
    return manager.secret("KEY").get().value == SecretValue(value)


async def test_a_server_that_lags_behind_is_asked_again(bus: TestBus) -> None:
    env = {"KEY": "value one"}
    counted = Counted(bus)
    bus.notify("api", "KEY", "env-1")
    async with manager_of(env, counted) as manager:
        await eventually(lambda: bus.running("KEY"), "the first report")
        await counted.close()  # this process does not hear the notification itself
        bus.lag(1)
        env["KEY"] = "value two"
        bus.notify("api", "KEY", "env-2")
        before = counted.answers
        await counted.start("api", manager._notified, manager._connected)
        await eventually(lambda: counted.answers > before, "an answer from the past")
        assert reads(manager, "value one"), "the server does not lag behind"
        bus.notify("api", "OTHER", "env-1")  # the server has the second version from here on
        await eventually(lambda: reads(manager, "value two"), "the version that was missed")


@pytest.mark.parametrize("failure", ["fails", "is old"])
async def test_a_look_that_fails_or_is_old_is_repeated(bus: TestBus, monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    monkeypatch.setattr(missed, "LOOKS", (0.01,) * 4)
    env = {"KEY": "value one"}
    counted = Counted(bus)
    bus.notify("api", "KEY", "env-1")
    async with manager_of(env, counted) as manager:
        await eventually(lambda: bus.running("KEY"), "the first report")
        first = await NatsBus.last_notified(counted, "api", "KEY")
        assert first is not None
        env["KEY"] = "value two"
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: reads(manager, "value two"), "the second version")
        await counted.close()
        counted.error, counted.old = (BusError("bus: no answer"), None) if failure == "fails" else (None, replace(first))
        env["KEY"] = "value three"
        bus.notify("api", "KEY", "env-3")
        before = counted.answers
        await counted.start("api", manager._notified, manager._connected)
        await eventually(lambda: counted.answers > before + 2 * len(missed.LOOKS), "more looks than at an answer that may be true")
        assert reads(manager, "value two")
        counted.error = counted.old = None
        await eventually(lambda: reads(manager, "value three"), "the version that was missed")
