"""The step from one set of secrets to another while a manager runs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from tradepulse_rotator.errors import ConfigurationError, InvalidError, MissingSecretsError, StoreError
from tradepulse_rotator.reading import absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tradepulse_rotator.fence import Moment
    from tradepulse_rotator.presence import Recorder
    from tradepulse_rotator.reading import Reader
    from tradepulse_rotator.reload import Entry
    from tradepulse_rotator.store import Source, Spec, Version
    from tradepulse_rotator.value import SecretValue

_Got = tuple["Version", "SecretValue", "Moment"]


class Change:
    """What has to be added, moved and dropped. All of it happens, or none of it."""

    def __init__(self, source: Source, entries: dict[str, Entry], specs: Iterable[Spec], make: Callable[[Spec], Entry]) -> None:
        """Compare the specs with those of the source. It raises :class:`ConfigurationError` for what cannot be done."""
        self._source, self._entries = source, entries
        self._before, self._after = dict(source.specs), {s.id: s for s in specs}
        if not self._after:
            raise ConfigurationError("the new configuration has no secret; the secrets from before stay in use")
        self.added = [make(s) for i, s in self._after.items() if i not in self._before]
        self.moved = [i for i, s in self._after.items() if i in self._before and s.store_path != self._before[i].store_path]
        self.dropped = [entries[i] for i in self._before if i not in self._after]
        used = [e.id for e in self.dropped if e.used]
        if used:
            raise ConfigurationError(f"{', '.join(used)}: dropped, and still used: close the users and remove the hooks first")

    async def make(self, reader: Reader, recorder: Recorder | None) -> None:
        """Put what is new on record, read what is new or has moved, and take all of it into use."""
        try:
            if recorder is not None:
                await recorder.enrol(self.added)
            firsts = await reader.firsts(self.added)
            moved = await self._read_moved(reader)
            await self._leave()
            await self._restart(moved)
        except BaseException:
            for entry in self.dropped:
                entry.leaving = False
            if recorder is not None:
                await recorder.end_uses(self.added)
            raise
        self._source.specs = self._after
        for secret_id in set(self.moved) - moved.keys():
            self._entries[secret_id].relocate(replace(self._after[secret_id], fence=self._entries[secret_id].spec.fence))
        for entry, first in zip(self.added, firsts, strict=True):
            entry.started(first)
            self._entries[entry.id] = entry
            entry.poll()  # for what was announced since the read
        for entry in self.dropped:
            del self._entries[entry.id]
            entry.release()
        if recorder is not None:
            await recorder.end_uses(self.dropped)

    async def _leave(self) -> None:
        """Let no user come to what is dropped from here on, or raise if one has come since the comparison."""
        for entry in self.dropped:
            if not await entry.leave():
                raise ConfigurationError(
                    f"{entry.id}: dropped, and used since the reload began: close the users and remove the hooks first"
                )

    async def _read_moved(self, reader: Reader) -> Mapping[str, _Got]:
        got = {}
        for secret_id in self.moved:
            sent = self._entries[secret_id].fence.clock()
            try:
                version, value = await reader.read(self._after[secret_id].store_path)
                if not value:
                    raise InvalidError(f"{self._source.provider.name}: the value is empty")
            except StoreError as err:
                if self._entries[secret_id].absent and absent(err):
                    continue
                raise MissingSecretsError(f"{secret_id} cannot be moved to {self._after[secret_id].store_path!r}: {err}") from None
            got[secret_id] = version, value, sent
        return got

    async def _restart(self, moved: Mapping[str, _Got]) -> None:
        """Give what has moved to its users. When one refuses, those from before get back what they had."""
        done: list[tuple[Entry, Spec, _Got]] = []
        try:
            # What is absent comes last: it has nothing that it could go back to.
            for secret_id, got in sorted(moved.items(), key=lambda m: self._entries[m[0]].absent):
                entry, spec = self._entries[secret_id], self._after[secret_id]
                if entry.absent:
                    await entry.restart(replace(spec, fence=entry.spec.fence), got)
                    continue
                was = entry.spec, (entry.current.version, entry.current.value, got[2])
                await entry.restart(replace(self._after[secret_id], fence=entry.spec.fence), got)
                done.append((entry, *was))
        except BaseException:
            for entry, spec, got in done:
                await asyncio.shield(entry.restart(spec, got))
            raise
