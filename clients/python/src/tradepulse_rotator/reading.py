"""Reads secrets in threads, and says what is missing at the start."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from tradepulse_rotator.errors import InvalidError, MissingSecretsError, NotFoundError, StoreError, UnavailableError
from tradepulse_rotator.providers.env import EnvProvider
from tradepulse_rotator.reload import Absent, First

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tradepulse_rotator.reload import Entry
    from tradepulse_rotator.store import Source, Version
    from tradepulse_rotator.value import SecretValue

MAX_READS: Final = 8
"""How many secrets are read at once."""

_READ_TIMEOUT: Final = 30.0

_A = TypeVar("_A")
_T = TypeVar("_T")


def absent(error: StoreError) -> bool:
    """Report whether a store answered that it has no such secret. What was deleted or has no value is there."""
    return error.reason == NotFoundError.reason


class Reader:
    """Reads the secrets of a source, some at once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._slots = asyncio.Semaphore(MAX_READS)
        self.threads = ThreadPoolExecutor(MAX_READS, thread_name_prefix="rotator-store")
        """The threads that read."""

    async def read(self, path: str, version: str | None = None) -> tuple[Version, SecretValue]:
        """Read a version of what is at a path, the current one unless another is named."""
        return await self._in_thread(self._source.provider.read, path, version)

    async def read_previous(self, path: str, current: Version) -> tuple[Version, SecretValue]:
        """Read the version before the current one."""
        return await self._in_thread(self._source.provider.read_previous, path, current)

    async def _in_thread(self, call: Callable[[str, _A], _T], path: str, argument: _A) -> _T:
        loop = asyncio.get_running_loop()
        try:
            # A read counts its time from when it begins, not from when it waits for others to end.
            async with self._slots, asyncio.timeout(_READ_TIMEOUT):
                return await loop.run_in_executor(self.threads, call, path, argument)
        except TimeoutError:
            raise UnavailableError(f"{self._source.provider.name}: no answer within {_READ_TIMEOUT:.0f} s") from None

    async def load(self, entries: Mapping[str, Entry]) -> None:
        """Read the first version of every secret, and take all of them into use, or raise :class:`MissingSecretsError`."""
        for entry, first in zip(entries.values(), await self.firsts(entries.values()), strict=True):
            entry.started(first)

    async def firsts(self, entries: Iterable[Entry]) -> list[First | Absent]:
        """Read the first version of every secret, which an optional one need not have, or raise :class:`MissingSecretsError`."""
        entries = list(entries)
        found = await asyncio.gather(*map(self._first, entries), return_exceptions=True)
        missing = [self._remedy(entry, e) for entry, e in zip(entries, found, strict=True) if isinstance(e, StoreError)]
        for error in found:
            if isinstance(error, BaseException) and not isinstance(error, StoreError):
                raise error
        if missing:
            raise MissingSecretsError(f"{len(missing)} of {len(entries)} secrets cannot be resolved:\n" + "\n".join(missing))
        return [first for first in found if isinstance(first, First | Absent)]

    async def _first(self, entry: Entry) -> First | Absent:
        fresh_for, sent = self._source.fresh_for(entry.id), entry.fence.clock()
        try:
            version, value = await self.read(entry.spec.store_path)
        except NotFoundError as err:
            if not entry.optional or not absent(err):
                raise
            return Absent(fresh_for, self._remedy_of_absent(entry), str(err))
        if not value:
            raise InvalidError(f"{self._source.provider.name}: the value is empty")
        return First(fresh_for, version, value, sent)

    def _remedy_of_absent(self, entry: Entry) -> str:
        """Return what to do, for the clients of the service as well: it does not say where secrets are."""
        provider = self._source.provider
        if isinstance(provider, EnvProvider):
            return provider.hint(entry.spec.store_path)
        return f"set {entry.id}, and write a first version where it says"

    def _remedy(self, entry: Entry, error: StoreError) -> str:
        path, provider = entry.spec.store_path, self._source.provider
        hint = f"let this service read {path!r} in the store {provider.name!r}"
        if isinstance(error, NotFoundError):
            hint = provider.hint(path)
        elif isinstance(error, UnavailableError):
            hint = f"see whether the store {provider.name!r} can be reached from here"
        elif isinstance(error, InvalidError):
            hint = "see the error"
        return f"  {entry.id}: {error} ({hint})"
