"""Bearer tokens: who may pass while the token rotates."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from tradepulse_rotator import logs

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from tradepulse_rotator.manager import Change, Manager

_MAX_TOKEN: Final = 8 << 10
_MAX_NAMED: Final = 1024


class TokenUse(StrEnum):
    """Which token a request carried."""

    CURRENT = "current"
    PREVIOUS = "previous"
    STAGED = "staged"
    """One that is about to become current: another process may have it in use a moment earlier than this one."""
    REJECTED = "rejected"

    @property
    def accepted(self) -> bool:
        """Whether the request may pass."""
        return self is not TokenUse.REJECTED


class TokenAuthenticator:
    """Accepts the current token, during the overlap the one before, and the next one once it is staged."""

    def __init__(self, manager: Manager, secret_id: str, overlap: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = manager.metrics
        self.secret_id = secret_id
        self._overlap = overlap.total_seconds()
        self._clock = clock
        # Per process: what is compared tells nothing of the length or the content of a token.
        self._blind = secrets.token_bytes(32)
        self._none = self._mac(secrets.token_bytes(32))
        self._current = self._previous = self._staged = self._none
        self._until = 0.0
        self._named: set[str] = set()  # hosts that were said to use the previous token
        self._stop: Callable[[], None] | None = None

    @classmethod
    async def open(cls, manager: Manager, secret_id: str, *, overlap: timedelta) -> TokenAuthenticator:
        """Return an authenticator for a secret. ``overlap`` is for how long the token before the current one is accepted."""
        auth = cls(manager, secret_id, overlap)
        auth._stop = await manager.subscribe(secret_id, auth._take)
        return auth

    def _mac(self, token: bytes) -> bytes:
        return hmac.digest(self._blind, token, hashlib.sha256)

    def _take(self, change: Change) -> None:
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

    def authenticate(self, token: str, client: str) -> TokenUse:
        """Check a token and count the use.

        Who still uses the previous token is said in the log once per rotation: the host, never the token.
        """
        use = self.check(token)
        self._metrics.count("admin.token.uses", {"token": use.value})
        if use is TokenUse.PREVIOUS and client not in self._named and len(self._named) < _MAX_NAMED:
            self._named.add(client)
            logs.event(logging.WARNING, "admin.token.previous_used", client=client)
        return use

    def close(self) -> None:
        """Take the authenticator off its secret; it goes on with what it has."""
        if self._stop is not None:
            self._stop()


def bearer(authorization: str | None) -> str | None:
    """Return the token of an Authorization header, None when there is none of the scheme Bearer."""
    scheme, found, token = (authorization or "").partition(" ")
    return token.strip() if found and scheme.lower() == "bearer" else None


def challenge(realm: str, *, sent: bool) -> str:
    """Return the WWW-Authenticate header of RFC 6750 for a request that was refused."""
    quoted = realm.replace("\\", r"\\").replace('"', r"\"")
    return f'Bearer realm="{quoted}"' + (', error="invalid_token"' if sent else "")
