"""Secrets from environment variables, for development.

A path names a variable. A path that ends in ``_ID``, such as ``TRADEPULSE_AUDIT_SECRET_ID``, is an identifier, whose value is the
first there is of: the variable that ``TRADEPULSE_AUDIT_SECRET_ID`` names, the variable without ``_ID``. The text of a variable that
ends in ``_ID`` is never a value: it may be a path in another store, and everyone who sees the deployment sees it. A variable that is set to
nothing is not set. A path that is no name of a variable, such as ``orders/db-password``, is looked up in upper case with ``_`` for other
characters, ``ORDERS_DB_PASSWORD``: no shell can set the other.

``<path>_TTL_SECONDS`` sets the lifetime, or else the variable of the value with ``_TTL_SECONDS`` behind it.
"""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Final

from tradepulse_rotator import times
from tradepulse_rotator.errors import NotFoundError
from tradepulse_rotator.store import Version, lifetime
from tradepulse_rotator.value import SecretValue

if TYPE_CHECKING:
    from collections.abc import Mapping

_IDENTIFIER: Final = "_ID"


def shell_name(path: str) -> str:
    """Return the name of the variable of a path, which is the path itself if a shell can set it."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", path, re.ASCII):
        return path
    name = re.sub(r"[^A-Za-z0-9_]", "_", path.upper())
    return f"_{name}" if name[:1].isdigit() or not name else name


class EnvProvider:
    """Reads the variables of this process, or of a mapping."""

    name = "env"

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._env = os.environ if env is None else env
        self._started = times.now_ns()
        self._lock = threading.Lock()
        # How often a value was seen to change is all that the id of a version tells.
        self._seen: dict[str, tuple[int, int, SecretValue]] = {}  # :: path → number, since when, value

    def read(self, path: str, version: str | None = None) -> tuple[Version, SecretValue]:
        """Read the variable of a path; it has no version but the one that is current."""
        name, text = self._variable(path)
        value = SecretValue(text)
        ttl = lifetime(self._env, path, name, value=value)
        with self._lock:
            number, since, before = self._seen.get(path, (1, self._started, value))
            if before != value:
                number, since = number + 1, times.now_ns()
            self._seen[path] = number, since, value
        found = Version(f"env-{number}", since, None if ttl is None else since + times.span(ttl))
        if version is not None and version != found.id:
            raise NotFoundError(f"env: {path}: an environment variable keeps no version {version}")
        return found, value

    def read_previous(self, path: str, current: Version) -> tuple[Version, SecretValue]:
        """Raise: a variable keeps no earlier version."""
        raise NotFoundError(f"env: {path}: an environment variable keeps no version before {current.id}")

    def _variable(self, path: str) -> tuple[str, str]:
        """Return the name of the variable that has the value of a path, and the value."""
        short = path.removesuffix(_IDENTIFIER)
        names = list(dict.fromkeys((path, shell_name(path)))) if short == path else [self._env.get(path, ""), short]
        for name in names:
            if not name.endswith(_IDENTIFIER) and (value := self._env.get(name)):
                return name, value
        # The text of an identifier is never shown: an operator may have put a value there.
        if short == path:
            raise NotFoundError(f"env: the environment variable {names[-1]} is not set")
        if self._env.get(path):
            raise NotFoundError(f"env: {path} is set and names no variable that has a value, and {short} is not set")
        raise NotFoundError(f"env: neither {short} nor {path} is set")

    def hint(self, path: str) -> str:
        """Return which variable to set."""
        short = path.removesuffix(_IDENTIFIER)
        if short != path and self._env.get(path):
            return f"set {short}, or say with ROTATOR_STORE of which store it is"
        return f"set {shell_name(short)}"
