"""Secrets from AWS Secrets Manager, by boto3.

Region and credentials come from where every AWS program finds them. Needed is ``secretsmanager:GetSecretValue``.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from tradepulse_rotator import errors, times
from tradepulse_rotator.providers._files import stamp
from tradepulse_rotator.store import Version
from tradepulse_rotator.value import SecretValue

if TYPE_CHECKING:
    from collections.abc import Sequence

_CURRENT: Final = "AWSCURRENT"
_PENDING: Final = "AWSPENDING"
_PREVIOUS: Final = "AWSPREVIOUS"
# AWS makes the first version of a secret current at once; this label says that it has not been promoted yet.
_UNPROMOTED: Final = "ROTATOR_UNPROMOTED"

_DENIED: Final = frozenset({
    "AccessDenied", "AccessDeniedException", "DecryptionFailure", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature",
    "InvalidClientTokenId", "InvalidIdentityToken", "InvalidSignatureException", "MissingAuthenticationToken", "NotAuthorized",
    "OptInRequired", "RegionDisabledException", "SignatureDoesNotMatch", "UnrecognizedClientException",
})  # fmt: skip
_THROTTLED: Final = frozenset({
    "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException", "RequestLimitExceeded",
    "TooManyRequestsException", "LimitExceededException", "SlowDown",
})  # fmt: skip

_UNAUTHORIZED: Final = (401, 403)
_TOO_MANY: Final = 429
_SERVER: Final = 500


class AwsProvider:
    """Reads with a client of Secrets Manager; without one it makes one, whose calls are bounded in time."""

    name = "aws"

    def __init__(self, client: Any | None = None) -> None:  # noqa: ANN401  # boto3 makes its classes when it runs
        self._lock = threading.Lock()
        self._files = None if client else _shared_files()
        try:
            self._client = client or _connect(boto3.session.Session())
        except BotoCoreError as err:
            raise errors.ConfigurationError(f"aws: {err} Set AWS_REGION, and credentials where every AWS program finds them.") from None

    def read(self, path: str, version: str | None = None) -> tuple[Version, SecretValue]:
        """Read a version by its id, or the one that is labelled current."""
        found, value = self._get(path, {"VersionId": version} if version is not None else {"VersionStage": _CURRENT})
        if version is None and found.pending:
            raise errors.NoValueError(f"aws: {path}: no version has been promoted yet")
        return found, value

    def read_previous(self, path: str, current: Version) -> tuple[Version, SecretValue]:
        """Read the version that is labelled previous."""
        found, value = self._get(path, {"VersionStage": _PREVIOUS})
        if found.id == current.id:
            raise errors.NotFoundError(f"aws: {path}: no version before {current.id}")
        return found, value

    def _current(self) -> Any:  # noqa: ANN401  # boto3 makes its classes when it runs
        """Return a client with what the shared files say now: boto3 reads them once."""
        with self._lock:
            if self._files is None or (now := _shared_files()) == self._files:
                return self._client
            # Files that are being replaced do not decode, or have no keys: the client from before stays in use.
            with contextlib.suppress(BotoCoreError):
                session = boto3.session.Session()
                if session.get_credentials() is not None:
                    self._client, self._files = _connect(session), now
            return self._client

    def _get(self, path: str, wanted: dict[str, str]) -> tuple[Version, SecretValue]:
        try:
            answer = self._current().get_secret_value(SecretId=path, **wanted)
        except (ClientError, BotoCoreError) as err:
            raise _classify(path, err) from None
        labels = answer.get("VersionStages", ())
        found = Version(answer["VersionId"], times.of(answer["CreatedDate"]), pending=_pending(labels))
        value = answer.get("SecretString", answer.get("SecretBinary"))
        if value is None:
            raise errors.NoValueError(f"aws: {path}: the version {found.id} has no value")
        return found, SecretValue(value)

    def hint(self, path: str) -> str:
        """Return what to do about a secret that is not there."""
        return f"write a first version of {path!r} in Secrets Manager, or set create: true and let rotator make one"


def _connect(session: Any) -> Any:  # noqa: ANN401  # boto3 makes its classes when it runs
    """Return a client whose calls are bounded in time."""
    config = Config(
        connect_timeout=5,
        read_timeout=10,
        retries={"mode": "adaptive", "max_attempts": 4},
        user_agent_appid="rotator",
    )
    # boto3 knows the second variable only; other SDKs, and Lambda, begin with the first.
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return session.client("secretsmanager", region_name=region, config=config)


def _shared_files() -> list[tuple[int, int, int] | None]:
    """Return what changes when a file with credentials is replaced, None for one that is not there."""
    names = (("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), ("AWS_CONFIG_FILE", "~/.aws/config"))
    return [stamp(Path(os.environ.get(variable) or usual).expanduser()) for variable, usual in names]


def _pending(labels: Sequence[str]) -> bool:
    # AWS leaves AWSPENDING on a version that became current, where it means nothing.
    return _UNPROMOTED in labels or (_PENDING in labels and _CURRENT not in labels)


def _classify(path: str, err: Exception) -> errors.StoreError:
    """Return the error that fits; its text has the reason and nothing of the answer."""
    if isinstance(err, ClientError):
        code = str(err.response.get("Error", {}).get("Code", ""))
        status = int(err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return _kind(code, status, str(err))(f"aws: {path}: {code or status}")
    text = f"aws: {path}: {type(err).__name__}"
    if isinstance(err, NoCredentialsError | PartialCredentialsError):
        return errors.AccessDeniedError(text)
    if isinstance(err, ParamValidationError):
        return errors.InvalidError(text)
    return errors.UnavailableError(text)


def _kind(code: str, status: int, text: str) -> type[errors.StoreError]:
    if "deletion" in text or "marked deleted" in text:
        return errors.DeletedError
    if code == "ResourceNotFoundException":
        return errors.NoValueError if "secret value" in text else errors.NotFoundError
    if code in _DENIED or status in _UNAUTHORIZED:
        return errors.AccessDeniedError
    if code in _THROTTLED or status == _TOO_MANY:
        return errors.ThrottledError
    if status >= _SERVER or code.startswith(("Internal", "ServiceUnavailable", "RequestTimeout")):
        return errors.UnavailableError
    return errors.InvalidError
