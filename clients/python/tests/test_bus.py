"""A connection to a real server that refuses it, and messages of newer versions."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import nkeys
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from nats.aio.client import Client

from conftest import Recorder, TestBus, eventually
from tradepulse_rotator import Manager, NatsBus, NatsOptions, SecretValue, Source, Spec, Verifier, events, times
from tradepulse_rotator.bus import BusError
from tradepulse_rotator.providers.env import EnvProvider

Logged = Callable[[str], list[dict[str, Any]]]

ID = "KEY"
RIGHT, OTHER = "Nats-Password-1!", "Nats-Password-2!"
LEASE = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a manager start at once without the bus."""
    monkeypatch.setattr("tradepulse_rotator.manager._JOIN_WAIT", 0.1)


@asynccontextmanager
async def running(bus: TestBus, env: dict[str, str], metrics: Recorder | None = None, **login: Any) -> AsyncIterator[Manager]:
    """Run a manager that has its news from the bus only."""
    nats_bus = NatsBus(NatsOptions((bus.url,), **login), Verifier.from_files(bus.key), metrics=metrics)
    source = Source(EnvProvider(env), [Spec(ID)], env)
    async with Manager(service="api", source=source, bus=nats_bus, poll_interval=None, lease=LEASE, metrics=metrics) as manager:
        await eventually(lambda: bus.running(ID), "the first report")
        yield manager


async def rotates(bus: TestBus, env: dict[str, str], manager: Manager, logged: Logged) -> None:
    """Check that a notification is heard and reported, and that the report is renewed."""

    def state() -> object:
        return {name: logged("nats." + name)[-3:] for name in ("refused", "unreachable", "connected")}, bus.presences()

    env[ID] = "value two"
    bus.notify("api", ID, "env-2")
    await eventually(lambda: manager.secret(ID).get().value == SecretValue("value two"), "the rotation", state)
    await eventually(lambda: bus.running(ID).get("version_id") == "env-2", "the report of it", state)
    await eventually(bus.presences, "the presence", state)
    first = bus.presences()[0]["at"]
    await eventually(lambda: [r for r in bus.presences() if r["at"] > first], "the next report", state)


def refusals(logged: Logged, count: int) -> Callable[[], bool]:
    before = len(logged("nats.refused"))
    return lambda: len(logged("nats.refused")) >= before + count


def check_refusals(bus: TestBus, logged: Logged, caplog: pytest.LogCaptureFixture) -> None:
    """Check that the default format of logs says what is wrong, where, and what to do, and quotes no password."""
    expected = f"nats.refused: Authorization Violation at {bus.url}; check the credentials"
    told = [r for r in caplog.records if r.__dict__.get("rotator_event") == "nats.refused"]
    assert {(r.levelname, r.getMessage()) for r in told} == {("ERROR", expected)}
    assert OTHER not in caplog.text
    assert RIGHT not in caplog.text
    assert all(f["again_in"] > 0 for f in logged("nats.refused"))


async def test_a_server_that_refuses_for_a_while_is_tried_until_it_accepts(
    bus: TestBus, logged: Logged, caplog: pytest.LogCaptureFixture
) -> None:
    bus.restart(password=RIGHT)
    env = {ID: "value one"}
    async with running(bus, env, user="client", password=SecretValue(RIGHT)) as manager:
        bus.restart(password=OTHER)
        await eventually(refusals(logged, 3), "three refusals", lambda: (logged("nats.refused"), logged("nats.unreachable")))
        bus.restart(password=RIGHT)
        await rotates(bus, env, manager, logged)
    check_refusals(bus, logged, caplog)


async def test_a_connection_that_a_running_server_refuses_is_made_again(
    bus: TestBus, logged: Logged, caplog: pytest.LogCaptureFixture
) -> None:
    bus.restart(password=RIGHT)
    env = {ID: "value one"}
    async with running(bus, env, user="client", password=SecretValue(RIGHT)) as manager:
        bus.change_password(OTHER)
        await eventually(refusals(logged, 3), "three refusals", lambda: (logged("nats.refused"), logged("nats.disconnected")))
        bus.change_password(RIGHT)
        await rotates(bus, env, manager, logged)
    check_refusals(bus, logged, caplog)


async def test_credentials_that_are_wrong_at_the_start_are_tried_again(bus: TestBus, logged: Logged) -> None:
    bus.restart(password=OTHER)
    env = {ID: "value one"}
    nats_bus = NatsBus(
        NatsOptions((bus.url.replace("//", "//client:In-The-Url-1!@"),), user="client", password=SecretValue(RIGHT)),
        Verifier.from_files(bus.key),
    )
    async with Manager(service="api", source=Source(EnvProvider(env), [Spec(ID)], env), bus=nats_bus, poll_interval=None, lease=LEASE) as m:
        await eventually(refusals(logged, 1), "a refusal", lambda: logged("nats.unreachable"))
        assert "In-The-Url" not in str(logged("nats.refused"))
        bus.change_password(RIGHT)
        await rotates(bus, env, m, logged)


