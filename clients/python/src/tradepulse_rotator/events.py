"""What services hear on the bus: names of subjects, signed events. The same contract as docs/events.md.

Nothing in here talks to a server; :mod:`tradepulse_rotator.bus` does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from tradepulse_rotator import logs, times
from tradepulse_rotator.errors import ConfigurationError, RejectedError

MAX_EVENT_SIZE: Final = 16 << 10
"""The largest event, headers and body, in bytes."""

ROTATED: Final = "secret.rotated"
STAGED: Final = "secret.staged"
ROLLOUT: Final = "secret.rollout"
DRAINING: Final = "draining"
"""The state of a rollout in which services stop to accept every other version."""

_HEARD: Final = frozenset({ROTATED, STAGED, ROLLOUT})

ROLES: Final = {
    "scheduler": frozenset({ROTATED}),
    "worker": frozenset({STAGED, ROTATED, ROLLOUT}),
    "notifier": frozenset({ROLLOUT}),
    "operator": frozenset[str](),
    "lambda": frozenset({STAGED, ROTATED}),
}
"""What the program with a key does, and the types that it signs in the log of those that a service understands."""

# Events of the previous version name no audience. The next version refuses them.
_ACCEPT_UNADDRESSED: Final = True

# The attributes in the order in which they are signed.
_SIGNED: Final = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "keyid")
_SEQUENCE: Final = "Rotator-Seq"
_MAX_SEQUENCE_DIGITS: Final = 20
_MAX_TEXT: Final = 2048
_MAX_ID: Final = 512
_MAX_VERSION: Final = 128
_MAX_PREFIX: Final = 64
_MAX_PREFIX_TOKENS: Final = 4
_REREAD_KEYS: Final = 1.0
"""For how many seconds files of keys are believed before they are read again."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_VERSION = re.compile(rf"[!-~]{{1,{_MAX_VERSION}}}", re.ASCII)
_PLAIN = re.compile(rf"[!#$&-~]{{1,{_MAX_TEXT}}}", re.ASCII)
_ESCAPED = re.compile(rb"[^A-Za-z0-9_-]")
_ESCAPED_ATTRIBUTE = re.compile(rb"[^!#$&-~]")


def valid_id(secret_id: str) -> bool:
    """Report whether a text can be the id of a secret."""
    return secret_id.isprintable() and 0 < len(secret_id.encode(errors="replace")) <= _MAX_ID


def valid_version(version_id: str) -> bool:
    """Report whether a text can be the id of a version."""
    return _VERSION.fullmatch(version_id) is not None


def check_token(what: str, name: str) -> None:
    """Raise unless a name can be one token of a subject: 1 to 64 letters, digits, _ and -."""
    if _TOKEN.fullmatch(name) is None:
        raise ConfigurationError(f"{what} {name!r}: use 1 to 64 letters, digits, _ and -")


def key(secret_id: str) -> str:
    """Return the id of a secret as one token of a subject: ``prod/db`` is ``prod=2Fdb``."""
    return _ESCAPED.sub(lambda m: b"=%02X" % ord(m[0]), secret_id.encode()).decode()


def _attribute(text: str) -> str:
    """Return a text as the value of a header, as CloudEvents escapes it."""
    return _ESCAPED_ATTRIBUTE.sub(lambda m: b"%%%02X" % ord(m[0]), text.encode()).decode()


