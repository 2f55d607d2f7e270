"""Real parts for the tests: a NATS server with rotator's streams, OpenBao, an emulator of AWS."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from tradepulse_rotator import times

ROOT = Path(__file__).parents[3]
"""The top folder of the repository."""

_PATIENCE = 180.0  # long: it matters only to a test that fails


async def eventually(ok: Callable[[], object], what: str = "", state: Callable[[], object] | None = None) -> None:
    """Wait until ``ok`` returns something true. ``what`` names that where the source of ``ok`` does not. A failure shows
    ``state``, or what ``ok`` returned last."""
    deadline = time.monotonic() + _PATIENCE
    while not (last := ok()):
        if time.monotonic() > deadline:
            pytest.fail(
                f"waited {_PATIENCE:.0f} s until {what or _source(ok)}; in the end it was {state() if state is not None else last!r}"
            )
        await asyncio.sleep(0.01)


def _source(ok: Callable[[], object]) -> str:
    """Return the line of the test that waits."""
    try:
        return inspect.getsource(ok).strip()
    except TypeError:  # neither a lambda nor a function
        return repr(ok)


def free_port() -> int:
    """Return a port of loopback for a server that is about to start.

    The system gives ports from 32768 to connections and to listeners that ask for any: one of those may be taken again
    before the server listens.
    """
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def tool(name: str) -> str:
    """Return a program that the task tools:python installs."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        pytest.fail(f"there is no {path.name} beside Python: run 'go tool task tools:python' first")
    return str(path)