async def test_a_key_file_that_cannot_be_read_for_a_while_is_read_again(bus: TestBus, logged: Logged, tmp_path: Path) -> None:
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    file = tmp_path / "user.nk"
    file.write_bytes(seed)
    bus.restart(password=OTHER, nkey=public)
    env = {ID: "value one"}
    async with running(bus, env, nkey_file=str(file)) as manager:
        for torn in (seed[:20], b""):
            file.write_bytes(torn)  # it is being replaced while the server restarts
            before = len(logged("nats.unreachable"))
            bus.restart(password=OTHER, nkey=public)
            await eventually(lambda n=before: len(logged("nats.unreachable")) > n + 1, "two tries", lambda: logged("nats.unreachable"))  # type: ignore[misc]
        file.write_bytes(seed)
        await rotates(bus, env, manager, logged)
    assert seed.decode()[:20] not in str(logged("nats.unreachable"))


async def test_a_credentials_file_without_credentials_ends_nothing(bus: TestBus, logged: Logged, tmp_path: Path) -> None:
    file = tmp_path / "user.creds"
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode()
    file.write_text(f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n")
    env = {ID: "value one"}
    nats_bus = NatsBus(NatsOptions((bus.url,), creds_file=str(file)), Verifier.from_files(bus.key))
    async with Manager(service="api", source=Source(EnvProvider(env), [Spec(ID)], env), bus=nats_bus, poll_interval=None):
        for text in ("", "-----BEGIN NATS USER JWT-----\nx\n", None):
            before = len(logged("nats.unreachable"))
            await eventually(lambda n=before: len(logged("nats.unreachable")) > n, "another try", lambda: logged("nats.unreachable"))  # type: ignore[misc]
            if text is None:
                file.unlink()
            else:
                file.write_text(text)
    assert str(file) in logged("nats.unreachable")[0]["error"]
    assert seed not in str(logged("nats.unreachable"))


def test_credentials_of_a_file_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "user.creds"
    text = (
        "-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n\nkeep it\n\n"
        "-----BEGIN USER NKEY SEED-----\ndef\n------END USER NKEY SEED------\n"
    )
    file.write_text(text)
    assert NatsOptions(("nats://127.0.0.1",), creds_file=str(file)).login()["user_credentials"] == text
    file.write_text(text.replace("USER NKEY SEED", ""))
    with pytest.raises(BusError, match=r"user\.creds"):
        NatsOptions(("nats://127.0.0.1",), creds_file=str(file)).login()


# Messages of newer versions.


def newer(bus: TestBus, kind: str, **more: object) -> tuple[dict[str, str], bytes]:
    """Return a signed event that has more in it than this version knows."""
    key = load_pem_private_key(bus.signing_key.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    body = json.dumps({"secret_id": ID, "store": "main", "version_id": "env-2"} | more).encode()
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "newer-1",
        "ce-source": "/newer",
        "ce-type": kind,
        "ce-subject": ID,
        "ce-time": times.write(times.now_ns()),
        "ce-datacontenttype": "application/json",
        "ce-keyid": events.key_id(events.load_public_key(bus.key)),
        "ce-audience": "api",
    }
    signature = key.sign(events.canonical(headers, body))
    return headers | {"ce-signature": base64.urlsafe_b64encode(signature).rstrip(b"=").decode()}, body


async def test_events_of_a_newer_version_end_nothing(bus: TestBus, metrics: Recorder, logged: Logged) -> None:
    env = {ID: "value one"}
    nc = Client()
    await nc.connect(bus.url)
    async with running(bus, env, metrics):
        for kind, more in (("secret.withdrawn", {}), ("secret.rotated", {"reason": {"code": 7}}), ("secret.staged", {"version_id": ["v"]})):
            headers, body = newer(bus, kind, **more)
            await nc.publish("live.api.KEY", body, headers=headers)
        await nc.flush()
        await eventually(lambda: metrics.counts["rotator.events.rejected"] == 3, "three rejections", lambda: metrics.attributes)
        assert bus.running(ID)["version_id"] == "env-1"
        # What it knows of a newer version's event is enough.
        env[ID] = "value two"
        headers, body = newer(
            bus, "secret.rotated", reason="a_newer_reason", status="activating", waves=[1, 2], previous_version_id="env-1"
        )
        await nc.publish("live.api.KEY", body, headers=headers)
        await eventually(lambda: bus.running(ID).get("version_id") == "env-2", "the rotation", lambda: logged("event.rejected"))
        assert bus.running(ID)["status"] == "applied"
    await nc.close()
    assert metrics.counts["secret.task.failures"] == 0
