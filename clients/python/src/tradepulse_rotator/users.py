"""What uses one secret in this process, and how a version comes into use: all users take it, or none does."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from tradepulse_rotator import tasks
from tradepulse_rotator.errors import ConfigurationError, reason_of
from tradepulse_rotator.states import Failure

if TYPE_CHECKING:
    from tradepulse_rotator.metrics import Metrics
    from tradepulse_rotator.store import Version
    from tradepulse_rotator.value import SecretValue

_A = TypeVar("_A")

DEFAULT_HOOK_TIMEOUT = timedelta(minutes=1)


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
"""Prepares a version. When it raises, the version before stays in use and the hook is called again later.

It must not await :meth:`Manager.refresh` or :meth:`Manager.subscribe` of the same secret, which wait for the hook. An asynchronous one
is cancelled after ``hook_timeout``, and has failed.
"""


@dataclass(frozen=True, eq=False)
class Hooks:
    """Takes versions into use in two phases. All but ``prepare`` are called on the event loop and must not raise."""

    prepare: Hook
    """Makes everything ready for a version, or refuses it by raising. A staged version is only prepared at first."""
    commit: Callable[[Change], None] | None = None
    """Takes the version that was prepared into use. Every other user has prepared it, too.

    When it raises all the same, the process reports that it still uses the version before, and ``prepare`` and ``commit`` are called
    again later with the same version.
    """
    withdraw: Callable[[str], None] | None = None
    """Gives up a version that was prepared and does not come into use."""
    drop: Callable[[AbstractSet[str]], None] | None = None
    """Stops to accept every version but these: the fleet has left the others, which are about to be retired."""
    accepts: Callable[[], Iterable[str]] | None = None
    """Returns the versions besides the one in use that this user authorises or signs something new with."""


@dataclass(eq=False)
class _User:
    hooks: Hooks
    holds: str
    """The version that it uses for all that is known: the one it committed last, or prepared if it commits nothing; no staged one."""
    offered: tuple[SecretValue, ...] = ()
    """The value that it was called with last, and the one before that differed."""


class Users:
    """The users of one secret, in the order in which they were added. All methods belong to the event loop."""

    def __init__(self, secret_id: str, metrics: Metrics, hook_timeout: timedelta) -> None:
        self._id, self._limit = secret_id, hook_timeout.total_seconds()
        self.lock = asyncio.Lock()
        """Held while users are called. A reload holds it from prepare to commit, so that a user that is added misses no version."""
        self._metrics = metrics
        self._users: list[_User] = []

    @property
    def any(self) -> bool:
        """Whether there is a user."""
        return bool(self._users)

    async def add(self, hooks: Hooks, change: Change | None) -> None:
        """Have the version in use taken by a user, and add it unless it refuses. The caller holds the lock."""
        if change is None:
            self._users.append(_User(hooks, ""))
            return
        user = _User(hooks, "", (change.value,))
        await self._call(user, change)
        if (failure := self._commit(user, change)) is not None:
            raise ConfigurationError(f"subscribe to {self._id}: {failure.text}")
        self._users.append(user)

    def remove(self, hooks: Hooks) -> None:
        """Take a user away, if it is there."""
        self._users = [u for u in self._users if u.hooks is not hooks]

    async def prepare(self, change: Change, in_use: SecretValue | None, *, again: bool = False) -> Failure | None:
        """Offer a version to every user, with ``again`` to those that hold another one, and return the first failure.

        Its text has neither the value nor one that the user may have from before: the value in use, and the one that it was offered
        before this. The caller holds the lock.
        """
        for user in tuple(self._users):
            if again and user.holds == change.version.id:
                continue
            if user.offered[:1] != (change.value,):
                user.offered = (change.value, *user.offered[:1])
            try:
                await self._call(user, change)
            except BaseException as err:  # a hook may raise anything, and the version before has to stay in use
                if tasks.ends(err):
                    raise
                self._metrics.count("secret.hook.failures", {"secret.id": self._id})
                text = f"the hook failed: {type(err).__name__}: {err}"
                for value in user.offered if in_use is None else (*user.offered, in_use):
                    text = value.scrub(text)
                return Failure(reason_of(err), text)
            if again and (failure := self._commit(user, change)) is not None:
                return failure
        return None

    def commit(self, change: Change) -> Failure | None:
        """Have the version that every user prepared taken into use, and return the first failure."""
        failures = [self._commit(user, change) for user in self._users]
        return next((failure for failure in failures if failure is not None), None)

    def _commit(self, user: _User, change: Change) -> Failure | None:
        """Have one user take the version into use. One that raises holds the version before, for all that is known."""
        error = self._safely(user.hooks.commit, change)
        if error is not None:
            return Failure(reason_of(error), f"commit version {change.version.id}: the hook failed: {type(error).__name__}")
        user.holds = change.version.id
        return None

    async def give_back(self, refused: SecretValue, change: Change) -> None:
        """Have users that commit nothing, and were offered a value that another user refused, take the version in use again.

        The caller holds the lock.
        """
        for user in tuple(self._users):
            if user.hooks.commit is not None or user.offered[:1] != (refused,):
                continue
            try:
                await self._call(user, change)
            except BaseException as err:  # as above; what the user holds is on record
                if tasks.ends(err):
                    raise
                tasks.failed("hook", err, self._metrics)
                self._metrics.count("secret.hook.failures", {"secret.id": self._id})

    def withdraw(self, version: str, current: str) -> None:
        """Have a version given up that does not come into use."""
        for user in self._users:
            if user.hooks.withdraw is not None:
                self._safely(user.hooks.withdraw, version)
                if user.hooks.commit is None:
                    user.holds = current

    def drop(self, kept: AbstractSet[str]) -> None:
        """Have every version dropped but those that are kept."""
        for user in self._users:
            self._safely(user.hooks.drop, kept)

    def accepts(self) -> set[str]:
        """Return the versions that users accept or hold."""
        out: set[str] = set()
        for user in self._users:
            out.add(user.holds)
            if user.hooks.accepts is not None:
                out.update(user.hooks.accepts())
        return out

    def _safely(self, hook: Callable[[_A], None] | None, argument: _A) -> Exception | None:
        """Call a hook that may not refuse. What it raises is logged, counted and returned, and changes nothing for the others."""
        try:
            if hook is not None:
                hook(argument)
        except Exception as err:  # noqa: BLE001  # the other users go on
            tasks.failed("hook", err, self._metrics)
            self._metrics.count("secret.hook.failures", {"secret.id": self._id})
            return err
        return None

    async def _call(self, user: _User, change: Change) -> None:
        """Have a user prepare a version. It holds the version then, unless it commits or the version is staged."""
        try:
            async with asyncio.timeout(self._limit) as limit:
                answer = user.hooks.prepare(change)
                if inspect.isawaitable(answer):
                    await answer
        except TimeoutError as err:
            if not limit.expired():
                raise
            raise TimeoutError(f"it did not return in {self._limit:g} s") from err
        if user.hooks.commit is None and not change.staged:
            user.holds = change.version.id
