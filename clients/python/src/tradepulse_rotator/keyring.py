"""Keys by version: sign with the current one, verify with every one that this process has seen."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tradepulse_rotator.errors import NotStartedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from tradepulse_rotator.manager import Manager
    from tradepulse_rotator.reload import Change
    from tradepulse_rotator.value import SecretValue


@dataclass(frozen=True)
class Key:
    """One version of a key."""

    id: str
    value: SecretValue


class Keyring:
    """Signs with the current version of a secret, and verifies with any version seen, staged ones included.

    What it is a key for is not its business. Its synchronous methods can be called in any thread.
    """

    def __init__(self, manager: Manager, secret_id: str, keep: timedelta | None) -> None:
        self._manager = manager
        self.secret_id = secret_id
        self._keep = keep
        self._keys: dict[str, Key] = {}
        self._current: Key | None = None
        self._stop: Callable[[], None] | None = None

    @classmethod
    async def open(cls, manager: Manager, secret_id: str, *, keep: timedelta | None = None) -> Keyring:
        """Return a key ring on a secret. A version that was current is kept for ``keep``, None for the process's life."""
        ring = cls(manager, secret_id, keep)
        ring._stop = await manager.subscribe(secret_id, ring._take)
        return ring

    def _take(self, change: Change) -> None:
        new = Key(change.version.id, change.value)
        self._keys[new.id] = new
        if change.staged:
            return
        before, self._current = self._current, new
        if before is not None and before.id != new.id and self._keep is not None:
            asyncio.get_running_loop().call_later(self._keep.total_seconds(), self._drop, before.id)

    def _drop(self, version_id: str) -> None:
        if self.current().id != version_id:
            self._keys.pop(version_id, None)

    def current(self) -> Key:
        """Return the key to sign with."""
        if self._current is None:
            raise NotStartedError("the key ring has no key yet")
        return self._current

    def key(self, version_id: str) -> Key | None:
        """Return a version to verify with, None when this process has not seen it or keeps it no more."""
        return self._keys.get(version_id)

    def lookup(self, version_id: str) -> SecretValue | None:
        """Return the value of a version like :meth:`key`: what :func:`~tradepulse_rotator.verify` asks for."""
        found = self.key(version_id)
        return None if found is None else found.value

    async def fetch(self, version_id: str) -> Key:
        """Return a version like :meth:`key`, and ask the store for one not seen: for records of an earlier process."""
        found = self.key(version_id)
        if found is None:
            _, value = await self._manager.read(self.secret_id, version_id)
            found = Key(version_id, value)
            self._keys[version_id] = found
        return found

    def close(self) -> None:
        """Take the key ring off its secret; it keeps the keys that it has."""
        if self._stop is not None:
            self._stop()
