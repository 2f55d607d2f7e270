"""Bearer tokens: who may pass while the token rotates."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from tradepulse_rotator import logs, times
from tradepulse_rotator.errors import NotFoundError, RotatorError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from tradepulse_rotator.manager import Manager
    from tradepulse_rotator.reload import Change

_MAX_TOKEN: Final = 8 << 10
_MAX_NAMED: Final = 1024
_FIRST_VISIBLE: Final = 0x21
_LAST_VISIBLE: Final = 0x7E


class TokenUse(StrEnum):
    """Which token a request carried."""

    CURRENT = "current"
    PREVIOUS = "previous"
    STAGED = "staged"
    """One that is about to become current: another process may have it in use a moment earlier than this one."""
    REJECTED = "rejected"
    MISSING = "missing"
    MALFORMED = "malformed"
    """An Authorization header that no client that speaks RFC 6750 sends."""

    @property
    def accepted(self) -> bool:
        """Whether the request may pass."""
        return self in {TokenUse.CURRENT, TokenUse.PREVIOUS, TokenUse.STAGED}


class UnsendableError(RotatorError):
    """A value cannot stand in an Authorization header, so no client could send it."""


class TokenAuthenticator:
    """Accepts the current token, during the overlap the one before, and the next one once it is staged."""

    def __init__(self, manager: Manager, secret_id: str, overlap: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._manager, self._metrics = manager, manager.metrics
        self.secret_id = secret_id
        self._overlap = overlap.total_seconds()
        self._clock = clock
        # Per process: what is compared tells nothing of the length or the content of a token.
        self._blind = secrets.token_bytes(32)
        self._none = self._mac(secrets.token_bytes(32))
        self._current = self._previous = self._staged = self._none
        self._until = 0.0  # when the previous one ends, on the clock
        self._named: set[str] = set()  # hosts that were said to use the previous token
        self._stop: Callable[[], None] | None = None

    @classmethod
    async def open(cls, manager: Manager, secret_id: str, *, overlap: timedelta) -> TokenAuthenticator:
        """Return an authenticator for a secret. ``overlap`` is for how long the token before the current one is accepted.

        A process that starts within the overlap accepts the previous token too, if the store still has it and lets the
        service read it; the overlap then counts from when the store made the current one.
        """
        auth = cls(manager, secret_id, overlap)
        auth._stop = await manager.subscribe(secret_id, auth._take)
        await auth._load_previous()
        return auth

    async def _load_previous(self) -> None:
        version = self._manager.secret(self.secret_id).get().version
        left = self._overlap - (times.now_ns() - version.created_at) / 1e9
        if left <= 0 or self._previous != self._none:
            return
        try:
            value = await self._manager.read_previous(self.secret_id, version)
        except NotFoundError:
            return
        except StoreError as err:
            logs.event(
                logging.WARNING,
                "admin.token.no_previous",
                secret_id=self.secret_id,
                error=str(err),
                detail="clients that still send the previous token are refused by this process",
            )
            return
        if self._previous == self._none:  # no rotation came in between
            self._previous, self._until = self._mac(value.reveal()), self._clock() + left

    def _mac(self, token: bytes) -> bytes:
        return hmac.digest(self._blind, token, hashlib.sha256)

    def _take(self, change: Change) -> None:
        _check_sendable(change.value.reveal())
        mac = self._mac(change.value.reveal())
        if change.staged:
            self._staged = mac
            return
        if self._current not in {self._none, mac}:
            self._previous, self._until = self._current, self._clock() + self._overlap
            self._named.clear()
        self._current, self._staged = mac, self._none
        logs.event(logging.INFO, "admin.token.rotated", secret_id=change.secret_id, version_id=change.version.id)

    def check(self, token: str) -> TokenUse:
        """Return which token this is. It takes the same time for every token of one length."""
        raw = token.encode(errors="surrogatepass")
        if not 0 < len(raw) <= _MAX_TOKEN:
            return TokenUse.REJECTED
        mac = self._mac(raw)
        is_current = hmac.compare_digest(mac, self._current)
        is_previous = hmac.compare_digest(mac, self._previous) and self._clock() < self._until
        is_staged = hmac.compare_digest(mac, self._staged)
        if is_current:
            return TokenUse.CURRENT
        if is_previous:
            return TokenUse.PREVIOUS
        return TokenUse.STAGED if is_staged else TokenUse.REJECTED

    def authenticate(self, authorization: Sequence[str], client: str) -> TokenUse:
        """Check the Authorization headers of a request, and count the use.

        Who still uses the previous token is said in the log once per rotation: the host, never the token.
        """
        token = bearer(authorization)
        use = token if isinstance(token, TokenUse) else self.check(token)
        self._metrics.count("admin.token.uses", {"token": use.value})
        if use is TokenUse.PREVIOUS and client not in self._named and len(self._named) < _MAX_NAMED:
            self._named.add(client)
            logs.event(logging.WARNING, "admin.token.previous_used", secret_id=self.secret_id, client=client)
        return use

    def close(self) -> None:
        """Take the authenticator off its secret; it goes on with what it has."""
        if self._stop is not None:
            self._stop()


def _check_sendable(token: bytes) -> None:
    """Refuse what HTTP would not carry unchanged, such as a line feed that a file brought along."""
    if not 0 < len(token) <= _MAX_TOKEN:
        raise UnsendableError(f"the value has {len(token)} bytes, a token has 1 to {_MAX_TOKEN}")
    for at, byte in enumerate(token, start=1):
        if not _FIRST_VISIBLE <= byte <= _LAST_VISIBLE:
            raise UnsendableError(f"byte {at} of {len(token)} is no visible ASCII character, which an Authorization header needs")


def bearer(authorization: Sequence[str]) -> str | TokenUse:
    """Return the token of the Authorization headers of a request, or how they fail to have one."""
    if not authorization:
        return TokenUse.MISSING
    scheme, _, token = authorization[0].partition(" ")
    token = token.strip(" ")
    if len(authorization) > 1:
        return TokenUse.MALFORMED
    if scheme.lower() != "bearer":
        return TokenUse.MISSING  # another scheme: nothing is wrong, and nothing is there
    visible = token and all(_FIRST_VISIBLE <= ord(c) <= _LAST_VISIBLE for c in token)
    return token if visible else TokenUse.MALFORMED


def refusal(realm: str, use: TokenUse) -> tuple[int, dict[str, str]]:
    """Return the status and the headers of the answer to a request that may not pass, as RFC 6750 says."""
    challenge = f'Bearer realm="{realm}"'
    if use is TokenUse.MALFORMED:
        challenge += ', error="invalid_request"'
    elif use is TokenUse.REJECTED:
        challenge += ', error="invalid_token"'
    code = HTTPStatus.BAD_REQUEST if use is TokenUse.MALFORMED else HTTPStatus.UNAUTHORIZED
    return code.value, {"WWW-Authenticate": challenge, "Cache-Control": "no-store"}
