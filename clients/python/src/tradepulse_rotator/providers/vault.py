"""Secrets from the KV version 2 engine of Vault or OpenBao, by hvac.

The layout is that of rotator's own driver: ``{"value": "…"}`` holds a value as text, ``{"value_base64": "…"}`` one that is
no text, and a secret with any other keys is a JSON document of these keys. The id of a version is its number. Reading the
current version needs ``read`` on the secret; to hold a staged version ahead of its promotion, as ``rollout:
prepare-then-activate`` asks for, a service needs ``read`` under the state prefix, too.
"""

from __future__ import annotations

import base64
import binascii
import os
import threading
import time
from dataclasses import dataclass
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

_TEXT: Final = "value"
_BASE64: Final = "value_base64"


class Login(Protocol):
    """A way to get a token: where to ask, and with what."""

    def request(self) -> tuple[str, dict[str, str]]:
        """Return the path of the login and its body."""


@dataclass(frozen=True)
class AppRole:
    """Logs in with a role id and a secret id."""

    role_id: str
    secret_id: SecretValue
    mount: str = "approle"

    def request(self) -> tuple[str, dict[str, str]]:
        """Return the path of the login and its body."""
        return f"auth/{self.mount}/login", {"role_id": self.role_id, "secret_id": self.secret_id.reveal_text()}


@dataclass(frozen=True)
class Jwt:
    """Logs in with a signed token in a file, read anew each time: those who issue them replace them."""

    role: str
    file: str | Path = KUBERNETES_TOKEN_FILE
    mount: str = "kubernetes"

    def request(self) -> tuple[str, dict[str, str]]:
        """Return the path of the login and its body."""
        try:
            token = Path(self.file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as err:
            raise errors.AccessDeniedError(f"vault: log in: {self.file}: {type(err).__name__}") from None
        return f"auth/{self.mount}/login", {"role": self.role, "jwt": token}


class VaultProvider:
    """Reads with a token, or logs in and does so again when the token has ended."""

    name = "vault"

    def __init__(  # noqa: PLR0913  # they are named where it is called, and each has a default
        self,
        *,
        url: str | None = None,
        token: SecretValue | None = None,
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
            base_uri=url or said.address(),
            token=token.reveal_text() if token else None,
            namespace=namespace or said["NAMESPACE"] or None,
            timeout=timeout,
            session=said.session(ca_cert),
        )
        self._login = login
        self._lock = threading.Lock()
        self._login_at = 0.0 if login else float("inf")
        self._mount, self._prefix, self._state = mount.strip("/"), prefix.strip("/"), state_prefix.strip("/")

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
        """Read the version with the number before."""
        return self._version(path, _number(path, str(_number(path, current.id) - 1)))

    def hint(self, path: str) -> str:
        """Return what to do about a secret that is not there."""
        return f"write a first version at {self._full(path)!r} in the mount {self._mount!r}, or set create: true and let rotator make one"

    def _full(self, path: str) -> str:
        return f"{self._prefix}/{path}".strip("/")

    def _version(self, path: str, number: int) -> tuple[Version, SecretValue]:
        data = self._get(path, f"{self._mount}/data/{self._full(path)}", number)
        meta, held = data.get("metadata"), data.get("data")
        if not isinstance(meta, dict) or not isinstance(held, dict):
            raise errors.NotFoundError(f"vault: {path}: the version has no value")
        try:
            created = times.parse(str(meta.get("created_time")))
        except ValueError:
            raise errors.InvalidError(f"vault: {path}: the answer is not that of a KV version 2 engine") from None
        return Version(str(meta.get("version")), created), decode(path, held)

    def _pending(self, path: str, version: str) -> tuple[Version, SecretValue] | None:
        """Read a version that waits for its promotion: it is kept beside the secret and comes after the current one."""
        try:
            newest = int(self._version(path, 0)[0].id)
        except errors.NotFoundError:
            newest = 0
        held = self._get(path, f"{self._mount}/data/{self._state}/{self._full(path)}", 0).get("data")
        try:
            state = canonical.load(str(held["state"])) if isinstance(held, dict) else None
            pending = state["pending"] if isinstance(state, dict) else None
            if not isinstance(pending, dict) or int(pending["from"]) != newest or str(newest + 1) != version:
                return None
            return Version(version, times.parse(pending["created_at"]), pending=True), decode(path, pending["data"])
        except (ValueError, KeyError, TypeError):
            return None

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
            if self._login is not None and (again or time.monotonic() >= self._login_at):
                self._log_in(path, self._login)
            token: str | None = self._adapter.token
            return token

    def _log_in(self, path: str, login: Login) -> None:
        where, body = login.request()
        try:
            answer = self._adapter.post("/v1/" + quote(where), json=body)
            auth = answer.json()["auth"]
            token, ttl = str(auth["client_token"]), float(auth["lease_duration"])
        except hvac.exceptions.InvalidRequest:
            raise errors.AccessDeniedError("vault: log in: refused") from None
        except (hvac.exceptions.VaultError, requests.RequestException) as err:
            raise _classify(path, err, "log in: ") from None
        except (ValueError, KeyError, TypeError):
            raise errors.UnavailableError("vault: log in: the answer has no token") from None
        self._adapter.token = token
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
