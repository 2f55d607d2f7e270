"""Where secrets are read: what is configured of one, and what every provider can do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from tradepulse_rotator import events, times
from tradepulse_rotator.errors import ConfigurationError, LifetimeError
from tradepulse_rotator.value import SecretValue

DEFAULT_REFRESH_MARGIN: Final = timedelta(minutes=5)
DEFAULT_FENCE: Final = timedelta(hours=1)
_FENCES_PER_TTL: Final = 4

MAX_TTL_SECONDS: Final = 10 * 366 * 24 * 60 * 60
"""The longest lifetime: ten years."""

_MAX_TTL_DIGITS: Final = len(str(MAX_TTL_SECONDS))


@dataclass(frozen=True)
class Version:
    """A version of a secret: an id to be compared and nothing else, and when it was made."""

    id: str
    created_at: int
    """In nanoseconds since 1970."""
    not_after: int | None = None
    """What the store knows of its end, None for nothing."""
    pending: bool = False
    """True for one that has not been promoted yet."""

    @property
    def created(self) -> datetime:
        """When it was made, in UTC."""
        return datetime.fromtimestamp(self.created_at / 1e9, UTC)


@dataclass(frozen=True)
class Spec:
    """What is configured of a secret."""

    id: str
    """The identifier by which applications and events name it."""
    path: str = ""
    """Where it is in its store; empty is where the id says."""
    ttl: timedelta | None = None
    """How long a version lives; None is without end."""
    refresh_margin: timedelta = DEFAULT_REFRESH_MARGIN
    """How long before its end a version counts as near expiry."""
    fence: timedelta | None = None
    """How long this process uses a version without confirming it; None is an hour, at most a quarter of the TTL."""

    def __post_init__(self) -> None:
        if not events.valid_id(self.id):
            raise ConfigurationError(f"{self.id!r} is no id of a secret: use letters, digits and / _ + = . @ : -")
        if self.fence is not None and self.fence <= timedelta():
            raise ConfigurationError(f"{self.id}: fence {self.fence}: use a positive length of time")
        if self.fence is not None and self.ttl is not None and self.fence > self.ttl / _FENCES_PER_TTL:
            raise ConfigurationError(f"{self.id}: fence {self.fence}: use a quarter of the TTL {self.ttl} at most, or leave it out")

    @property
    def store_path(self) -> str:
        """Where it is in its store."""
        return self.path or self.id

    @property
    def fence_period(self) -> int:
        """How long this process uses a version without confirming it, in nanoseconds."""
        if self.fence is not None:
            return times.span(self.fence)
        limit = DEFAULT_FENCE if self.ttl is None else min(DEFAULT_FENCE, self.ttl / _FENCES_PER_TTL)
        return times.span(limit)

    def not_after(self, version: Version) -> int | None:
        """Return the earliest known end of a version's life in nanoseconds since 1970, None for without end."""
        ends = [] if self.ttl is None else [version.created_at + times.span(self.ttl)]
        return min(ends if version.not_after is None else [*ends, version.not_after], default=None)

    @classmethod
    def from_env(cls, secret_id: str, env: Mapping[str, str] | None = None) -> Spec:
        """Return a secret whose path stands in the variable that its id names, if that is set.

        ``TRADEPULSE_AUDIT_SECRET_ID=tradepulse/audit-signing-key`` is an example.
        """
        return cls(secret_id, path=(os.environ if env is None else env).get(secret_id, ""))


def lifetime(env: Mapping[str, str], *names: str, value: SecretValue | None = None) -> timedelta | None:
    """Return what the first variable that is set of ``<name>_TTL_SECONDS`` says, None without one."""
    for name in names:
        text = env.get(name + "_TTL_SECONDS")
        if text is None:
            continue
        whole = text.isascii() and text.isdigit() and len(text.lstrip("0")) <= _MAX_TTL_DIGITS
        seconds = int(text) if whole else 0
        if not 0 < seconds <= MAX_TTL_SECONDS:
            raise LifetimeError(f"{name}_TTL_SECONDS is not a whole number of seconds from 1 to {MAX_TTL_SECONDS}", value)
        return timedelta(seconds=seconds)
    return None


class Provider(Protocol):
    """A store. Its methods may block: they are called in threads, several at once."""

    name: str
    """What the store is called in errors."""

    def read(self, path: str, version: str | None = None) -> tuple[Version, SecretValue]:
        """Read one version, the current one unless another is named.

        It raises a :class:`~tradepulse_rotator.errors.StoreError`.
        """

    def read_previous(self, path: str, current: Version) -> tuple[Version, SecretValue]:
        """Read the version that was current before, or raise :class:`~tradepulse_rotator.errors.NotFoundError`."""

    def hint(self, path: str) -> str:
        """Return what to do about a path that is not found."""


class Source:
    """The secrets of a service and the store in which they are."""

    def __init__(self, provider: Provider, specs: Iterable[Spec], env: Mapping[str, str] | None = None) -> None:
        """Join them. ``env`` is where lifetimes are looked for, None for the environment of this process."""
        self.provider = provider
        self.specs = {s.id: s for s in specs}
        self._env = os.environ if env is None else env

    def fresh_for(self, secret_id: str) -> timedelta | None:
        """Return for how long a value counts as fresh after the store was asked: ``<ID>_TTL_SECONDS``, None for ever."""
        return lifetime(self._env, secret_id)

    def read(self, secret_id: str, version: str | None = None) -> tuple[Version, SecretValue]:
        """Read one version of a secret; it blocks."""
        return self.provider.read(self.specs[secret_id].store_path, version)
