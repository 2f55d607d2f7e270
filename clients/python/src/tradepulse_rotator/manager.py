"""The manager: holds the current version of every secret of a service, and replaces it while the service runs."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from tradepulse_rotator import events, logs, tasks, times
from tradepulse_rotator.change import Change
from tradepulse_rotator.checks import Checks
from tradepulse_rotator.errors import (
    ConfigurationError,
    RefreshError,
    UnknownSecretError,
)
from tradepulse_rotator.fence import Moment
from tradepulse_rotator.metrics import Gauge, Metrics, SafeMetrics
from tradepulse_rotator.missed import Missed
from tradepulse_rotator.presence import Identity, Recorder
from tradepulse_rotator.reading import Reader
from tradepulse_rotator.records import PastFence
from tradepulse_rotator.reload import Current, Entry, Handle, Shell, explain
from tradepulse_rotator.states import Status
from tradepulse_rotator.users import DEFAULT_HOOK_TIMEOUT, Hook, Hooks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import TracebackType

    from tradepulse_rotator.bus import Bus
    from tradepulse_rotator.store import Source, Spec, Version
    from tradepulse_rotator.value import SecretValue

DEFAULT_LEASE: Final = timedelta(seconds=30)
DEFAULT_POLL_INTERVAL: Final = timedelta(minutes=5)
DEFAULT_RETRY: Final = timedelta(seconds=5)
JOIN_REQUIRED: Final = "required"
"""The value of ``join`` that waits for the bus without a limit."""

_JOIN_WAIT: Final = 60.0  # for the acknowledged uses of secrets whose users serve on
_JOIN_WAIT_CHECKED: Final = 5.0  # where every user checks at use: its fence bounds what a process does that rotator does not know
_RECORD_WAIT: Final = 10.0
_LEAST_LOOK: Final = 0.02
_TELL_ACCESSES: Final = 10.0  # between two lines in the log about the accesses of one secret
_REPORT_AGAIN: Final = 2.0
_LONGEST_LOOK: Final = 60.0
_MAX_PARTS: Final = 64  # into which a poll is spread over its interval, so that many secrets are not read at once
_SECOND: Final = 1_000_000_000


_UNSET: Final = object()


class Manager:
    """Holds the current version of every secret of a service.

    Write ``async with Manager(...) as manager``, or call :meth:`start` and :meth:`close`. All methods belong to one event loop;
    what a handle returns can be read in any thread.
    """

    def __init__(  # noqa: PLR0913  # they are named where it is called, and each has a default
        self,
        *,
        service: str,
        source: Source,
        bus: Bus | None = None,
        instance: str = "",
        lease: timedelta = DEFAULT_LEASE,
        poll_interval: timedelta | None = DEFAULT_POLL_INTERVAL,
        retry: timedelta = DEFAULT_RETRY,
        hook_timeout: timedelta = DEFAULT_HOOK_TIMEOUT,
        fence: timedelta | None = None,
        checked_at_use: Iterable[str] = (),
        optional: Iterable[str] = (),
        join: str = "",
        fleet: str = "",
        metrics: Metrics | None = None,
        reconfigure: Callable[[], Iterable[Spec]] | None = None,
        max_stale: object = _UNSET,
    ) -> None:
        """Set up what :meth:`start` starts.

        ``service`` is the name that secrets list under ``services:``. Without a ``bus`` a rotation is noticed by polling
        only, and this process cannot report what it runs. ``instance`` names this process; empty makes a name that no other
        has. ``poll_interval`` None never polls. ``hook_timeout`` is how long an asynchronous hook may take.

        ``fence`` is how long this process uses a version that neither the bus nor the store confirms, unless the
        :class:`~tradepulse_rotator.store.Spec` of the secret says so. ``checked_at_use`` names the secrets that this process
        uses through authenticators and keyrings only, which refuse past the fence. ``optional`` names those of them that the store
        need not have: their users raise :class:`~tradepulse_rotator.errors.AbsentError` until a first version is there.

        ``join`` ``"required"`` waits without a limit until the bus has stored that this process uses its secrets; otherwise it starts
        after a minute without that. ``fleet`` names the fleet of this process, as secrets list it under ``fleets:``.
        ``reconfigure`` returns the secrets as they are configured now, for :meth:`reload`.
        """
        if max_stale is not _UNSET:
            raise ConfigurationError("max_stale is now fence: how long this process uses a version that it cannot confirm")
        events.check_token("service", service)
        if not source.specs:
            raise ConfigurationError("a manager needs the id of at least one secret")
        if join not in {"", JOIN_REQUIRED} or (join and bus is None):
            raise ConfigurationError(f"join {join!r}: use {JOIN_REQUIRED!r}, with a bus, or leave it out")
        self._bus = bus
        self.instance = instance or _instance_name()
        events.check_token("instance", self.instance)
        if fleet:
            events.check_token("fleet", fleet)
        self._me = Identity.new(service, self.instance, lease, fleet)
        self._join, self._poll = join, poll_interval
        self._metrics = SafeMetrics(metrics)
        self._reader = Reader(source)
        self._dirty, self._wake = asyncio.Event(), asyncio.Event()
        shell = Shell(self._reader.read, self._spawn, self._metrics, self._dirty, self._wake, self._offer, self._is_recorded, hook_timeout)
        modes = _Modes(retry, fence, frozenset(checked_at_use), frozenset(optional))
        self._entries = _entries(source, modes, shell)
        self._source, self._reconfigure, self._reloading = source, reconfigure, asyncio.Lock()
        self._make = lambda spec: _entry(spec, modes, shell)
        self._divide()
        self._recorder = None if bus is None else Recorder(bus, self._me, list(self._entries.values()), self._dirty, self._poll_all)
        self._missed = None if bus is None else Missed(bus, service, self._metrics)
        self._checks = Checks(source, self._reader.threads, self._metrics)
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = self._closed = False
        self._unwatch: Callable[[], None] = lambda: None
        self._poll_at = 0.0  # on the clock of the loop

    async def __aenter__(self) -> Self:
        if not self._started:
            await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def start(self) -> None:
        """Subscribe, join, load everything, and begin to report.

        It raises :class:`MissingSecretsError`, which names every secret that has no value, and then nothing runs. It subscribes
        first: what is announced while the first values are read must not be missed. It joins before it reads: no version may be
        retired while a process has read it that rotator does not know.
        """
        self._checks.start()
        try:
            if self._bus is None:
                every = str(self._poll) if self._poll else "never"
                logs.event(
                    logging.WARNING, "secret.poll_only", service=self._me.service, every=every,
                    detail="no bus is configured: a rotation is noticed by polling, and this process cannot report what it runs",
                )  # fmt: skip
            else:
                await self._bus.start(self._me.service, self._notified, self._connected)
            if self._recorder is not None:
                await self._join_first(self._recorder)
            await self._reader.load(self._entries)
            self._started = True
        except BaseException:
            await self._leave()
            raise
        self._poll_at = asyncio.get_running_loop().time() + self._poll_in()
        self._spawn(tasks.forever("poll", self._look, self._metrics))
        self._spawn(tasks.forever("access", self._tell_accessed, self._metrics))
        self._unwatch = self._metrics.watch(self.gauges)
        if self._missed is not None and self._recorder is not None:
            recorder, missed = self._recorder, self._missed
            self._spawn(tasks.forever("report", recorder.keep, self._metrics, longest=min(recorder.interval, _REPORT_AGAIN)))
            self._spawn(tasks.forever("missed", lambda: missed.look(self._entries), self._metrics))
            self._dirty.set()

    async def _join_first(self, recorder: Recorder) -> None:
        """Wait until the bus has stored that this process uses its secrets; start anyway after a while, and say so."""
        serves = any(not e.checked for e in self._entries.values())
        limit = None if self._join else _JOIN_WAIT if serves else _JOIN_WAIT_CHECKED
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await recorder.join_first()
        late = [e for e in self._entries.values() if not recorder.is_recorded(e.id)]
        if late:
            logs.event(
                logging.ERROR, "secret.not_joined", service=self._me.service, instance=self.instance, secrets=len(late),
                detail="this process starts without being on record: a rotation cannot see which versions it uses",
            )  # fmt: skip

    async def close(self) -> None:
        """End everything that runs, say on the bus that this process has ended, and wait.

        Handles keep their last value. Authenticators and keyrings refuse from now on.
        """
        self._closed = True
        self._checks.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._unwatch()
        for entry in self._entries.values():
            entry.release()
            entry.tell_accessed()
        await self._leave()

    async def _leave(self) -> None:
        """Say on the bus that this process has ended, if it can be said, and end the connection."""
        try:
            if self._recorder is not None:
                await self._recorder.end()
        except Exception as err:  # noqa: BLE001  # what ends must end whatever the bus does
            detail = "rotator does not learn that this process has ended; forget it there if it holds a retirement up"
            logs.event(logging.WARNING, "secret.report", error=explain(err), detail=detail)
        finally:
            await self._end()

    async def _end(self) -> None:
        try:
            if self._bus is not None:
                await self._bus.close()
        finally:
            self._reader.threads.shutdown(wait=False, cancel_futures=True)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            tasks.failed("secret", error, self._metrics)

    # Reading.

    def secret(self, secret_id: str) -> Handle:
        """Return a handle on one secret that is not checked at use: the value that it returns may be kept for ever."""
        return Handle(self._copied(secret_id))

    def get(self, secret_id: str) -> Current:
        """Return the current version of a secret, and count and log the access. Use a handle where reads are hot."""
        entry = self._copied(secret_id)
        entry.accessed("name")
        return entry.current

    def gauges(self) -> list[Gauge]:
        """Return the age of every secret, and the time to its end if it has one, as they are now, in any thread."""
        return [gauge for entry in tuple(self._entries.values()) for gauge in entry.gauges()]

    async def _tell_accessed(self) -> None:
        """Log the accesses after a while, one line for each secret."""
        await asyncio.sleep(_TELL_ACCESSES)
        for entry in tuple(self._entries.values()):
            entry.tell_accessed()

    @property
    def metrics(self) -> Metrics:
        """What counts for this manager."""
        return self._metrics

    async def reload(self) -> None:
        """Hold the secrets that ``reconfigure`` returns now: read what is new, move what is elsewhere, and drop the others.

        All of that happens, or after an exception none of it: then the secrets from before stay in use. The store stays the one
        of this manager. The use of what is new is on record before it is read, so a bus that cannot be reached is an error. A
        secret is dropped only once its users are closed and its hooks removed; handles on it keep a last value.
        """
        if self._reconfigure is None or not self._started or self._closed:
            raise ConfigurationError("reload: this manager has no reconfigure, or does not run")
        async with self._reloading:
            change = Change(self._source, self._entries, self._reconfigure(), self._make)
            await change.make(self._reader, self._recorder)
            self._divide()
            self._wake.set()
            self._dirty.set()
        counts = {"added": len(change.added), "moved": len(change.moved), "dropped": len(change.dropped)}
        logs.event(logging.INFO, "secret.reloaded", **counts)

    def _divide(self) -> None:
        """Spread the secrets over the interval of the poll."""
        self._parts = _in_parts(list(self._entries.values()))
        self._polled = itertools.cycle(self._parts)

    def _entry(self, secret_id: str) -> Entry:
        entry = self._entries.get(secret_id)
        if entry is None or not self._started:
            raise UnknownSecretError(f"{secret_id} is not among the secrets of this manager")
        return entry

    def _copied(self, secret_id: str) -> Entry:
        """Return a secret whose value may leave the checks."""
        entry = self._entry(secret_id)
        if entry.checked:
            raise ConfigurationError(
                f"{secret_id} is in checked_at_use: use it through an authenticator or a keyring, or take it off that list"
            )
        return entry

    async def read(self, secret_id: str, version: str | None = None) -> tuple[Version, SecretValue]:
        """Read a version from the store, in a thread."""
        return await self._reader.read(self._entry(secret_id).spec.store_path, version)

    async def read_previous(self, secret_id: str) -> tuple[Version, SecretValue]:
        """Read the version before the one in use from the store, in a thread."""
        entry = self._entry(secret_id)
        return await self._reader.read_previous(entry.spec.store_path, entry.current.version)

    # Hooks.

    async def subscribe(self, secret_id: str, hook: Hook | Hooks) -> Callable[[], None]:
        """Add a hook and call it with the version in use before returning; what it raises then is raised here.

        Later it is called with every new version, before that is taken into use, never concurrently for one secret. The
        returned function takes the hook away. A hook may copy the value, so the secret is not checked at use.
        """
        self._copied(secret_id)
        return await self.attach(secret_id, hook if isinstance(hook, Hooks) else Hooks(hook))

    async def attach(self, secret_id: str, hooks: Hooks) -> Callable[[], None]:
        """Add a user like :meth:`subscribe`: one that calls :meth:`check` or :meth:`confirm` before each use of the value."""
        entry = self._entry(secret_id)
        await entry.attach(hooks)
        return partial(entry.detach, hooks)

    def accepts(self, secret_id: str, version: str) -> bool:
        """Report whether a version that a user accepts besides the one in use is within its fence."""
        return self._entry(secret_id).fence.covers(version) and not self._closed

    def drained(self, secret_id: str) -> bool:
        """Report whether the fleet has left every version but the one in use."""
        return self._entry(secret_id).drained

    def version(self, secret_id: str) -> Version:
        """Return the version in use, without its value."""
        return self._entry(secret_id).current.version

    def absent(self, secret_id: str) -> bool:
        """Report whether an optional secret has no version yet."""
        return self._entry(secret_id).absent

    def check_present(self, secret_id: str) -> None:
        """Raise :class:`~tradepulse_rotator.errors.AbsentError` while an optional secret has no version, in any thread."""
        self._entry(secret_id).check_present()

    def changed(self) -> None:
        """Have what users accept written anew. It belongs to the event loop."""
        self._dirty.set()

    def tripped(self, secret_id: str, version: str, client: str) -> None:
        """Report the use of a retired version by a client, in any thread."""
        self._checks.tripped(self._entry(secret_id), version, client)

    async def accept(self, secret_id: str, version: str) -> bool:
        """Wait, for a while, until the bus has stored what users of a secret accept, which ``version`` is a part of.

        It returns whether the version may be accepted. The fence of that version counts from the last renewal, since the store
        does not call it current. Without a record it counts from when the version in use was made: the version before is not
        retired earlier than a fence after that. A version that was made in the future tells that the clock of this machine is
        behind that of the store, and nothing of its age.
        """
        entry = self._entry(secret_id)
        self._dirty.set()
        if self._recorder is not None and await self._recorder.stored(entry, _RECORD_WAIT):
            since = self._recorder.renewed_at
        else:
            present = entry.fence.clock()
            age = present.wall - entry.current.version.created_at
            if age < 0:
                return entry.fence.covers(version)
            since = Moment(present.boot - age, present.wall - age)
        entry.fence.accept(version, since)
        return entry.fence.covers(version)

    async def _offer(self, entry: Entry) -> None:
        if self._recorder is not None:
            await self._recorder.offer(entry)

    def _is_recorded(self, secret_id: str) -> bool:
        return self._recorder is None or self._recorder.is_recorded(secret_id)

    def _poll_all(self) -> None:
        for entry in self._entries.values():
            entry.poll()

    # The fence.

    async def confirm(self, secret_id: str) -> None:
        """Return while the version in use may be used. Past the fence, ask the store once, for a short time.

        It raises :class:`~tradepulse_rotator.errors.FenceError` when that does not confirm the version. A newer version is in
        use when this returns.
        """
        await self._checks.confirm(self._entry(secret_id))

    def check(self, secret_id: str) -> None:
        """Check like :meth:`confirm`, in any thread. Past the fence it blocks for the read of the store.

        When the store has another version, that is taken into use on the event loop, and this check fails.
        """
        self._checks.check(self._entry(secret_id))

    def used(self, secret_id: str) -> None:
        """Count a use by a user that was attached, in any thread."""
        self._entry(secret_id).accessed("use")

    async def refresh(self, secret_id: str) -> None:
        """Read a secret now, take a new version into use, and wait until that is done.

        This is for a service whose credentials were refused before the notification arrived. It does nothing when the store was
        asked within the last second. It raises :class:`~tradepulse_rotator.errors.RefreshError` while a version cannot be taken
        into use. A reload goes on when the caller is cancelled.
        """
        entry = self._entry(secret_id)
        if not self._closed:
            await entry.refresh()
        if self._closed:
            raise RefreshError(f"refresh {secret_id}: the manager is closed")
        if entry.state.status is Status.FAILED:
            raise RefreshError(f"refresh {secret_id}: {entry.state.reason}")

    def _notified(self, event: events.Event) -> None:
        """Take a notification: at most one read of the store."""
        entry = self._entries.get(event.secret_id)
        if entry is not None and not self._closed:
            entry.announced(event)

    # The safety net beside the notifications.

    async def _look(self) -> None:
        """Poll a part of the secrets if that is due, attend to the deadlines that have passed, and wait for the next."""
        clock = asyncio.get_running_loop().time
        self._wake.clear()
        if clock() >= self._poll_at:
            self._poll_at = clock() + self._poll_in()
            for entry in next(self._polled):
                entry.poll()
        for entry in self._entries.values():
            entry.tick()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(self._until_deadline(), max(self._poll_at - clock(), 0))):
                await self._wake.wait()

    def _poll_in(self) -> float:
        """Return the time to the next part of a poll: its share of the interval less up to a tenth."""
        if self._poll is None:
            return float("inf")
        part = self._poll.total_seconds() / len(self._parts)
        return part * (1 - random.random() / 10)  # noqa: S311  # it spreads load

    def _until_deadline(self) -> float:
        """Return the time to the next deadline."""
        now = times.now_ns()
        left = [(e.state.due - now) / _SECOND for e in self._entries.values() if e.state.due is not None]
        return min(_LONGEST_LOOK, max(min(left, default=_LONGEST_LOOK), _LEAST_LOOK))

    def _connected(self) -> None:
        """After each time that the connection was made: hear what was missed, and report."""
        self._dirty.set()
        if self._missed is not None:
            self._missed.begin()


@dataclass(frozen=True)
class _Modes:
    """How entries are made, besides what is configured of each."""

    retry: timedelta
    fence: timedelta | None
    checked: frozenset[str]
    optional: frozenset[str]


def _entries(source: Source, modes: _Modes, shell: Shell) -> dict[str, Entry]:
    """Return an entry for every secret."""
    unknown = modes.checked - source.specs.keys()
    if unknown:
        raise ConfigurationError(f"checked_at_use: {', '.join(sorted(unknown))}: not among the secrets of this manager")
    unchecked = modes.optional - modes.checked
    if unchecked:
        raise ConfigurationError(f"optional: {', '.join(sorted(unchecked))}: list it in checked_at_use as well")
    return {spec.id: _entry(spec, modes, shell) for spec in source.specs.values()}


def _entry(spec: Spec, modes: _Modes, shell: Shell) -> Entry:
    past = PastFence.REFUSE if spec.id in modes.checked else PastFence.SERVE
    return Entry(replace(spec, fence=spec.fence or modes.fence), modes.retry, past, shell, optional=spec.id in modes.optional)


def _in_parts(entries: list[Entry]) -> list[tuple[Entry, ...]]:
    """Return the secrets in the order and the parts in which they are polled."""
    size = -(-len(entries) // _MAX_PARTS)
    return [tuple(entries[at : at + size]) for at in range(0, len(entries), size)]


def _instance_name() -> str:
    """Return a name that no other process has."""
    host = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in socket.gethostname())
    return f"{host[:30] or 'unknown'}-{os.getpid()}-{secrets.token_hex(3)}"