@dataclass(frozen=True)
class Names:
    """Gives subjects and streams their names, under a prefix of one to four tokens or none."""

    prefix: str = ""

    def __post_init__(self) -> None:
        if not self.prefix:
            return
        tokens = self.prefix.split(".")
        if len(tokens) > _MAX_PREFIX_TOKENS or len(self.prefix) > _MAX_PREFIX:
            raise ConfigurationError(f"prefix {self.prefix!r}: at most {_MAX_PREFIX_TOKENS} tokens and {_MAX_PREFIX} characters")
        for token in tokens:
            check_token("prefix", token)

    @property
    def _dot(self) -> str:
        return self.prefix + "." if self.prefix else ""

    @property
    def notify_stream(self) -> str:
        """The stream that keeps the last notification per service and secret."""
        return self._dot.replace(".", "_").upper() + "NOTIFY"

    def live(self, service: str, token: str) -> str:
        """Return where a running instance of a service hears notifications."""
        return f"{self._dot}live.{service}.{token}"

    def notify(self, service: str, token: str) -> str:
        """Return the subject of the last notification to a service about a secret."""
        return f"{self._dot}notify.{service}.{token}"

    def presence(self, service: str, instance: str, incarnation: str) -> str:
        """Return the subject of the presence of an incarnation."""
        return f"{self._dot}report.{service}.{instance}.{incarnation}"

    def use(self, token: str, service: str, incarnation: str) -> str:
        """Return the subject of the use of a secret by an incarnation."""
        return f"{self._dot}uses.{token}.{service}.{incarnation}"

    def notified(self, subject: str) -> str | None:
        """Return the service that is notified on a subject, None for any other subject."""
        for word in ("notify.", "live."):
            rest = subject.removeprefix(self._dot + word)
            if rest != subject:
                return rest.partition(".")[0]
        return None

    def event(self, kind: str, secret_id: str) -> str:
        """Return the subject on which an event about a secret is published."""
        return f"{self._dot}{kind}.{key(secret_id)}"

    def fits(self, subject: str, kind: str, secret_id: str) -> bool:
        """Report whether an event may be received on a subject: its own, or that of a notification of it."""
        if subject == self.event(kind, secret_id):
            return True
        service = self.notified(subject)
        if service is None or kind not in _HEARD:
            return False
        return subject in {self.notify(service, key(secret_id)), self.live(service, key(secret_id))}


@dataclass(frozen=True)
class Event:
    """An announcement about a secret. It holds ids and times, never a value."""

    id: str
    type: str
    source: str
    time: int
    """When it happened, in nanoseconds since 1970."""
    secret_id: str
    version_id: str
    previous_version_id: str = ""
    reason: str = ""
    not_after: int | None = None
    """When the life of the version ends, None for never."""
    state: str = ""
    """The state of a rollout, empty for other events."""
    seq: int = 0
    """The sequence of the announcement in the log, 0 when unknown. It is not signed."""
    traceparent: str = ""
    """The W3C trace context of its cause, which is not signed."""


