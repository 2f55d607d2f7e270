"""What can go wrong, in classes that a caller can tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradepulse_rotator.value import SecretValue


class RotatorError(Exception):
    """The root of all errors of this package. None of them quotes a value."""


class ConfigurationError(RotatorError):
    """A setting is missing or makes no sense."""


class StoreError(RotatorError):
    """A store did not give what was asked for."""

    reason = "unknown"


class NotFoundError(StoreError):
    """There is no such secret or version."""

    reason = "not_found"


class DeletedError(NotFoundError):
    """The secret or its current version was deleted, and may be restored."""

    reason = "deleted"


class NoValueError(NotFoundError):
    """The secret or the version is there, and has no value."""

    reason = "no_value"


class AccessDeniedError(StoreError):
    """The store knows who asks, or not, and refuses."""

    reason = "access_denied"


class ThrottledError(StoreError):
    """The store asks for fewer calls."""

    reason = "throttled"


class UnavailableError(StoreError):
    """The store cannot be reached or is not able to answer."""

    reason = "unavailable"


class InvalidError(StoreError):
    """What was asked for, or what came back, makes no sense."""

    reason = "invalid"


class LifetimeError(InvalidError):
    """What is recorded of a lifetime is none."""

    def __init__(self, text: str, value: SecretValue | None = None) -> None:
        super().__init__(text)
        self.value = value
        """The value that would have it, so that a check can say all that is wrong at once; it is not for use."""


class UnknownSecretError(RotatorError):
    """The secret is not among those of this manager."""


class FenceError(RotatorError):
    """Neither the bus nor the store confirmed the version in use within its fence: it may be retired, and is refused."""


class AbsentError(RotatorError):
    """An optional secret has no version yet. The text names what to set, and neither a value nor where secrets are."""


class RefreshError(RotatorError):
    """A refresh left a version that cannot be taken into use. The text says why."""


class MissingSecretsError(RotatorError):
    """Some secrets have no value at the start. The text names each, where it was looked for, and what to do."""


class RejectedError(RotatorError):
    """A message is no event to be trusted. The text tells nothing of its content."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"rejected: {reason}: {text}")
        self.reason = reason


class NotStartedError(RotatorError):
    """Something was used before the service had started."""


def reason_of(error: BaseException) -> str:
    """Return a short constant for an error, fit for a metric."""
    return error.reason if isinstance(error, StoreError) else "unknown"
