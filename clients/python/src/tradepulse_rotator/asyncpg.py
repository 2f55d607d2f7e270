"""A pool of asyncpg whose credentials rotate.

.. code-block:: python

    async with pool(manager, "ORDERS_DB") as orders:
        await orders.fetch("SELECT 1")
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

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
    **options: Any,  # noqa: ANN401  # those of asyncpg.create_pool
) -> AsyncIterator[asyncpg.Pool]:
    """Open a pool whose connections log in with the version of the secret that is in use.

    The value is a JSON document with ``username``, ``password``, ``host``, ``port`` and ``dbname``, or a password alone. What it
    does not say is taken from the arguments. Further options are those of :func:`asyncpg.create_pool`; ``ssl`` is one of them.
    """
    connections: asyncpg.Pool | None = None

    async def verify(login: Login) -> None:
        arguments = {k: v for k, v in options.items() if k not in _OF_THE_POOL} | login.arguments("database")
        await _close(await asyncpg.connect(**arguments))

    async def replace() -> None:
        if connections is not None:
            await connections.expire_connections()
            await _touch(connections)

    credentials = Credentials(manager, secret_id, Where(user, host, port, dbname), verify, replace)

    async def connect(*args: Any, **kwargs: Any) -> asyncpg.Connection:  # noqa: ANN401  # what the pool gives
        async def dial(login: Login) -> asyncpg.Connection:
            return await asyncpg.connect(*args, **kwargs | login.arguments("database"))

        connection, _ = await credentials.connect(dial, _close)
        return connection

    async with credentials:
        credentials.limit_age(max_age)
        async with asyncpg.create_pool(connect=connect, **options) as connections:
            yield connections


_OF_THE_POOL = frozenset({
    "min_size", "max_size", "max_queries", "max_inactive_connection_lifetime", "setup", "init", "reset", "loop",
})  # fmt: skip


async def _touch(connections: asyncpg.Pool) -> None:
    """Take every idle connection, and give all of them back: the pool replaces the expired ones when they are taken."""
    async with AsyncExitStack() as held:
        while connections.get_idle_size() > 0:
            await held.enter_async_context(connections.acquire())


async def _close(connection: asyncpg.Connection) -> None:
    await connection.close()
