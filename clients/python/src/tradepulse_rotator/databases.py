"""What the pools of databases have in common: the credentials of one database, and how a rotation reaches open connections.

A version is taken into use, and reported as applied, only after a fresh login with it. From then on new connections log in with it;
open ones are replaced when they are idle or come back to the pool.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from tradepulse_rotator import logs
from tradepulse_rotator.errors import ConfigurationError, RotatorError
from tradepulse_rotator.scrub import scrub_error
from tradepulse_rotator.users import Change, Hooks
from tradepulse_rotator.value import SecretValue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from types import TracebackType

    from tradepulse_rotator.manager import Manager

_C = TypeVar("_C")

MAX_AGE: Final = timedelta(minutes=30)
"""The default limit on the age of a connection."""

_LOGIN_WAIT: Final = 10.0
_REFRESH_WAIT: Final = 30.0
_AGAIN: Final = 1.0
_MAX_PORT: Final = 65535


@dataclass(frozen=True)
class Where:
    """What a login takes from the program where the value of the secret does not say it."""

    user: str = ""
    host: str = ""
    port: int = 0
    dbname: str = ""


@dataclass(frozen=True, eq=False)
class Login:
    """One version of the credentials of a database. Two logins are the same only if they are one object."""

    user: str
    password: SecretValue = field(repr=False)
    host: str
    port: int
    dbname: str

    def arguments(self, dbname: str = "dbname") -> dict[str, Any]:
        """Return what drivers of PostgreSQL take to connect, without what is not known. ``dbname`` names the database there."""
        known = {"user": self.user, "host": self.host, "port": self.port, dbname: self.dbname}
        return {name: value for name, value in known.items() if value} | {"password": self.password.reveal_text()}


def parse(secret_id: str, value: SecretValue, where: Where) -> Login:
    """Read a value: a JSON document in the shape of AWS Secrets Manager, or a password alone, for which ``where`` has a user.

    The document wins over ``where``. Errors quote nothing of the value.
    """
    document = _document(value)
    password = value if document is None else SecretValue(_text(document, "password"))
    known: Mapping[str, object] = document or {}
    port = _text(known, "port")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) <= _MAX_PORT):
        raise ConfigurationError(f"{secret_id}: the port in the document is none")
    login = Login(
        _text(known, "username") or where.user, password, _text(known, "host") or where.host,
        int(port or where.port), _text(known, "dbname") or where.dbname,
    )  # fmt: skip
    if not login.user or not login.password:
        raise ConfigurationError(
            f'{secret_id}: use a JSON document with "username" and "password" as the value, or a password, and give the pool its user'
        )
    return login


def _document(value: SecretValue) -> dict[str, object] | None:
    with suppress(ValueError):
        read = json.loads(value.reveal_text())
        if isinstance(read, dict):
            return read
    return None


def _text(document: Mapping[str, object], name: str) -> str:
    value = document.get(name)
    return str(value) if isinstance(value, str | int) else ""


class Credentials:
    """The credentials of one database, and the task that replaces the connections of a pool after a rotation."""

    def __init__(
        self,
        manager: Manager,
        secret_id: str,
        where: Where,
        verify: Callable[[Login], Awaitable[None]],
        replace: Callable[[], Awaitable[None]],
    ) -> None:
        """``verify`` opens a connection of its own with a login and closes it, or raises.

        ``replace`` closes the idle connections of the pool and marks the others, so that they close when they come back. It is
        called again until it raises nothing.
        """
        self.secret_id = secret_id
        self._manager, self._where, self._verify, self._replace = manager, where, verify, replace
        self._hooks = Hooks(self._prepare, self._commit)
        self._login: Login | None = None
        self._before: Login | None = None
        self._detach: Callable[[], None] = lambda: None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        """Log in with the version in use. When that fails, the store is asked once whether there is a newer one."""
        before = self._manager.version(self.secret_id).id
        try:
            self._detach = await self._manager.attach(self.secret_id, self._hooks)
        except Exception:
            with suppress(RotatorError):
                await self._manager.refresh(self.secret_id)
            if self._manager.version(self.secret_id).id == before:
                raise
            self._detach = await self._manager.attach(self.secret_id, self._hooks)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._detach()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def login(self) -> Login:
        """The version in use."""
        if self._login is None:
            raise ConfigurationError(f"{self.secret_id}: the pool is not open")
        return self._login

    def limit_age(self, limit: timedelta) -> None:
        """Replace all connections again and again, for a pool that has no limit on their age."""
        self._run("age", self._replace_every(limit.total_seconds()))

    async def connect(self, dial: Callable[[Login], Awaitable[_C]], close: Callable[[_C], Awaitable[None]]) -> tuple[_C, Login]:
        """Log in with the version in use.

        After a failure the store is asked once, and the login repeated only if it has another version. It raises
        :class:`~tradepulse_rotator.errors.FenceError` past the fence.
        """
        await self._manager.confirm(self.secret_id)
        asked = False
        while True:
            login = self.login
            try:
                connection = await dial(login)
            except Exception as err:
                if asked or not await self._moved(login):
                    self._scrub(err, login)
                    raise
                asked = True
                continue
            if login is self._login:
                self._manager.used(self.secret_id)
                return connection, login
            await close(connection)  # a rotation came in between

    def connect_blocking(self, dial: Callable[[Login], _C]) -> tuple[_C, Login]:
        """Log in like :meth:`connect`, in a thread other than that of the event loop.

        When a rotation comes in between, the connection is returned with the login that is no longer in use.
        """
        self._manager.check(self.secret_id)
        login = self.login
        try:
            connection = dial(login)
        except Exception as err:
            if not self._moved_blocking(login):
                self._scrub(err, login)
                raise
            connection, login = self._dial_again(dial)
        self._manager.used(self.secret_id)
        return connection, login

    def _dial_again(self, dial: Callable[[Login], _C]) -> tuple[_C, Login]:
        login = self.login
        try:
            return dial(login), login
        except Exception as err:
            self._scrub(err, login)
            raise

    def _scrub(self, error: BaseException, login: Login) -> None:
        """Take the passwords out of an exception of the driver: that of the login, and those in use now and before."""
        scrub_error(error, *(known.password for known in (login, self._login, self._before) if known is not None))

    async def _moved(self, login: Login) -> bool:
        """Report whether another version than ``login`` is in use, and ask the store if that is not known."""
        if login is self._login:
            with suppress(RotatorError):
                await self._manager.refresh(self.secret_id)
        return login is not self._login

    def _moved_blocking(self, login: Login) -> bool:
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            return login is not self._login  # to wait here would keep the refresh from running
        asking = asyncio.run_coroutine_threadsafe(self._moved(login), self._loop)
        try:
            return asking.result(_REFRESH_WAIT)
        except TimeoutError:
            asking.cancel()
            return False

    async def _prepare(self, change: Change) -> None:
        login = parse(self.secret_id, change.value, self._where)
        try:
            async with asyncio.timeout(_LOGIN_WAIT):
                await self._verify(login)
        except Exception as err:
            self._scrub(err, login)
            raise

    def _commit(self, change: Change) -> None:
        first = self._login is None
        self._before, self._login = self._login, parse(self.secret_id, change.value, self._where)
        if not first:
            self._run("replace", self._replace_all())

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        if (before := self._tasks.get(name)) is not None:
            before.cancel()
        self._tasks[name] = asyncio.create_task(work)

    async def _replace_all(self) -> None:
        while True:
            try:
                await self._replace()
            except Exception as err:  # noqa: BLE001  # the connections have to be replaced whatever the driver says
                self._scrub(err, self.login)
                error = f"{type(err).__name__}: {err}"
                detail = "connections with the credentials before are still open; the pool tries again to replace them"
                logs.event(logging.WARNING, "secret.pool", secret_id=self.secret_id, error=error, detail=detail)
                await asyncio.sleep(_AGAIN)
            else:
                return

    async def _replace_every(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._replace_all()
