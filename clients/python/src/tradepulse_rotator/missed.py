"""What was announced while a process had no connection to the bus."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tradepulse_rotator import logs, tasks
from tradepulse_rotator.errors import RotatorError
from tradepulse_rotator.reading import MAX_READS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tradepulse_rotator.bus import Bus
    from tradepulse_rotator.metrics import Metrics
    from tradepulse_rotator.reload import Entry

LOOKS: Final = (1.0, 5.0, 25.0, 60.0)
"""The pauses between the looks after the connection came back, in seconds.

Any server of a cluster answers a look, also one that lags behind, and a service has no right to ask the leader: the first look
proves nothing. The last pause is that between further looks at the secrets whose read failed or was certainly old. The poll of
the store finds what all of them missed.
"""


class Missed:
    """Looks at the last notifications after each time that the connection was made. It belongs to the event loop."""

    def __init__(self, bus: Bus, service: str, metrics: Metrics) -> None:
        self._bus, self._service, self._metrics = bus, service, metrics
        self._begin = asyncio.Event()
        self._left: list[str] = []
        self._looked = 0

    def begin(self) -> None:
        """Begin anew: the connection was made."""
        self._begin.set()

    async def look(self, entries: Mapping[str, Entry]) -> None:
        """Wait until the connection was made or the next look is due, and look once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause()):
                await self._begin.wait()
        if self._begin.is_set():
            self._left, self._looked = list(entries), 0
        self._begin.clear()
        behind = await self._behind([entries[i] for i in self._left if i in entries])
        self._looked += 1
        if self._looked >= len(LOOKS):
            self._left = behind

    def _pause(self) -> float | None:
        if not self._left:
            return None
        pause = LOOKS[min(self._looked, len(LOOKS)) - 1]
        return pause * (1 + random.random() / 4)  # noqa: S311  # it spreads load

    async def _behind(self, left: list[Entry]) -> list[str]:
        """Look at secrets, and return those whose read failed or was old. It ends early when there is a reason to begin anew."""
        behind: list[str] = []
        while left and not self._begin.is_set():
            some, left = left[:MAX_READS], left[MAX_READS:]
            heard = await asyncio.gather(*(self._hear(e) for e in some))
            behind += [e.id for e, ok in zip(some, heard, strict=True) if not ok]
        return behind

    async def _hear(self, entry: Entry) -> bool:
        """Take the last notification about a secret, and return whether it was read and is not older than what was heard."""
        try:
            event = await self._bus.last_notified(self._service, entry.id)
            if event is not None:
                if entry.heard_after(event):
                    return False
                entry.announced(event)
        except BaseException as err:
            if tasks.ends(err):
                raise
            if isinstance(err, RotatorError):
                logs.event(logging.DEBUG, "secret.last_notified", secret_id=entry.id, error=str(err))
            else:
                tasks.failed("missed", err, self._metrics, secret_id=entry.id)
            return False
        return True
