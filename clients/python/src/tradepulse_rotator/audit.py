"""The audit log: one JSON object per line, signed and chained, byte for byte as the Go client writes it.

``pkg/client/audit-format.md`` in the repository describes a record.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import logging
import os
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from tradepulse_rotator import canonical, events, logs, times
from tradepulse_rotator.errors import ConfigurationError, RotatorError
from tradepulse_rotator.users import Change, Hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tradepulse_rotator.keyring import Key, Keyring
    from tradepulse_rotator.manager import Manager
    from tradepulse_rotator.value import SecretValue

MAX_LINE: Final = 1 << 20
"""The longest line, in bytes."""

KEY_ROTATED: Final = "key.rotated"
"""The event of the record with which a key takes over a chain: its fields are ``from``, the key before, and ``head``, the MAC before."""

ANCHOR_EVERY: Final = 1000
"""After how many records the position of the last one is logged as ``audit.head``."""

_SKEW: Final = timedelta(minutes=5)
_MAX_SEQ: Final = (1 << 64) - 1


class AuditError(RotatorError):
    """Names the first bad record of a log."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"audit: line {line}: {reason}")
        self.line = line
        """Counts from 1."""
        self.reason = reason


@dataclass(frozen=True)
class AuditRecord:
    """One line of an audit log."""

    seq: int
    time: str
    event: str
    fields: Mapping[str, str]
    prev: str
    key_id: str
    mac: str = ""

    def encode(self) -> bytes:
        """Return the line without its line feed."""
        parts = [f'"seq":{self.seq}', f'"time":{canonical.text(self.time)}', f'"event":{canonical.text(self.event)}']
        if self.fields:
            parts.append(f'"fields":{canonical.document(self.fields)}')
        parts += [f'"{name}":{canonical.text(text)}' for name, text in (("prev", self.prev), ("key_id", self.key_id), ("mac", self.mac))]
        return ("{" + ",".join(parts) + "}").encode()

    def signed(self, key: SecretValue) -> AuditRecord:
        """Return the record with its MAC, which is over the line with an empty one."""
        mac = hmac.new(key.reveal(), replace(self, mac="").encode(), hashlib.sha256)
        return replace(self, mac=mac.hexdigest())


def _decode(line: bytes) -> AuditRecord | None:
    """Return the record of a line, None when it is none. That it is written canonically is checked by encoding it."""
    try:
        data = json.loads(line)
        record = AuditRecord(data["seq"], data["time"], data["event"], data.get("fields", {}), data["prev"], data["key_id"], data["mac"])
        times.parse(record.time)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    texts = (record.event, record.prev, record.key_id, record.mac)
    plain = (
        all(isinstance(t, str) for t in texts)
        and isinstance(record.fields, dict)
        and all(isinstance(v, str) for v in record.fields.values())
    )
    counted = type(record.seq) is int and 0 < record.seq <= _MAX_SEQ
    return record if plain and counted else None


class Writer(Protocol):
    """Where lines go: a file opened in binary mode is one."""

    def write(self, data: bytes, /) -> int | None:
        """Write one line."""


