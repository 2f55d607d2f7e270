"""Pools on a real PostgreSQL whose credentials rotate, each with every driver."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import asyncpg as asyncpg_driver
import pytest
import sqlalchemy as sa

from conftest import Server, TestBus, eventually, free_port
from test_manager import NEVER, Counted, Logged, nats_bus, source
from tradepulse_rotator import FenceError, Manager, SecretValue
from tradepulse_rotator import asyncpg as asyncpg_pools
from tradepulse_rotator import psycopg as psycopg_pools
from tradepulse_rotator import sqlalchemy as engines
from tradepulse_rotator.databases import Where, parse
from tradepulse_rotator.errors import ConfigurationError

NOBODY = 65534
ROLES = ("app", "app_clone")


class Postgres(Server):
    """A PostgreSQL server with two roles in one owner role, as the target of rotator has them."""

    def __init__(self, folder: Path) -> None:
        self.port, data, programs = free_port(), folder / "data", postgres_programs()
        password = folder / "password"
        password.write_text("Super-Password-1")
        user: dict[str, Any] = {}
        if os.getuid() == 0:  # it refuses to run as root
            for parent in [folder, *folder.parents]:
                if parent.owner() == "root" and parent != Path("/") and not parent.stat().st_mode & 1:
                    parent.chmod(parent.stat().st_mode | 0o111)
            for path in (folder, password):
                os.chown(path, NOBODY, NOBODY)
            user = {"user": NOBODY, "group": NOBODY}
        command = [str(programs / "initdb"), f"--pgdata={data}", "--username=postgres", f"--pwfile={password}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **user)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": folder,
            "fsync": "off",
            "max_connections": 60,
        }
        args = [str(programs / "postgres"), "-D", str(data)]
        for name, value in settings.items():
            args += ["-c", f"{name}={value}"]
        if user:
            args = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *args]
        super().__init__(args, folder / "postgres.log")

    async def connect(self) -> asyncpg_driver.Connection:
        """Log in as the superuser."""
        return await asyncpg_driver.connect(
            user="postgres", password="Super-Password-1", host="127.0.0.1", port=self.port, database="postgres"
        )

    async def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + 60
        while True:
            try:
                await (await self.connect()).close()
            except (OSError, asyncpg_driver.CannotConnectNowError):
                assert self.process.poll() is None
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            else:
                return


def postgres_programs() -> Path:
    if named := os.environ.get("ROTATOR_TEST_POSTGRES"):
        return Path(named)
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    path = str(found[-1]) if found else shutil.which("postgres")
    if path is None:
        pytest.fail("there is no PostgreSQL server: install the package postgresql of the system")
    return Path(path).parent


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    s = Postgres(tmp_path_factory.mktemp("postgres"))
    asyncio.run(s.wait())
    yield s
    s.process.terminate()
    s.process.wait()


class World:
    """A server, a store and a bus, and what rotator does to them."""

    def __init__(self, server: Postgres, admin: asyncpg_driver.Connection, bus: TestBus) -> None:
        self.server, self.admin, self.bus = server, admin, bus
        self.store = Counted({})
        self.turn = 0

    async def apply(self) -> str:
        """Give the other role a new password and return the value."""
        self.turn += 1
        role, password = ROLES[self.turn % 2], f"Database-Password-{self.turn}"
        await self.admin.execute(f"ALTER ROLE {role} LOGIN PASSWORD '{password}'")
        return self.value(role, password)

    def value(self, role: str, password: str) -> str:
        """Return a value in the shape of AWS."""
        return json.dumps(
            {
                "engine": "postgres",
                "host": "127.0.0.1",
                "port": str(self.server.port),
                "username": role,
                "password": password,
                "dbname": "postgres",
            }
        )

    def put(self, value: str) -> str:
        """Store a value, announce it, and return the id of its version."""
        self.store.env["DB"] = value
        version = self.store.read("DB")[0].id
        self.bus.notify("api", "DB", version)
        return version

    async def rotate(self) -> str:
        """Rotate, and wait until the new version is reported as applied. Return the role that is to be drained."""
        old = ROLES[self.turn % 2]
        version = self.put(await self.apply())
        await eventually(lambda: self.bus.running("DB").get("version_id") == version, "the version is reported as applied")
        return old

    async def sessions(self, role: str) -> int:
        """Return how many sessions of a role the server sees."""
        return int(await self.admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", role))

    async def drained(self, role: str, left: int = 0) -> None:
        """Wait until a role has no more than some sessions."""
        async with asyncio.timeout(60):
            while await self.sessions(role) > left:  # noqa: ASYNC110  # it asks another program
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def manager(self, **options: Any) -> AsyncIterator[Manager]:
        """Run a manager that hears of a rotation and does not poll."""
        chosen: dict[str, Any] = {"poll_interval": NEVER, "retry": timedelta(milliseconds=20), "bus": nats_bus(self.bus)} | options
        async with Manager(service="api", source=source(self.store, "DB"), **chosen) as manager:
            yield manager


@pytest.fixture
async def world(server: Postgres, bus: TestBus) -> AsyncIterator[World]:
    admin = await server.connect()
    await admin.execute("CREATE ROLE app_owner")
    for role in ROLES:
        await admin.execute(f"CREATE ROLE {role} LOGIN IN ROLE app_owner; ALTER ROLE {role} SET role = app_owner")
    await admin.execute("CREATE TABLE orders (id bigserial, by text); ALTER TABLE orders OWNER TO app_owner")
    w = World(server, admin, bus)
    w.store.env["DB"] = await w.apply()
    yield w
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'app%'")
    await admin.execute("DROP TABLE orders; DROP ROLE app, app_clone, app_owner")
    await admin.close()


Query = Callable[[str], Awaitable[Any]]


class Pool:
    """A pool, whatever its driver."""

    def __init__(self, hold: Callable[[], AbstractAsyncContextManager[Query]]) -> None:
        self.hold = hold

    async def query(self, statement: str) -> Any:
        """Take a connection for one statement."""
        async with self.hold() as query:
            return await query(statement)


@asynccontextmanager
async def with_asyncpg(manager: Manager, size: int, **options: Any) -> AsyncIterator[Pool]:
    async with asyncpg_pools.pool(manager, "DB", min_size=1, max_size=size, **options) as pool:

        @asynccontextmanager
        async def hold() -> AsyncIterator[Query]:
            async with pool.acquire() as connection:
                yield connection.fetchval

        yield Pool(hold)


@asynccontextmanager
async def with_psycopg(manager: Manager, size: int, **options: Any) -> AsyncIterator[Pool]:
    async with psycopg_pools.pool(manager, "DB", min_size=0, max_size=size, **options) as pool:

        @asynccontextmanager
        async def hold() -> AsyncIterator[Query]:
            async with pool.connection() as connection:

                async def query(statement: str) -> Any:
                    row = await (await connection.execute(statement.encode())).fetchone()
                    return row[0] if row else None

                yield query

        yield Pool(hold)


@asynccontextmanager
async def with_sqlalchemy(manager: Manager, size: int, **options: Any) -> AsyncIterator[Pool]:
    async with engines.async_engine(manager, "DB", "postgresql+asyncpg://", pool_size=size, **options) as engine:

        @asynccontextmanager
        async def hold() -> AsyncIterator[Query]:
            async with engine.begin() as connection:

                async def query(statement: str) -> Any:
                    return (await connection.execute(sa.text(statement))).scalar()

                yield query

        yield Pool(hold)


@asynccontextmanager
async def with_threads(manager: Manager, size: int, **options: Any) -> AsyncIterator[Pool]:
    async with engines.engine(manager, "DB", "postgresql+psycopg://", pool_size=size, **options) as engine:

        @asynccontextmanager
        async def hold() -> AsyncIterator[Query]:
            connection = await asyncio.to_thread(engine.connect)
            try:

                async def query(statement: str) -> Any:
                    def run() -> Any:
                        found = connection.execute(sa.text(statement)).scalar()
                        connection.commit()
                        return found

                    return await asyncio.to_thread(run)

                yield query
            finally:
                await asyncio.to_thread(connection.close)

        yield Pool(hold)


Open = Callable[..., AbstractAsyncContextManager[Pool]]


@pytest.fixture(params=[with_asyncpg, with_psycopg, with_sqlalchemy, with_threads])
def opened(request: pytest.FixtureRequest) -> Open:
    return cast("Open", request.param)


async def test_no_statement_fails_while_credentials_rotate(world: World, opened: Open) -> None:
    written = 0

    async def write(pool: Pool, stop: asyncio.Event) -> None:
        nonlocal written
        while not stop.is_set():
            await pool.query("INSERT INTO orders (by) VALUES (session_user) RETURNING id")
            written += 1

    def more_than(least: int) -> bool:
        return written > least

    async with world.manager() as manager, opened(manager, 5) as pool:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as writers:
            for _ in range(10):
                writers.create_task(write(pool, stop))
            for _ in range(3):
                old = await world.rotate()
                await world.drained(old)
                await world.admin.execute(f"ALTER ROLE {old} NOLOGIN PASSWORD NULL")
                seen = written
                await eventually(partial(more_than, seen + 20), "statements go on")
            stop.set()
        rows = await world.admin.fetchrow("SELECT count(*), count(DISTINCT by) FROM orders")
        assert tuple(rows) == (written, 2)


async def test_connections_drain(world: World, opened: Open) -> None:
    async with world.manager() as manager, opened(manager, 3) as pool:
        async with pool.hold() as query:
            async with pool.hold() as other:
                await other("SELECT 1")
            assert await query("SELECT session_user") == "app_clone"
            old = await world.rotate()
            await world.drained(old, 1)  # the idle ones are closed, and the one in use works on
            assert await query("SELECT session_user") == "app_clone"
            assert await pool.query("SELECT session_user") == "app"
            assert await world.sessions(old) == 1
        await world.drained(old)


async def test_a_version_that_cannot_log_in_is_refused(world: World, opened: Open, logged: Logged) -> None:
    async with world.manager() as manager, opened(manager, 2) as pool:
        version = world.put(world.value("app", "No-Such-Password"))
        await eventually(lambda: world.bus.running("DB").get("status") == "failed", "the version is reported as failed")
        assert world.bus.running("DB")["version_id"] != version
        assert await pool.query("SELECT session_user") == "app_clone"
        await world.rotate()
        assert await pool.query("SELECT session_user") == "app"
    assert logged("secret.reload.failed")
    assert "No-Such-Password" not in repr(logged("secret.reload.failed"))


async def test_a_refused_login_asks_the_store_once(world: World, opened: Open) -> None:
    """The announcement of the new version is lost."""
    async with world.manager(bus=None) as manager, opened(manager, 2) as pool, pool.hold():
        world.store.env["DB"] = world.value("app_clone", "Replaced-Password-1")
        await world.admin.execute("ALTER ROLE app_clone PASSWORD 'Replaced-Password-1'")
        await asyncio.sleep(1.1)  # a store is asked once a second at most
        reads = world.store.reads
        assert await pool.query("SELECT session_user") == "app_clone"
        assert world.store.reads == reads + 1


async def test_a_start_with_a_replaced_password_reads_it(world: World, opened: Open) -> None:
    async with world.manager(bus=None) as manager:
        world.store.env["DB"] = await world.apply()
        await world.admin.execute("ALTER ROLE app_clone PASSWORD NULL")
        await asyncio.sleep(1.1)
        async with opened(manager, 2) as pool:
            assert await pool.query("SELECT session_user") == "app"


async def test_a_start_with_a_wrong_password_fails(world: World, opened: Open) -> None:
    world.store.env["DB"] = world.value("app", "Never-Valid-77")
    async with world.manager(bus=None) as manager:
        with pytest.raises(Exception, match="password authentication failed") as failure:
            async with opened(manager, 2):
                pass
        assert "Never-Valid-77" not in str(failure.value)


async def test_no_connection_is_opened_past_the_fence(world: World, opened: Open) -> None:
    options: dict[str, Any] = {"fence": timedelta(milliseconds=200), "checked_at_use": ["DB"]}
    async with world.manager(bus=None, **options) as manager, opened(manager, 2) as pool, pool.hold():
        del world.store.env["DB"]
        await asyncio.sleep(0.3)  # the fence, and nothing renews it
        # The pool of psycopg connects in the background and lets its caller wait.
        refusal: tuple[type[Exception], ...] = (TimeoutError,) if opened is with_psycopg else (FenceError,)
        with pytest.raises(refusal):
            await asyncio.wait_for(pool.query("SELECT 1"), 3)


async def test_connections_have_a_limit_on_their_age(world: World) -> None:
    async with world.manager(bus=None) as manager, with_asyncpg(manager, 1, max_age=timedelta(milliseconds=50)) as pool:
        first = await pool.query("SELECT pg_backend_pid()")
        async with asyncio.timeout(30):
            while await pool.query("SELECT pg_backend_pid()") == first:  # noqa: ASYNC110  # it asks another program
                await asyncio.sleep(0.01)


async def test_a_password_alone_is_a_value(world: World) -> None:
    world.store.env["DB"] = f"Database-Password-{world.turn}"
    options: dict[str, Any] = {"user": "app_clone", "host": "127.0.0.1", "port": world.server.port, "dbname": "postgres"}
    async with world.manager(bus=None) as manager:
        async with asyncpg_pools.pool(manager, "DB", min_size=1, max_size=1, **options) as pool:
            assert await pool.fetchval("SELECT session_user") == "app_clone"
        url = f"postgresql+asyncpg://app_clone@127.0.0.1:{world.server.port}/postgres"
        async with engines.async_engine(manager, "DB", url) as engine, engine.connect() as connection:
            assert (await connection.execute(sa.text("SELECT session_user"))).scalar() == "app_clone"


@pytest.mark.parametrize(
    ("value", "ok"),
    [
        ('{"username":"a","password":"Pass-Word-1","port":5433}', True),
        ('{"username":"a","password":"Pass-Word-1","port":"5433"}', True),
        ('{"username":"a","password":"Pass-Word-1","port":"Pass-Word-2"}', False),
        ('{"username":"a"}', False),
        ('{"password":"Pass-Word-1"}', False),
        ("Pass-Word-1", False),
        ("[1]", False),
    ],
)
def test_values(value: str, ok: bool) -> None:  # noqa: FBT001  # a column of the table
    if ok:
        login = parse("DB", SecretValue(value), Where(host="h"))
        assert (login.user, login.password.reveal_text(), login.host, login.port) == ("a", "Pass-Word-1", "h", 5433)
        assert "Pass" not in repr(login)
        return
    with pytest.raises(ConfigurationError) as failure:
        parse("DB", SecretValue(value), Where())
    assert "Pass-Word" not in str(failure.value)
