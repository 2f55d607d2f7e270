"""What the reload machine of one secret is told, what it asks for, and what it knows.

Times are in nanoseconds since 1970 and durations in nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

_SECOND: Final = 1_000_000_000

MAX_RETRY: Final = 60 * _SECOND
"""The longest pause between two tries."""
MAX_AGAIN: Final = 300 * _SECOND
"""The longest pause between two reads for an announced version."""
REFRESH_PAUSE: Final = _SECOND
"""The least time between a read of the current version and one that ``REFRESH_ASKED`` causes."""
GONE_AFTER: Final = 60 * _SECOND
"""How long after its announcement a staged version that was never read may be missing, since a replica may lag."""
STAGED_PAUSE: Final = 60 * _SECOND
"""The time between two reads of a staged version that hooks accepted, because a version that is given up is not announced."""
MAX_REASON: Final = 200
"""The longest reason of a failure in a report, in bytes."""


class Kind(StrEnum):
    """What happened."""

    STARTED = "started"
    """The first version was read and is in use: ``version``, ``not_after``. With a ``failure`` a hook did not commit it."""
    ANNOUNCED = "announced"
    """A version was announced as current: ``announcement``, ``not_after``."""
    STAGED = "staged"
    """A version was announced for verification: ``announcement``."""
    DRAINING = "draining"
    """Every version before the announced one has to be dropped: ``previous`` is about to be retired. ``announcement``, ``previous``."""
    READ_DONE = "read"
    """A READ succeeded: ``version``, ``created_at``, ``not_after``, ``pending``."""
    READ_FAILED = "read_failed"
    """A READ failed: ``failure``."""
    PREPARED = "prepared"
    """Every hook accepted the version of a PREPARE."""
    REFUSED = "refused"
    """A hook refused the version of a PREPARE: ``failure``."""
    COMMITTED = "committed"
    """A COMMIT is complete."""
    COMMIT_FAILED = "commit_failed"
    """A hook did not carry out a COMMIT, and may use the version before: ``failure``."""
    CLOCK = "clock"
    """The time of the last SCHEDULE has come. Extra ones do no harm."""
    POLLED = "polled"
    """The interval of the poll has passed."""
    REFRESH_ASKED = "refresh_asked"
    """The service wants the store read now, because its credentials were refused."""


class Do(StrEnum):
    """What the shell has to do. READ, PREPARE and COMMIT have to be answered by an event; the others are carried out at once."""

    READ = "read"
    """Read the current version, or ``version`` for a staged one: READ_DONE or READ_FAILED."""
    PREPARE = "prepare"
    """Offer the version that was read to every hook: PREPARED or REFUSED.

    When it is the version in use, only the hooks that took another one are asked.
    """
    COMMIT = "commit"
    """Take the prepared version into use, which no hook may refuse: COMMITTED or COMMIT_FAILED."""
    WITHDRAW = "withdraw"
    """Tell hooks that a version that was offered will not come into use."""
    DROP = "drop"
    """End the acceptance of every version but ``version``, the one in use and one that is offered."""
    INSTALLED = "installed"
    """Publish, log and count the version that has come into use."""
    CONFIRM = "confirm"
    """Publish that the store confirmed the version in use, whose end may have moved; it ends the mark stale."""
    ENDS = "ends"
    """Publish that the version in use ends earlier than its store says: ``not_after``."""
    FRESH = "fresh"
    """Log that a CONFIRM ended the mark stale."""
    STALE = "stale"
    """Publish that the version in use has been stale since ``at``."""
    NEAR_EXPIRY = "near_expiry"
    """Log and count that the version in use is near its end."""
    FAILED = "failed"
    """Log and count a failure of ``version``, empty if unknown: ``failure``, ``pause``."""
    REPORT = "report"
    """Send the status to the bus."""
    SCHEDULE = "schedule"
    """Replace the time of the next CLOCK by ``at``; None means never."""


ANSWERED: Final = frozenset({Do.READ, Do.PREPARE, Do.COMMIT})
"""The effects that have to be answered. At most one of them is under way at a time, and it is the last of an event."""


class Status(StrEnum):
    """What became of the version that is wanted, in the words of a report."""

    NONE = ""
    APPLIED = "applied"
    FAILED = "failed"
    STAGED = "staged"


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of one secret."""

    margin: int
    """How long before its end a version counts as near expiry."""
    retry: int
    """The pause after the first failure. It doubles up to ``MAX_RETRY``."""
    again: int
    """The pause after a read that did not return the announced version. It doubles up to ``MAX_AGAIN``.

    Each process draws its own, so that the processes of a service do not read at the same moments.
    """
    lifetime: int | None = None
    """How long a value counts as fresh after the store was read, None for ever."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A version that the bus announced."""

    version: str
    at: int
    """When it was announced, by the clock of the announcer."""
    trace: str = ""
    """The W3C traceparent of the announcement."""
    seq: int = 0
    """The position of the announcement in the log, 0 if unknown."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a read or a hook failed: a short constant, and a text for people, which holds no value."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. A result that no effect asked for is ignored."""

    kind: Kind
    announcement: Announcement | None = None
    version: str = ""
    previous: str = ""
    created_at: int | None = None
    """When the version was written, None if unknown."""
    not_after: int | None = None
    pending: bool = False
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that the shell has to do."""

    kind: Do
    version: str = ""
    staged: bool = False
    cause: Announcement | None = None
    """The announcement that led to it, None for a poll, a retry or a refresh."""
    not_after: int | None = None
    at: int | None = None
    failure: Failure | None = None
    pause: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """A version other than the one in use that hooks may hold."""

    version: str = ""
    staged: bool = False
    """It was offered for verification, and is pending for all we know."""
    accepted: bool = False
    cause: Announcement | None = None
    """The announcement of a staged one."""
    check_at: int | None = None
    """When a staged one that hooks accepted is read again."""


@dataclass(frozen=True, slots=True)
class Drain:
    """A DRAINING that has not led to a DROP."""

    announcement: Announcement
    previous: str


@dataclass(frozen=True, slots=True)
class Job:
    """A reload that is under way. ``phase`` is the effect that has to be answered."""

    phase: Do = Do.READ
    staged: bool = False
    cause: Announcement | None = None
    version: str = ""
    not_after: int | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Everything that is known of one secret. The default waits for STARTED."""

    version: str = ""
    """The version in use, empty while there is none."""
    absent: bool = False
    """It was started without a version, and no read has brought one."""
    not_after: int | None = None
    loaded_at: int = 0
    stale: bool = False
    status: Status = Status.NONE
    wanted: str = ""
    """The version that failed or is staged."""
    reason: str = ""
    due: int | None = None
    """The time of the last SCHEDULE."""
    retry: int = 0
    """The pause after the last failure, 0 after a success."""
    next_try: int | None = None
    asked: int = 0
    """When the store last confirmed the version in use."""
    tried: int = 0
    """When the store was last asked for the current version."""
    attended: int = 0
    """Moments up to here were attended to."""
    seen: Announcement = field(default_factory=lambda: Announcement("", 0))
    """The newest announcement that led to a read."""
    told: Announcement = field(default_factory=lambda: Announcement("", 0))
    """The newest announcement, and the end that it gave its version."""
    told_end: int | None = None
    awaited: Announcement | None = None
    """No read has returned its version or a newer one."""
    again: int = 0
    """The pause after the last read for ``awaited``."""
    again_at: int | None = None
    """When the store is read again for ``awaited``."""
    offered: Offer = field(default_factory=Offer)
    mixed: bool = False
    """Whether a hook may have taken another version than the one in use, because a later hook refused that version."""
    nearing: bool = False
    """Whether the version in use has come near its end, and no read was answered since."""
    warned: bool = False
    restage: Announcement | None = None
    """The staging that failed and is tried again."""
    drain: Drain | None = None
    """Waits until its previous version is not in use."""
    drained: Announcement = field(default_factory=lambda: Announcement("", 0))
    """The newest DRAINING."""
    job: Job | None = None
    queued: Announcement | None = None
    queued_staged: Announcement | None = None
    queued_read: bool = False
    queued_ask: bool = False

    @property
    def started(self) -> bool:
        """Whether STARTED was taken."""
        return self.absent or self.version != ""

    @property
    def busy(self) -> bool:
        """Whether a reload is under way."""
        return self.job is not None

    @property
    def phase(self) -> str:
        """The effect that has to be answered, empty for none."""
        return "" if self.job is None else self.job.phase
