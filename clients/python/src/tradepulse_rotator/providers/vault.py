"""Secrets from the KV version 2 engine of Vault or OpenBao, by hvac.

The layout is that of rotator's own driver: ``{"value": "…"}`` holds a value as text, ``{"value_base64": "…"}`` one that is
no text, and a secret with any other keys is a JSON document of these keys. The id of a version is its number. Reading the
current version needs ``read`` on the secret. A service needs ``read`` under the state prefix, too, to accept the version before
the current one when it starts, and to hold a staged version ahead of its promotion, as ``rollout: prepare-then-activate`` asks for.
"""

from __future__ import annotations

import base64
import binascii
import os
import posixpath
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

import hvac.exceptions
import requests
from hvac.adapters import RawAdapter

from tradepulse_rotator import canonical, errors, times
from tradepulse_rotator.providers import _vault_absence
from tradepulse_rotator.providers._vault_variables import Variables
from tradepulse_rotator.store import Version
from tradepulse_rotator.value import SecretValue

if TYPE_CHECKING:
    from collections.abc import Mapping

KUBERNETES_TOKEN_FILE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105  # a path
"""Where a pod finds its token."""

_REFUSED_PAUSES: Final = (60.0, 120.0, 960.0)
"""The pauses before a login that was refused is repeated unchanged: the server locks a role after five refusals in a row,
of which no two are 15 minutes apart."""
_TRIES_AT_ONCE: Final = 3

_TEXT: Final = "value"
_BASE64: Final = "value_base64"


class Login(Protocol):
    """A way to get a token: where to ask, and with what."""

    def request(self) -> tuple[str, dict[str, str]]:
        """Return the path of the login and its body."""


@dataclass(frozen=True)
class AppRole:
    """Logs in with a role id and a secret id. A secret id in a file is read at each login."""

    role_id: str
    secret_id: SecretValue | Path
    mount: str = "approle"

    def request(self) -> tuple[str, dict[str, str]]:
        """Return the path of the login and its body."""
        secret_id = _read(self.secret_id) if isinstance(self.secret_id, Path) else self.secret_id.reveal_text()
        return f"auth/{self.mount}/login", {"role_id": self.role_id, "secret_id": secret_id}


@dataclass(frozen=True)
class Jwt:
    """Logs in with a signed token in a file, read anew each time: those who issue them replace them."""

    role: str
    file: str | Path = KUBERNETES_TOKEN_FILE
    mount: str = "kubernetes"

    def request(self) -> tuple[str, dict[str, str]]:
        """Return the path of the login and its body."""
        return f"auth/{self.mount}/login", {"role": self.role, "jwt": _read(self.file)}


def _with_scheme(address: str) -> str:
    """Return the address of a server if it can be one."""
    if "://" not in address:
        raise errors.ConfigurationError(
            f"vault: the address {address!r} has no scheme: write https://HOST:8200 in BAO_ADDR, VAULT_ADDR or url"
        )
    return address


