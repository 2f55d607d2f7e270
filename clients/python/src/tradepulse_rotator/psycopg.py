"""A pool of psycopg whose credentials rotate.

.. code-block:: python

    async with pool(manager, "ORDERS_DB") as orders, orders.connection() as connection:
        await connection.execute("SELECT 1")
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, cast

import psycopg
from psycopg_pool import AsyncConnectionPool

from tradepulse_rotator.databases import MAX_AGE, Credentials, Login, Where

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta

    from tradepulse_rotator.manager import Manager


@asynccontextmanager
async def pool(  # noqa: PLR0913  # they are named where it is called, and each has a default
    manager: Manager,
    secret_id: str,
    *,
    user: str = "",
    host: str = "",
    port: int = 0,
    dbname: str = "",
    max_age: timedelta = MAX_AGE,
    conninfo: str = "",
    kwargs: dict[str, Any] | None = None,
    **options: Any,  # noqa: ANN401  # those of AsyncConnectionPool
) -> AsyncIterator[AsyncConnectionPool]:
    """Open a pool whose connections log in with the version of the secret that is in use.

    The value is a JSON document with ``username``, ``password``, ``host``, ``port`` and ``dbname``, or a password alone. What it
    does not say is taken from the arguments. ``conninfo`` and ``kwargs`` are for everything else about a connection, such as
    ``sslmode=verify-full``. Further options are those of :class:`psycopg_pool.AsyncConnectionPool`.
    """
    connections: AsyncConnectionPool | None = None

    async def verify(login: Login) -> None:
        connection = await psycopg.AsyncConnection.connect(conninfo, **{**(kwargs or {}), **login.arguments()})
        await connection.close()

    async def replace() -> None:
        if connections is not None:
            await connections.drain()

    credentials = Credentials(manager, secret_id, Where(user, host, port, dbname), verify, replace)

    class Connection(psycopg.AsyncConnection[Any]):
        """A connection that logs in with what is in use."""

        @classmethod
        async def connect(cls, conninfo: str = "", **more: Any) -> Self:  # noqa: ANN401
            async def dial(login: Login) -> psycopg.AsyncConnection[Any]:
                return await super(Connection, cls).connect(conninfo, **{**more, **login.arguments()})

            connection, _ = await credentials.connect(dial, psycopg.AsyncConnection.close)
            return cast("Self", connection)

    async with credentials:
        connections = AsyncConnectionPool(
            conninfo, kwargs=kwargs, connection_class=Connection, max_lifetime=max_age.total_seconds(), open=False, **options
        )
        async with connections:
            yield connections
