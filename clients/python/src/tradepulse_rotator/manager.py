"""The manager: holds the current version of every secret of a service, and replaces it while the service runs."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Self, TypeVar

from tradepulse_rotator import events, logs, tasks, times
from tradepulse_rotator.errors import (
    ConfigurationError,
    InvalidError,
    MissingSecretsError,
    NotFoundError,
    RotatorError,
    StoreError,
    UnavailableError,
    UnknownSecretError,
    reason_of,
)
from tradepulse_rotator.metrics import Metrics, SafeMetrics

if TYPE_CHECKING:
    from types import TracebackType

    from tradepulse_rotator.bus import Bus
    from tradepulse_rotator.store import Source, Spec, Version
    from tradepulse_rotator.value import SecretValue

DEFAULT_LEASE: Final = timedelta(seconds=30)
DEFAULT_POLL_INTERVAL: Final = timedelta(minutes=5)
DEFAULT_RETRY: Final = timedelta(seconds=5)
DEFAULT_MAX_STALE: Final = timedelta(hours=24)

_MAX_RETRY: Final = 60.0
_MAX_READS: Final = 8  # at once
_READ_TIMEOUT: Final = 30.0
_COALESCE: Final = 0.01  # how long changes are gathered into one report
_LEAST_LOOK: Final = 0.02
_HEAR_AGAIN: Final = 2.0
_LONGEST_LOOK: Final = 60.0
_MAX_REASON: Final = 200
_SECOND: Final = 1_000_000_000


_A = TypeVar("_A")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Current:
    """A version that is in use. Holding it does not keep it current. Times are in nanoseconds since 1970."""

    version: Version
    value: SecretValue
    loaded_at: int
    not_after: int | None = None
    """The end of its life, None for without end."""
    stale: bool = False
    """True while the store could not be asked since its end, or since the end of ``<ID>_TTL_SECONDS``."""
    expired: bool = False
    """True once it has been stale for longer than the limit: it should not be used any more."""


@dataclass(frozen=True)
class Change:
    """A version that is about to be taken into use, or with ``staged`` to be accepted for verification only."""

    secret_id: str
    version: Version
    value: SecretValue
    staged: bool = False
    traceparent: str = ""


Hook = Callable[[Change], Awaitable[None] | None]
"""Takes a version into use. When it raises, the version before stays in use and the hook is called again later."""


class Handle:
    """Reads one secret without waiting, whatever the store does."""

    __slots__ = ("_entry", "id")

    def __init__(self, entry: _Entry) -> None:
        self._entry = entry
        self.id = entry.id

    def get(self) -> Current:
        """Return the version in use."""
        return self._entry.current

    def __repr__(self) -> str:
        return f"Handle({self.id!r})"


class _Entry:
    """One secret of a manager."""

    def __init__(self, spec: Spec, fresh_for: timedelta | None, version: Version, value: SecretValue) -> None:
        self.id, self.spec = spec.id, spec
        self.fresh_for = None if fresh_for is None else times.span(fresh_for)
        self.margin = times.span(spec.refresh_margin)
        self.lock = asyncio.Lock()  # held by a reload and by what adds a hook
        self.hooks: list[Hook] = []
        self.queued: events.Event | None = None  # the newest announcement that a reload waits for
        self.waiting = False
        self.seen = 0  # time of the newest announcement that was acted on
        self.retry = 0.0
        self.next_try: float | None = None  # on the clock of the loop
        self.warned = ""
        self.unstaged: events.Event | None = None  # the staging that failed and is tried again
        self.use(version, value)

    def use(self, version: Version, value: SecretValue) -> None:
        now = times.now_ns()
        self.asked = now  # when the store last answered
        self.current = Current(version, value, now, self.spec.not_after(version))
        self.status = events.Running(self.id, version.id, events.Status.APPLIED, now)
        self.unstaged = None
        self.calm()

    def calm(self) -> None:
        self.retry, self.next_try = 0.0, None

    def refresh_at(self) -> int | None:
        """Return when the store is asked again so that the value stays fresh: the margin before, or after half of the time."""
        if self.fresh_for is None:
            return None
        return self.asked + max(self.fresh_for - self.margin, self.fresh_for // 2)

    def stale_since(self) -> int | None:
        """Return from when on the version is stale unless the store is asked."""
        ends = [self.current.not_after] if self.current.not_after is not None and self.asked < self.current.not_after else []
        if self.fresh_for is not None:
            ends.append(self.asked + self.fresh_for)
        return min(ends, default=None)

    def moments(self, max_stale: int | None) -> list[int]:
        """Return when something becomes of the version in use."""
        end, since = self.current.not_after, self.stale_since()
        out = [] if end is None else [end - self.margin, end]
        if (at := self.refresh_at()) is not None:
            out.append(at)
        if since is not None:
            out.append(since)
            if max_stale is not None:
                out.append(since + max_stale)
        return out


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
        max_stale: timedelta | None = DEFAULT_MAX_STALE,
        metrics: Metrics | None = None,
    ) -> None:
        """Set up what :meth:`start` starts.

        ``service`` is the name that secrets list under ``services:``. Without a ``bus`` a rotation is noticed by polling
        only, and nobody can tell what this process runs. ``instance`` names this process; empty makes a name that no other
        has. ``poll_interval`` None never polls. ``max_stale`` is for how long a version is served as good although the store
        cannot be asked; then it counts as expired, and None is no limit.
        """
        events.check_token("service", service)
        if not source.specs:
            raise ConfigurationError("a manager needs the id of at least one secret")
        self._service = service
        self._source = source
        self._bus = bus
        self.instance = instance or _instance_name()
        events.check_token("instance", self.instance)
        self._lease, self._poll, self._retry, self._max_stale = lease, poll_interval, retry, max_stale
        self._metrics = SafeMetrics(metrics)
        self._entries: dict[str, _Entry] = {}
        self._started_at = times.now_ns()
        self._slots = asyncio.Semaphore(_MAX_READS)
        self._threads = ThreadPoolExecutor(_MAX_READS, thread_name_prefix="rotator-store")
        self._dirty, self._wake, self._unheard = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._missed: list[events.Event] = []  # announced before the first values were there
        self._unanswered: list[str] = []  # secrets whose last notification was not read yet
        self._unreported = False  # True after a report that failed
        self._poll_at = 0.0  # on the clock of the loop

    async def __aenter__(self) -> Self:
        if not self._entries:
            await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def start(self) -> None:
        """Subscribe, load everything, and begin to report.

        It raises :class:`MissingSecretsError`, which names every secret that has no value, and then nothing runs. It subscribes
        first: what is announced while the first values are read must not be missed.
        """
        try:
            if self._bus is None:
                every = str(self._poll) if self._poll else "never"
                logs.event(
                    logging.WARNING, "secret.poll_only", service=self._service, every=every,
                    detail="no bus is configured: a rotation is noticed by polling, and nobody can tell what this process runs",
                )  # fmt: skip
            else:
                await self._bus.start(self._service, self._notified, self._connected)
            await self._load_all()
        except BaseException:
            await self._end()
            raise
        self._poll_at = asyncio.get_running_loop().time() + self._poll_in()
        self._spawn(tasks.forever("poll", self._look, self._metrics))
        if self._bus is not None:
            report, hear = partial(self._report, self._bus), partial(self._hear_missed, self._bus)
            self._spawn(tasks.forever("report", report, self._metrics, longest=self._report_again()))
            self._spawn(tasks.forever("missed", hear, self._metrics))
            self._dirty.set()
        for event in self._missed:
            self._notified(event)
        self._missed.clear()

    async def close(self) -> None:
        """End everything that runs, say on the bus that this instance is gone, and wait. Handles keep their last value."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            if self._bus is not None and self._entries:
                await self._bus.withdraw(self._service, self.instance)
        except Exception as err:  # noqa: BLE001  # what ends must end whatever the bus does
            logs.event(logging.WARNING, "secret.report", error=_explain(err), detail="the report ends with its lease")
        finally:
            await self._end()

    async def _end(self) -> None:
        try:
            if self._bus is not None:
                await self._bus.close()
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

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
        """Return a handle on one secret."""
        return Handle(self._entry(secret_id))

    def get(self, secret_id: str) -> Current:
        """Return the current version of a secret, and count and log the access. Use a handle where reads are hot."""
        entry = self._entry(secret_id)
        self._metrics.count("secret.access", {"secret.id": secret_id})
        logs.event(logging.INFO, "secret.access", secret_id=secret_id, version_id=entry.current.version.id)
        return entry.current

    @property
    def metrics(self) -> Metrics:
        """What counts for this manager."""
        return self._metrics

    def _entry(self, secret_id: str) -> _Entry:
        try:
            return self._entries[secret_id]
        except KeyError:
            raise UnknownSecretError(f"{secret_id} is not among the secrets of this manager") from None

    async def read(self, secret_id: str, version: str | None = None) -> tuple[Version, SecretValue]:
        """Read a version from the store, in a thread."""
        return await self._in_thread(self._source.read, secret_id, version)

    async def read_previous(self, secret_id: str, current: Version) -> SecretValue:
        """Read the version before the current one from the store, in a thread."""
        return await self._in_thread(self._source.read_previous, secret_id, current)

    async def _in_thread(self, call: Callable[[str, _A], _T], secret_id: str, argument: _A) -> _T:
        loop = asyncio.get_running_loop()
        try:
            # A read counts its time from when it begins, not from when it waits for others to end.
            async with self._slots, asyncio.timeout(_READ_TIMEOUT):
                return await loop.run_in_executor(self._threads, call, secret_id, argument)
        except TimeoutError:
            raise UnavailableError(f"{self._source.provider.name}: no answer within {_READ_TIMEOUT:.0f} s") from None

    async def _load_all(self) -> None:
        ids = list(self._source.specs)
        found = await asyncio.gather(*map(self._first, ids), return_exceptions=True)
        missing = [self._remedy(i, e) for i, e in zip(ids, found, strict=True) if isinstance(e, StoreError)]
        for error in found:
            if isinstance(error, BaseException) and not isinstance(error, StoreError):
                raise error
        if missing:
            raise MissingSecretsError(f"{len(missing)} of {len(ids)} secrets cannot be resolved:\n" + "\n".join(missing))
        self._entries = {e.id: e for e in found if isinstance(e, _Entry)}

    async def _first(self, secret_id: str) -> _Entry:
        fresh_for = self._source.fresh_for(secret_id)
        version, value = await self.read(secret_id)
        if not value:
            raise InvalidError(f"{self._source.provider.name}: the value is empty")
        entry = _Entry(self._source.specs[secret_id], fresh_for, version, value)
        self._installed(entry)
        return entry

    def _remedy(self, secret_id: str, error: StoreError) -> str:
        path, provider = self._source.specs[secret_id].store_path, self._source.provider
        hint = f"let this service read {path!r} in the store {provider.name!r}"
        if isinstance(error, NotFoundError):
            hint = provider.hint(path)
        elif isinstance(error, UnavailableError):
            hint = f"see whether the store {provider.name!r} can be reached from here"
        elif isinstance(error, InvalidError):
            hint = "see the error"
        return f"  {secret_id}: {error} ({hint})"

    # Hooks.

    async def subscribe(self, secret_id: str, hook: Hook) -> Callable[[], None]:
        """Add a hook and call it with the version in use before returning; what it raises then is raised here.

        Later it is called with every new version, before that is taken into use, never concurrently for one secret. The
        returned function takes the hook away.
        """
        entry = self._entry(secret_id)
        async with entry.lock:
            current = entry.current
            await _call(hook, Change(secret_id, current.version, current.value))
            entry.hooks.append(hook)

        def stop() -> None:
            with suppress(ValueError):
                entry.hooks.remove(hook)

        return stop

    # Reloading.

    def _notified(self, event: events.Event) -> None:
        """Take a notification: a reason to look, at most one read of the store."""
        if self._closed:
            return
        if not self._entries:
            if len(self._missed) < _MAX_READS * len(self._source.specs):
                self._missed.append(event)
            return
        entry = self._entries.get(event.secret_id)
        if entry is None or entry.current.version.id == event.version_id:
            return
        if event.type == events.STAGED:
            self._spawn(self._stage(entry, event))
        else:
            self._reload(entry, event)

    def _reload(self, entry: _Entry, cause: events.Event | None) -> None:
        """Look at a secret in a task of its own, unless one waits to do so: that one takes the newest cause."""
        if cause is not None and (entry.queued is None or cause.time > entry.queued.time):
            entry.queued = cause
        if not entry.waiting:
            entry.waiting = True
            self._spawn(self._refresh(entry))

    async def _refresh(self, entry: _Entry) -> None:
        """Read the current version and take it into use if it is another one."""
        async with entry.lock:
            cause, entry.queued, entry.waiting = entry.queued, None, False
            try:
                await self._take_current(entry, cause)
            except BaseException as err:
                if tasks.ends(err):
                    raise
                self._raised("reload", entry, cause, err)

    async def _take_current(self, entry: _Entry, cause: events.Event | None) -> None:
        have = entry.current
        if cause is not None and (cause.time <= entry.seen or cause.version_id == have.version.id):
            return  # replayed, overtaken, or done by a reload in front of this one
        if cause is not None and entry.unstaged is not None and cause.time > entry.unstaged.time:
            entry.unstaged = None  # it has been promoted, or overtaken
        version, value = await self.read(entry.id)
        if cause is not None:
            entry.seen = cause.time
        if version.id == have.version.id:
            self._unchanged(entry, version)
            return
        change = Change(entry.id, version, value, traceparent=cause.traceparent if cause else "")
        if not await self._offer(entry, change):
            return
        entry.use(version, value)
        self._installed(entry, cause)
        self._dirty.set()

    def _installed(self, entry: _Entry, cause: events.Event | None = None) -> None:
        fields = {"secret_id": entry.id, "version_id": entry.current.version.id}
        if cause is not None:
            self._metrics.record("secret.reload.latency", (times.now_ns() - cause.time) / _SECOND, {"secret.id": entry.id})
            if cause.traceparent.count("-") == 3:  # noqa: PLR2004  # W3C: version, trace, parent, flags
                fields["trace_id"] = cause.traceparent.split("-")[1]
        self._metrics.count("secret.rotated", {"secret.id": entry.id})
        logs.event(logging.INFO, "secret.rotated", **fields)

    def _unchanged(self, entry: _Entry, version: Version) -> None:
        entry.asked = times.now_ns()
        not_after = entry.spec.not_after(version)
        if entry.current.stale or entry.current.not_after != not_after:
            entry.current = replace(entry.current, version=version, not_after=not_after, stale=False, expired=False)
        if entry.unstaged is not None:
            return  # what failed is another version, which is tried again
        entry.calm()
        if entry.status.status is events.Status.FAILED:
            entry.status = events.Running(entry.id, version.id, events.Status.APPLIED, entry.current.loaded_at)
            self._dirty.set()

    async def _offer(self, entry: _Entry, change: Change) -> bool:
        """Call every hook and report whether all of them take the change; a failure is noted."""
        for hook in tuple(entry.hooks):
            try:
                await _call(hook, change)
            except BaseException as err:  # a hook may raise anything, and the version before has to stay in use
                if tasks.ends(err):
                    raise
                text = change.value.scrub(f"the hook failed: {type(err).__name__}: {err}")
                self._failed(entry, change.version.id, text, reason_of(err))
                return False
        return True

    def _raised(self, task: str, entry: _Entry, cause: events.Event | None, error: BaseException) -> None:
        """Note that a version was not taken into use because of an exception, which no task may end with."""
        if not isinstance(error, RotatorError):
            tasks.failed(task, error, self._metrics)
        self._failed(entry, cause.version_id if cause else "", _explain(error), reason_of(error))

    def _failed(self, entry: _Entry, wanted: str, text: str, reason: str) -> None:
        """Note that a version could not be taken into use: the one before stays, the bus hears of it, it is tried again."""
        have = entry.current
        entry.status = events.Running(
            entry.id, have.version.id, events.Status.FAILED, have.loaded_at, wanted=wanted, reason=text[:_MAX_REASON]
        )
        entry.retry = min(max(entry.retry * 2, self._retry.total_seconds()), _MAX_RETRY)
        entry.next_try = asyncio.get_running_loop().time() + entry.retry
        self._metrics.count("secret.reload.failures", {"secret.id": entry.id, "reason": reason})
        logs.event(
            logging.ERROR,
            "secret.reload.failed",
            secret_id=entry.id,
            version_id=wanted,
            running=have.version.id,
            error=text,
            again_in=entry.retry,
        )
        self._dirty.set()
        self._wake.set()

    async def _stage(self, entry: _Entry, cause: events.Event) -> None:
        """Offer a pending version for verification."""
        async with entry.lock:
            try:
                await self._take_staged(entry, cause)
            except BaseException as err:
                if tasks.ends(err):
                    raise
                entry.unstaged = cause
                self._raised("stage", entry, cause, err)

    async def _take_staged(self, entry: _Entry, cause: events.Event) -> None:
        have, held = entry.current, entry.status
        staged = held.status is events.Status.STAGED and held.wanted == cause.version_id
        if staged or have.version.id == cause.version_id or cause.time <= entry.seen:
            return
        version, value = await self.read(entry.id, cause.version_id)
        entry.unstaged = None
        if version.pending:
            if not await self._offer(entry, Change(entry.id, version, value, staged=True, traceparent=cause.traceparent)):
                entry.unstaged = cause
                return
            entry.status = events.Running(entry.id, have.version.id, events.Status.STAGED, have.loaded_at, wanted=version.id)
            self._dirty.set()
        # Otherwise it was promoted or given up meanwhile.
        entry.seen = cause.time
        entry.calm()

    # The safety net beside the notifications.

    async def _look(self) -> None:
        """Ask the store where that is due: slowly, again after a failure, and before a version ends. Then wait for the next time."""
        clock = asyncio.get_running_loop().time
        self._wake.clear()
        polled = clock() >= self._poll_at
        if polled:
            self._poll_at = clock() + self._poll_in()
        raised: list[Exception] = []
        for entry in self._entries.values():
            try:
                due = self._attend(entry, clock()) or polled
            except Exception as err:  # noqa: BLE001  # the other secrets need attention
                raised.append(err)
                due = polled
            if due:
                self._ask(entry)
        if raised:
            raise raised[0]
        with suppress(TimeoutError):
            async with asyncio.timeout(min(self._look_in(clock()), max(self._poll_at - clock(), 0))):
                await self._wake.wait()

    def _ask(self, entry: _Entry) -> None:
        if entry.unstaged is not None:
            self._spawn(self._stage(entry, entry.unstaged))
        self._reload(entry, None)

    def _poll_in(self) -> float:
        """Return the time to the next poll: the interval less up to a tenth."""
        if self._poll is None:
            return float("inf")
        return self._poll.total_seconds() * (1 - random.random() / 10)  # noqa: S311  # it spreads load

    def _look_in(self, now: float) -> float:
        """Return when something has to be looked at: a retry, or the end of a version."""
        next_look = _LONGEST_LOOK
        for entry in self._entries.values():
            if entry.next_try is not None:
                next_look = min(next_look, max(entry.next_try - now, _LEAST_LOOK))
            for at in entry.moments(self._stale_limit()):
                left = (at - times.now_ns()) / _SECOND
                if left > 0:
                    next_look = min(next_look, max(left, _LEAST_LOOK))
        return next_look

    def _stale_limit(self) -> int | None:
        return None if self._max_stale is None else times.span(self._max_stale)

    def _attend(self, entry: _Entry, now: float) -> bool:
        """Say that a version is near its end, mark one that is stale or expired, and report whether to ask the store."""
        waits = entry.next_try is not None and now < entry.next_try
        due = entry.next_try is not None and not waits
        if due:
            entry.next_try = None
        wall = times.now_ns()
        refresh_at, since = entry.refresh_at(), entry.stale_since()
        if refresh_at is not None and wall >= refresh_at:
            due = due or not waits
        if self._near(entry, wall):
            due = True
        if since is not None and wall >= since and self._age(entry, since, wall):
            due = due or not waits
        return due

    def _near(self, entry: _Entry, wall: int) -> bool:
        """Say once that a version is near its end, and report whether it did."""
        current = entry.current
        if current.not_after is None or wall < current.not_after - entry.margin or entry.warned == current.version.id:
            return False
        entry.warned = current.version.id
        left = round((current.not_after - wall) / _SECOND)
        self._metrics.count("secret.near_expiry", {"secret.id": entry.id})
        logs.event(logging.WARNING, "secret.near_expiry", secret_id=entry.id, version_id=current.version.id, left_seconds=left)
        return True

    def _age(self, entry: _Entry, since: int, wall: int) -> bool:
        """Mark a version that the store could not be asked about since its end; report whether the mark is new."""
        current, limit = entry.current, self._stale_limit()
        expired = limit is not None and wall >= since + limit
        if current.stale and current.expired == expired:
            return False
        entry.current = replace(current, stale=True, expired=expired)
        level, name = (logging.ERROR, "secret.expired") if expired else (logging.WARNING, "secret.stale")
        detail = "for longer than the limit" if expired else "since the end of the version, which is still served"
        logs.event(
            level,
            name,
            secret_id=entry.id,
            version_id=current.version.id,
            since=times.write(since),
            detail=f"the store could not be asked {detail}",
        )
        return True

    def _connected(self) -> None:
        """After each time that the connection was made: hear what was missed, and report."""
        self._dirty.set()
        self._unheard.set()

    async def _hear_missed(self, bus: Bus) -> None:
        """Wait until the connection was made, or for a while after a failure, and read the last notification about every secret."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_HEAR_AGAIN if self._unanswered else None):
                await self._unheard.wait()
        if self._unheard.is_set():
            self._unanswered = list(self._entries)
        self._unheard.clear()
        left, unanswered = self._unanswered, []
        while left and not self._unheard.is_set():
            some, left = left[:_MAX_READS], left[_MAX_READS:]
            heard = await asyncio.gather(*(self._hear(bus, i) for i in some))
            unanswered += [i for i, ok in zip(some, heard, strict=True) if not ok]
        self._unanswered = unanswered

    async def _hear(self, bus: Bus, secret_id: str) -> bool:
        try:
            event = await bus.last_notified(self._service, secret_id)
            if event is not None:
                self._notified(event)
        except BaseException as err:
            if tasks.ends(err):
                raise
            if isinstance(err, RotatorError):
                logs.event(logging.DEBUG, "secret.last_notified", secret_id=secret_id, error=str(err))
            else:
                tasks.failed("missed", err, self._metrics, secret_id=secret_id)
            return False
        return True

    # Reporting.

    async def _report(self, bus: Bus) -> None:
        """Say what this process runs, after a change or in time to keep the lease. A failure is logged once, and tried again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._report_again() if self._unreported else self._report_every()):
                await self._dirty.wait()
                await asyncio.sleep(_COALESCE)
        self._dirty.clear()
        again, self._unreported = self._unreported, True
        try:
            await bus.report(self._snapshot(), self._lease)
        except RotatorError as err:
            if not again:
                logs.event(logging.WARNING, "secret.report", error=str(err), detail="nobody can tell what this process runs")
        else:
            self._unreported = False

    def _report_every(self) -> float:
        return self._lease.total_seconds() / 3

    def _report_again(self) -> float:
        """Return the longest time to the next report after one that failed."""
        return min(self._report_every(), _HEAR_AGAIN)

    def _snapshot(self) -> events.Report:
        running = tuple(e.status for e in self._entries.values())
        return events.Report(self._service, self.instance, self._started_at, times.now_ns(), running)


def _explain(error: BaseException) -> str:
    """Return the text of an exception of this package, which quotes no value, and what may be said of any other."""
    return str(error) if isinstance(error, RotatorError) else tasks.describe(error)


async def _call(hook: Hook, change: Change) -> None:
    answer = hook(change)
    if inspect.isawaitable(answer):
        await answer


def _instance_name() -> str:
    """Return a name that no other process has."""
    host = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in socket.gethostname())
    return f"{host[:30] or 'unknown'}-{os.getpid()}-{secrets.token_hex(3)}"
