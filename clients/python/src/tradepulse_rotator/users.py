"""What uses one secret in this process, and how a version comes into use: all users take it, or none does."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tradepulse_rotator import tasks
from tradepulse_rotator.errors import reason_of
from tradepulse_rotator.states import Failure

if TYPE_CHECKING:
    from tradepulse_rotator.metrics import Metrics
    from tradepulse_rotator.store import Version
    from tradepulse_rotator.value import SecretValue

_A = TypeVar("_A")


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

It must not await :meth:`Manager.refresh` or :meth:`Manager.subscribe` of the same secret, which wait for the hook.
"""


@dataclass(frozen=True, eq=False)
class Hooks:
    """Takes versions into use in two phases. All but ``prepare`` are called on the event loop and must not raise."""

    prepare: Hook
    """Makes everything ready for a version, or refuses it by raising. A staged version is only prepared at first."""
    commit: Callable[[Change], None] | None = None
    """Takes the version that was prepared into use. Every other user has prepared it, too."""
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
    """The version that it prepared last, staged ones aside."""


class Users:
    """The users of one secret, in the order in which they were added. All methods belong to the event loop."""

    def __init__(self, secret_id: str, metrics: Metrics) -> None:
        self._id = secret_id
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
        await _call(hooks.prepare, change)
        user = _User(hooks, change.version.id)
        self._users.append(user)
        self._safely(hooks.commit, change)

    def remove(self, hooks: Hooks) -> None:
        """Take a user away, if it is there."""
        self._users = [u for u in self._users if u.hooks is not hooks]

    async def prepare(self, change: Change, *, again: bool = False) -> Failure | None:
        """Offer a version to every user, with ``again`` to those that hold another one, and return the first failure.

        The caller holds the lock.
        """
        for user in tuple(self._users):
            if again and user.holds == change.version.id:
                continue
            try:
                await _call(user.hooks.prepare, change)
            except BaseException as err:  # a hook may raise anything, and the version before has to stay in use
                if tasks.ends(err):
                    raise
                self._metrics.count("secret.hook.failures", {"secret.id": self._id})
                return Failure(reason_of(err), change.value.scrub(f"the hook failed: {type(err).__name__}: {err}"))
            if not change.staged:
                user.holds = change.version.id
                if again:
                    self._safely(user.hooks.commit, change)
        return None

    def commit(self, change: Change) -> None:
        """Have the version that every user prepared taken into use."""
        for user in self._users:
            self._safely(user.hooks.commit, change)

    def withdraw(self, version: str, current: str) -> None:
        """Have a version given up that does not come into use."""
        for user in self._users:
            if user.hooks.withdraw is not None:
                self._safely(user.hooks.withdraw, version)
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

    def _safely(self, hook: Callable[[_A], None] | None, argument: _A) -> None:
        """Call a hook that cannot refuse. One that raises is logged and counted, and changes nothing for the others."""
        try:
            if hook is not None:
                hook(argument)
        except Exception as err:  # noqa: BLE001  # the other users go on
            tasks.failed("hook", err, self._metrics)
            self._metrics.count("secret.hook.failures", {"secret.id": self._id})


async def _call(hook: Hook, change: Change) -> None:
    answer = hook(change)
    if inspect.isawaitable(answer):
        await answer
