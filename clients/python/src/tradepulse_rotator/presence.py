"""Keeps the records of an incarnation on the bus: its presence, and one use per secret."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tradepulse_rotator import logs, times
from tradepulse_rotator.bus import Bus, ConflictError
from tradepulse_rotator.errors import RotatorError
from tradepulse_rotator.fence import elapsed
from tradepulse_rotator.fence import now as clock
from tradepulse_rotator.records import Presence, Use, new_incarnation, this_process, whole_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from tradepulse_rotator.fence import Moment
    from tradepulse_rotator.reload import Entry

_COALESCE: Final = 0.01  # how long changes are gathered before they are written
_AGAIN: Final = 2.0
_LEAST: Final = 0.1  # between two renewals, however short a fence is
_OFFER_WAIT: Final = 5.0
_MAX_WRITES: Final = 64  # at once


@dataclass(frozen=True)
class Identity:
    """Which process of which service this is. No other process has the incarnation."""

    service: str
    instance: str
    lease: timedelta
    incarnation: str
    started_at: int
    fleet: str = ""

    @classmethod
    def new(cls, service: str, instance: str, lease: timedelta, fleet: str = "") -> Identity:
        """Return the identity of this process."""
        return cls(service, instance, lease, new_incarnation(), times.now_ns(), fleet)

    def presence(self, *, ended: bool = False) -> Presence:
        """Return the record that this incarnation lives, or has ended."""
        lease = whole_seconds(times.span(self.lease))
        at = times.now_ns()
        return Presence(self.service, self.instance, self.incarnation, self.started_at, at, lease, self.fleet, this_process(), ended)


class Recorder:
    """Writes the records of one incarnation. Its methods are not called concurrently."""

    def __init__(self, bus: Bus, identity: Identity, entries: Sequence[Entry], dirty: asyncio.Event, lost: Callable[[], None]) -> None:
        """``lost`` is called after the records were lost and written again: a version may have been retired meanwhile."""
        self._bus, self._me, self._entries, self._dirty, self._lost = bus, identity, entries, dirty, lost
        self._acked: dict[str, Use] = {}  # :: id of a secret → the use that is stored
        self._recorded: set[str] = set()  # ids of the secrets of which a use was ever stored
        self._seq: int | None = None  # of the presence that is stored; None is not joined
        self._renewed = clock()  # when the last presence was sent
        self._tried = asyncio.Event()  # set, and replaced, after each try to write what is due
        self._failing = False
        self._writing = asyncio.Lock()  # held while records are written: none follows the end of a use
        self._endings: dict[str, Use] = {}  # :: id of a secret → the end of its use, which is not stored yet

    def is_recorded(self, secret_id: str) -> bool:
        """Report whether a use of a secret was ever stored."""
        return secret_id in self._recorded

    async def stored(self, entry: Entry, limit: float) -> bool:
        """Wait until the use of a secret is stored as it is now, and report whether it is. It does not wait for a bus that fails."""
        deadline = asyncio.get_running_loop().time() + limit
        while self._seq is None or self._acked.get(entry.id) != self._use(entry):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or self._failing:
                return False
            tried = self._tried
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await tried.wait()
        return True

    async def offer(self, entry: Entry) -> None:
        """Put on record that a version is offered, so that a process that is paused after the commit is known to hold it.

        Without the bus it goes on.
        """
        if self.is_recorded(entry.id):
            self._dirty.set()
            await self.stored(entry, _OFFER_WAIT)

    def _use(self, entry: Entry) -> Use:
        return entry.use(self._me.service, self._me.instance, self._me.incarnation)

    @property
    def renewed_at(self) -> Moment:
        """When the last presence that was stored was sent."""
        return self._renewed

    async def join_first(self) -> None:
        """Write a use of every secret, and then the presence, and try again until all of it is stored."""
        while self._seq is None:
            await self._wait(_AGAIN)  # until the connection was made
            self._dirty.clear()
            await self._try()

    async def keep(self) -> None:
        """Wait for a change or for the time of a renewal, and write what is due."""
        if not self._due or self._failing:
            await self._wait(self._wait_for)
        self._dirty.clear()
        await self._try()

    @property
    def interval(self) -> float:
        """The time between two renewals in seconds.

        One that is lost ends neither the lease nor the shortest fence, which only renewals extend for what a process accepts
        besides the version in use.
        """
        limits = [self._me.lease.total_seconds(), *(e.fence.period / 1e9 for e in self._entries)]
        return max(min(limits) / 3, _LEAST)

    @property
    def _wait_for(self) -> float:
        return min(self.interval, _AGAIN) if self._failing else max(self.interval - self._since, 0)

    @property
    def _since(self) -> float:
        return elapsed(self._renewed, clock()) / 1e9

    @property
    def _due(self) -> bool:
        return self._seq is None or self._since >= self.interval

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._dirty.wait()
                await asyncio.sleep(_COALESCE)

    async def _try(self) -> None:
        """Write what is due. A failure is logged once, until a success."""
        failed = True
        try:
            async with self._writing:
                await self._write()
            failed = False
        except RotatorError as err:
            if not self._failing:
                logs.event(logging.WARNING, "secret.report", error=str(err), detail="rotator does not learn what this process runs")
        finally:
            self._failing = failed
            self._tried.set()
            self._tried = asyncio.Event()

    async def _write(self) -> None:
        await self._write_uses()
        await self._write_endings()
        if self._seq is None:
            await self._join()
        elif self._due:
            await self._renew(self._seq)

    async def _write_uses(self) -> None:
        """Write the uses that are not stored as they are now."""
        uses = [self._use(e) for e in self._entries]
        changed = [u for u in uses if self._acked.get(u.secret_id) != u]
        while changed:
            some, changed = changed[:_MAX_WRITES], changed[_MAX_WRITES:]
            results = await asyncio.gather(*map(self._write_use, some), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    async def _write_use(self, use: Use) -> None:
        await self._bus.write_use(use)
        self._acked[use.secret_id] = use
        self._recorded.add(use.secret_id)

    async def _join(self) -> None:
        """Store the presence, now that every use is stored.

        The stream may have been lost in between, so no renewal confirms a version until its use was written again.
        """
        sent = clock()
        self._seq = await self._bus.join(self._me.presence())
        self._renewed, self._acked = sent, {}
        self._dirty.set()

    async def _renew(self, after: int) -> None:
        """Renew the presence, which confirms every version whose use is stored."""
        uses, sent = dict(self._acked), clock()
        try:
            self._seq = await self._bus.renew(self._me.presence(), after)
        except ConflictError:
            # The uses may be lost, too.
            self._seq, self._acked = None, {}
            detail = "the bus does not have the records of this process any more: it joins again"
            logs.event(logging.WARNING, "secret.records_lost", service=self._me.service, instance=self._me.instance, detail=detail)
            await self._write()
            self._lost()
            return
        self._renewed = sent
        for entry in self._entries:
            use = uses.get(entry.id)
            if use is not None:
                entry.fence.renewed((use.version_id, *(use.accepts or ())), sent)

    async def enrol(self, entries: Sequence[Entry]) -> None:
        """Write the use of secrets that are new, before they are read, and keep it on record from here on."""
        async with self._writing:
            for entry in entries:
                self._endings.pop(entry.id, None)
                await self._write_use(self._use(entry))
            self._entries = [*self._entries, *entries]

    async def end_uses(self, entries: Sequence[Entry]) -> None:
        """End the use of secrets and say so; what cannot be said now is said later."""
        async with self._writing:
            gone = {e.id for e in entries}
            self._entries = [e for e in self._entries if e.id not in gone]
            for entry in entries:
                entry.fence.end()
                self._acked.pop(entry.id, None)
                self._endings[entry.id] = replace(self._use(entry), version_id="", wanted="", reason="", accepts=(), ended=True)
            self._dirty.set()
            with suppress(RotatorError):
                await self._write_endings()

    async def _write_endings(self) -> None:
        for use in tuple(self._endings.values()):
            await self._bus.write_use(use)
            self._endings.pop(use.secret_id, None)

    async def end(self) -> None:
        """Say that this incarnation has ended, if it ever joined."""
        if not self._recorded:
            return
        ended = self._me.presence(ended=True)
        try:
            if self._seq is not None:
                await self._bus.renew(ended, self._seq)
                return
        except ConflictError:
            pass  # such as after a renewal whose acknowledgement was lost
        await self._bus.join(ended)
