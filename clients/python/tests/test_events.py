"""The contract of the bus, held to the files that the Go programs are held to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from conftest import ROOT
from tradepulse_rotator import Verifier, events, times
from tradepulse_rotator.errors import ConfigurationError, RejectedError
from tradepulse_rotator.events import Names

TESTDATA = ROOT / "pkg/events/testdata"
VECTORS = json.loads((TESTDATA / "signatures.json").read_text())
TRUST = json.loads((TESTDATA / "trust.json").read_text())


def key_of(vector: dict[str, Any]) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(vector["public_key"]))


def golden(kind: str) -> tuple[str, dict[str, str], bytes]:
    """Return the example of an event: its subject, headers and body, which is written without spaces."""
    head, _, body = (TESTDATA / f"events/{kind}.txt").read_text().partition("\n\n")
    subject, *lines = head.splitlines()
    return subject, dict(line.split(": ", 1) for line in lines), json.dumps(json.loads(body), separators=(",", ":")).encode()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_signature_vectors(vector: dict[str, Any]) -> None:
    body = vector["body"].encode()
    assert events.canonical(vector["headers"], body).hex() == vector["canonical"]
    verifier = Verifier([key_of(vector)])
    if vector["valid"]:
        verifier.check(vector["headers"], body)
        return
    with pytest.raises(RejectedError) as caught:
        verifier.check(vector["headers"], body)
    assert caught.value.reason == "untrusted"


@pytest.mark.parametrize("vector", TRUST, ids=lambda v: v["name"])
def test_trust_vectors(vector: dict[str, Any]) -> None:
    roles = None if vector["roles"] is None else frozenset(vector["roles"])
    verifier = Verifier([events.TrustedKey(key_of(vector), roles)])
    names, body = Names(vector["prefix"]), vector["body"].encode()
    if not vector["reason"]:
        assert verifier.decode(names, vector["subject"], vector["headers"], body).version_id == "v2"
        return
    with pytest.raises(RejectedError) as caught:
        verifier.decode(names, vector["subject"], vector["headers"], body)
    assert caught.value.reason == vector["reason"]


def test_a_trusted_key_has_roles(tmp_path: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key()
    for name in ("a.pub", "worker=b.pub"):
        (tmp_path / name).write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    file, odd = tmp_path / "a.pub", tmp_path / "worker=b.pub"
    cases = {str(file): None, str(odd): None, f"notifier={file}": {"notifier"}, f"worker,scheduler={odd}": {"worker", "scheduler"}}
    for text, roles in cases.items():
        trusted = events.load_trusted_key(text)
        assert (events.key_id(trusted.key), trusted.roles) == (events.key_id(public), roles)
    with pytest.raises(ConfigurationError, match="there is no role 'root'; the roles are scheduler, worker, notifier, operator, lambda"):
        events.load_trusted_key(f"root={file}")


@pytest.mark.parametrize("kind", ["secret.rotated", "secret.staged"])
def test_golden_events_decode(kind: str) -> None:
    subject, headers, body = golden(kind)
    event = Verifier([key_of(VECTORS[0])]).decode(Names(), subject, headers, body)
    assert (event.type, event.secret_id, event.version_id) == (kind, "TRADEPULSE_AUDIT_SECRET_ID", "v2")
    assert (event.previous_version_id, event.reason) == ("v1", "near_expiry")
    assert times.write(event.time) == "2026-01-31T02:00:00Z"


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ("live.audit.ANOTHER", "subject_mismatch"),
        ("live.TRADEPULSE_AUDIT_SECRET_ID", "subject_mismatch"),
        ("other.live.audit.TRADEPULSE_AUDIT_SECRET_ID", "subject_mismatch"),
        ("secret.staged.TRADEPULSE_AUDIT_SECRET_ID", "subject_mismatch"),
    ],
)
def test_an_event_on_a_subject_that_is_not_its_own_is_rejected(subject: str, reason: str) -> None:
    _, headers, body = golden("secret.rotated")
    with pytest.raises(RejectedError) as caught:
        Verifier([key_of(VECTORS[0])]).decode(Names(), subject, headers, body)
    assert caught.value.reason == reason


def signed(body: bytes, **changed: str) -> tuple[dict[str, str], Verifier]:
    """Return the headers of an event of a key that is trusted."""
    private = Ed25519PrivateKey.generate()
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/x",
        "ce-type": "secret.rotated",
        "ce-subject": "X",
        "ce-time": "2026-01-01T00:00:00Z",
        "ce-datacontenttype": "application/json",
        "ce-keyid": events.key_id(private.public_key()),
    } | {"ce-" + k: v for k, v in changed.items()}
    import base64

    signature = private.sign(events.canonical(headers, body))
    headers["ce-signature"] = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    return headers, Verifier([private.public_key()])


GOOD = b'{"secret_id":"X","version_id":"v1"}'


@pytest.mark.parametrize(
    ("body", "changed", "reason"),
    [
        (GOOD, {}, None),
        (b"x" * (16 << 10), {}, "oversized"),
        (GOOD, {"specversion": "0.3"}, "malformed"),
        (GOOD, {"datacontenttype": "text/plain"}, "malformed"),
        (GOOD, {"time": "yesterday"}, "malformed"),
        (GOOD, {"time": "2026-13-01T00:00:00Z"}, "malformed"),
        (GOOD, {"id": ""}, "malformed"),
        (GOOD, {"source": "a b"}, "malformed"),
        (GOOD, {"type": "secret.near_expiry"}, "unknown_type"),
        (b"[]", {}, "malformed"),
        (b"{", {}, "malformed"),
        (b"[" * 9000, {}, "malformed"),
        (b'{"secret_id":"X","version_id":{}}', {}, None),
        (b'{"secret_id":"X","version_id":7}', {}, "malformed"),
        (b'{"secret_id":"X","version_id":"a b"}', {}, "malformed"),
        (b'{"secret_id":"X","version_id":"%s"}' % (b"a" * 129), {}, "malformed"),
        (b'{"secret_id":"a\\tb","version_id":"v1"}', {"subject": "a b"}, "malformed"),
        (b'{"secret_id":"Y","version_id":"v1"}', {}, "subject_mismatch"),
    ],
)
def test_hostile_events_of_a_trusted_key(body: bytes, changed: dict[str, str], reason: str | None) -> None:
    headers, verifier = signed(body, **changed)
    if reason is None:
        verifier.decode(Names(), "live.api.X", headers, body)
        return
    with pytest.raises(RejectedError) as caught:
        verifier.decode(Names(), "live.api.X", headers, body)
    assert caught.value.reason == reason


def test_keys_are_readable_tokens() -> None:
    assert events.key("TRADEPULSE_AUDIT_SECRET_ID") == "TRADEPULSE_AUDIT_SECRET_ID"
    assert events.key("prod/db.a=b") == "prod=2Fdb=2Ea=3Db"
    assert events.key("rds!c/é *>") == "rds=21c=2F=C3=A9=20=2A=3E"


@pytest.mark.parametrize("prefix", ["a b", "a..b", "a.b.c.d.e", "x" * 65, "a.*", ".a"])
def test_a_prefix_is_checked(prefix: str) -> None:
    with pytest.raises(ConfigurationError):
        Names(prefix)


def test_names_have_the_prefix() -> None:
    names = Names("tradepulse.prod")
    assert names.notify_stream == "TRADEPULSE_PROD_NOTIFY"
    assert names.live("api", "*") == "tradepulse.prod.live.api.*"
    assert names.presence("api", "one", "n") == "tradepulse.prod.report.api.one.n"
    assert names.use("K", "api", "n") == "tradepulse.prod.uses.K.api.n"
    assert Names().notify_stream == "NOTIFY"


def test_a_trusted_key_is_a_public_key_of_the_right_kind(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    good.write_bytes(key_of(VECTORS[0]).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert events.key_id(events.load_public_key(good)) == VECTORS[0]["headers"]["ce-keyid"]
    bad.write_text("nothing")
    for path in (bad, tmp_path / "none.pem"):
        with pytest.raises(ConfigurationError, match=path.name):
            Verifier.from_files(path)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T02:00:00Z",
        "2026-01-31T02:00:00.5Z",
        "2026-01-31T02:00:00.000000001Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
    ],
)
def test_times_come_back(text: str) -> None:
    assert times.write(times.parse(text)) == text


def test_times_of_other_zones() -> None:
    assert times.write(times.parse("2026-01-31T02:00:00+02:00")) == "2026-01-31T00:00:00Z"


def test_a_directory_of_trusted_keys_is_read_again(tmp_path: Path) -> None:
    """Keys are added and removed while a service runs, each in the roles of its directory. One that is being written stays."""

    def save(name: str) -> bytes:
        key = Ed25519PrivateKey.generate().public_key()
        text = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / name).write_bytes(text)
        return text

    now = 0.0
    save("one.pub")
    files = events.KeyFiles([f"notifier={tmp_path}"], clock=lambda: now)
    (one,) = files.now()
    save("two.pub")
    now += 1
    assert len(files.now()) == 2
    assert all(k.roles == frozenset({"notifier"}) for k in files.now().values())
    (tmp_path / "one.pub").write_bytes(b"-----BEGIN PUB")
    (tmp_path / "README").write_bytes(b"no key")
    now += 1
    assert one in files.now()
    (tmp_path / "one.pub").unlink()
    now += 1
    assert len(files.now()) == 1
    assert one not in files.now()


@pytest.mark.parametrize("name", ["traceparent", "Traceparent"])
def test_the_trace_of_an_event_is_read(name: str) -> None:
    subject, headers, body = golden("secret.rotated")
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert Verifier([key_of(VECTORS[0])]).decode(Names(), subject, headers | {name: trace}, body).traceparent == trace
