"""Checks at use: past its fence a version is confirmed by the store, or refused."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tradepulse_rotator import logs
from tradepulse_rotator.errors import FenceError
from tradepulse_rotator.reload import explain
from tradepulse_rotator.tripwire import client_name

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from tradepulse_rotator.metrics import Metrics
    from tradepulse_rotator.reload import Entry
    from tradepulse_rotator.store import Source

_TIMEOUT: Final = 2.0
_SAY_AGAIN: Final = 60.0
_PAUSE: Final = 1.0  # the least time between two reads of one secret for checks in threads


class Checks:
    """Checks the fences of the secrets of one manager. A failed check costs one read of the store a second at most."""

    def __init__(self, source: Source, threads: Executor, metrics: Metrics) -> None:
        self._source, self._threads, self._metrics = source, threads, metrics
        self._lock = threading.Lock()
        self._read_at: dict[str, float] = {}  # :: id of a secret → when a thread last read it, on time.monotonic
        self._said_at: dict[str, float] = {}  # :: id of a secret → when a refusal was last logged, on time.monotonic
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def start(self) -> None:
        """Remember the event loop of the manager."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Refuse every version from now on."""
        self._closed = True

    def _passes(self, entry: Entry) -> bool:
        return entry.fence.holds and not self._closed

    async def confirm(self, entry: Entry) -> None:
        """Return if the version in use may be used, after one read of the store where that is needed."""
        entry.check_present()
        if self._passes(entry):
            return
        if not self._closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TIMEOUT):
                    await entry.refresh()
        if not self._passes(entry):
            raise self._refused(entry)

    def check(self, entry: Entry) -> None:
        """Check like :meth:`confirm`, in any thread, which waits for the read."""
        entry.check_present()
        if self._passes(entry):
            return
        with self._lock:
            if not self._passes(entry) and not self._closed:
                self._read(entry)
        if not self._passes(entry):
            raise self._refused(entry)

    def _read(self, entry: Entry) -> None:
        """Read the store, unless that happened just now. The caller holds the lock."""
        last = self._read_at.get(entry.id)
        if last is not None and time.monotonic() - last < _PAUSE:
            return
        sent, moves = entry.fence.clock(), entry.moves
        answer = self._threads.submit(self._source.provider.read, entry.spec.store_path, None)
        try:
            version, _ = answer.result(_TIMEOUT)
        except Exception as err:  # noqa: BLE001  # whatever the store raises, it confirms nothing
            answer.cancel()
            logs.event(logging.DEBUG, "secret.fence_read", secret_id=entry.id, error=explain(err))
            return
        finally:
            self._read_at[entry.id] = time.monotonic()
        if moves == entry.moves and version.id == entry.version and not entry.state.mixed:
            entry.fence.read(version.id, sent)
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(entry.poll)

    def tripped(self, entry: Entry, version: str, client: str) -> None:
        """Count the use of a retired version, in any thread. It is logged and put on record at most once a minute for a client."""
        self._metrics.count("secret.retired_used", {"secret.id": entry.id})
        uses = entry.trips.used(version, client)
        if uses == 0:
            return
        logs.event(logging.ERROR, "secret.retired_used", secret_id=entry.id, version_id=version, client=client_name(client), uses=uses)
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and so has the record
                self._loop.call_soon_threadsafe(entry.changed)

    def _refused(self, entry: Entry) -> FenceError:
        self._metrics.count("secret.fenced", {"secret.id": entry.id})
        seconds = entry.fence.period / 1e9
        why = f"nothing confirmed it for {seconds:.0f} s; let this process reach the store or the bus"
        error = FenceError(f"{entry.id}: version {entry.version} is refused: {'the manager is closed' if self._closed else why}")
        last = self._said_at.get(entry.id)
        if last is None or time.monotonic() - last >= _SAY_AGAIN:
            self._said_at[entry.id] = time.monotonic()
            logs.event(logging.ERROR, "secret.fenced", secret_id=entry.id, error=str(error))
        return error
