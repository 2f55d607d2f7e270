"""Bearer tokens: who may pass while the token rotates."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from tradepulse_rotator import _shapes, logs, times
from tradepulse_rotator.errors import NotFoundError, RotatorError, StoreError
from tradepulse_rotator.users import Change, Hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import timedelta

    from tradepulse_rotator.manager import Manager

_MAX_TOKEN: Final = 8 << 10
_MAX_NAMED: Final = 1024
_MAX_OLD: Final = 64


class TokenUse(StrEnum):
    """Which token a request carried."""

    CURRENT = "current"
    PREVIOUS = "previous"
    STAGED = "staged"
    """One that is about to become current: another process may have it in use a moment earlier than this one."""
    RETIRED = "retired"
    """One that the fleet has left. A client that still sends it was missed."""
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


@dataclass(frozen=True)
class _Token:
    version: str
    mac: bytes
    retired: bool = False
    """Set for one that is about to be retired or was given up."""


class TokenAuthenticator:
    """Accepts the current token, during the overlap the one before, and the next one once it is staged.

    It checks the fence of the secret at each use. The overlap ends early when the previous version is about to be retired.
    """

    def __init__(self, manager: Manager, secret_id: str, overlap: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._manager, self._metrics = manager, manager.metrics
        self.secret_id = secret_id
        self._overlap = overlap.total_seconds()
        self._clock = clock
        # Per process: what is compared tells nothing of the length or the content of a token.
        self._blind = secrets.token_bytes(32)
        self._none = _Token("", self._mac(secrets.token_bytes(32)))
        self._current = self._previous = self._staged = self._none
        self._loading = self._none  # a previous token that is accepted once the bus knows
        self._until = 0.0  # when the previous one ends, on the clock
        self._old: tuple[_Token, ...] = ()  # not accepted any more, the latest first; replaced, never changed
        self._named: set[str] = set()  # hosts that were logged since the last rotation
        self._stop: Callable[[], None] | None = None

    @classmethod
    async def open(cls, manager: Manager, secret_id: str, *, overlap: timedelta) -> TokenAuthenticator:
        """Return an authenticator for a secret. ``overlap`` is for how long the token before the current one is accepted.

        A process that starts within the overlap accepts the previous token too, if the store still has it and lets the
        service read it; the overlap then counts from when the store made the current one.
        """
        auth = cls(manager, secret_id, overlap)
        auth._stop = await manager.attach(secret_id, auth._hooks())
        await auth._load_previous()
        return auth

    def _hooks(self) -> Hooks:
        return Hooks(self._prepare, self._commit, self._withdraw, self._drop, self._accepts)

    async def _load_previous(self) -> None:
        if self._manager.absent(self.secret_id):
            return
        current = self._manager.version(self.secret_id)
        left = self._overlap - (times.now_ns() - current.created_at) / 1e9
        if left <= 0 or self._previous is not self._none or self._manager.drained(self.secret_id):
            return
        until = self._clock() + left
        try:
            version, value = await self._manager.read_previous(self.secret_id)
        except NotFoundError:
            return
        except StoreError as err:
            self._log_no_previous(str(err))
            return
        token = self._loading = _Token(version.id, self._mac(value.reveal()))
        # It must not be accepted before rotator knows: it may be retired.
        stored = await self._manager.accept(self.secret_id, token.version) and await self._is_previous(token.version)
        if self._loading is token and self._previous is self._none:  # no rotation came in between
            if stored:
                self._set_previous(token, until)
            else:
                self._log_no_previous("nothing confirms that it is not retired")
        self._loading = self._none
        if self._manager.drained(self.secret_id):  # meanwhile
            self._drop({self._manager.version(self.secret_id).id, self._staged.version})
        self._manager.changed()

    async def _is_previous(self, version_id: str) -> bool:
        """Report whether the store still has the version before, now that its use is on record.

        A worker takes the stage of a version away before it reads the records, so either this read shows that, or the worker
        finds the record.
        """
        try:
            version, _ = await self._manager.read_previous(self.secret_id)
        except StoreError:
            return False
        return version.id == version_id

    def _log_no_previous(self, error: str) -> None:
        detail = "clients that still send the previous token are refused by this process"
        logs.event(logging.WARNING, "admin.token.no_previous", secret_id=self.secret_id, error=error, detail=detail)

    def _mac(self, token: bytes) -> bytes:
        return hmac.digest(self._blind, token, hashlib.sha256)

    def _set_previous(self, token: _Token, until: float) -> None:
        self._previous, self._until = token, until
        # What the process accepts is written anew once the overlap is over.
        asyncio.get_running_loop().call_later(max(until - self._clock(), 0), self._manager.changed)

    def _prepare(self, change: Change) -> None:
        _check_sendable(self.secret_id, change.value.reveal())
        if change.staged:
            self._staged = _Token(change.version.id, self._mac(change.value.reveal()))

    def _commit(self, change: Change) -> None:
        token, before = _Token(change.version.id, self._mac(change.value.reveal())), self._current
        if self._previous.version == token.version:  # no record tells it from the current one, and no drop ends it
            self._previous, self._until = self._none, 0.0
        self._old = tuple(t for t in self._old if t.version != token.version)
        if before.mac not in {self._none.mac, token.mac} and before.version != token.version:
            self._remember(self._previous)
            self._set_previous(before, self._clock() + self._overlap)
            self._named.clear()
        self._current, self._staged, self._loading = token, self._none, self._none
        logs.event(logging.INFO, "admin.token.rotated", secret_id=change.secret_id, version_id=change.version.id)

    def _withdraw(self, version_id: str) -> None:
        if self._staged.version == version_id:
            self._remember(self._staged, retired=True)
            self._staged = self._none

    def _remember(self, token: _Token, *, retired: bool = False) -> None:
        """Note a token that is not accepted any more."""
        if token is not self._none:
            self._old = (replace(token, retired=retired), *self._old[: _MAX_OLD - 1])

    def _drop(self, kept: AbstractSet[str]) -> None:
        for token in (self._previous, self._staged, self._loading):
            if token.version not in kept:
                self._remember(token)
        self._old = tuple(replace(t, retired=t.retired or t.version not in kept) for t in self._old)
        if self._previous.version not in kept:
            self._previous, self._until = self._none, 0.0
        if self._staged.version not in kept:
            self._staged = self._none
        if self._loading.version not in kept:
            self._loading = self._none

    def _accepts(self) -> set[str]:
        out = {self._staged.version, self._loading.version}
        return out | {self._previous.version} if self._clock() < self._until else out

    def check(self, token: str, client: str = "") -> TokenUse:
        """Return which token this is. It takes the same time for every token of one length.

        It reports the use of a retired token with ``client``, the address of its sender.

        Past the fence it reads the store once, which blocks, and raises :class:`~tradepulse_rotator.errors.FenceError` when
        that does not confirm the current token. On an event loop await :meth:`confirm` before.
        """
        self._manager.used(self.secret_id)
        self._manager.check(self.secret_id)
        raw = token.encode(errors="surrogatepass")
        use = self._match(self._mac(raw)) if 0 < len(raw) <= _MAX_TOKEN else TokenUse.REJECTED
        self._manager.check(self.secret_id)  # the process may have been paused in between
        if use is TokenUse.RETIRED:
            self._manager.tripped(self.secret_id, self._version_of_retired(token), client)
        return use

    async def confirm(self) -> None:
        """Wait for what :meth:`check` would block for, and raise what it would raise."""
        await self._manager.confirm(self.secret_id)

    def _match(self, mac: bytes) -> TokenUse:
        is_current = hmac.compare_digest(mac, self._current.mac)
        is_previous = hmac.compare_digest(mac, self._previous.mac) and self._clock() < self._until and self._covers(self._previous)
        is_staged = hmac.compare_digest(mac, self._staged.mac) and self._covers(self._staged)
        is_retired = sum(hmac.compare_digest(mac, t.mac) & t.retired for t in self._old) > 0  # any() would stop early
        if is_current:
            return TokenUse.CURRENT
        if is_previous:
            return TokenUse.PREVIOUS
        if is_staged:
            return TokenUse.STAGED
        return TokenUse.RETIRED if is_retired else TokenUse.REJECTED

    def _covers(self, token: _Token) -> bool:
        return self._manager.accepts(self.secret_id, token.version)

    def _version_of_retired(self, token: str) -> str:
        mac = self._mac(token.encode(errors="surrogatepass"))
        return next((t.version for t in self._old if t.retired and hmac.compare_digest(t.mac, mac)), "")

    def authenticate(self, authorization: Sequence[str], client: str) -> TokenUse:
        """Check the Authorization headers of a request like :meth:`check`, and count the use.

        Who still uses the previous token is said in the log once per rotation: the host, never the token.
        """
        token = bearer(authorization)
        use = token if isinstance(token, TokenUse) else self.check(token, client)
        self._metrics.count("admin.token.uses", {"token": use.value})
        if use is TokenUse.PREVIOUS and client not in self._named and len(self._named) < _MAX_NAMED:
            self._named.add(client)
            version = self._previous.version
            logs.event(logging.WARNING, "admin.token.previous_used", secret_id=self.secret_id, version_id=version, client=client)
        return use

    def close(self) -> None:
        """Take the authenticator off its secret. It accepts nothing any more."""
        if self._stop is not None:
            self._stop()
        self._current = self._previous = self._staged = self._loading = self._none


def _check_sendable(secret_id: str, token: bytes) -> None:
    """Refuse what HTTP would not carry unchanged, such as a line feed that a file brought along."""
    fault = _shapes.fault(token, token=True)
    if fault:
        raise UnsendableError(f"{secret_id}: the value cannot stand in an Authorization header: {fault}; write another value")


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
    malformed = _shapes.fault(token.encode(errors="replace"), token=True)
    return TokenUse.MALFORMED if malformed else token


def refusal(realm: str, use: TokenUse) -> tuple[int, dict[str, str]]:
    """Return the status and the headers of the answer to a request that may not pass, as RFC 6750 says."""
    challenge = f'Bearer realm="{realm}"'
    if use is TokenUse.MALFORMED:
        challenge += ', error="invalid_request"'
    elif use in {TokenUse.REJECTED, TokenUse.RETIRED}:
        challenge += ', error="invalid_token"'
    code = HTTPStatus.BAD_REQUEST if use is TokenUse.MALFORMED else HTTPStatus.UNAUTHORIZED
    return code.value, {"WWW-Authenticate": challenge, "Cache-Control": "no-store"}
