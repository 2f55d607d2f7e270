"""The policy gate: what has to be true of a service's secrets before its tests are worth running.

Required identifiers have a value, the value is complex enough, and it lives long enough. The same rules as
``rotator policy check``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from tradepulse_rotator import _shapes, times
from tradepulse_rotator.errors import (
    AccessDeniedError,
    ConfigurationError,
    LifetimeError,
    NotFoundError,
    RotatorError,
    StoreError,
    ThrottledError,
    UnavailableError,
)
from tradepulse_rotator.settings import source_from_env
from tradepulse_rotator.store import Source
from tradepulse_rotator.value import SecretValue

AUDIT_SECRET_ID: Final = "TRADEPULSE_AUDIT_SECRET_ID"  # noqa: S105  # an identifier
ADMIN_TOKEN_ID: Final = "TRADEPULSE_ADMIN_TOKEN_ID"  # noqa: S105

MIN_LENGTH: Final = 16
"""The least number of characters of a value."""

MAX_VALUE_LENGTH: Final = 64 << 10
"""The largest value in bytes."""

_CLASSES: Final[tuple[tuple[str, Callable[[str], bool], str], ...]] = (
    ("upper", lambda category: category == "Lu", "add an upper-case letter"),
    ("lower", lambda category: category == "Ll", "add a lower-case letter"),
    ("digit", lambda category: category == "Nd", "add a digit"),
    ("symbol", lambda category: category[0] in "PS", "add a symbol such as ! or -"),
)


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong with a secret. Nothing of a value is in it."""

    id: str
    code: str
    """A constant name: missing, unreadable, ttl, ttl_invalid, or a rule that the value breaks such as min_length."""
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.id}: {self.code}: {self.problem}; {self.remedy}"


class PolicyError(RotatorError):
    """The gate is closed: every violation, each with its remedy."""

    def __init__(self, secrets: int, violations: list[Violation]) -> None:
        bad = len({v.id for v in violations})
        lines = "".join(f"\n  {v}" for v in violations)
        verb = "is" if bad == 1 else "are"
        found = "1 violation" if len(violations) == 1 else f"{len(violations)} violations"
        super().__init__(f"{bad} of {secrets} secrets {verb} not fit for use, {found}:{lines}")
        self.violations = violations


_BROKEN: Final = "the value breaks its policy"


def check_value(value: SecretValue, *, token: bool = False) -> list[tuple[str, str]]:
    """Return the rules of the default policy that a value breaks, each with its remedy.

    It has at least 16 characters, with an upper-case letter, a lower-case letter, a digit and a symbol, none of them
    invisible. It is one piece of text, no document. A ``token`` is sent in an Authorization header.
    """
    return [(rule, remedy) for rule, _, remedy in _broken(value, token=token)]


def _broken(value: SecretValue, *, token: bool) -> list[tuple[str, str, str]]:
    """Return the rules that a value breaks, each with what is wrong and the remedy."""
    raw = value.reveal()
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return [("encoding", _BROKEN, "use text, not binary data")]
    out = []
    shape = _shapes.shape(text)
    if shape:
        out.append(("shape", f"the value is {shape}, which a rotation would lose", "give the service the password or key alone"))
    if len(text) < MIN_LENGTH:
        out.append(("min_length", _BROKEN, f"too short: at least {MIN_LENGTH} characters are required"))
    elif len(raw) > MAX_VALUE_LENGTH:
        out.append(("max_length", _BROKEN, f"too long: at most {MAX_VALUE_LENGTH} bytes are allowed"))
    categories = {unicodedata.category(c) for c in text}
    out += [(rule, _BROKEN, remedy) for rule, has, remedy in _CLASSES if not any(map(has, categories))]
    fault = "" if shape else _shapes.fault(raw, token=token)
    return [*out, ("use", fault, "write it without that")] if fault else out


def _floors() -> dict[str, timedelta]:
    return {AUDIT_SECRET_ID: timedelta(hours=1), ADMIN_TOKEN_ID: timedelta(minutes=30)}


@dataclass(frozen=True)
class Policy:
    """What is asked of a service's secrets. The default is TradePulse's baseline."""

    min_ttl: Mapping[str, timedelta] = field(default_factory=_floors)
    """The required identifiers, and how much of its life each secret must have left; zero for no such floor."""
    source: Callable[[list[str]], Source] = source_from_env
    """Where the secrets are read; without it what ``ROTATOR_STORE`` says, or the environment."""

    def violations(self) -> list[Violation]:
        """Check all secrets and return everything that is wrong; it reads the store and blocks."""
        source = self.source(list(self.min_ttl))
        return [v for secret_id, floor in self.min_ttl.items() for v in _check(source, secret_id, floor)]

    def enforce(self) -> None:
        """Raise :class:`PolicyError` when anything is wrong."""
        if not self.min_ttl:
            raise ConfigurationError("policy gate: no secret is named, so nothing is checked")
        found = self.violations()
        if found:
            raise PolicyError(len(self.min_ttl), found)


def _check(source: Source, secret_id: str, floor: timedelta) -> list[Violation]:
    spec = source.specs[secret_id]
    try:
        version, value = source.read(secret_id)
        fresh = source.fresh_for(secret_id)
    except NotFoundError as err:
        return [Violation(secret_id, "missing", str(err), source.provider.hint(spec.store_path))]
    except LifetimeError as err:
        remedy = "correct it, or remove it where the value shall have no end"
        return [*_complexity(secret_id, err.value), Violation(secret_id, "ttl_invalid", str(err), remedy)]
    except StoreError as err:
        return [Violation(secret_id, "unreadable", str(err), _unreadable(err))]
    return _complexity(secret_id, value) + _remaining(secret_id, floor, spec.not_after(version), fresh)


def _complexity(secret_id: str, value: SecretValue | None) -> list[Violation]:
    broken = [] if value is None else _broken(value, token=secret_id == ADMIN_TOKEN_ID)
    return [Violation(secret_id, rule, problem, remedy) for rule, problem, remedy in broken]


def _remaining(secret_id: str, floor: timedelta, end: int | None, fresh: timedelta | None) -> list[Violation]:
    """Compare what is left until the end of the version, and for how long it will count as fresh, with the floor."""
    left = [fresh] if fresh is not None else []
    if end is not None:
        left.append(timedelta(microseconds=(end - times.now_ns()) // 1000))
    if floor <= timedelta() or not left or min(left) > floor:
        return []
    problem = f"{_words(min(left))} of its life are left, and it has to be more than {_words(floor)}"
    return [Violation(secret_id, "ttl", problem, f"rotate it, or give it a longer lifetime ({secret_id}_TTL_SECONDS)")]


def _unreadable(err: StoreError) -> str:
    if isinstance(err, AccessDeniedError):
        return "let the principal that runs the check read it"
    if isinstance(err, UnavailableError | ThrottledError):
        return "see whether the store can be reached from here, and try again"
    return "see the error; nothing else could be checked"


def _words(span: timedelta) -> str:
    seconds = max(0, round(span.total_seconds()))
    parts = [f"{n}{unit}" for n, unit in ((seconds // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s")) if n]
    return "".join(parts) or "0s"