class AuditLogger:
    """Writes records that show whether they were changed, removed or put in another order.

    It signs with the current version of its key, also right after that has been rotated: the new key takes the chain over with a
    record of its own. It can be used in any thread.

    It logs ``audit.head`` with the position of its last record after each 1,000 records, when the key has changed, and at the end:
    an anchor for :func:`verify` if the log of the program is kept where the program cannot change it.
    """

    def __init__(self, keys: Keyring, writer: Writer) -> None:
        self._keys = keys
        self._writer = writer
        self._lock = threading.Lock()
        self._seq, self._prev, self._key = 0, "", ""
        self._before: set[str] = set()  # :: keys that were replaced in this chain
        self._shown = 0
        self._stop: Callable[[], None] | None = None

    @classmethod
    async def open(cls, manager: Manager, keys: Keyring, writer: Writer) -> AuditLogger:
        """Return a logger that writes with the key ring of a secret of a manager, and says when it has a new key."""
        logger = cls(keys, writer)
        logger._stop = await manager.attach(keys.secret_id, Hooks(_ready, _loaded))
        return logger

    def resume(self, last: AuditRecord) -> None:
        """Continue the chain of an earlier process after its last record."""
        with self._lock:
            self._seq, self._prev, self._key = last.seq, last.mac, last.key_id
            self._before = set()

    def log(self, event: str, fields: Mapping[str, str] | None = None) -> AuditRecord:
        """Append one record and return it. Fields hold text; never put a value of a secret there.

        It raises :class:`~tradepulse_rotator.errors.FenceError` when the key may be retired: see :class:`Keyring`. A key that was
        replaced in the chain before signs nothing: write its value as a new version, or begin a new log.
        """
        fields = dict(fields or {})
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in fields.items()):
            raise TypeError("audit: the fields of a record are texts")
        if event == KEY_ROTATED:
            raise ConfigurationError(f"audit: the event {KEY_ROTATED} is written by the logger only")
        with self._lock:
            key = self._keys.current()
            if key.id in self._before:
                raise ConfigurationError(
                    f"audit: the key {key.id} was replaced in this log before; write its value as a new version, or begin a new log"
                )
            if self._key not in ("", key.id):
                self._append(key, KEY_ROTATED, {"from": self._key, "head": self._prev})
            return self._append(key, event, fields)

    def _append(self, key: Key, event: str, fields: Mapping[str, str]) -> AuditRecord:
        record = AuditRecord(self._seq + 1, times.write(times.now_ns()), event, fields, self._prev, key.id).signed(key.value)
        line = record.encode()
        if len(line) >= MAX_LINE:
            raise ConfigurationError(f"audit: the record has {len(line) + 1} bytes, the limit is {MAX_LINE}")
        self._writer.write(line + b"\n")
        changed = self._key not in ("", key.id)
        if changed:
            self._before.add(self._key)
        self._seq, self._prev, self._key = record.seq, record.mac, key.id
        if changed or self._seq - self._shown >= ANCHOR_EVERY:
            self._anchor()
        return record

    def _anchor(self) -> None:
        if self._seq not in (0, self._shown):
            self._shown = self._seq
            logs.event(logging.INFO, "audit.head", secret_id=self._keys.secret_id, version_id=self._key, seq=self._seq, mac=self._prev)

    def close(self) -> None:
        """Take the logger off its secret. It does not close what it writes to."""
        with self._lock:
            self._anchor()
        if self._stop is not None:
            self._stop()


def _ready(_change: Change) -> None:
    """Refuse no key."""


def _loaded(change: Change) -> None:
    logs.event(logging.INFO, "audit.secret.loaded", secret_id=change.secret_id, version_id=change.version.id)


class AuditFile:
    """A file that one process appends records to, each in one write.

    A process that crashed may leave the beginning of a line, which was never acknowledged as a record: it is cut off.
    """

    def __init__(self, path: str | Path) -> None:
        """Open the file, or make it for its owner only. It raises when another process writes to it."""
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.last = self._recover(path)
            """The last record, None in an empty file."""
        except BlockingIOError:
            os.close(self._fd)
            raise ConfigurationError(f"audit: {path} is written by another process: give each its own file") from None
        except BaseException:
            os.close(self._fd)
            raise

    def _recover(self, path: str | Path) -> AuditRecord | None:
        size = os.fstat(self._fd).st_size
        tail = os.pread(self._fd, 2 * MAX_LINE, max(0, size - 2 * MAX_LINE))
        whole = tail.rpartition(b"\n")[0].rstrip(b"\n")
        torn = len(tail) - len(whole) - 1 if whole else len(tail)
        if torn:
            os.ftruncate(self._fd, size - torn)
            logs.event(
                logging.WARNING,
                "audit.torn",
                path=str(path),
                bytes=torn,
                detail="the last line was not written to its end",
            )
        if not whole:
            return None
        last = _decode(whole.rpartition(b"\n")[2])
        if last is None:
            raise ConfigurationError(f"audit: the last line of {path} is no record: move the file away and find out why")
        return last

    def write(self, data: bytes, /) -> int:
        """Append a line."""
        written = os.write(self._fd, data)
        if written != len(data):
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise OSError("audit: the disk took a part of the line only")
        return written

    def close(self) -> None:
        """Close the file and let others write to it."""
        os.close(self._fd)


@dataclass(frozen=True)
class Verified:
    """What a log that is good holds."""

    records: int
    last: AuditRecord | None
    unannounced: int = 0
    """The changes of the key without a record of :data:`KEY_ROTATED`, which earlier releases did not write."""


@dataclass(frozen=True)
class KeyLife:
    """When a version of a key may have signed. None is unknown."""

    start: datetime | None = None
    until: datetime | None = None


@dataclass
class _Chain:
    """One chain up to its last record."""

    seq: int = 0
    key: str = ""
    before: set[str] = field(default_factory=set)
    announced: bool = False

    def successor(self, record: AuditRecord) -> str:
        """Return what is wrong with the key of a record that follows."""
        if self.key in ("", record.key_id):
            return ""
        if record.key_id in self.before:
            return f"its key {record.key_id!r} was replaced before in this chain"
        if record.event == KEY_ROTATED:
            meant = (record.fields.get("from"), record.fields.get("head")) == (self.key, record.prev)
            return "" if meant else "it takes over from another key or another record than the one before it"
        return f"its key is another one, and no {KEY_ROTATED} announces it" if self.announced else ""

    def add(self, record: AuditRecord) -> bool:
        """Make the record the last one, and return whether it changes the key unannounced."""
        changed = self.key not in ("", record.key_id)
        if changed:
            self.before.add(self.key)
            self.announced = self.announced or record.event == KEY_ROTATED
        self.seq, self.key = record.seq, record.key_id
        return changed and record.event != KEY_ROTATED


