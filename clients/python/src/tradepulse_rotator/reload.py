"""One secret of a manager: carries out what its reload machine decides."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tradepulse_rotator import events, logs, machine, tasks, times
from tradepulse_rotator.errors import RotatorError, reason_of
from tradepulse_rotator.states import ANSWERED, Announcement, Do, Effect, Event, Failure, Kind, Rules, State

if TYPE_CHECKING:
    from datetime import timedelta

    from tradepulse_rotator.metrics import Metrics
    from tradepulse_rotator.store import Spec, Version
    from tradepulse_rotator.value import SecretValue

_SECOND: Final = 1_000_000_000
_TRACE_PARTS: Final = 4  # W3C: version, trace, parent, flags


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
    """The W3C trace context of the announcement, empty when the version was found without one."""
    announced_at: int | None = None
    """When the version was announced, in nanoseconds since 1970; None when it was found without an announcement."""


Hook = Callable[[Change], Awaitable[None] | None]
"""Takes a version into use. When it raises, the version before stays in use and the hook is called again later.

It must not await :meth:`Manager.refresh` or :meth:`Manager.subscribe` of the same secret, which wait for the hook.
"""


@dataclass(frozen=True)
class Shell:
    """What an entry needs of its manager."""

    read: Callable[[str, str | None], Awaitable[tuple[Version, SecretValue]]]
    spawn: Callable[[Awaitable[None]], None]
    metrics: Metrics
    dirty: asyncio.Event
    """Set when the report changed."""
    wake: asyncio.Event
    """Set when a deadline changed."""


class Handle:
    """Reads one secret without waiting, whatever the store does."""

    __slots__ = ("_entry", "id")

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.id = entry.id

    def get(self) -> Current:
        """Return the version in use."""
        return self._entry.current

    def __repr__(self) -> str:
        return f"Handle({self.id!r})"


class Entry:
    """One secret. All methods belong to the event loop of the manager."""

    current: Current
    """The version in use; there is none before :meth:`started`."""
    status: events.Running
    """What the report says; there is none before :meth:`started`."""

    def __init__(self, spec: Spec, retry: timedelta, max_stale: timedelta | None, shell: Shell) -> None:
        self.id, self._spec, self._shell = spec.id, spec, shell
        limit = None if max_stale is None else times.span(max_stale)
        self._rules = Rules(times.span(spec.refresh_margin), times.span(retry), max_stale=limit)
        self.state = State()
        self._hooks: list[Hook] = []
        # Held while hooks are called; a reload holds it from prepare to commit, so that a hook that is added misses no version.
        self._hooking = asyncio.Lock()
        self._idle = asyncio.Event()  # set while no reload is under way
        self._idle.set()

    # Events.

    def started(self, fresh_for: timedelta | None, version: Version, value: SecretValue) -> None:
        """Take the first version into use."""
        self._rules = replace(self._rules, lifetime=None if fresh_for is None else times.span(fresh_for))
        self._start(self._feed(Event(Kind.STARTED, version=version.id, not_after=self._spec.not_after(version)), (version, value)))

    def announced(self, event: events.Event) -> None:
        """Take a notification: at most one read of the store."""
        kind = Kind.STAGED if event.type == events.STAGED else Kind.ANNOUNCED
        self._start(self._feed(Event(kind, Announcement(event.version_id, event.time, event.traceparent))))

    def poll(self) -> None:
        """Read the current version, unless such a read is under way."""
        self._start(self._feed(Event(Kind.POLLED)))

    def tick(self) -> None:
        """Attend to the deadline, if it has passed."""
        if self.state.due is not None and self.state.due <= times.now_ns():
            self._start(self._feed(Event(Kind.CLOCK)))

    async def refresh(self) -> None:
        """Ask for a read of the current version, and wait until no reload is under way."""
        self._start(self._feed(Event(Kind.REFRESH_ASKED)))
        await self._idle.wait()

    def release(self) -> None:
        """Let nothing wait for a reload: the manager is closed."""
        self._idle.set()

    async def subscribe(self, hook: Hook) -> None:
        """Call a hook with the version in use, and add it unless it raises."""
        async with self._hooking:
            await _call(hook, Change(self.id, self.current.version, self.current.value))
            self._hooks.append(hook)

    def unsubscribe(self, hook: Hook) -> None:
        """Take a hook away, if it is there."""
        if hook in self._hooks:
            self._hooks.remove(hook)

    # Effects.

    def _feed(self, event: Event, got: tuple[Version, SecretValue] | None = None) -> Effect | None:
        """Give the machine an event, carry out the effects, and return the one that has to be answered.

        ``got`` is the version that the event is about.
        """
        self.state, effects = machine.step(self.state, self._rules, event, times.now_ns())
        ask = None
        for effect in effects:
            if effect.kind in ANSWERED:
                ask = effect
            else:
                self._publish(effect, got)
                self._tell(effect)
        if self.state.busy:
            self._idle.clear()
        else:
            self._idle.set()
        return ask

    def _publish(self, effect: Effect, got: tuple[Version, SecretValue] | None) -> None:
        """Change what readers and the report see."""
        state = self.state
        if effect.kind is Do.INSTALLED and got is not None:
            self.current = Current(*got, state.loaded_at, state.not_after)
        elif effect.kind is Do.CONFIRM and got is not None:
            self.current = replace(self.current, version=got[0], not_after=effect.not_after, stale=False, expired=False)
        elif effect.kind in {Do.STALE, Do.EXPIRED}:
            self.current = replace(self.current, stale=True, expired=effect.kind is Do.EXPIRED)
        elif effect.kind is Do.REPORT:
            status = events.Status(state.status.value)
            self.status = events.Running(self.id, state.version, status, state.loaded_at, wanted=state.wanted, reason=state.reason)
            self._shell.dirty.set()
        elif effect.kind is Do.SCHEDULE:
            self._shell.wake.set()

    def _tell(self, effect: Effect) -> None:
        """Log and count."""
        fields: dict[str, str | float] = {"secret_id": self.id, "version_id": effect.version}
        if effect.kind is Do.INSTALLED:
            self._tell_installed(effect.cause, fields)
        elif effect.kind is Do.FRESH:
            logs.event(logging.INFO, "secret.fresh", **fields)
        elif effect.kind is Do.STALE and effect.at is not None:
            detail = "the store could not be asked since the end of the version, which is still served"
            logs.event(logging.WARNING, "secret.stale", **fields, since=times.write(effect.at), detail=detail)
        elif effect.kind is Do.EXPIRED and effect.at is not None:
            detail = "the store could not be asked for longer than the limit"
            logs.event(logging.ERROR, "secret.expired", **fields, since=times.write(effect.at), detail=detail)
        elif effect.kind is Do.NEAR_EXPIRY and effect.not_after is not None:
            left = round((effect.not_after - times.now_ns()) / _SECOND)
            self._count("secret.near_expiry")
            logs.event(logging.WARNING, "secret.near_expiry", **fields, left_seconds=left)
        elif effect.kind is Do.FAILED and effect.failure is not None:
            self._count("secret.reload.failures", reason=effect.failure.kind)
            fields |= {"running": self.state.version, "error": effect.failure.text, "again_in": effect.pause / _SECOND}
            logs.event(logging.ERROR, "secret.reload.failed", **fields)

    def _tell_installed(self, cause: Announcement | None, fields: dict[str, str | float]) -> None:
        if cause is not None:
            self._shell.metrics.record("secret.reload.latency", (times.now_ns() - cause.at) / _SECOND, {"secret.id": self.id})
            parts = cause.trace.split("-")
            if len(parts) == _TRACE_PARTS:
                fields["trace_id"] = parts[1]
        self._count("secret.rotated")
        logs.event(logging.INFO, "secret.rotated", **fields)

    def _count(self, name: str, **attributes: str) -> None:
        self._shell.metrics.count(name, {"secret.id": self.id, **attributes})

    def _start(self, ask: Effect | None) -> None:
        """Carry out an effect that has to be answered, and what follows from it, in a task of its own."""
        if ask is not None:
            self._shell.spawn(self._work(ask))

    async def _work(self, ask: Effect | None) -> None:
        while ask is not None:
            ask = await self._reload(ask)

    async def _reload(self, ask: Effect) -> Effect | None:
        """Carry out a read, and prepare and commit if they follow. Return the read of the next reload."""
        try:
            got = await self._shell.read(self.id, ask.version or None)
        except BaseException as err:
            if tasks.ends(err):
                raise
            return self._unread(err, staged=ask.staged)
        version, value = got
        read = Event(Kind.READ_DONE, version=version.id, not_after=self._spec.not_after(version), pending=version.pending)
        following = self._feed(read, got)
        if following is None or following.kind is not Do.PREPARE:
            return following
        async with self._hooking:
            cause = following.cause
            at, trace = (None, "") if cause is None else (cause.at, cause.trace)
            failure = await self._prepare(Change(self.id, version, value, following.staged, trace, at))
            if failure is not None:
                return self._feed(Event(Kind.REFUSED, failure=failure))
            following = self._feed(Event(Kind.PREPARED))
            if following is not None and following.kind is Do.COMMIT:
                following = self._feed(Event(Kind.COMMITTED), got)
        return following

    async def _prepare(self, change: Change) -> Failure | None:
        """Call every hook, and return the first failure. The caller holds the lock of the hooks."""
        for hook in tuple(self._hooks):
            try:
                await _call(hook, change)
            except BaseException as err:  # a hook may raise anything, and the version before has to stay in use
                if tasks.ends(err):
                    raise
                return Failure(reason_of(err), change.value.scrub(f"the hook failed: {type(err).__name__}: {err}"))
        return None

    def _unread(self, error: BaseException, *, staged: bool) -> Effect | None:
        """Note an exception of the store."""
        if not isinstance(error, RotatorError):
            tasks.failed("stage" if staged else "reload", error, self._shell.metrics)
        return self._feed(Event(Kind.READ_FAILED, failure=Failure(reason_of(error), explain(error))))


def explain(error: BaseException) -> str:
    """Return the text of an exception of this package, which quotes no value, and what may be said of any other."""
    return str(error) if isinstance(error, RotatorError) else tasks.describe(error)


async def _call(hook: Hook, change: Change) -> None:
    answer = hook(change)
    if inspect.isawaitable(answer):
        await answer
