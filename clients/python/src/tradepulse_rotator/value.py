"""The value of a secret, which is not shown by accident."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final, NoReturn, Self, SupportsIndex

from tradepulse_rotator import scrub

if TYPE_CHECKING:
    from collections.abc import Callable

REDACTED: Final = "[redacted]"


class SecretValue:
    """The confidential part of a version.

    However it is printed, formatted or logged it shows as ``[redacted]``, also where a traceback prints local
    variables. It refuses to be pickled. :meth:`reveal` is the one door to the bytes.
    """

    __slots__ = ("_door",)

    # A value can be compared, in constant time, and not be hashed: a hash of it is something that was computed from it.
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: bytes | str) -> None:
        raw = value.encode() if isinstance(value, str) else bytes(value)
        # What looks into the slots of an object finds a function there.
        self._door: Callable[[], bytes] = lambda: raw

    def reveal(self) -> bytes:
        """Return the bytes, which must not reach a log, an error, an event or a metric."""
        return self._door()

    def reveal_text(self) -> str:
        """Return the value as text. The error for one that is not UTF-8 does not quote it."""
        try:
            return self._door().decode()
        except UnicodeDecodeError:
            raise ValueError("the value is not UTF-8 text") from None

    def scrub(self, text: str) -> str:
        """Return ``text`` without any piece of the value, as it is or escaped: see :func:`tradepulse_rotator.scrub.scrub`."""
        return scrub.scrub(text, self._door(), REDACTED)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretValue):
            return NotImplemented
        return hmac.compare_digest(self._door(), other._door())

    def __len__(self) -> int:
        return len(self._door())

    def __bool__(self) -> bool:
        return bool(self._door())

    def __repr__(self) -> str:
        return REDACTED

    __str__ = __repr__

    def __format__(self, format_spec: str, /) -> str:
        return REDACTED

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError("a secret value is not pickled: give the other process the id and let it read the store")