def verify(
    lines: Iterable[bytes],
    key: Callable[[str], SecretValue | None],
    *,
    merged: bool = False,
    life: Callable[[str], KeyLife | None] | None = None,
    anchors: Iterable[tuple[int, str]] = (),
) -> Verified:
    """Check a log and raise :class:`AuditError` for the first record that was changed, removed, put elsewhere, or signed
    with a key that ``key`` does not know or that was replaced before.

    ``lines`` is a file opened in binary mode, for one. With ``merged`` the log holds the chains of several processes. ``life`` says
    when a version of the key may have signed; a record outside of that is bad. Records that are missing at the end, and a log that
    the holder of an old key wrote anew, show against ``anchors`` only: number and MAC of records, kept elsewhere.
    """  # noqa: D205  # one sentence
    heads: dict[str, _Chain] = {}  # :: MAC of the last record of a chain → the chain
    begun: set[str] = set()  # :: MACs of first records, which might come twice
    anchored = set(anchors)
    count, last, unannounced = 0, None, 0
    for number, raw in enumerate(lines, start=1):
        record = _check(number, raw.removesuffix(b"\n"), key)
        chain = _chain(number, record, heads, begun, merged=merged)
        if reason := chain.successor(record) or _alive(record, chain.key, life) or _differs(record, anchored, merged=merged):
            raise AuditError(number, reason)
        anchored.discard((record.seq, record.mac))
        unannounced += chain.add(record)
        heads[record.mac] = chain
        count, last = number, record
    if anchored:
        missing = min(anchored)[0]
        raise AuditError(count + 1, f"the log has ended, and record {missing}, which was anchored, is not in it: records were removed")
    return Verified(count, last, unannounced)


def _chain(number: int, record: AuditRecord, heads: dict[str, _Chain], begun: set[str], *, merged: bool) -> _Chain:
    if record.seq == 1 and record.prev == "" and (merged or not begun) and record.mac not in begun:
        begun.add(record.mac)
        return _Chain()
    chain = heads.pop(record.prev, None)
    if chain is None or chain.seq != record.seq - 1:
        raise AuditError(number, "it does not follow the record before it: records were removed or moved")
    return chain


def _alive(record: AuditRecord, before: str, life: Callable[[str], KeyLife | None] | None) -> str:
    """Return what is wrong with the time of a record, or with the order of its key and the key before."""
    own = life(record.key_id) if life is not None else None
    if life is None or own is None:
        return ""
    at = datetime.fromtimestamp(times.parse(record.time) / 1_000_000_000, UTC)
    if own.start is not None and at < own.start - _SKEW:
        return "its time is before its key was made"
    if own.until is not None and at > own.until + _SKEW:
        return "its time is after the life of its key"
    last = life(before) if before not in ("", record.key_id) else None
    if last is not None and last.start is not None and own.start is not None and own.start < last.start:
        return f"its key is older than the key {before!r} before it"
    return ""


def _differs(record: AuditRecord, anchored: set[tuple[int, str]], *, merged: bool) -> str:
    if merged or not any(seq == record.seq and mac != record.mac for seq, mac in anchored):
        return ""
    return "it is not the record with this number that was anchored"


def _check(number: int, line: bytes, key: Callable[[str], SecretValue | None]) -> AuditRecord:
    if len(line) >= MAX_LINE:
        raise AuditError(number, "the line is too long")
    record = _decode(line)
    if record is None:
        raise AuditError(number, "it is no record")
    value = key(record.key_id) if events.valid_version(record.key_id) else None
    if value is None:
        raise AuditError(number, f"the key {record.key_id[:128]!r} is not known")
    if not hmac.compare_digest(record.signed(value).mac.encode(), record.mac.encode(errors="replace")):
        raise AuditError(number, "its MAC does not fit: it was changed")
    if record.encode() != line or times.write(times.parse(record.time)) != record.time:
        raise AuditError(number, "it is not written canonically")
    return record


def key_ids(lines: Iterable[bytes]) -> list[str]:
    """Return the versions that a log was signed with, in their order: what to fetch before verifying."""
    found: dict[str, None] = {}
    for line in lines:
        record = _decode(line)
        if record is not None and events.valid_version(record.key_id):
            found[record.key_id] = None
    return list(found)