def _read(file: str | Path) -> str:
    """Return the credential that a file holds now."""
    try:
        text = Path(file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise errors.AccessDeniedError(f"vault: log in: {file}: {type(err).__name__}") from None
    if not text:
        raise errors.AccessDeniedError(f"vault: log in: {file}: it is empty")
    return text


@dataclass
class _Refused:
    """What came of the last logins: empty after one that succeeded."""

    request: object = field(default=None, repr=False)
    tries: int = 0
    at: float = 0.0

    def left(self, request: object, now: float) -> float:
        """Return for how long a login is not tried yet. Another credential is tried at once: its file may be read half written."""
        if self.tries == 0 or (request != self.request and self.tries < _TRIES_AT_ONCE):
            return 0.0
        pause = _REFUSED_PAUSES[min(self.tries, len(_REFUSED_PAUSES)) - 1] if request == self.request else _REFUSED_PAUSES[0]
        return self.at + pause - now


class VaultProvider:
    """Reads with a token, or logs in and does so again when the token has ended.

    A token in a file is read again when the server refuses the one before.
    """

    name = "vault"

    def __init__(  # noqa: PLR0913  # they are named where it is called, and each has a default
        self,
        *,
        url: str | None = None,
        token: SecretValue | Path | None = None,
        login: Login | None = None,
        mount: str = "secret",
        prefix: str = "",
        state_prefix: str = "rotator-state",
        namespace: str | None = None,
        ca_cert: str | None = None,
        timeout: float = 10,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Take what is not given from the variables of the ``bao`` and ``vault`` commands: ``BAO_ADDR``, else ``VAULT_ADDR``, and so on."""
        said = Variables(os.environ if env is None else env)
        if token is None and login is None and (text := said["TOKEN"]):
            token = SecretValue(text)
        self._adapter = RawAdapter(
            base_uri=_with_scheme(url or said.address()),
            token=token.reveal_text() if isinstance(token, SecretValue) else None,
            namespace=namespace or said["NAMESPACE"] or None,
            timeout=timeout,
            session=said.session(ca_cert),
        )
        self._login = login
        self._token_file = token if isinstance(token, Path) else None
        self._refused = _Refused()
        self._lock = threading.Lock()
        self._login_at = 0.0 if login else float("inf")
        self._mount, self._prefix, self._state = map(normal_path, (mount, prefix, state_prefix))

    def read(self, path: str, version: str | None = None) -> tuple[Version, SecretValue]:
        """Read a version by its number, or the newest one, which is the current."""
        if version is None:
            return self._version(path, 0)
        try:
            return self._version(path, _number(path, version))
        except errors.NotFoundError as missing:
            found = self._pending(path, version)
            if found is None:
                raise missing from None
            return found

    def read_previous(self, path: str, current: Version) -> tuple[Version, SecretValue]:
        """Read the version with the number before, unless rotator has taken its stage away."""
        before = str(_number(path, current.id) - 1)
        found = self._version(path, _number(path, before))
        versions = self._kept(path).get("versions")
        record = versions.get(before) if isinstance(versions, dict) else None
        if isinstance(record, dict) and record.get("kept"):
            raise errors.NotFoundError(f"vault: {path}: version {before} is retired, and its value is kept")
        return found

    def hint(self, path: str) -> str:
        """Return what to do about a secret that is not there."""
        return f"write a first version at {self._full(path)!r} in the mount {self._mount!r}, or set create: true and let rotator make one"

    def _full(self, path: str) -> str:
        return f"{self._prefix}/{normal_path(path)}".strip("/")

    def _version(self, path: str, number: int) -> tuple[Version, SecretValue]:
        data = self._get(path, f"{self._mount}/data/{self._full(path)}", number)
        meta, held = data.get("metadata"), data.get("data")
        if not isinstance(meta, dict) or not isinstance(held, dict):
            raise errors.NoValueError(f"vault: {path}: the version has no value")
        try:
            created = times.parse(str(meta.get("created_time")))
        except ValueError:
            raise errors.InvalidError(f"vault: {path}: the answer is not that of a KV version 2 engine") from None
        return Version(str(meta.get("version")), created, _end(meta.get("deletion_time"))), decode(path, held)

    def _pending(self, path: str, version: str) -> tuple[Version, SecretValue] | None:
        """Read a version that waits for its promotion: it is kept beside the secret and comes after the current one."""
        try:
            newest = int(self._version(path, 0)[0].id)
        except errors.NotFoundError:
            newest = 0
        pending = self._kept(path).get("pending")
        try:
            if not isinstance(pending, dict) or int(pending["from"]) != newest or str(newest + 1) != version:
                return None
            end = _end(pending.get("not_after"))
            return Version(version, times.parse(pending["created_at"]), end, pending=True), decode(path, pending["data"])
        except (ValueError, KeyError, TypeError):
            return None

    def _kept(self, path: str) -> dict[str, object]:
        """Return what rotator keeps beside a secret, empty for nothing."""
        try:
            held = self._get(path, f"{self._mount}/data/{self._state}/{self._full(path)}", 0).get("data")
            state = canonical.load(str(held["state"])) if isinstance(held, dict) else {}
        except errors.NotFoundError:
            return {}
        except (ValueError, KeyError):
            state = None
        if not isinstance(state, dict):
            raise errors.InvalidError(f"vault: {path}: what rotator keeps beside the secret does not decode")
        return state

    def _get(self, path: str, url: str, number: int) -> dict[str, object]:
        used = self._token(path)
        try:
            answer = self._call(path, url, number)
        except errors.AccessDeniedError:
            if self._token(path, refused=used) == used:
                raise
            answer = self._call(path, url, number)
        try:
            data = canonical.load(answer.content)["data"]  # type: ignore[index]  # what else it may be is caught
        except (ValueError, KeyError, TypeError):
            data = None
        if not isinstance(data, dict) or not isinstance(data.get("metadata"), dict):
            raise self._wrong_mount(path) or errors.InvalidError(f"vault: {path}: the answer is not that of a KV version 2 engine")
        return data

    def _call(self, path: str, url: str, number: int) -> requests.Response:
        try:
            answer: requests.Response = self._adapter.get("/v1/" + quote(url), params={"version": number})
        except hvac.exceptions.InvalidPath as err:
            raise self._absent(path, err) from None
        except (hvac.exceptions.VaultError, requests.RequestException) as err:
            raise _classify(path, err) from None
        return answer

    def _absent(self, path: str, err: hvac.exceptions.InvalidPath) -> errors.StoreError:
        gone = _vault_absence.of_version(path, self._mount, self._full(path), err.json)
        return gone or self._wrong_mount(path) or _classify(path, err)

    def _wrong_mount(self, path: str) -> errors.StoreError | None:
        """Ask what the mount is; a server tells a token of the mounts in which it may do something."""
        try:
            answer = self._adapter.get("/v1/sys/internal/ui/mounts/" + quote(self._mount)).json()
        except hvac.exceptions.Forbidden:
            answer = None
        except (hvac.exceptions.VaultError, requests.RequestException, ValueError) as err:
            return _classify(path, err, f"mount {self._mount}: ")
        return _vault_absence.of_mount(path, self._mount, answer)

    def _token(self, path: str, *, refused: str | None = None) -> str | None:
        """Return the token in use, after a login if that is due or the token was refused."""
        with self._lock:
            again = refused is not None and self._adapter.token == refused
            if self._token_file is not None and (again or self._adapter.token is None):
                self._adapter.token = _read(self._token_file)
            if self._login is not None and (again or time.monotonic() >= self._login_at):
                self._log_in(path, self._login)
            token: str | None = self._adapter.token
            return token

    def _log_in(self, path: str, login: Login) -> None:
        where, body = request = login.request()
        left = self._refused.left(request, time.monotonic())
        if left > 0:
            raise errors.AccessDeniedError(f"vault: log in: refused; the next is in {left:.0f} s, or once the credential is replaced")
        try:
            answer = self._adapter.post("/v1/" + quote(where), json=body)
            auth = answer.json()["auth"]
            token, ttl = str(auth["client_token"]), float(auth["lease_duration"])
        except (hvac.exceptions.InvalidRequest, hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized):
            self._refused = _Refused(request, self._refused.tries + 1, time.monotonic())
            raise errors.AccessDeniedError("vault: log in: refused") from None
        except (hvac.exceptions.VaultError, requests.RequestException) as err:
            raise _classify(path, err, "log in: ") from None
        except (ValueError, KeyError, TypeError):
            raise errors.UnavailableError("vault: log in: the answer has no token") from None
        self._adapter.token = token
        self._refused = _Refused()
        # Half of a token's life is left for whatever keeps the next login from working.
        self._login_at = time.monotonic() + ttl / 2 if ttl > 0 else float("inf")


def decode(path: str, data: dict[str, object]) -> SecretValue:
    """Return the value that the data of a secret hold."""
    name, text = next(iter(data.items())) if len(data) == 1 else ("", None)
    if type(text) is not str:  # a number is a kind of str here
        name = ""
    if name == _TEXT:
        return SecretValue(str(text))
    if name == _BASE64:
        try:
            return SecretValue(base64.b64decode(str(text), validate=True))
        except binascii.Error:
            raise errors.InvalidError(f"vault: {path}: {_BASE64} is no base64") from None
    return SecretValue(canonical.document(data))


def normal_path(path: str) -> str:
    """Return the one form of a path: to the engine /a/b, a//b and a/./b are a/b, and it has no parent folders."""
    return posixpath.normpath("/" + path).lstrip("/")


def _end(text: object) -> int | None:
    """Return the end of a version that the engine or rotator has recorded, None for none."""
    try:
        return times.parse(str(text)) if text else None
    except ValueError:
        return None


def _number(path: str, version: str) -> int:
    if not version.isascii() or not version.isdigit() or version.startswith("0"):
        raise errors.NotFoundError(f"vault: {path}: there is no version {version}")
    return int(version)


def _classify(path: str, err: Exception, what: str = "") -> errors.StoreError:
    """Return the error that fits; its text has the kind of the error and nothing of the answer."""
    kinds: tuple[tuple[tuple[type[Exception], ...], type[errors.StoreError]], ...] = (
        ((hvac.exceptions.InvalidPath,), errors.NotFoundError),
        ((hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized), errors.AccessDeniedError),
        ((hvac.exceptions.RateLimitExceeded,), errors.ThrottledError),
        (
            (
                hvac.exceptions.InvalidRequest,
                hvac.exceptions.UnsupportedOperation,
                hvac.exceptions.ParamValidationError,
            ),
            errors.InvalidError,
        ),
    )
    for family, kind in kinds:
        if isinstance(err, family):
            return kind(f"vault: {what}{path}: {type(err).__name__}")
    return errors.UnavailableError(f"vault: {what}{path}: {type(err).__name__}")
