"""One secret of a manager: carries out what its reload machine decides."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tradepulse_rotator import events, logs, machine, tasks, times
from tradepulse_rotator.errors import AbsentError, ConfigurationError, RotatorError, UnknownSecretError, reason_of
from tradepulse_rotator.fence import Fence
from tradepulse_rotator.metrics import AGE, TIME_TO_EXPIRY, Gauge
from tradepulse_rotator.records import PastFence, Status, Use, whole_seconds
from tradepulse_rotator.states import ANSWERED, Announcement, Do, Effect, Event, Failure, Kind, Rules, State
from tradepulse_rotator.tripwire import Tripwire
from tradepulse_rotator.users import Change, Hooks, Users

if TYPE_CHECKING:
    from datetime import timedelta

    from tradepulse_rotator.fence import Moment
    from tradepulse_rotator.metrics import Metrics
    from tradepulse_rotator.store import Spec, Version
    from tradepulse_rotator.value import SecretValue

_SECOND: Final = 1_000_000_000
_AGAIN: Final = _SECOND // 10  # the least first pause after a read that did not return the announced version
_KINDS: Final = {events.ROTATED: Kind.ANNOUNCED, events.STAGED: Kind.STAGED, events.ROLLOUT: Kind.DRAINING}
_MAX_ACCEPTS: Final = 16  # that a record may list
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


@dataclass(frozen=True)
class First:
    """The first version of a secret, and when the read of it began."""

    fresh_for: timedelta | None
    version: Version
    value: SecretValue
    sent: Moment


@dataclass(frozen=True)
class Absent:
    """What to do about an optional secret that the store does not have."""

    fresh_for: timedelta | None
    remedy: str
    error: str


@dataclass(frozen=True)
class Shell:
    """What an entry needs of its manager."""

    read: Callable[[str, str | None], Awaitable[tuple[Version, SecretValue]]]
    """Reads a version of what is at a path."""
    spawn: Callable[[Awaitable[None]], None]
    metrics: Metrics
    dirty: asyncio.Event
    """Set when the report changed."""
    wake: asyncio.Event
    """Set when a deadline changed."""
    offer: Callable[[Entry], Awaitable[None]]
    """Puts on record what the entry offers to its users, as far as the bus can be reached."""
    is_recorded: Callable[[str], bool]
    """Reports whether the use of a secret was ever put on record."""
    hook_timeout: timedelta
    """How long an asynchronous hook may take."""


class Handle:
    """Reads one secret without waiting, whatever the store does."""

    __slots__ = ("_entry", "id")

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.id = entry.id

    def get(self) -> Current:
        """Return the version in use, and count the access."""
        self._entry.accessed("handle")
        return self._entry.current

    @property
    def confirmed(self) -> bool:
        """Whether the version in use was confirmed within the fence."""
        return self._entry.fence.holds

    def __repr__(self) -> str:
        return f"Handle({self.id!r})"


class Entry:
    """One secret. All methods belong to the event loop of the manager."""

    current: Current
    """The version in use; there is none before :meth:`started`, and while the secret is absent."""

    def __init__(self, spec: Spec, retry: timedelta, past_fence: PastFence, shell: Shell, *, optional: bool = False) -> None:
        self.id, self._spec, self._shell = spec.id, spec, shell
        self.optional, self._remedy = optional, ""
        self.past_fence = past_fence
        self.fence = Fence(spec.fence_period)
        self.joined = True
        """False while no version was taken into use after a use was put on record."""
        self.trips = Tripwire()
        self._offering = ""  # a version that is being offered to users
        self.leaving = False
        """Whether the secret is dropped, or is about to be. Users are refused then."""
        self.moves = 0
        """How often the secret has moved. What a read that began before the last move answers is of another place."""
        again = random.randint(_AGAIN, 2 * _AGAIN)  # noqa: S311  # it spreads reads
        self._rules = Rules(times.span(spec.refresh_margin), times.span(retry), again)
        self.state = State()
        self._heard: events.Event | None = None  # the newest notification, of any kind
        self._users = Users(spec.id, shell.metrics, shell.hook_timeout)
        self._since = times.now_ns()
        self._idle = asyncio.Event()  # set while no reload is under way
        self._idle.set()
        self._reading = threading.Lock()
        self._reads = 0  # that are not logged yet, with _reading held

    def accessed(self, how: str) -> None:
        """Count a read of the secret by ``name``, by ``handle`` or by the ``use`` of an authenticator or a key ring, in any thread."""
        self._shell.metrics.count("secret.access", {"secret.id": self.id, "read": how})
        with self._reading:
            self._reads += 1

    def tell_accessed(self) -> None:
        """Log how many reads there were since the last call, if there were any."""
        with self._reading:
            reads, self._reads = self._reads, 0
        if reads:
            logs.event(logging.INFO, "secret.access", secret_id=self.id, count=reads)

    def gauges(self) -> Iterator[Gauge]:
        """Return the age of the version in use, and the time to its end if it has one, in any thread."""
        current: Current | None = getattr(self, "current", None)
        if current is None:
            return
        now, attributes = times.now_ns(), {"secret.id": self.id}
        yield Gauge(AGE, (now - current.version.created_at) / _SECOND, attributes)
        if current.not_after is not None:
            yield Gauge(TIME_TO_EXPIRY, (current.not_after - now) / _SECOND, attributes)

    @property
    def checked(self) -> bool:
        """Whether every user checks the fence at use."""
        return self.past_fence is PastFence.REFUSE

    @property
    def version(self) -> str:
        """The version in use, empty before there is one."""
        return self.state.version

    @property
    def _value(self) -> SecretValue | None:
        """The value in use, None before there is one."""
        current: Current | None = getattr(self, "current", None)
        return None if current is None else current.value

    @property
    def drained(self) -> bool:
        """Whether the fleet has left every version but the one in use."""
        return self.state.drain is None and self.version != "" and self.state.drained.version == self.version

    def use(self, service: str, instance: str, incarnation: str) -> Use:
        """Return the record of what this process does with the secret."""
        state = self.state
        return Use(
            secret_id=self.id,
            version_id=state.version,
            status=Status(state.status.value),
            at=state.loaded_at or self._since,
            service=service,
            instance=instance,
            incarnation=incarnation,
            past_fence=self.past_fence,
            fence_seconds=whole_seconds(self.fence.period),
            wanted=state.wanted,
            reason=state.reason,
            accepts=self._accepts(),
            joined=self.joined or not state.version,
            retired_uses=self.trips.record(),
        )

    def _accepts(self) -> tuple[str, ...] | None:
        """Return the versions besides the one in use that users accept or hold, None when a record cannot list them."""
        found = (self._users.accepts() | {self.state.offered.version, self._offering}) - {self.state.version, ""}
        return tuple(sorted(found)) if len(found) <= _MAX_ACCEPTS else None

    def changed(self) -> None:
        """Have the record written anew if it says something else."""
        self._shell.dirty.set()

    # Events.

    @property
    def absent(self) -> bool:
        """Whether the secret was started without a version and has none yet."""
        return self.state.absent

    def check_present(self) -> None:
        """Raise :class:`~tradepulse_rotator.errors.AbsentError` without a version, in any thread."""
        if self.absent:
            raise AbsentError(f"{self.id}: the secret has no version yet: {self._remedy}")

    def started(self, first: First | Absent) -> None:
        """Take the first version into use, or wait for it."""
        self.joined = self._shell.is_recorded(self.id)
        lifetime = None if first.fresh_for is None else times.span(first.fresh_for)
        self._rules = replace(self._rules, lifetime=lifetime)
        if isinstance(first, Absent):
            self._remedy = first.remedy
            detail = f"what needs this optional secret is refused: {first.remedy}"
            logs.event(logging.WARNING, "secret.absent", secret_id=self.id, error=first.error, detail=detail)
            self._start(self._feed(Event(Kind.STARTED)))
            return
        self.fence.use(first.version.id, first.sent)
        event = Event(Kind.STARTED, version=first.version.id, not_after=self._spec.not_after(first.version))
        self._start(self._feed(event, (first.version, first.value)))

    def announced(self, event: events.Event) -> None:
        """Take a notification. One that was taken before costs no read of the store."""
        if not self.heard_after(event):
            self._heard = event
        kind = _KINDS.get(event.type)
        if kind is None or (kind is Kind.DRAINING and event.state != events.DRAINING):
            return
        new = Announcement(event.version_id, event.time, event.traceparent, event.seq)
        self._start(self._feed(Event(kind, new, previous=event.previous_version_id, not_after=event.not_after)))

    def heard_after(self, event: events.Event) -> bool:
        """Report whether a later notification than ``event`` was heard, by sequence and by clock: a log that was lost counts anew."""
        return self._heard is not None and self._heard.seq > event.seq and self._heard.time > event.time

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

    @property
    def spec(self) -> Spec:
        """What is configured of the secret."""
        return self._spec

    def relocate(self, spec: Spec) -> None:
        """Read an absent secret at another place from now on."""
        self._spec = spec

    @property
    def used(self) -> bool:
        """Whether users are attached."""
        return self._users.any

    async def restart(self, spec: Spec, got: tuple[Version, SecretValue, Moment]) -> None:
        """Begin the life of the secret anew with a version at another place, once every user has taken it.

        Versions of two places may have the same id, so the state of the old one ends.
        """
        version, value, sent = got
        change = Change(self.id, version, value)
        self._offering = version.id
        try:
            await self._shell.offer(self)
            async with self._users.lock:
                failure = await self._users.prepare(change, self._value)
                if failure is not None:
                    self._users.withdraw(version.id, self.state.version)
                    if not self.absent:
                        await self._users.give_back(value, Change(self.id, self.current.version, self.current.value))
                    raise ConfigurationError(f"{self.id} cannot be moved to {spec.store_path!r}: {failure.text}")
                self._spec, self.state, self.moves = spec, State(), self.moves + 1
                self._rules = replace(self._rules, margin=times.span(spec.refresh_margin))
                failure = self._users.commit(change)
                self.fence.use(version.id, sent)
                event = Event(Kind.STARTED, version=version.id, not_after=spec.not_after(version), failure=failure)
                self._start(self._feed(event, (version, value)))
        finally:
            self._offering = ""
            self._shell.dirty.set()

    async def leave(self) -> bool:
        """Refuse users from here on, and report whether there is none."""
        async with self._users.lock:
            self.leaving = not self.used
            return self.leaving

    async def attach(self, hooks: Hooks) -> None:
        """Have a user take the version in use, if there is one, and add it unless it refuses."""
        async with self._users.lock:
            if self.leaving:
                raise UnknownSecretError(f"{self.id} is being dropped from this manager by a reload")
            change = None if self.absent else Change(self.id, self.current.version, self.current.value)
            await self._users.add(hooks, change)
        self._shell.dirty.set()

    def detach(self, hooks: Hooks) -> None:
        """Take a user away, if it is there."""
        self._users.remove(hooks)
        self._shell.dirty.set()

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
            self.current = replace(self.current, version=got[0], not_after=effect.not_after, stale=False)
        elif effect.kind is Do.ENDS:
            self.current = replace(self.current, not_after=effect.not_after)
        elif effect.kind is Do.STALE:
            self.current = replace(self.current, stale=True)
        elif effect.kind is Do.WITHDRAW:
            self._users.withdraw(effect.version, state.version)
            self._shell.dirty.set()
        elif effect.kind is Do.DROP:
            self._users.drop({effect.version, state.version, state.offered.version, self._offering})
            self._shell.dirty.set()
        elif effect.kind is Do.REPORT:
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
        sent, moves = self.fence.clock(), self.moves
        try:
            got = await self._shell.read(self._spec.store_path, ask.version or None)
        except BaseException as err:
            if tasks.ends(err):
                raise
            if moves != self.moves:
                return None
            return self._unread(err, staged=ask.staged)
        if moves != self.moves:
            return None
        version, _ = got
        end = self._spec.not_after(version)
        read = Event(Kind.READ_DONE, version=version.id, created_at=version.created_at, not_after=end, pending=version.pending)
        following = self._feed(read, got)
        if following is not None and following.kind is Do.PREPARE:
            return await self._offer(following, got, sent)
        if not ask.staged:
            self.fence.read(version.id, sent)
        return following

    async def _offer(self, ask: Effect, got: tuple[Version, SecretValue], sent: Moment) -> Effect | None:
        """Offer a version that was read at ``sent`` to every user, and take it into use when none refuses."""
        cause = ask.cause
        at, trace = (None, "") if cause is None else (cause.at, cause.trace)
        moves = self.moves
        change = Change(self.id, *got, ask.staged, trace, at)
        again = ask.version == self.state.version
        if ask.staged:
            self.fence.accept(ask.version, sent)
        self._offering = ask.version
        try:
            await self._shell.offer(self)
            async with self._users.lock:
                return None if moves != self.moves else await self._hand_out(change, sent, again=again)
        finally:
            self._offering = ""
            self._shell.dirty.set()

    async def _hand_out(self, change: Change, sent: Moment, *, again: bool) -> Effect | None:
        """Have the users prepare a version, and commit it if none refuses. The caller holds their lock."""
        version = change.version.id
        failure = await self._users.prepare(change, self._value, again=again)
        if failure is not None:
            return self._feed(Event(Kind.REFUSED, failure=failure))
        if again:
            self.fence.read(version, sent)
        following = self._feed(Event(Kind.PREPARED))
        if following is not None and following.kind is Do.COMMIT:
            self.joined = self.joined or self._shell.is_recorded(self.id)
            failure = self._users.commit(change)
            self.fence.use(version, sent)
            done = Event(Kind.COMMITTED) if failure is None else Event(Kind.COMMIT_FAILED, failure=failure)
            following = self._feed(done, (change.version, change.value))
        return following

    def _unread(self, error: BaseException, *, staged: bool) -> Effect | None:
        """Note an exception of the store."""
        if not isinstance(error, RotatorError):
            tasks.failed("stage" if staged else "reload", error, self._shell.metrics)
        return self._feed(Event(Kind.READ_FAILED, failure=Failure(reason_of(error), explain(error))))


def explain(error: BaseException) -> str:
    """Return the text of an exception of this package, which quotes no value, and what may be said of any other."""
    return str(error) if isinstance(error, RotatorError) else tasks.describe(error)
