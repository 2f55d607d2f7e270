"""Keys by version: sign with the current one, verify with others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from tradepulse_rotator.errors import NotFoundError, NotStartedError
from tradepulse_rotator.users import Change, Hooks

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet
    from datetime import timedelta

    from tradepulse_rotator.manager import Manager
    from tradepulse_rotator.value import SecretValue


_MAX_OLD: Final = 32


class KeyUse(StrEnum):
    """What the older versions of a key are for."""

    HISTORY = "history"
    """Records that were made before their key was replaced, for ever. That accepts nothing new."""
    LIVE = "live"
    """What a client sends, such as a session: to verify it is to accept it. A key ends when its version is retired."""


@dataclass(frozen=True)
class Key:
    """One version of a key."""

    id: str
    value: SecretValue


class Keyring:
    """Signs with the current version of a secret, and verifies with any version seen, staged ones included.

    What it is a key for is not its business. Its synchronous methods can be called in any thread. It checks the fence of the
    secret at each use; past it, the store is read once, which blocks: await :meth:`confirm` before on an event loop.
    """

    def __init__(self, manager: Manager, secret_id: str, kind: KeyUse, keep: timedelta | None) -> None:
        self._manager = manager
        self.secret_id = secret_id
        self._live = kind is KeyUse.LIVE
        self._keep = keep
        self._keys: dict[str, Key] = {}
        self._current: Key | None = None
        self._staged: set[str] = set()
        self._old: dict[str, bool] = {}  # :: id of a version that a live ring accepts no more → whether it is retired
        self._stop: Callable[[], None] | None = None

    @classmethod
    async def open(cls, manager: Manager, secret_id: str, kind: KeyUse, *, keep: timedelta | None = None) -> Keyring:
        """Return a key ring on a secret.

        A version that was current is kept for ``keep``; None is for the process's life, or until it is retired for a live one.
        """
        ring = cls(manager, secret_id, kind, keep)
        hooks = Hooks(ring._prepare, ring._commit, ring._withdraw, ring._drop, ring._accepts)
        ring._stop = await manager.attach(secret_id, hooks)
        return ring

    def _prepare(self, change: Change) -> None:
        if change.staged and change.version.id not in self._keys:
            self._keys[change.version.id] = Key(change.version.id, change.value)
            self._staged.add(change.version.id)

    def _commit(self, change: Change) -> None:
        new = Key(change.version.id, change.value)
        self._keys[new.id] = new
        self._staged.discard(new.id)
        self._old.pop(new.id, None)
        before, self._current = self._current, new
        if before is not None and before.id != new.id and self._keep is not None:
            asyncio.get_running_loop().call_later(self._keep.total_seconds(), self._forget, before.id)

    def _withdraw(self, version_id: str) -> None:
        if version_id in self._staged:
            self._end(version_id, retired=True)

    def _forget(self, version_id: str) -> None:
        if version_id in self._keys and (self._current is None or self._current.id != version_id):
            self._end(version_id, retired=False)
        self._manager.changed()

    def _end(self, version_id: str, *, retired: bool) -> None:
        """Take a key away, and note it in a live ring."""
        self._keys.pop(version_id, None)
        self._staged.discard(version_id)
        if not self._live:
            return
        self._old[version_id] = retired
        while len(self._old) > _MAX_OLD:
            del self._old[next(iter(self._old))]

    def _drop(self, kept: AbstractSet[str]) -> None:
        if not self._live:
            return
        for version_id in self._keys.keys() - kept:
            self._end(version_id, retired=True)
        self._old = {v: retired or v not in kept for v, retired in self._old.items()}

    def _accepts(self) -> AbstractSet[str]:
        return self._keys.keys() if self._live else frozenset()

    async def confirm(self) -> None:
        """Wait for what the other methods would block for, and raise what they would raise."""
        await self._manager.confirm(self.secret_id)

    def current(self) -> Key:
        """Return the key to sign with, or raise :class:`~tradepulse_rotator.errors.FenceError`."""
        if self._current is None:
            self._manager.check_present(self.secret_id)
            raise NotStartedError("the key ring has no key")
        self._manager.used(self.secret_id)
        self._manager.check(self.secret_id)
        return self._current

    def key(self, version_id: str, client: str = "") -> Key | None:
        """Return a version to verify with, None when this process has not seen it or keeps it no more.

        A live ring raises :class:`~tradepulse_rotator.errors.FenceError` past the fence. It reports the use of a retired
        version with ``client``, the address of its sender.
        """
        self._manager.used(self.secret_id)
        if not self._live:
            return self._keys.get(version_id)
        self._manager.check(self.secret_id)
        found, current = self._keys.get(version_id), self._current
        is_current = current is not None and current.id == version_id
        if found is None or not (is_current or self._manager.accepts(self.secret_id, version_id)):
            if self._old.get(version_id):
                self._manager.tripped(self.secret_id, version_id, client)
            return None
        self._manager.check(self.secret_id)  # the process may have been paused in between
        return found

    def lookup(self, version_id: str) -> SecretValue | None:
        """Return the value of a version like :meth:`key`: what :func:`~tradepulse_rotator.verify` asks for."""
        found = self.key(version_id)
        return None if found is None else found.value

    async def fetch(self, version_id: str) -> Key:
        """Return a version like :meth:`key`, and ask the store for one not seen: for records of an earlier process.

        A live ring asks for none: the version may be retired.
        """
        if self._live:
            await self.confirm()
        found = self.key(version_id)
        if found is None and self._live:
            raise NotFoundError(f"{self.secret_id}: this process does not accept version {version_id}")
        if found is None:
            _, value = await self._manager.read(self.secret_id, version_id)
            found = Key(version_id, value)
            self._keys[version_id] = found
        return found

    def close(self) -> None:
        """Take the key ring off its secret. A live one has no key any more, and no ring signs."""
        if self._stop is not None:
            self._stop()
        self._current = None
        if self._live:
            self._keys = {}
