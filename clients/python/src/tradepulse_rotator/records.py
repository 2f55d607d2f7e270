"""What an incarnation writes about itself: that it lives, and what it does with each secret.

Both are JSON, byte for byte as ``pkg/events`` writes them.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tradepulse_rotator import canonical, times

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECOND: Final = 1_000_000_000
_NONCE_BYTES: Final = 12
_START_TIME: Final = 19  # in /proc/PID/stat, counted from the state of the process
_INITIAL_PIDS: Final = "pid:[4026531836]"  # the namespace in which a PID means the same to an agent of the host

# What Go escapes in JSON beside what RFC 8259 demands.
_HTML: Final = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"})


class Status(StrEnum):
    """Whether an instance uses the version that it was told of."""

    NONE = ""
    """It has taken no version into use yet."""
    APPLIED = "applied"
    FAILED = "failed"
    STAGED = "staged"


class PastFence(StrEnum):
    """What the users of a secret in one process do with a version that the process could not confirm for its fence."""

    REFUSE = "refuse"
    """Every user of the secret in the process refuses."""
    SERVE = "serve"
    """The process goes on using the version, so its silence proves nothing."""


@dataclass(frozen=True)
class Process:
    """Names one process of one host for ever: a PID comes again, and so does a boot."""

    boot_id: str
    pid: int
    start_ticks: int
    """The start time of the process in clock ticks after the boot."""

    def encode(self) -> str:
        """Return it as it is in a presence."""
        return _object(boot_id=_text(self.boot_id), pid=str(self.pid), start_ticks=str(self.start_ticks))


@dataclass(frozen=True)
class Presence:
    """The record that an incarnation lives. Times are in nanoseconds since 1970."""

    service: str
    instance: str
    incarnation: str
    started_at: int
    at: int
    lease_seconds: int
    fleet: str = ""
    process: Process | None = None
    ended: bool = False
    """Set in the last record of an incarnation."""

    def encode(self) -> bytes:
        """Return the record as it is stored on the bus."""
        fields = {
            "service": _text(self.service),
            "instance": _text(self.instance),
            "incarnation": _text(self.incarnation),
            "started_at": _text(times.write(self.started_at)),
            "at": _text(times.write(self.at)),
            "lease_seconds": str(self.lease_seconds),
        }
        if self.fleet:
            fields["fleet"] = _text(self.fleet)
        if self.process is not None:
            fields["process"] = self.process.encode()
        if self.ended:
            fields["ended"] = "true"
        return _object(**fields).encode()


@dataclass(frozen=True)
class RetiredUse:
    """How often one client used one retired version, which the process refused. The time is in nanoseconds since 1970."""

    version_id: str
    client: str
    """The address of the client."""
    uses: int
    """How often since the process started."""
    last: int

    def encode(self) -> str:
        """Return it as it is in a use."""
        return _object(
            version_id=_text(self.version_id), client=_text(self.client), uses=str(self.uses), last=_text(times.write(self.last))
        )


@dataclass(frozen=True)
class Use:
    """The record of what one incarnation does with one secret. Times are in nanoseconds since 1970.

    It is written before the first read of the secret, with an empty ``version_id``, and after every change.
    """

    secret_id: str
    version_id: str
    status: Status
    at: int
    """When the version in use was taken into use."""
    service: str
    instance: str
    incarnation: str
    past_fence: PastFence
    fence_seconds: int
    """How long the process uses a version without confirming it."""
    wanted: str = ""
    """The version that failed or is staged."""
    reason: str = ""
    accepts: tuple[str, ...] | None = ()
    """The versions besides ``version_id`` that the process authorises or signs something new with. None means any version."""
    joined: bool = True
    """False while the process has taken the secret into use without an acknowledged record."""
    retired_uses: tuple[RetiredUse, ...] = ()
    """Uses of retired versions that the process refused since it started."""
    ended: bool = False
    """Set in the last record of a process that does not use the secret any more, and lives."""

    def encode(self) -> bytes:
        """Return the record as it is stored on the bus."""
        fields = {"secret_id": _text(self.secret_id), "version_id": _text(self.version_id), "status": _text(self.status.value)}
        if self.wanted:
            fields["wanted"] = _text(self.wanted)
        if self.reason:
            fields["reason"] = _text(self.reason)
        fields |= {
            "at": _text(times.write(self.at)),
            "service": _text(self.service),
            "instance": _text(self.instance),
            "incarnation": _text(self.incarnation),
            "accepts": _list(self.accepts),
            "past_fence": _text(self.past_fence.value),
            "fence_seconds": str(self.fence_seconds),
            "joined": "true" if self.joined else "false",
        }
        if self.ended:
            fields["ended"] = "true"
        if self.retired_uses:
            fields["retired_uses"] = "[" + ",".join(u.encode() for u in self.retired_uses) + "]"
        return _object(**fields).encode()


def _text(value: str) -> str:
    return canonical.text(value).translate(_HTML)


def _list(values: Sequence[str] | None) -> str:
    return "null" if values is None else "[" + ",".join(map(_text, values)) + "]"


def _object(**fields: str) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"


def new_incarnation() -> str:
    """Return a nonce that no other process has."""
    return secrets.token_hex(_NONCE_BYTES)


def whole_seconds(ns: int) -> int:
    """Return a length of time in seconds, rounded up, at least one."""
    return max(1, -(-ns // _SECOND))


def this_process(proc: Path = Path("/proc")) -> Process | None:
    """Return which process of its host this is.

    It is None where that cannot be known. In a PID namespace of its own, such as a container's, an agent of the host would
    take another process for this one.
    """
    try:
        if str((proc / "self/ns/pid").readlink()) != _INITIAL_PIDS:
            return None
        boot = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = (proc / "self/stat").read_text(encoding="utf-8", errors="replace")
        ticks = int(stat.rpartition(")")[2].split()[_START_TIME])
    except (OSError, ValueError, IndexError):
        return None
    return Process(boot, os.getpid(), ticks)