def key_id(public: Ed25519PublicKey) -> str:
    """Return the name of a key in ``ce-keyid``: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def load_public_key(path: str | Path) -> Ed25519PublicKey:
    """Read an Ed25519 public key from a PEM file."""
    try:
        loaded = load_pem_public_key(Path(path).read_bytes())
    except (OSError, ValueError) as err:
        raise ConfigurationError(f"trusted key {path}: {err}") from err
    if not isinstance(loaded, Ed25519PublicKey):
        raise ConfigurationError(f"trusted key {path} is no Ed25519 public key; make one with: openssl pkey -pubout")
    return loaded


@dataclass(frozen=True)
class TrustedKey:
    """A public key and what it is trusted with: the roles of the program that has the private key, None for all."""

    key: Ed25519PublicKey
    roles: frozenset[str] | None = None

    def may(self, kind: str, *, notification: bool) -> bool:
        """Report whether the key may sign an event of a type. Only the notifier notifies services."""
        if self.roles is None:
            return True
        if notification:
            return "notifier" in self.roles
        return any(kind in ROLES[role] for role in self.roles)


def load_trusted_key(text: str | Path) -> TrustedKey:
    """Read what a setting says about a key: the name of its PEM file, or its roles and the file, as in ``notifier=/etc/notifier.pub``."""
    roles, file = _parse_trusted_key(text)
    return TrustedKey(load_public_key(file), roles)


def _parse_trusted_key(text: str | Path) -> tuple[frozenset[str] | None, Path]:
    names, limited, file = str(text).partition("=")
    if not limited or any(c in names for c in "./\\"):
        return None, Path(text)
    roles = names.split(",")
    for role in roles:
        if role not in ROLES:
            raise ConfigurationError(f"trusted key {text}: there is no role {role!r}; the roles are {', '.join(ROLES)}")
    return frozenset(roles), Path(file)


class KeyFiles:
    """Trusted keys in files and directories (``*.pub``), which are read again while events are checked.

    A file that is there and cannot be read is being replaced: its last key stays.
    """

    def __init__(self, entries: Iterable[str | Path], clock: Callable[[], float] = time.monotonic) -> None:
        self._entries = [_parse_trusted_key(e) for e in entries]
        self._clock = clock
        self._keys: dict[str, TrustedKey] = {}
        self._parsed: dict[Path, Ed25519PublicKey] = {}
        self._logged: dict[Path, str] = {}
        self._read_at = 0.0
        for _, path in self._entries:
            for file in _public_key_files(path):
                load_public_key(file)
        self._read()

    def now(self) -> dict[str, TrustedKey]:
        """Return the keys that the files have now, by their names."""
        if self._clock() - self._read_at >= _REREAD_KEYS:
            self._read()
        return self._keys

    def _read(self) -> None:
        keys = {}
        for roles, path in self._entries:
            for file in _public_key_files(path):
                self._load(file)
                if file in self._parsed:
                    keys[key_id(self._parsed[file])] = TrustedKey(self._parsed[file], roles)
        self._keys, self._read_at = keys, self._clock()

    def _load(self, file: Path) -> None:
        try:
            self._parsed[file] = load_public_key(file)
            self._logged.pop(file, None)
        except ConfigurationError as err:
            if not file.exists():
                self._parsed.pop(file, None)
            if self._logged.get(file) != str(err):
                self._logged[file] = str(err)
                logs.event(logging.ERROR, "trusted_key.unreadable", error=str(err))


def _public_key_files(path: Path) -> list[Path]:
    """Return the path, or the files in it that end in .pub if it is a directory."""
    return sorted(path.glob("*.pub")) if path.is_dir() else [path]


def canonical(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the bytes that are signed."""
    out = bytearray(b"rotator/event/v1\n")
    parts = [(name, headers.get("ce-" + name, "").encode()) for name in _SIGNED]
    for name, value in [*parts, ("data", body)]:
        out += b"%s:%d:%s\n" % (name.encode(), len(value), value)
    return bytes(out)


