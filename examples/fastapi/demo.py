"""The example with everything around it: a store, rotator, the service, and callers that never stop.

It starts OpenBao, a rotator node and uvicorn on loopback, calls the administrative interface all the time while both secrets
rotate, prints a line each second, and verifies the audit log in the end. The exit code is 1 when a request failed.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CALLERS = 4
PATIENCE = 180.0  # the first start builds the program
TOKEN = "tradepulse/admin-token"  # noqa: S105  # its path in the store


class Demo:
    """The addresses of one run, and what came of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bao, self.nats, self.health, self.service = (free_address() for _ in range(4))
        self.audit = folder / "audit.jsonl"
        self.answers: Counter[int] = Counter()
        self.versions: set[int] = set()
        self.pids: set[int] = set()

    @property
    def vault(self) -> dict[str, str]:
        """How to reach the store."""
        return {"VAULT_ADDR": f"http://{self.bao}", "VAULT_TOKEN": "root"}

    async def run(self, seconds: float, rotations: float) -> int:
        """Run everything for some seconds or rotations, and return how much went wrong."""
        async with contextlib.AsyncExitStack() as stack, httpx.AsyncClient(timeout=30) as http:
            await stack.enter_async_context(self.program("bao", self.bao_command(), {"HOME": str(self.folder)}))
            await answers(http, f"http://{self.bao}/v1/sys/health")
            await stack.enter_async_context(self.program("rotator", self.rotator_command(), self.rotator_environment()))
            await answers(http, f"http://{self.health}/readyz")
            for path in ("tradepulse/audit-signing-key", TOKEN):
                await answers(http, f"http://{self.bao}/v1/secret/data/{path}", {"X-Vault-Token": "root"})
            await stack.enter_async_context(self.program("service", self.service_command(), self.service_environment()))
            await answers(http, f"http://{self.service}/healthz")
            await self.pid(http)
            print(f"the service is on http://{self.service}, its log in {self.folder}", flush=True)
            await self.load(http, seconds, rotations)
            records = await self.verify(http)
        failed = self.answers.total() - self.answers[200]
        summary = {"requests": self.answers.total(), "failed": failed, "records": records, "rotations": len(self.versions) - 1}
        print(
            f"{summary['requests']} requests during {summary['rotations']} rotations of the token: {failed} failed, "
            f"by {len(self.pids)} process, with {records} records in an audit log that verifies",
            flush=True,
        )
        print(json.dumps(summary), flush=True)
        # A caller that was ended in the middle of a request has left a record, and got no answer.
        complete = self.answers[200] <= self.halts() <= self.answers[200] + CALLERS
        return failed + (not complete) + (len(self.pids) != 1)

    def bao_command(self) -> list[str]:
        """Return the command of a server in memory."""
        bao = shutil.which("bao", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if bao is None:
            sys.exit("there is no bao: run 'go tool task tools:python' first")
        return [bao, "server", "-dev", "-dev-root-token-id=root", f"-dev-listen-address={self.bao}", "-dev-no-store-token"]

    def rotator_command(self) -> list[str]:
        """Return the command of a single node, built if there is none."""
        built = os.environ.get("ROTATOR")
        return [*([built] if built else ["go", "run", "./cmd/rotator"]), "run", "--config", str(HERE / "rotator.yaml")]

    def rotator_environment(self) -> dict[str, str]:
        """Return what the node is told."""
        node = {"STATE_DIRECTORY": str(self.folder), "ROTATOR_NODE_LISTEN": self.nats, "ROTATOR_HTTP_LISTEN": self.health}
        return self.vault | node

    def service_command(self) -> list[str]:
        """Return the command of the service."""
        host, port = self.service.split(":")
        return [sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), "--host", host, "--port", port, "--no-access-log", "app:app"]

    def service_environment(self) -> dict[str, str]:
        """Return what the service is told: where its secrets are, and whom to believe."""
        return self.vault | {
            "PYTHONPATH": str(ROOT / "clients/python/src"),
            "ROTATOR_STORE": "vault",
            "TRADEPULSE_AUDIT_SECRET_ID": "tradepulse/audit-signing-key",
            "TRADEPULSE_ADMIN_TOKEN_ID": TOKEN,
            "ROTATOR_NATS_URL": f"nats://{self.nats}",
            "ROTATOR_NATS_CREDENTIALS_NKEY_FILE": str(self.folder / "operator.nk"),
            "ROTATOR_TRUSTED_KEYS": str(self.folder / "signing.key.pub"),
            "AUDIT_LOG": str(self.audit),
        }

    @contextlib.asynccontextmanager
    async def program(self, name: str, command: list[str], env: Mapping[str, str]) -> AsyncIterator[None]:
        """Run a program, and end it as its operator would."""
        with (self.folder / f"{name}.log").open("wb") as log:
            running = await asyncio.create_subprocess_exec(
                *command, env={**os.environ, **env}, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
            try:
                yield
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, 15)  # "go run" is a program that runs another
                await running.wait()

    async def load(self, http: httpx.AsyncClient, seconds: float, rotations: float) -> None:
        """Call the service from all sides, and say how it goes."""
        async with asyncio.TaskGroup() as group:
            callers = [group.create_task(self.caller(http)) for _ in range(CALLERS)]
            for second in range(round(seconds)):
                await asyncio.sleep(1)
                failed = self.answers.total() - self.answers[200]
                print(f"{second + 1:4} s  {len(self.versions):3} tokens  {self.answers.total():7} requests  {failed} failed", flush=True)
                if len(self.versions) > rotations:
                    break
            for caller in callers:
                caller.cancel()

    async def caller(self, http: httpx.AsyncClient) -> None:
        """Do what a caller does: take the token from the store, and keep it for a while."""
        while True:
            token = await self.token(http)
            for _ in range(random.randint(1, 40)):  # noqa: S311  # how long it is kept
                order = {"symbol": "ACME", "reason": "drill"}
                answer = await http.post(f"http://{self.service}/admin/halt", json=order, headers={"Authorization": f"Bearer {token}"})
                self.answers[answer.status_code] += 1

    async def token(self, http: httpx.AsyncClient) -> str:
        """Read the current token."""
        answer = await http.get(f"http://{self.bao}/v1/secret/data/{TOKEN}", headers={"X-Vault-Token": "root"})
        data = answer.raise_for_status().json()["data"]
        self.versions.add(data["metadata"]["version"])
        return str(data["data"]["value"])

    async def verify(self, http: httpx.AsyncClient) -> int:
        """Let the service verify its own audit log, and return the number of records."""
        await self.pid(http)
        headers = {"Authorization": f"Bearer {await self.token(http)}"}
        answer = await http.post(f"http://{self.service}/admin/audit/verify", content=self.audit.read_bytes(), headers=headers)
        return int(answer.raise_for_status().json()["records"])

    def halts(self) -> int:
        """Return how many records are of a request: the log also says where a key took over."""
        return sum(json.loads(line)["event"] == "trading.halted" for line in self.audit.read_bytes().splitlines())

    async def pid(self, http: httpx.AsyncClient) -> None:
        """Note which process answers: it is the same until the end."""
        self.pids.add((await http.get(f"http://{self.service}/healthz")).json()["pid"])


def free_address() -> str:
    """Return a loopback address that is not in use."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"


async def answers(http: httpx.AsyncClient, url: str, headers: Mapping[str, str] | None = None) -> None:
    """Wait until a page is there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(url, headers=headers)).is_success:
                    return
            await asyncio.sleep(0.1)


def main() -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--for", dest="seconds", type=float, default=30, help="how many seconds to go on (default 30)")
    parser.add_argument("--rotations", type=float, default=float("inf"), help="end after so many rotations of the token")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="an empty folder for the logs, which are kept there")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        return 1 if asyncio.run(Demo(folder).run(options.seconds, options.rotations)) else 0


if __name__ == "__main__":
    sys.exit(main())
