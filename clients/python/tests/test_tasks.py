"""Work in the background goes on whatever it raises."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from conftest import Recorder, TestBus, eventually
from tradepulse_rotator import Change, Manager, NatsBus, NatsOptions, SecretValue, Source, Spec, Verifier, Version, logs, tasks, times
from tradepulse_rotator.events import Event
from tradepulse_rotator.providers.env import EnvProvider
from tradepulse_rotator.records import Presence

Logged = Callable[[str], list[dict[str, Any]]]

SOON = timedelta(milliseconds=20)
CANARY = "Canary-Value-4711"


class OddError(BaseException):
    """What a library may raise that is not even an Exception."""


RAISED = [BufferError(CANARY), MemoryError(CANARY), asyncio.CancelledError(CANARY), OddError(CANARY)]


@contextmanager
def raising(left: list[BaseException]) -> Iterator[None]:
    """Raise what is left, one at a time."""
    if left:
        raise left.pop()
    yield


@asynccontextmanager
async def run(loop: asyncio.Task[None]) -> AsyncIterator[None]:
    yield
    loop.cancel()
    with suppress(asyncio.CancelledError):
        await loop


async def test_no_exception_ends_a_loop(metrics: Recorder, logged: Logged) -> None:
    left, done = list(RAISED), asyncio.Event()

    async def work() -> None:
        with raising(left):
            done.set()
            await asyncio.Event().wait()

    async with run(asyncio.create_task(tasks.forever("test", work, metrics))):
        await eventually(done.is_set, "a pass after four that raised", lambda: (left, metrics.counts))
    assert metrics.attributes == [("secret.task.failures", {"task": "test"})] * 4
    told = logged("secret.task.failed")
    assert [t["error"].split()[0] for t in told] == ["OddError", "CancelledError", "MemoryError", "BufferError"]
    assert all("test_tasks.py" in t["error"] and "raising" in t["error"] and t["task"] == "test" for t in told)
    assert CANARY not in str(told)
    pauses = [t["again_in"] for t in told]
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1]


async def test_a_cancelled_loop_ends_although_a_library_swallows_it(metrics: Recorder) -> None:
    waits = asyncio.Event()

    async def work() -> None:
        waits.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    loop = asyncio.create_task(tasks.forever("test", work, metrics))
    await eventually(waits.is_set, "the first pass")
    loop.cancel()
    await eventually(loop.done, "the end of the loop", lambda: loop)


async def test_a_loop_that_is_cancelled_in_its_pause_ends(metrics: Recorder) -> None:
    async def work() -> None:
        raise BufferError

    loop = asyncio.create_task(tasks.forever("test", work, metrics))
    await eventually(lambda: metrics.counts["secret.task.failures"] == 3, "the third failure", lambda: metrics.counts)
    loop.cancel()
    await eventually(loop.done, "the end of the loop", lambda: loop)


def test_a_handler_of_logs_that_raises_ends_nothing() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError(record.getMessage())

    handler = Broken()
    logs.logger.addHandler(handler)
    try:
        logs.event(logging.ERROR, "secret.task.failed", error="x")
    finally:
        logs.logger.removeHandler(handler)


# The loops of a manager.


class Faulty(NatsBus):
    """A bus on a real server that raises other things than its own errors for a while."""

    def __init__(self, bus: TestBus, *, renewals: list[BaseException] | None = None, missed: list[BaseException] | None = None) -> None:
        super().__init__(NatsOptions((bus.url,)), Verifier.from_files(bus.key))
        self.renewals, self.missed = renewals or [], missed or []

    async def renew(self, presence: Presence, after: int) -> int:
        with raising(self.renewals):
            return await super().renew(presence, after)
        raise AssertionError

    async def last_notified(self, service: str, secret_id: str) -> Event | None:
        with raising(self.missed):
            return await super().last_notified(service, secret_id)


def manager_of(env: dict[str, str], **options: Any) -> Manager:
    source = Source(EnvProvider(env), [Spec("KEY")], env)
    settings: dict[str, Any] = {"service": "api", "source": source, "poll_interval": None, "retry": SOON}
    return Manager(**(settings | options))


def reads(manager: Manager, value: str) -> bool:
    return manager.secret("KEY").get().value == SecretValue(value)


async def test_reports_go_on_whatever_the_bus_raises(bus: TestBus, metrics: Recorder, logged: Logged) -> None:
    faulty = Faulty(bus)
    async with manager_of({"KEY": "value one"}, bus=faulty, metrics=metrics, lease=timedelta(seconds=1)):
        await eventually(lambda: bus.running("KEY"), "the first report")
        faulty.renewals = list(RAISED)
        await eventually(lambda: not faulty.renewals, "four renewals that fail", lambda: (faulty.renewals, logged("secret.task.failed")))
        now = times.now_ns()
        await eventually(lambda: [p for p in bus.presences() if times.parse(p["at"]) > now], "a renewal after them", bus.presences)
    assert ("secret.task.failures", {"task": "report"}) in metrics.attributes
    assert metrics.counts["secret.task.failures"] == 4
    assert CANARY not in str(logged("secret.task.failed"))


async def test_what_was_missed_is_heard_whatever_the_bus_raises(bus: TestBus, metrics: Recorder, logged: Logged) -> None:
    env = {"KEY": "value one"}
    faulty = Faulty(bus, missed=[BufferError(CANARY), OddError(CANARY)])
    async with manager_of(env, bus=faulty, metrics=metrics) as manager:
        await eventually(lambda: bus.running("KEY"), "the first report")
        env["KEY"] = "value two"
        await faulty.close()  # this process does not hear the notification itself
        bus.notify("api", "KEY", "env-2")
        await faulty.start("api", manager._notified, manager._connected)
        await eventually(lambda: reads(manager, "value two"), "the version that was missed", lambda: logged("secret.task.failed"))
    assert not faulty.missed
    assert metrics.counts["secret.task.failures"] == 2


async def test_notifications_are_heard_after_one_that_raised(bus: TestBus, metrics: Recorder, logged: Logged) -> None:
    heard: list[str] = []
    left: list[BaseException] = [BufferError(CANARY)]
    connected = asyncio.Event()

    def notified(event: Event) -> None:
        heard.append(event.version_id)
        with raising(left):
            pass

    nats_bus = NatsBus(NatsOptions((bus.url,)), Verifier.from_files(bus.key), metrics=metrics)
    await nats_bus.start("api", notified, connected.set)
    await eventually(connected.is_set, "the connection", lambda: logged("nats.unreachable"))
    for version in ("env-2", "env-3"):
        bus.notify("api", "KEY", version)
    await eventually(lambda: heard == ["env-2", "env-3"], "two notifications", lambda: heard)
    await nats_bus.close()
    assert metrics.attributes == [("secret.task.failures", {"task": "nats.message"})]
    assert CANARY not in str(logged("secret.task.failed")) + str(logged("nats.error"))


async def test_a_poll_goes_on_whatever_is_raised(metrics: Recorder, logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    env = {"KEY": "value one"}
    left: list[BaseException] = [RuntimeError(CANARY), MemoryError(CANARY)]
    manager = manager_of(env, poll_interval=SOON, metrics=metrics)
    until_deadline = manager._until_deadline

    def broken() -> float:
        with raising(left):
            return until_deadline()
        raise AssertionError

    monkeypatch.setattr(manager, "_until_deadline", broken)
    async with manager:
        env["KEY"] = "value two"
        await eventually(lambda: not left and reads(manager, "value two"), "the poll", lambda: (left, logged("secret.task.failed")))
    assert metrics.attributes.count(("secret.task.failures", {"task": "poll"})) == 2


async def test_a_store_that_raises_anything_keeps_the_old_version(bus: TestBus, metrics: Recorder, logged: Logged) -> None:
    env = {"KEY": "value one"}
    left: list[BaseException] = []

    class Broken(EnvProvider):
        def read(self, path: str, version: str | None = None) -> tuple[Version, SecretValue]:
            with raising(left):
                return super().read(path, version)
            raise AssertionError

    options = {"bus": Faulty(bus), "metrics": metrics, "retry": timedelta(seconds=1)}
    async with manager_of(env, source=Source(Broken(env), [Spec("KEY")], env), **options) as manager:
        await eventually(lambda: bus.running("KEY"), "the first report")
        left.extend([ValueError(CANARY), RuntimeError(CANARY)])
        env["KEY"] = "value two"
        bus.notify("api", "KEY", "env-2")
        await eventually(lambda: bus.running("KEY").get("status") == "failed", "the failure in the report", lambda: bus.running("KEY"))
        assert reads(manager, "value one")
        assert CANARY not in str(bus.running("KEY"))
        await eventually(lambda: reads(manager, "value two"), "the new version", lambda: logged("secret.reload.failed"))
        await eventually(lambda: bus.running("KEY").get("status") == "applied", "the report", lambda: bus.running("KEY"))
    assert metrics.attributes.count(("secret.task.failures", {"task": "reload"})) == 2
    assert CANARY not in str(logged("secret.task.failed")) + str(logged("secret.reload.failed"))


async def test_a_hook_that_raises_a_cancellation_is_called_again(logged: Logged) -> None:
    env, left = {"KEY": "value one"}, [asyncio.CancelledError()]

    def hook(change: Change) -> None:
        if change.version.id == "env-2" and left:
            raise left.pop()

    async with manager_of(env, poll_interval=SOON) as manager:
        await manager.subscribe("KEY", hook)
        env["KEY"] = "value two"
        await eventually(lambda: reads(manager, "value two"), "the second try", lambda: logged("secret.reload.failed"))
        assert logged("secret.reload.failed")[0]["error"].startswith("the hook failed: CancelledError")


async def test_a_bus_that_cannot_withdraw_keeps_nothing_from_ending(bus: TestBus) -> None:
    class Stuck(Faulty):
        async def renew(self, presence: Presence, after: int) -> int:
            raise BufferError(presence.instance + str(after))

    before = asyncio.all_tasks()
    async with manager_of({"KEY": "value one"}, bus=Stuck(bus)):
        await eventually(lambda: bus.running("KEY"), "the first report")
    await eventually(lambda: asyncio.all_tasks() == before, "the end of every task", asyncio.all_tasks)