class Server:
    """A program that runs until the end of the test, and is killed then."""

    def __init__(self, args: list[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self._args, self._log, self._env = args, log, {**os.environ, **(env or {})}
        self.start()

    def start(self) -> None:
        """Start it, again."""
        with self._log.open("ab") as out:
            self.process = subprocess.Popen(self._args, stdout=out, stderr=out, env=self._env)

    def kill(self) -> None:
        """End it as SIGKILL does."""
        self.process.kill()
        self.process.wait()

    def hang(self) -> None:
        """Let it answer nothing. It has stopped when this returns, and not just been told to."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def go_on(self) -> None:
        """End :meth:`hang`."""
        self.process.send_signal(signal.SIGCONT)

    def wait_for(self, url: str) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                if requests.get(url, timeout=5).ok:
                    return
            except requests.RequestException:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{self._args[0]} does not answer:\n{self._log.read_text(errors='replace')}")
            time.sleep(0.05)


class TestBus:
    """A NATS server with the streams of rotator, and a notifier."""

    __test__ = False

    def __init__(self, binary: Path, folder: Path, prefix: str = "") -> None:
        self._binary, self._folder, self._prefix = binary, folder, prefix
        self.password, self.nkey = "", ""
        self._port = free_port()
        self._seq = 0
        self._asking = threading.Lock()  # a store of a test asks from the threads that read
        self.start()

    def start(self) -> None:
        """Start it on the files that it had."""
        args = [str(self._binary), "-dir", str(self._folder), "-port", str(self._port), "-prefix", self._prefix]
        args += ["-password", self.password, "-nkey", self.nkey]
        self._process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        hello = self._answer()
        self.url, self.key = hello["url"], Path(hello["key"])
        self.signing_key = self.key.with_suffix("")

    def restart(self, *, password: str = "", nkey: str = "") -> None:
        """Restart it with other credentials: a password of the user ``client``, and a public nkey."""
        self.stop()
        self.password, self.nkey = password, nkey
        self.start()

    def change_password(self, password: str) -> None:
        """Change the password while it runs, which closes the connections that the old one opened."""
        self.password = password
        self._do(op="password", password=password)

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            pytest.fail("the bus has ended")
        answer: dict[str, Any] = json.loads(line)
        assert "error" not in answer, answer
        return answer

    def _do(self, **command: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        with self._asking:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def notify(
        self, service: str, secret_id: str, version_id: str, kind: str = "secret.rotated", at: int | None = None, **more: str
    ) -> None:
        """Announce a version to a service, signed, as the notifier does."""
        self._seq += 1
        moment = times.write(at if at is not None else times.now_ns())
        self._do(op="notify", service=service, type=kind, secret_id=secret_id, version_id=version_id, at=moment, seq=self._seq, **more)

    def drain(self, service: str, secret_id: str, version_id: str, previous: str) -> None:
        """Have every version but one dropped."""
        self.notify(service, secret_id, version_id, "secret.rollout", state="draining", previous=previous)

    def records(self) -> list[dict[str, Any]]:
        """Return every record: its subject, sequence and body."""
        return list(self._do(op="records")["records"])

    def presences(self) -> list[dict[str, Any]]:
        """Return the last presence of every incarnation."""
        return [r["body"] | {"seq": r["seq"]} for r in self.records() if "lease_seconds" in r["body"]]

    def uses(self, secret_id: str) -> list[dict[str, Any]]:
        """Return the last use of a secret by every incarnation."""
        return [r["body"] for r in self.records() if r["body"].get("secret_id") == secret_id]

    def fleet(self, secret_id: str) -> list[dict[str, Any]]:
        """Return the users of a secret, as rotator understands them."""
        return list(self._do(op="fleet", secret_id=secret_id)["users"] or ())

    def running(self, secret_id: str) -> dict[str, Any]:
        """Return the use of a secret by the one incarnation that has taken it into use, nothing when there is none."""
        ended = {p["incarnation"] for p in self.presences() if p.get("ended")}
        found = [u for u in self.uses(secret_id) if u["version_id"] and u["incarnation"] not in ended]
        assert len(found) <= 1
        return dict(found[0]) if found else {}

    def forget(self, presence: Mapping[str, Any]) -> None:
        """Remove a presence."""
        self._do(op="purge", subject="report.{service}.{instance}.{incarnation}".format_map(presence))

    def lag(self, messages: int) -> None:
        """Let every read of the last message on a subject answer with what the stream held so many messages ago."""
        self._do(op="lag", messages=messages)

    def lose(self) -> None:
        """Lose every record."""
        self._do(op="lose")


@pytest.fixture(scope="session")
def testbus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("bin") / "testbus"
    subprocess.run(["go", "build", "-o", str(binary), "./integration/testbus"], cwd=ROOT, check=True)
    return binary


@pytest.fixture
def bus(testbus: Path, tmp_path: Path) -> Iterator[TestBus]:
    folder = tmp_path / "bus"
    folder.mkdir()
    b = TestBus(testbus, folder)
    yield b
    b.stop()


class Bao(Server):
    """An OpenBao server in development mode, with a KV engine of version 2 under secret/."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        args = [tool("bao"), "server", "-dev", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}", "-dev-no-store-token"]
        super().__init__(args, folder / "bao.log", {"HOME": str(folder)})
        self.wait_for(self.url + "/v1/sys/health")

    def do(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call it as root."""
        answer = requests.request(method, f"{self.url}/v1/{path}", json=body and dict(body), headers={"X-Vault-Token": "root"}, timeout=30)
        answer.raise_for_status()
        return dict(answer.json()) if answer.content else {}

    def put(self, path: str, data: Mapping[str, object]) -> str:
        """Write a version and return its number."""
        return str(self.do("POST", "secret/data/" + path, {"data": data})["data"]["version"])

    def policy(self, name: str, rules: str) -> str:
        """Return a token that has one policy."""
        self.do("PUT", "sys/policies/acl/" + name, {"policy": rules})
        return str(self.do("POST", "auth/token/create", {"policies": [name], "no_default_policy": False})["auth"]["client_token"])


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    b = Bao(tmp_path_factory.mktemp("bao"))
    yield b
    b.kill()


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    server = Server([tool("moto_server"), "-H", "127.0.0.1", "-p", str(port)], tmp_path_factory.mktemp("moto") / "moto.log")
    url = f"http://127.0.0.1:{port}"
    server.wait_for(url + "/moto-api/")
    yield url
    server.kill()


class Recorder:
    """Metrics that remember."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.attributes: list[tuple[str, dict[str, str]]] = []
        self.seconds: list[float] = []

    def count(self, name: str, attributes: Mapping[str, str]) -> None:
        self.counts[name] += 1
        self.attributes.append((name, dict(attributes)))

    def record(self, name: str, seconds: float, attributes: Mapping[str, str]) -> None:
        assert name == "secret.reload.latency"
        assert "secret.id" in attributes
        self.seconds.append(seconds)


@pytest.fixture
def metrics() -> Recorder:
    return Recorder()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[dict[str, Any]]]:
    """Return a function that gives the fields of every event of a name."""
    caplog.set_level(logging.DEBUG, logger="tradepulse_rotator")
    return lambda name: [r.__dict__["rotator_fields"] for r in caplog.records if r.__dict__.get("rotator_event") == name]
