"""Engines of SQLAlchemy whose credentials rotate, with any driver that takes a user and a password.

.. code-block:: python

    async with async_engine(manager, "ORDERS_DB", "postgresql+asyncpg://") as engine, engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import await_only, greenlet_spawn

from tradepulse_rotator.databases import MAX_AGE, Credentials, Login, Where

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import timedelta

    from sqlalchemy import URL, Dialect, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tradepulse_rotator.manager import Manager

_LOGIN: Final = "tradepulse_rotator.login"  # in the info of a connection: what it logged in with


@asynccontextmanager
async def async_engine(
    manager: Manager,
    secret_id: str,
    url: str | URL,
    *,
    max_age: timedelta = MAX_AGE,
    **options: Any,  # noqa: ANN401  # those of create_async_engine
) -> AsyncIterator[AsyncEngine]:
    """Open an engine whose connections log in with the version of the secret that is in use.

    The value is a JSON document with ``username``, ``password``, ``host``, ``port`` and ``dbname``, or a password alone. What it
    does not say is taken from ``url``, which names the driver in any case. Further options are those of
    :func:`sqlalchemy.ext.asyncio.create_async_engine`.
    """
    engine = create_async_engine(url, pool_recycle=int(max_age.total_seconds()), **options)
    dial = _dialer(engine.sync_engine, options.get("connect_args"))

    async def open_one(login: Login) -> Any:  # noqa: ANN401  # a connection of the driver
        return await greenlet_spawn(dial, login)

    async def close(connection: Any) -> None:  # noqa: ANN401
        await greenlet_spawn(connection.close)

    async def verify(login: Login) -> None:
        await close(await open_one(login))

    async def replace() -> None:
        async with AsyncExitStack() as held:
            while _idle(engine.sync_engine) > 0:
                await held.enter_async_context(engine.connect())

    credentials = Credentials(manager, secret_id, _where(engine.url), verify, replace)
    _listen(engine.sync_engine, credentials, lambda: await_only(credentials.connect(open_one, close)))
    try:
        async with credentials:
            yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def engine(
    manager: Manager,
    secret_id: str,
    url: str | URL,
    *,
    max_age: timedelta = MAX_AGE,
    **options: Any,  # noqa: ANN401  # those of create_engine
) -> AsyncIterator[Engine]:
    """Open an engine like :func:`async_engine` for code in threads. Its connections are opened in threads other than the event loop's."""
    made = sqlalchemy.create_engine(url, pool_recycle=int(max_age.total_seconds()), **options)
    dial = _dialer(made, options.get("connect_args"))

    async def verify(login: Login) -> None:
        await asyncio.to_thread(lambda: dial(login).close())

    def touch() -> None:
        with ExitStack() as held:
            while _idle(made) > 0:
                held.enter_context(made.connect())

    async def replace() -> None:
        await asyncio.to_thread(touch)

    credentials = Credentials(manager, secret_id, _where(made.url), verify, replace)
    _listen(made, credentials, lambda: credentials.connect_blocking(dial))
    try:
        async with credentials:
            yield made
    finally:
        await asyncio.to_thread(made.dispose)


def _where(url: URL) -> Where:
    return Where(url.username or "", url.host or "", url.port or 0, url.database or "")


def _dialer(of: Engine, arguments: dict[str, Any] | None) -> Callable[[Login], Any]:
    """Return what opens a connection of the driver with a login."""
    dialect = of.dialect

    def dial(login: Login) -> Any:  # noqa: ANN401
        url = of.url.set(
            username=login.user, password=login.password.reveal_text(), host=login.host or None, port=login.port or None,
            database=login.dbname or None,
        )  # fmt: skip
        cargs, cparams = dialect.create_connect_args(url)
        return dialect.connect(*cargs, **{**cparams, **(arguments or {})})

    return dial


def _listen(of: Engine, credentials: Credentials, connect: Callable[[], tuple[Any, Login]]) -> None:
    """Open the connections of an engine with ``connect``, and close the ones that logged in with another version than that in use."""

    def do_connect(_dialect: Dialect, record: Any, _args: list[Any], _kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        connection, login = connect()
        record.info[_LOGIN] = login
        return connection

    def checkout(_connection: Any, record: Any, _proxy: Any) -> None:  # noqa: ANN401
        if record.info.get(_LOGIN) is not credentials.login:
            raise DisconnectionError("the credentials of this connection were rotated")

    def checkin(connection: Any, record: Any) -> None:  # noqa: ANN401
        if connection is not None and record.info.get(_LOGIN) is not credentials.login:
            record.invalidate()

    event.listen(of, "do_connect", do_connect)
    event.listen(of, "checkout", checkout)
    event.listen(of, "checkin", checkin)


def _idle(of: Engine) -> int:
    """Return how many connections wait in the pool, 0 for a pool that keeps none."""
    count = getattr(of.pool, "checkedin", None)
    return int(count()) if count is not None else 0