class Verifier:
    """Checks events against the keys that it trusts. Several are trusted at once while a key is replaced."""

    def __init__(self, keys: Iterable[Ed25519PublicKey | TrustedKey]) -> None:
        trusted = (k if isinstance(k, TrustedKey) else TrustedKey(k) for k in keys)
        self._fixed = {key_id(k.key): k for k in trusted}
        self._files: KeyFiles | None = None

    @classmethod
    def from_files(cls, *paths: str | Path) -> Verifier:
        """Trust the public keys in PEM files, and in directories of them, as they are now.

        Each is trusted in the roles that stand before it, if any: see :func:`load_trusted_key`.
        """
        verifier = cls(())
        verifier._files = KeyFiles(paths)
        return verifier

    @property
    def _keys(self) -> dict[str, TrustedKey]:
        return self._fixed if self._files is None else self._files.now()

    def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raise unless the event is signed by a trusted key."""
        trusted = self._keys.get(headers.get("ce-keyid", ""))
        if trusted is None:
            raise RejectedError("untrusted", f"the key id is not among the {len(self._keys)} trusted")
        try:
            trusted.key.verify(_signature(headers.get("ce-signature", "")), canonical(headers, body))
        except (InvalidSignature, ValueError, binascii.Error):
            raise RejectedError("untrusted", "the signature does not fit") from None

    def decode(self, names: Names, subject: str, headers: Mapping[str, str], body: bytes) -> Event:
        """Return the event of a message, or raise :class:`RejectedError`.

        Nothing of the message is looked at before its signature has been checked, but its size and its attributes.
        """
        size = len(body) + sum(len(k) + len(v) + 4 for k, v in headers.items())
        if size > MAX_EVENT_SIZE:
            raise RejectedError("oversized", f"{size} bytes, the limit is {MAX_EVENT_SIZE}")
        if headers.get("ce-specversion") != "1.0" or headers.get("ce-datacontenttype") != "application/json":
            raise RejectedError("malformed", "no CloudEvents 1.0 event with JSON data")
        self.check(headers, body)
        event = _event(headers, _data(body))
        if headers.get("ce-subject") != _attribute(event.secret_id) or not names.fits(subject, event.type, event.secret_id):
            raise RejectedError("subject_mismatch", "it is about another secret or type than its subject says")
        service = names.notified(subject)
        key = self._keys.get(headers["ce-keyid"])
        if key is None or not key.may(event.type, notification=service is not None):
            raise RejectedError("untrusted", "no role of its key signs that")
        _addressed(_audience(body), {"bus": names.prefix, "service": service or ""})
        return event


def _addressed(audience: dict[str, str] | None, receiver: dict[str, str]) -> None:
    """Raise unless an event is for who receives it. Those of the previous version name no audience, and are hints."""
    if audience is None and _ACCEPT_UNADDRESSED:
        return
    if audience != receiver:
        raise RejectedError("audience_mismatch", "it is for another bus or service")


def _audience(body: bytes) -> dict[str, str] | None:
    """Return whom the body of an event, which decodes, is for; None if it does not say."""
    audience = json.loads(body).get("audience")
    if audience is None:
        return None
    if not isinstance(audience, dict):
        raise RejectedError("malformed", "the audience is no object")
    return {name: audience.get(name) or "" for name in ("bus", "service")}


def _signature(text: str) -> bytes:
    if "=" in text or len(text) % 4 == 1:
        raise ValueError("padded")
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("not canonical")
    return raw


def _data(body: bytes) -> dict[str, str]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise RejectedError("malformed", "the data does not decode") from None
    if not isinstance(data, dict):
        raise RejectedError("malformed", "the data is no object")
    fields = {name: data.get(name) or "" for name in ("secret_id", "version_id", "previous_version_id", "reason", "not_after")}
    rollout = data.get("rollout")
    fields["state"] = (rollout.get("state") or "") if isinstance(rollout, dict) else ""
    if not all(isinstance(v, str) for v in fields.values()):
        raise RejectedError("malformed", "a field of the data has another type")
    return fields


def _event(headers: Mapping[str, str], data: Mapping[str, str]) -> Event:
    try:
        at = times.parse(headers.get("ce-time", ""))
        end = times.parse(data["not_after"]) if data["not_after"] else None
    except ValueError:
        raise RejectedError("malformed", "ce-time or not_after is no RFC 3339 time") from None
    kind = headers.get("ce-type", "")
    if kind not in _HEARD:
        raise RejectedError("unknown_type", "the type is none that a service hears of")
    if not all(_PLAIN.fullmatch(headers.get(name, "")) for name in ("ce-id", "ce-source")):
        raise RejectedError("malformed", "id and source are required, in printable ASCII")
    versions = (data["version_id"], data["previous_version_id"])
    if not valid_id(data["secret_id"]) or not all(v == "" or valid_version(v) for v in versions):
        raise RejectedError("malformed", "the id of the secret or of a version is malformed")
    return Event(
        id=headers["ce-id"],
        type=kind,
        source=headers["ce-source"],
        time=at,
        secret_id=data["secret_id"],
        version_id=data["version_id"],
        previous_version_id=data["previous_version_id"],
        reason=data["reason"],
        not_after=end,
        state=data["state"],
        seq=_sequence(headers),
        traceparent=headers.get("traceparent") or headers.get("Traceparent", ""),  # an earlier rotator wrote it so
    )


def _sequence(headers: Mapping[str, str]) -> int:
    text = headers.get(_SEQUENCE, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_SEQUENCE_DIGITS else 0
