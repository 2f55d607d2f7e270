"""What a service does about the versions of one secret: a pure function over (state, event).

:func:`step` returns the next state and the effects to carry out. It reads no clock, calls nothing, and never sees a value. The
manager carries out the effects and feeds the outcome of each back as an event.

It is the machine of the Go client (``pkg/client/internal/reload``); both run the sequences in its ``testdata``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tradepulse_rotator.states import (
    GONE_AFTER,
    MAX_AGAIN,
    MAX_REASON,
    MAX_RETRY,
    REFRESH_PAUSE,
    STAGED_PAUSE,
    Announcement,
    Do,
    Drain,
    Effect,
    Event,
    Failure,
    Job,
    Kind,
    Offer,
    Rules,
    State,
    Status,
)

_NOT_FOUND: Final = "not_found"
_MISSING: Final = frozenset({_NOT_FOUND, "no_value"})


def step(state: State, rules: Rules, event: Event, now: int) -> tuple[State, list[Effect]]:
    """Return the state after an event, and its effects in the order in which they have to be carried out."""
    transition = _Transition(state, rules, now)
    transition.apply(event)
    return transition.finish()


def truncate(text: str) -> str:
    """Cut a text to ``MAX_REASON`` bytes, between two characters."""
    raw = text.encode(errors="replace")
    return text if len(raw) <= MAX_REASON else raw[:MAX_REASON].decode(errors="ignore")


def _covers(seen: Announcement, other: Announcement) -> bool:
    """Report whether ``other`` is a replay of ``seen``, or older.

    The sequence decides before the clock, because the clocks of two announcers differ. A lower sequence alone does not make
    ``other`` old: a log that was lost counts from 1 again, so it has to be the older one by the clock as well.
    """
    if other.at == seen.at and other.version == seen.version:
        return True
    if seen.seq and other.seq > seen.seq:
        return False
    return other.at < seen.at


def _newest(have: Announcement | None, other: Announcement) -> Announcement:
    return have if have is not None and (other.at == have.at or _covers(have, other)) else other


def _earlier(*times: int | None) -> int | None:
    return min((t for t in times if t is not None), default=None)


class _Transition:
    """One call of :func:`step`."""

    def __init__(self, state: State, rules: Rules, now: int) -> None:
        self._before, self._s, self._rules, self._now = state, state, rules, now
        self._effects: list[Effect] = []
        self._ask: Effect | None = None  # the effect that has to be answered

    def finish(self) -> tuple[State, list[Effect]]:
        """Begin what waits, and compare with the state before."""
        self._dequeue()
        self._drop_old()
        before, s = self._before, self._s
        told = (s.version, s.status, s.wanted, s.reason)
        if s.started and told != (before.version, before.status, before.wanted, before.reason):
            self._do(Do.REPORT)
        due = self._deadline()
        if due != s.due:
            self._set(due=due)
            self._do(Do.SCHEDULE, at=due)
        if self._ask is not None:
            self._effects.append(self._ask)
        return self._s, self._effects

    def apply(self, event: Event) -> None:
        """Change the state by one event."""
        s, kind = self._s, event.kind
        if kind is Kind.STARTED:
            self._started(event)
        elif kind is Kind.ANNOUNCED and event.announcement is not None:
            if not _covers(s.told, event.announcement):
                self._set(told=event.announcement, told_end=event.not_after)
            self._announced(event.announcement)
            self._shorten()
        elif kind is Kind.STAGED and event.announcement is not None:
            self._staged(event.announcement)
        elif kind is Kind.DRAINING and event.announcement is not None:
            self._draining(event.announcement, event.previous)
        elif kind is Kind.CLOCK:
            self._clock()
        elif kind is Kind.POLLED:
            self._polled()
        elif kind is Kind.REFRESH_ASKED:
            self._refresh_asked()
        elif s.job is not None:
            self._answered(s.job, event)

    def _ends(self, version: str, end: int | None) -> int | None:
        """Return the earliest known end of a version, of which ``end`` was read.

        Workers know ends that a service does not read: those of tags and of the configuration.
        """
        return _earlier(end, self._s.told_end) if version == self._s.told.version else end

    def _shorten(self) -> None:
        """Take an end that was announced for the version in use after it was read."""
        s, end = self._s, self._ends(self._s.version, self._s.not_after)
        if not s.started or end == s.not_after:
            return
        self._set(not_after=end)
        self._do(Do.ENDS, version=s.version, not_after=end)
        if self._near():
            self._polled()

    def _started(self, event: Event) -> None:
        """Take the first version into use, or note that there is none yet."""
        if self._s.started:
            return
        job = Job(version=event.version, not_after=event.not_after)
        if not event.version:
            self._set(absent=True)
            self._settle()
        elif event.failure is not None:
            self._commit_failed(job, event.failure)
        else:
            self._use(job)

    def _answered(self, job: Job, event: Event) -> None:
        """Pass on an answer, if the job waits for it."""
        failure = event.failure or Failure("unknown", "")
        if event.kind is Kind.READ_DONE and job.phase is Do.READ:
            if job.staged:
                self._read_staged(job, event)
            else:
                self._read_current(job, event)
        elif event.kind is Kind.READ_FAILED and job.phase is Do.READ:
            self._unread(job, failure)
        elif event.kind is Kind.PREPARED and job.phase is Do.PREPARE:
            self._prepared(job)
        elif event.kind is Kind.REFUSED and job.phase is Do.PREPARE:
            self._refused(job, failure)
        elif event.kind is Kind.COMMITTED and job.phase is Do.COMMIT:
            self._use(job)
        elif event.kind is Kind.COMMIT_FAILED and job.phase is Do.COMMIT:
            self._commit_failed(job, failure)

    def _set(self, **changes: object) -> None:
        self._s = replace(self._s, **changes)  # type: ignore[arg-type]  # each call names fields of State

    def _do(self, kind: Do, **fields: object) -> None:
        self._effects.append(Effect(kind, **fields))  # type: ignore[arg-type]  # each call names fields of Effect

    def _enter(self, phase: Do, job: Job) -> None:
        """Begin a phase of a job, whose effect has to be answered."""
        job = replace(job, phase=phase)
        self._set(job=job)
        self._ask = Effect(phase, job.version, job.staged, job.cause)

    @property
    def _idle(self) -> bool:
        return self._s.started and self._s.job is None

    # What asks for a reload.

    def _announced(self, new: Announcement) -> None:
        s = self._s
        if s.drain is not None and not _covers(s.drain.announcement, new):
            self._set(drain=None)  # a later rollout has a DRAINING of its own
        if not self._idle:
            self._set(queued=_newest(s.queued, new))
        elif not _covers(s.seen, new):
            if new.version == s.version and s.status is not Status.FAILED:
                self._forgo()  # it is in use already, and a later announcement than the awaited one
            else:
                self._await(new)
                self._begin(Job(cause=new))

    def _staged(self, new: Announcement) -> None:
        s = self._s
        if not self._idle:
            self._set(queued_staged=_newest(s.queued_staged, new))
            return
        known = new.version == s.version or (s.status is Status.STAGED and new.version == s.wanted)
        if not known and not _covers(s.seen, new):
            self._begin(Job(staged=True, cause=new, version=new.version))

    def _draining(self, new: Announcement, previous: str) -> None:
        """Take the order to drop what was before the announced version. It is a hint as well: a process that still uses the
        previous version reads the store."""  # noqa: D205, D209  # two sentences
        s = self._s
        if _covers(s.drained, new) or _covers(s.seen, new):
            return  # replayed, or overtaken by a later version
        self._set(drained=new, drain=Drain(new, previous))
        if s.version == previous:
            self._await(new)
            self._polled()

    def _drop_old(self) -> None:
        """Carry out a DRAINING once its previous version is not in use."""
        drain = self._s.drain
        if drain is not None and self._s.started and self._s.version != drain.previous:
            self._set(drain=None)
            self._do(Do.DROP, version=drain.announcement.version)

    def _polled(self) -> None:
        """Read the current version, unless such a read is under way."""
        job = self._s.job
        if self._idle:
            self._begin(Job())
        elif job is not None and (job.staged or job.phase is not Do.READ):
            self._set(queued_read=True)

    def _refresh_asked(self) -> None:
        if self._s.job is not None:
            self._set(queued_ask=True)
        elif self._idle and self._now - self._s.tried >= REFRESH_PAUSE:
            self._begin(Job())

    def _look(self) -> None:
        """Read a staged version whose staging failed or whose check is due, and then the current version."""
        restage, held = self._s.restage, self._s.offered
        if restage is not None and self._idle:
            self._begin(Job(staged=True, cause=restage, version=restage.version))
        elif held.check_at is not None and self._now >= held.check_at and self._idle:
            self._begin(Job(staged=True, cause=held.cause, version=held.version))
        self._polled()

    def _dequeue(self) -> None:
        """Begin the next job, if none is under way. What an earlier job has done already is dropped."""
        s = self._s
        if s.queued is not None and self._idle:
            self._set(queued=None)
            self._announced(s.queued)
        if self._s.queued_read and self._idle:
            self._begin(Job())
        if self._s.queued_ask and self._idle:
            self._set(queued_ask=False)
            self._refresh_asked()
        if s.queued_staged is not None and self._idle:
            self._set(queued_staged=None)
            self._staged(s.queued_staged)

    def _begin(self, job: Job) -> None:
        """Start a job with a read.

        An announcement leads to one read at once. The retry of a read that fails, or that does not return the announced version,
        has a time of its own.
        """
        if job.cause is not None and not _covers(self._s.seen, job.cause):
            self._set(seen=job.cause, restage=None)
        if not job.staged:
            self._set(tried=self._now, queued_read=False)
            if job.cause is None and self._s.seen == self._s.awaited:
                job = replace(job, cause=self._s.awaited)
        self._enter(Do.READ, job)

    # An announced version that the store has not returned.

    def _await(self, new: Announcement) -> None:
        """Have the store read again until it returns the announced version or a newer one: a replica may lag behind."""
        self._set(awaited=new, again=0, again_at=None)

    def _forgo(self) -> None:
        self._set(awaited=None, again=0, again_at=None)

    def _arrived(self, event: Event) -> None:
        """Compare the answer of a read with the announcement that is awaited.

        A version that was made after the announcement has replaced the announced one.
        """
        awaited = self._s.awaited
        if awaited is None:
            return
        if event.version == awaited.version or (event.created_at is not None and event.created_at > awaited.at):
            self._forgo()
        else:
            pause = min(max(self._s.again * 2, self._rules.again), MAX_AGAIN)
            self._set(again=pause, again_at=self._now + pause)

    # What becomes of a reload.

    def _read_current(self, job: Job, event: Event) -> None:
        self._arrived(event)
        if event.version == self._s.version:
            self._unchanged(job, event)
        else:
            self._offer(job, event)

    def _offer(self, job: Job, event: Event) -> None:
        """Have a version offered to the hooks. Any other version that they hold was given up."""
        self._withdraw_all_but(event.version)
        self._enter(Do.PREPARE, replace(job, version=event.version, not_after=event.not_after))

    def _unchanged(self, job: Job, event: Event) -> None:
        """Note that the version in use is the current one. Hooks that took another one get it again."""
        self._confirm(self._ends(event.version, event.not_after))
        self._warn()
        if not self._s.offered.staged:
            self._withdraw_all_but("")
        if self._s.mixed:
            self._enter(Do.PREPARE, replace(job, version=event.version, not_after=event.not_after))
            return
        self._set(job=None)
        if self._s.restage is None:  # otherwise its next try keeps its time, which may have passed meanwhile
            self._settle()

    def _confirm(self, end: int | None) -> None:
        self._set(asked=self._now)
        stale = self._s.stale
        if not stale and self._s.not_after == end:
            return
        self._do(Do.CONFIRM, version=self._s.version, not_after=end)
        if stale:
            self._do(Do.FRESH, version=self._s.version)
        self._set(not_after=end, stale=False)

    def _settle(self) -> None:
        """Note that nothing has to be tried again. While hooks are mixed the failure stays, and its next try."""
        self._set(job=None, restage=None)
        if self._s.mixed:
            return
        held = self._s.offered
        staged = held.staged and held.accepted
        self._set(
            retry=0, next_try=None, reason="",
            status=Status.STAGED if staged else Status.APPLIED, wanted=held.version if staged else "",
        )  # fmt: skip

    def _read_staged(self, job: Job, event: Event) -> None:
        """Offer a staged version to the hooks, if it is still pending and they do not hold it."""
        held = self._s.offered
        if not event.pending:
            # Promoted or given up meanwhile. A read of the current version tells, and withdraws what hooks hold unless it is that.
            self._set(offered=replace(held, staged=False, check_at=None), queued_read=True)
            self._settle()
        elif held.accepted and held.version == job.version:
            self._set(offered=replace(held, check_at=self._now + STAGED_PAUSE))
            self._settle()
        else:
            self._offer(job, event)

    def _unread(self, job: Job, failure: Failure) -> None:
        s = self._s
        late = job.cause is None or self._now - job.cause.at >= GONE_AFTER
        if s.absent and not job.staged and late and failure.kind == _NOT_FOUND:
            self._remain_absent()
        elif job.staged and failure.kind in _MISSING and (late or s.offered.version == job.version):
            if s.offered.version == job.version:
                self._withdraw_all_but("")  # given up
            self._settle()
        elif job.staged:
            self._set(restage=job.cause)
            self._fail(job.version, failure)
        elif job.cause is None:
            self._warn()
            self._fail(s.wanted if s.status is Status.FAILED else "", failure)
        else:
            self._warn()
            self._fail(job.cause.version, failure)

    def _remain_absent(self) -> None:
        """Note that there still is no version. A version that hooks refused is gone."""
        if not self._s.offered.staged:
            self._withdraw_all_but("")
        self._set(mixed=False)
        self._forgo()
        self._settle()

    def _prepared(self, job: Job) -> None:
        """Go on to the commit of a current version. A staged one has none, nor has the one in use, which hooks took again."""
        if job.staged:
            check = self._now + STAGED_PAUSE
            self._set(offered=Offer(job.version, staged=True, accepted=True, cause=job.cause, check_at=check))
            self._settle()
        elif job.version == self._s.version:
            self._set(mixed=False)
            self._settle()
        else:
            self._enter(Do.COMMIT, job)

    def _refused(self, job: Job, failure: Failure) -> None:
        """Note that a hook refused a version: the version in use stays."""
        if job.version != self._s.version:
            self._set(offered=Offer(job.version, staged=job.staged))
        self._set(mixed=self._s.mixed or not job.staged, restage=job.cause if job.staged else None)
        self._fail(job.version, failure)

    def _use(self, job: Job) -> None:
        """Note that a version is in use. Hooks hold no other version any more.

        One whose staging failed may follow the one that came into use: it is tried again at once.
        """
        again = self._s.restage
        self._set(
            version=job.version, not_after=self._ends(job.version, job.not_after), loaded_at=self._now, asked=self._now,
            stale=False, nearing=False, warned=False, mixed=False, absent=False, offered=Offer(),
        )  # fmt: skip
        self._settle()
        if again is not None and again.version != job.version:
            self._set(restage=again, next_try=self._now)
        self._do(Do.INSTALLED, version=job.version, cause=job.cause)

    def _commit_failed(self, job: Job, failure: Failure) -> None:
        """Note that a version is in use, and that a hook may still use the one before. The next read offers it to that hook again."""
        self._use(job)
        self._set(mixed=True)
        self._fail(job.version, failure)

    def _fail(self, wanted: str, failure: Failure) -> None:
        """Note that a version could not be taken into use, and when to try again."""
        pause = min(max(self._s.retry * 2, self._rules.retry), MAX_RETRY)
        self._set(job=None, status=Status.FAILED, wanted=wanted, reason=truncate(failure.text), retry=pause, next_try=self._now + pause)
        self._do(Do.FAILED, version=wanted, failure=failure, pause=pause)

    def _withdraw_all_but(self, version: str) -> None:
        held = self._s.offered.version
        if held and held != version:
            self._set(offered=Offer())
            self._do(Do.WITHDRAW, version=held)

    # Deadlines.

    def _deadline(self) -> int | None:
        """Return when CLOCK is due. While a reload is under way only the marks are: its outcome decides when to try again."""
        if not self._s.started:
            return None
        moments = [m for m in self._moments() if m > self._s.attended]
        at = self._read_at()
        return min(moments if at is None else [at, *moments], default=None)

    def _read_at(self) -> int | None:
        """Return when the store has to be read.

        It is the next try, or without one the earliest of the refresh before the lifetime ends, the check of a staged version, and
        the next read for an announced one.
        """
        s, rules, lifetime = self._s, self._rules, self._lifetime
        if s.job is not None:
            return None
        if s.next_try is not None:
            return s.next_try
        refresh = None
        if lifetime is not None:
            # The margin before, or half of a lifetime that is too short for that.
            refresh = s.asked + max(lifetime - rules.margin, lifetime // 2)
        return _earlier(refresh, s.offered.check_at, s.again_at)

    @property
    def _lifetime(self) -> int | None:
        """For how long the version in use counts as fresh, None for ever or without one."""
        return None if self._s.absent else self._rules.lifetime

    def _moments(self) -> list[int]:
        """Return when the version in use comes near its end or becomes stale."""
        s, rules = self._s, self._rules
        out = [] if s.not_after is None else [s.not_after - rules.margin, s.not_after]
        if self._lifetime is not None:
            out.append(s.asked + self._lifetime)
        return out

    def _stale_since(self) -> int | None:
        """Return when the version in use becomes stale, or became so, unless the store confirms it."""
        s = self._s
        ends = [s.not_after] if s.not_after is not None and s.asked < s.not_after else []
        if self._lifetime is not None:
            ends.append(s.asked + self._lifetime)
        return min(ends, default=None)

    def _clock(self) -> None:
        """Attend to the deadlines that have passed. A mark is never delayed by a reload under way; a read is."""
        if not self._s.started:
            return
        waits = self._s.next_try is not None and self._now < self._s.next_try
        at = self._read_at()
        due = at is not None and self._now >= at
        due = self._near() or due
        due = (self._age() and not waits) or due
        self._set(attended=self._now)
        if due:
            self._look()

    def _near(self) -> bool:
        """Report once that the version in use has come near its end. The answer of the next read decides whether that is said."""
        if self._s.warned or self._s.nearing or not self._is_near:
            return False
        self._set(nearing=True)
        return True

    @property
    def _is_near(self) -> bool:
        return self._s.not_after is not None and self._now >= self._s.not_after - self._rules.margin

    def _warn(self) -> None:
        """Say once that the version in use is near its end, when a read has brought no newer one."""
        if self._s.nearing and self._is_near:
            self._set(warned=True)
            self._do(Do.NEAR_EXPIRY, version=self._s.version, not_after=self._s.not_after)
        self._set(nearing=False)

    def _age(self) -> bool:
        """Mark a version that the store has not confirmed since its end, and report whether the mark is new."""
        s, since = self._s, self._stale_since()
        if s.stale or since is None or self._now < since:
            return False
        self._set(stale=True)
        self._do(Do.STALE, version=s.version, at=since)
        return True
