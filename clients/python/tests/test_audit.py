"""The audit log: what it writes are the lines of the Go client, and what it says of lines is the same verdict."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, eventually
from tradepulse_rotator import (
    AuditError,
    AuditFile,
    AuditLogger,
    AuditRecord,
    Keyring,
    KeyUse,
    Manager,
    SecretValue,
    Source,
    Spec,
    audit,
    errors,
    verify,
)
from tradepulse_rotator.providers.env import EnvProvider

VECTORS = json.loads((ROOT / "pkg/client/testdata/audit-vectors.json").read_text())
KEYS = {version: SecretValue(base64.b64decode(key)) for version, key in VECTORS["keys"].items()}

ID = "TRADEPULSE_AUDIT_SECRET_ID"


def lines_of(case: dict[str, Any]) -> list[bytes]:
    return [line.encode() + b"\n" for line in case["lines"]]


@pytest.mark.parametrize("chain", VECTORS["chains"], ids=lambda c: c["name"])
def test_the_same_records_are_the_same_lines(chain: dict[str, Any]) -> None:
    prev, lines = "", []
    for seq, r in enumerate(chain["records"], start=1):
        record = AuditRecord(seq, r["time"], r["event"], r["fields"] or {}, prev, r["key_id"]).signed(KEYS[r["key_id"]])
        prev = record.mac
        lines.append(record.encode() + b"\n")
    assert lines == lines_of(chain)
    good = verify(lines, KEYS.get)
    assert good.records == len(lines)
    assert good.last is not None
    assert {"seq": good.last.seq, "mac": good.last.mac} == chain["last"]


@pytest.mark.parametrize("case", [*VECTORS["broken"], *VECTORS["merged"]], ids=lambda c: c["name"])
def test_the_first_bad_line_is_named(case: dict[str, Any]) -> None:
    lines, merged = lines_of(case), case in VECTORS["merged"]
    if not case["bad_line"]:
        assert verify(lines, KEYS.get, merged=merged).records == len(lines)
        return
    with pytest.raises(AuditError) as caught:
        verify(lines, KEYS.get, merged=merged)
    assert caught.value.line == case["bad_line"]


@pytest.mark.parametrize("case", VECTORS["attacked"], ids=lambda c: c["name"])
def test_an_attacker_with_an_old_key_is_found(case: dict[str, Any]) -> None:
    def life(version: str) -> audit.KeyLife | None:
        held = case.get("lives", {}).get(version)
        return held and audit.KeyLife(*(datetime.fromisoformat(held[end]) if end in held else None for end in ("from", "until")))

    anchors = [(a["seq"], a["mac"]) for a in case.get("anchors", [])]
    if not case["bad_line"]:
        assert verify(lines_of(case), KEYS.get, life=life, anchors=anchors).unannounced == case["unannounced"]
        return
    with pytest.raises(AuditError) as caught:
        verify(lines_of(case), KEYS.get, life=life, anchors=anchors)
    assert caught.value.line == case["bad_line"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"seq":true,"time":"2026-01-31T02:00:00Z","event":"","prev":"","key_id":"v1","mac":""}',
        b'{"seq":0,"time":"2026-01-31T02:00:00Z","event":"","prev":"","key_id":"v1","mac":""}',
        b'{"seq":1,"time":"2026-01-31","event":"","prev":"","key_id":"v1","mac":""}',
        b'{"seq":1,"time":7,"event":"","prev":"","key_id":"v1","mac":""}',
        b'{"seq":1,"time":"2026-01-31T02:00:00Z","event":"","fields":{"a":1},"prev":"","key_id":"v1","mac":""}',
        b'{"seq":1,"time":"2026-01-31T02:00:00Z","event":"","fields":[],"prev":"","key_id":"v1","mac":"\\ud800"}',
        b'{"seq":1,"time":"2026-01-31T02:00:00Z","event":"","prev":"","key_id":"v1","mac":"\\ud800"}',
        b'{"seq":1,"time":"2026-01-31T02:00:00Z","event":"","prev":"","key_id":"","mac":""}',
        b"\xff",
        b"x" * (1 << 20),
    ],
)
def test_hostile_lines_are_bad_lines(line: bytes) -> None:
    with pytest.raises(AuditError) as caught:
        verify([line + b"\n"], KEYS.get)
    assert caught.value.line == 1


def test_text_that_is_no_text_is_written_so_that_it_can_be_read() -> None:
    record = AuditRecord(1, "2026-01-31T02:00:00Z", "half \ud83d", {"whole": "\ud83d\udd11"}, "", "v1").signed(KEYS["v1"])
    assert "half \ufffd".encode() in record.encode()
    assert "🔑".encode() in record.encode()
    assert verify([record.encode()], KEYS.get).records == 1


@pytest.fixture
def env() -> dict[str, str]:
    return {"TRADEPULSE_AUDIT_SECRET": "Audit-Key-For-Tests-1"}


@pytest.fixture
async def manager(env: dict[str, str]) -> AsyncIterator[Manager]:
    held = Source(EnvProvider(env), [Spec(ID)], env)
    async with Manager(service="api", source=held, poll_interval=timedelta(milliseconds=20)) as m:
        yield m


def signs_with(keys: Keyring, version: str) -> bool:
    return keys.current().id == version


async def test_records_verify_across_rotations(
    manager: Manager, env: dict[str, str], tmp_path: Path, logged: Callable[[str], list[dict[str, Any]]]
) -> None:
    keys = await Keyring.open(manager, ID, KeyUse.HISTORY)
    file = AuditFile(tmp_path / "audit.jsonl")
    log = await AuditLogger.open(manager, keys, file)
    for n in (1, 2, 3):
        env["TRADEPULSE_AUDIT_SECRET"] = f"Audit-Key-For-Tests-{n}"
        await eventually(partial(signs_with, keys, f"env-{n}"))
        log.log("order.placed", {"user": "ada", "note": "<&>"})
        log.log("order.done")
    file.close()

    with (tmp_path / "audit.jsonl").open("rb") as lines:
        assert audit.key_ids(lines) == ["env-1", "env-2", "env-3"]
        lines.seek(0)
        verified = verify(lines, keys.lookup)
        assert (verified.records, verified.unannounced) == (8, 0)
    log.close()
    heads = logged("audit.head")
    assert [e["version_id"] for e in heads] == ["env-2", "env-3", "env-3"]
    whole = (tmp_path / "audit.jsonl").read_bytes().splitlines(keepends=True)
    anchors = [(e["seq"], e["mac"]) for e in heads]
    assert verify(whole, keys.lookup, anchors=anchors).records == 8
    with pytest.raises(AuditError, match="record 8, which was anchored") as caught:
        verify(whole[:-1], keys.lookup, anchors=anchors)
    assert caught.value.line == 8
    env["TRADEPULSE_AUDIT_SECRET"] = "Audit-Key-For-Tests-4"
    with pytest.raises(errors.ConfigurationError, match="by the logger only"):
        log.log(audit.KEY_ROTATED)
    assert keys.lookup("env-9") is None
    assert [e["version_id"] for e in logged("audit.secret.loaded")] == ["env-1", "env-2", "env-3"]
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


async def test_threads_write_one_chain(manager: Manager, tmp_path: Path) -> None:
    keys = await Keyring.open(manager, ID, KeyUse.HISTORY)
    file = AuditFile(tmp_path / "audit.jsonl")
    log = await AuditLogger.open(manager, keys, file)
    await asyncio.gather(*(asyncio.to_thread(log.log, "request", {"n": str(n)}) for n in range(200)))
    file.close()
    with (tmp_path / "audit.jsonl").open("rb") as lines:
        assert verify(lines, keys.lookup).records == 200


async def test_a_chain_goes_on_after_a_restart(manager: Manager, tmp_path: Path) -> None:
    keys = await Keyring.open(manager, ID, KeyUse.HISTORY)
    path = tmp_path / "audit.jsonl"
    for n in range(3):
        file = AuditFile(path)
        log = await AuditLogger.open(manager, keys, file)
        if file.last is not None:
            log.resume(file.last)
        assert log.log("started").seq == n + 1
        log.close()
        file.close()
        with path.open("ab") as torn:
            torn.write([b'{"seq":', b"\n", b'\n\n{"seq":'][n])  # the process was killed while it wrote
    AuditFile(path).close()
    assert verify(path.read_bytes().splitlines(keepends=True), lambda _: keys.current().value).records == 3


def test_a_file_belongs_to_one_process(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    first = AuditFile(path)
    with pytest.raises(errors.ConfigurationError, match="another process"):
        AuditFile(path)
    first.close()
    AuditFile(path).close()


def test_a_file_that_is_no_log_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a record\n")
    with pytest.raises(errors.ConfigurationError, match="no record"):
        AuditFile(path)
    assert path.read_text() == "not a record\n"


async def test_what_cannot_be_written_breaks_no_chain(manager: Manager) -> None:
    keys = await Keyring.open(manager, ID, KeyUse.HISTORY)
    lines: list[bytes] = []
    full = False

    class Disk:
        def write(self, data: bytes) -> int:
            if full:
                raise OSError("no space left")
            lines.append(data)
            return len(data)

    log = await AuditLogger.open(manager, keys, Disk())
    log.log("one")
    full = True
    with pytest.raises(OSError, match="no space"):
        log.log("lost")
    full = False
    with pytest.raises(errors.ConfigurationError, match="the limit is"):
        log.log("x" * (1 << 20))
    with pytest.raises(TypeError):
        log.log("two", {"n": 2})  # type: ignore[dict-item]
    log.log("two")
    assert verify(lines, lambda _: keys.current().value).records == 2
