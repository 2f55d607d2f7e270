"""A new credential is deployed to the wrong environment, and the old one is about to be deleted.

The drill starts PostgreSQL, OpenBao, a rotator node and a FastAPI service on loopback. The pipeline confirms a deployment that
went to staging. rotator does not revoke the old credential, names the process that uses it with its address, and finishes by itself
once the deployment is corrected. The exit code is 1 when a request failed or a step did not happen.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import httpx

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE = 180.0  # the first start builds the program
STOP = 20.0
UNPRIVILEGED = 65534
FIRST = "Orders-Password-Of-Before-1"  # of a user that existed before rotator


class Drill:
    """The programs of one run, and what came of it."""

    def __init__(self, folder: Path, stack: contextlib.AsyncExitStack, http: httpx.AsyncClient) -> None:
        self.folder, self.stack, self.http = folder, stack, http
        self.postgres, self.bao, self.nats, self.health, self.service = (free_address() for _ in range(5))
        self.answers: Counter[int] = Counter()

    async def run(self) -> None:
        """Run the drill, and raise when a step does not happen."""
        await self.start()
        caller = asyncio.create_task(self.call())
        self.stack.callback(caller.cancel)
        old = await self.current()
        say("a rotation makes a new credential")
        await self.rotator("rotate", "ORDERS_DB", "--timeout", "2m")
        new = await self.current()
        say("the pipeline deploys it to staging instead of production, and confirms it")
        await self.deploy("staging")
        version = (await self.status())["version_id"]
        await self.rotator("confirm", "ORDERS_DB", "--consumer", "pipeline", "--version", version)
        open_sessions = await self.until("rotator names who uses the old credential", self.in_use)
        for session in open_sessions:
            say(f"  not revoked: {session['instance']} {session.get('detail', '')}")
        check(await self.works(old), "the old credential was revoked while it was in use")
        say("the deployment is corrected")
        await self.deploy("production")
        await self.until("the old credential is retired", self.retired)
        check(not await self.works(old) and await self.works(new), "the old credential still works, or the new one does not")
        caller.cancel()
        failed = self.answers.total() - self.answers[200]
        say(f"the old credential is refused, and {failed} of {self.answers.total()} requests have failed")
        print(
            json.dumps(
                {
                    "named": open_sessions[0]["instance"],
                    "detail": open_sessions[0]["detail"],
                    "requests": self.answers.total(),
                    "failed": failed,
                }
            ),
            flush=True,
        )
        check(failed == 0 and self.answers.total() > 0, "requests have failed")

    async def start(self) -> None:
        """Start the servers, adopt the user of the database, and start the service in production."""
        await self.start_postgres()
        bao = shutil.which("bao", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        check(bao is not None, "there is no bao: run 'go tool task tools:python' first")
        command = [str(bao), "server", "-dev", "-dev-root-token-id=root", f"-dev-listen-address={self.bao}", "-dev-no-store-token"]
        await self.program("bao", command, {"HOME": str(self.folder)})
        await self.answer(f"http://{self.bao}/v1/sys/health")
        await self.program("rotator", [*self.binary(), "run", "--config", str(HERE / "rotator.yaml")], self.environment())
        await self.answer(f"http://{self.health}/readyz")
        await self.rotator("import", "DB_ADMIN", value=json.dumps({"username": "rotator", "password": "Admin-Password-1"}))
        await self.rotator("import", "ORDERS_DB", value=self.document("orders", FIRST))
        checked = json.loads(await self.rotator("target", "check", "pg", "--json", ok=(0, 1)))
        await self.sql("orders", *(s for s in checked[0]["setup"] if not s.startswith("--")))
        await self.deploy("production")
        host, port = self.service.split(":")
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), "--host", host, "--port", port, "--no-access-log", "app:app"]
        env = {
            "PYTHONPATH": str(ROOT / "clients/python/src"), "ROTATOR_STORE": "vault", "ORDERS_DB": "production/orders-db",
            "POLL_SECONDS": "1", "APPLICATION_NAME": "orders-production",
        }  # fmt: skip
        await self.program("service", command, self.vault() | env)
        await self.answer(f"http://{self.service}/healthz")

    async def start_postgres(self) -> None:
        """Start a server with a user that owns a table."""
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))  # noqa: ASYNC240  # once, before anything runs
        path = str(found[-1]) if found else shutil.which("postgres")
        check(path is not None, "there is no PostgreSQL server: install the package postgresql of the system")
        programs, data = Path(str(path)).parent, self.folder / "postgres"
        data.mkdir()
        password = self.folder / "password"
        password.write_text("Super-Password-1")
        drop: list[str] = []
        if os.getuid() == 0:  # the server refuses to run as root
            drop = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"]
            self.folder.chmod(0o711)
            for owned in (data, password):
                os.chown(owned, UNPRIVILEGED, UNPRIVILEGED)
        port = self.postgres.split(":")[1]
        initdb = [
            str(programs / "initdb"),
            f"--pgdata={data}",
            "--username=postgres",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--no-sync",
        ]
        made = await asyncio.create_subprocess_exec(
            *drop, *initdb, "--locale=C", "--encoding=UTF8", stdout=asyncio.subprocess.DEVNULL, cwd="/", start_new_session=True
        )
        async with ended(made):
            check(await made.wait() == 0, "initdb failed")
        options = ["listen_addresses=127.0.0.1", f"port={port}", f"unix_socket_directories={data}", "fsync=off"]
        command = [*drop, str(programs / "postgres"), "-D", str(data)]
        await self.program("postgres", [*command, *(part for option in options for part in ("-c", option))], {})
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(OSError, asyncpg.CannotConnectNowError):
                    await self.sql("postgres", "CREATE DATABASE orders")
                    break
                await asyncio.sleep(0.1)
        await self.sql(
            "orders", f"CREATE ROLE orders LOGIN PASSWORD '{FIRST}'", "CREATE ROLE rotator LOGIN CREATEROLE PASSWORD 'Admin-Password-1'",
            "GRANT pg_read_all_stats, pg_signal_backend TO rotator", 'CREATE TABLE orders (id bigserial, "by" text)',
            "ALTER TABLE orders OWNER TO orders",
        )  # fmt: skip

    async def sql(self, database: str, *statements: str) -> None:
        """Run statements as the superuser."""
        host, port = self.postgres.split(":")
        connection = await asyncpg.connect(host=host, port=int(port), user="postgres", password="Super-Password-1", database=database)  # noqa: S106
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    def document(self, user: str, password: str) -> str:
        """Return a value in the shape of AWS Secrets Manager."""
        host, port = self.postgres.split(":")
        return json.dumps(
            {"engine": "postgres", "host": host, "port": int(port), "username": user, "password": password, "dbname": "orders"}
        )

    async def deploy(self, environment: str) -> None:
        """Copy the current value to the path of an environment, as a pipeline does."""
        url = f"http://{self.bao}/v1/secret/data/{environment}/orders-db"
        body = {"data": {"value": await self.current()}}
        (await self.http.post(url, json=body, headers={"X-Vault-Token": "root"})).raise_for_status()

    async def current(self) -> str:
        """Return the current value."""
        return (await self.rotator("get", "ORDERS_DB")).strip()

    async def works(self, value: str) -> bool:
        """Report whether a value logs in."""
        login = json.loads(value)
        try:
            connection = await asyncpg.connect(
                host=login["host"], port=int(login["port"]), user=login["username"], password=login["password"], database=login["dbname"]
            )
        except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
            return False
        await connection.close()
        return True

    async def call(self) -> None:
        """Write orders until the end."""
        while True:
            answer = await self.http.post(f"http://{self.service}/orders")
            self.answers[answer.status_code] += 1
            await asyncio.sleep(0.02)

    async def status(self) -> dict[str, Any]:
        """Return what rotator says of the secret."""
        found: list[dict[str, Any]] = json.loads(await self.rotator("status", "--json", "ORDERS_DB", ok=(0, 1)))
        return found[0]

    async def in_use(self) -> list[dict[str, Any]]:
        """Return the sessions that hold the retirement back."""
        return [b for b in (await self.status()).get("blocking") or [] if b.get("reason") == "in_use"]

    async def retired(self) -> bool:
        """Report whether the version before is retired."""
        return bool((await self.status()).get("rollout") == "retired")

    async def until(self, what: str, ask: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Wait until something is so, and return it."""
        say(f"waiting until {what}")
        deadline = time.monotonic() + PATIENCE
        while not (found := await ask()):
            check(time.monotonic() < deadline, f"waited {PATIENCE:.0f} s until {what}: {await self.status()}")
            await asyncio.sleep(0.3)
        return found

    def binary(self) -> list[str]:
        """Return the command of rotator, built if there is none."""
        built = os.environ.get("ROTATOR")
        return [built] if built else ["go", "run", "./cmd/rotator"]

    def vault(self) -> dict[str, str]:
        """Return how to reach the store."""
        return {"VAULT_ADDR": f"http://{self.bao}", "VAULT_TOKEN": "root"}

    def environment(self) -> dict[str, str]:
        """Return what the node is told, and the commands to it."""
        node = {"STATE_DIRECTORY": str(self.folder), "ROTATOR_NODE_LISTEN": self.nats, "ROTATOR_HTTP_LISTEN": self.health}
        return self.vault() | node | {"POSTGRES": self.postgres}

    async def rotator(self, *args: str, value: str = "", ok: tuple[int, ...] = (0,)) -> str:
        """Run a command of rotator, and return what it prints."""
        running = await asyncio.create_subprocess_exec(
            *self.binary(), *args, "--config", str(self.config()), env={**os.environ, **self.environment()}, cwd=ROOT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        async with ended(running):
            out, errors = await running.communicate(value.encode())
        check(running.returncode in ok, f"rotator {' '.join(args)}: exit {running.returncode}\n{errors.decode()}")
        return out.decode()

    def config(self) -> Path:
        """Return the configuration with the address of the database."""
        path = self.folder / "rotator.yaml"
        if not path.exists():
            path.write_text((HERE / "rotator.yaml").read_text().replace("${POSTGRES}", self.postgres))
        return path

    async def program(self, name: str, command: list[str], env: Mapping[str, str]) -> None:
        """Run a program until the end of the drill."""
        if name == "rotator":
            command = [*command[:-1], str(self.config())]
        with (self.folder / f"{name}.log").open("wb") as log:
            running = await asyncio.create_subprocess_exec(
                *command, env={**os.environ, **env}, cwd="/" if name == "postgres" else ROOT, stdout=log, stderr=log, start_new_session=True
            )
        await self.stack.enter_async_context(ended(running))

    async def answer(self, url: str) -> None:
        """Wait until a page is there."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await self.http.get(url)).is_success:
                        return
                await asyncio.sleep(0.1)


class DrillError(Exception):
    """A step of the drill did not happen."""


def check(ok: bool, what: str) -> None:  # noqa: FBT001  # it reads like an assertion
    """Raise unless something is as it should be."""
    if not ok:
        raise DrillError(what)


def say(what: str) -> None:
    """Print a line now."""
    print(what, flush=True)


@contextlib.asynccontextmanager
async def ended(running: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """End a program in the end as its operator would, with the program that it runs."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGKILL):  # for SIGINT PostgreSQL does not wait for its clients
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(running.wait(), STOP)
                break


def free_address() -> str:
    """Return a loopback address that is not in use."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"


async def drill(folder: Path) -> int:
    """Run the drill in a folder, and return the exit code. SIGTERM ends it, and every program that it has started."""
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with httpx.AsyncClient(timeout=30) as http, contextlib.AsyncExitStack() as stack:
        try:
            await Drill(folder, stack, http).run()
        except DrillError as err:
            say(f"the drill failed: {err}")
            for log in ("rotator.log", "service.log"):
                if (folder / log).exists():
                    say(f"{log}:\n" + "\n".join((folder / log).read_text().splitlines()[-15:]))
            return 1
    return 0


def main() -> int:
    """Run the drill."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return asyncio.run(drill(Path(folder)))
        except asyncio.CancelledError:
            return 128 + signal.SIGTERM


if __name__ == "__main__":
    sys.exit(main())
