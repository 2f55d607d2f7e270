"""A live ring knows the keys that it accepts no more, and reads the clock before a key leaves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from conftest import eventually
from tradepulse_rotator import Change, FenceError, Keyring, KeyUse, Manager, SecretValue, Source, Spec, Version
from tradepulse_rotator.fence import Moment
from tradepulse_rotator.keyring import Key
from tradepulse_rotator.providers.env import EnvProvider

ID = "KEY"


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    source = Source(EnvProvider({"KEY": "the key"}), [Spec(ID)], {})
    async with Manager(service="api", source=source, poll_interval=None) as m:
        yield m


def take(manager: Manager, ring: Keyring, version: str) -> None:
    """Have a version taken as the manager does, which accepts it for the length of the fence."""
    fence = manager._entries[ID].fence
    fence.accept(version, fence.clock())
    ring._commit(Change(ID, Version(version, 0), SecretValue(f"value of {version}")))


def tripped(manager: Manager) -> dict[str, int]:
    return {u.version_id: u.uses for u in manager._entries[ID].trips.record()}


async def test_a_key_whose_time_ended_before_it_was_retired_trips(manager: Manager) -> None:
    ring = await Keyring.open(manager, ID, KeyUse.LIVE, keep=timedelta(0))
    for version in ("one", "two"):
        take(manager, ring, version)
    await eventually(lambda: ring.key("one") is None)
    assert tripped(manager) == {}, "it is not retired yet"
    ring._drop({"two"})
    assert ring.key("one", "192.0.2.7") is None
    assert tripped(manager) == {"one": 1}


async def test_a_staged_key_that_was_given_up_trips(manager: Manager) -> None:
    ring = await Keyring.open(manager, ID, KeyUse.LIVE)
    ring._prepare(Change(ID, Version("next", 0), SecretValue("value of next"), staged=True))
    ring._withdraw("next")
    assert ring.key("next") is None
    assert tripped(manager) == {"next": 1}


class Slow(dict[str, Key]):
    """Keys whose lookup takes longer than the fence."""

    manager: Manager

    def get(self, version: str, _: object = None) -> Key:
        fence = self.manager._entries[ID].fence
        late = fence.clock().boot + 2 * fence.period
        fence.clock = lambda: Moment(late, late)
        return self[version]


async def test_a_key_does_not_leave_a_ring_past_the_fence(manager: Manager) -> None:
    ring = await Keyring.open(manager, ID, KeyUse.LIVE)
    current = ring.current()
    ring._keys = keys = Slow(ring._keys)
    keys.manager = manager
    manager._reader.threads.shutdown()
    manager._checks._read_at[ID] = float("inf")  # the store was asked just now
    with pytest.raises(FenceError):
        await asyncio.to_thread(ring.key, current.id)
