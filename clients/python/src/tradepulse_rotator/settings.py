"""A service's secrets by environment variables alone."""

from __future__ import annotations

import os
import ssl
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

from tradepulse_rotator import times
from tradepulse_rotator._variables import PROGRAMS, SERVICES
from tradepulse_rotator.bus import NatsBus, NatsOptions
from tradepulse_rotator.errors import ConfigurationError
from tradepulse_rotator.events import Verifier
from tradepulse_rotator.providers.env import EnvProvider
from tradepulse_rotator.store import Source, Spec
from tradepulse_rotator.value import SecretValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tradepulse_rotator.metrics import Metrics
    from tradepulse_rotator.store import Provider


READ: Final = frozenset({
    "ROTATOR_STORE", "ROTATOR_TRUSTED_KEYS", "ROTATOR_CHECKED_AT_USE", "ROTATOR_FENCE", "ROTATOR_JOIN", "ROTATOR_FLEET",
    "ROTATOR_VAULT_ADDRESS", "ROTATOR_VAULT_NAMESPACE", "ROTATOR_VAULT_CA",
    "ROTATOR_VAULT_MOUNT", "ROTATOR_VAULT_PREFIX", "ROTATOR_VAULT_STATE_PREFIX", "ROTATOR_VAULT_AUTH_SECRET_ID_FILE",
    "ROTATOR_NATS_URL", "ROTATOR_NATS_PREFIX", "ROTATOR_NATS_API_PREFIX",
    "ROTATOR_NATS_CREDENTIALS_NKEY_FILE", "ROTATOR_NATS_CREDENTIALS_CREDS_FILE",
    "ROTATOR_NATS_CREDENTIALS_USER", "ROTATOR_NATS_CREDENTIALS_PASSWORD_FILE",
    "ROTATOR_NATS_TLS_CA", "ROTATOR_NATS_TLS_CERT", "ROTATOR_NATS_TLS_KEY",
})  # fmt: skip
"""The variables that this client reads."""

_ARGUMENT: Final = "pass {} to Manager or Secrets"
_LOGIN: Final = "set VAULT_ROLE_ID and VAULT_SECRET_ID or ROTATOR_VAULT_AUTH_SECRET_ID_FILE, or pass login to VaultProvider"
_ROLE: Final = "name the role in a profile of the shared configuration files, and set AWS_PROFILE"
_NATSKV: Final = "the Python client cannot read the store natskv; use aws or vault"

REMEDIES: Final = {
    "ROTATOR_CLIENT_CONFIG": "the Python client reads no configuration file; set the variables of its README",
    "ROTATOR_SERVICE": _ARGUMENT.format("service"),
    "ROTATOR_INSTANCE": _ARGUMENT.format("instance"),
    "ROTATOR_LEASE": _ARGUMENT.format("lease"),
    "ROTATOR_MAX_STALE": "it is called ROTATOR_FENCE now",
    "ROTATOR_POLL_INTERVAL": _ARGUMENT.format("poll_interval"),
    "ROTATOR_REFRESH_MARGIN": "pass refresh_margin to Spec",
    "ROTATOR_TIMEOUT": "pass timeout to VaultProvider, or a client with its own timeouts to AwsProvider",
    "ROTATOR_AWS_REGION": "set AWS_REGION",
    "ROTATOR_AWS_PROFILE": "set AWS_PROFILE",
    "ROTATOR_AWS_ENDPOINT": "set AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "ROTATOR_AWS_ASSUME_ROLE": _ROLE,
    "ROTATOR_AWS_EXTERNAL_ID": _ROLE,
    "ROTATOR_VAULT_AUTH_METHOD": _LOGIN,
    "ROTATOR_VAULT_AUTH_MOUNT": _LOGIN,
    "ROTATOR_VAULT_AUTH_ROLE": _LOGIN,
    "ROTATOR_VAULT_AUTH_ROLE_ID": _LOGIN,
    "ROTATOR_VAULT_AUTH_SECRET_ID_ENV": _LOGIN,
    "ROTATOR_VAULT_AUTH_TOKEN_FILE": _LOGIN,
    "ROTATOR_NATS_CREDENTIALS_PASSWORD_ENV": "set ROTATOR_NATS_CREDENTIALS_PASSWORD_FILE",
    "ROTATOR_NATSKV_BUCKET": _NATSKV,
    "ROTATOR_NATSKV_MASTER_KEY_FILE": _NATSKV,
    "ROTATOR_NATSKV_MASTER_KEY_ENV": _NATSKV,
}
"""What to do about each setting of Go services that this client does not read."""


def _refuse(variables: Mapping[str, str]) -> None:
    """Refuse each setting that is not read, so that none takes effect in Go services only."""
    unread = [name for name in SERVICES if name not in READ and variables.get(name)]
    wrong = [f"{name}: the Python client does not read it: {REMEDIES[name]}" for name in unread]
    wrong += [f"{name}: it is a setting of rotator and notifier: unset it for this service" for name in PROGRAMS if variables.get(name)]
    if wrong:
        raise ConfigurationError("; ".join(wrong))


def provider_from_env(env: Mapping[str, str] | None = None) -> Provider:
    """Return the store that ``ROTATOR_STORE`` names: ``env``, ``aws`` or ``vault``; without it ``env``."""
    variables = os.environ if env is None else env
    _refuse(variables)
    kind = variables.get("ROTATOR_STORE") or "env"
    match kind:
        case "env":
            return EnvProvider(variables)
        case "aws":
            with _extra("aws"):
                from tradepulse_rotator.providers.aws import AwsProvider  # noqa: PLC0415  # boto3 may not be installed

            return AwsProvider()
        case "vault":
            return _vault(variables)
    raise ConfigurationError(f"ROTATOR_STORE is {kind!r}: use env, aws or vault")


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Say what to install when the SDK of a store is not there."""
    try:
        yield
    except ModuleNotFoundError as e:
        raise ConfigurationError(f"ROTATOR_STORE is {name!r}: {e}; install tradepulse-rotator[{name}]") from e


def _vault(env: Mapping[str, str]) -> Provider:
    with _extra("vault"):
        from tradepulse_rotator.providers.vault import AppRole, VaultProvider  # noqa: PLC0415  # hvac may not be installed

    role, secret_id = env.get("VAULT_ROLE_ID", "").strip(), env.get("VAULT_SECRET_ID", "").strip()
    file = env.get("ROTATOR_VAULT_AUTH_SECRET_ID_FILE")
    if file and not role:
        raise ConfigurationError("ROTATOR_VAULT_AUTH_SECRET_ID_FILE: set VAULT_ROLE_ID, too")
    login = None
    if role and (file or secret_id):
        login = AppRole(role, Path(file) if file else SecretValue(secret_id))
    return VaultProvider(
        env=env,
        url=env.get("ROTATOR_VAULT_ADDRESS"),
        login=login,
        namespace=env.get("ROTATOR_VAULT_NAMESPACE"),
        ca_cert=env.get("ROTATOR_VAULT_CA"),
        mount=env.get("ROTATOR_VAULT_MOUNT") or "secret",
        prefix=env.get("ROTATOR_VAULT_PREFIX", ""),
        state_prefix=env.get("ROTATOR_VAULT_STATE_PREFIX") or "rotator-state",
    )


def source_from_env(ids: Iterable[str], env: Mapping[str, str] | None = None) -> Source:
    """Return the secrets that the identifiers name, in the store of ``ROTATOR_STORE``.

    Outside of development ``TRADEPULSE_AUDIT_SECRET_ID=tradepulse/audit-signing-key`` says where an identifier's secret is.
    """
    variables = os.environ if env is None else env
    provider = provider_from_env(variables)
    if isinstance(provider, EnvProvider):
        return Source(provider, [Spec(i) for i in ids], variables)
    return Source(provider, [Spec.from_env(i, variables) for i in ids], variables)


class Options(TypedDict):
    """Options of a :class:`~tradepulse_rotator.manager.Manager`."""

    checked_at_use: tuple[str, ...]
    fence: timedelta | None
    join: str
    fleet: str


def options_from_env(env: Mapping[str, str] | None = None) -> Options:
    """Return what ``ROTATOR_CHECKED_AT_USE``, ids separated as in ``PATH``, and ``ROTATOR_FENCE``, ``_JOIN`` and ``_FLEET`` say."""
    variables = os.environ if env is None else env
    _refuse(variables)
    ids = (i.strip() for i in variables.get("ROTATOR_CHECKED_AT_USE", "").split(os.pathsep))
    try:
        fence = times.duration(variables.get("ROTATOR_FENCE") or "0")
    except ValueError as err:
        raise ConfigurationError(f"ROTATOR_FENCE {err}") from None
    join, fleet = variables.get("ROTATOR_JOIN", ""), variables.get("ROTATOR_FLEET", "")
    return Options(checked_at_use=tuple(i for i in ids if i), fence=fence or None, join=join, fleet=fleet)


def bus_from_env(env: Mapping[str, str] | None = None, *, metrics: Metrics | None = None) -> NatsBus | None:
    """Return the bus that ``ROTATOR_NATS_URL`` names, None without it."""
    variables = os.environ if env is None else env
    _refuse(variables)
    urls = [u.strip() for u in variables.get("ROTATOR_NATS_URL", "").split(",") if u.strip()]
    if not urls:
        return None
    keys = [k for k in variables.get("ROTATOR_TRUSTED_KEYS", "").split(os.pathsep) if k]
    if not keys:
        raise ConfigurationError(
            "ROTATOR_TRUSTED_KEYS: list the public keys of every rotator and notifier on this bus, or no event is believed"
        )
    password_file = variables.get("ROTATOR_NATS_CREDENTIALS_PASSWORD_FILE")
    options = NatsOptions(
        servers=tuple(urls),
        nkey_file=variables.get("ROTATOR_NATS_CREDENTIALS_NKEY_FILE"),
        creds_file=variables.get("ROTATOR_NATS_CREDENTIALS_CREDS_FILE"),
        user=variables.get("ROTATOR_NATS_CREDENTIALS_USER"),
        password=_password(password_file)() if password_file else None,
        read_password=_password(password_file) if password_file else None,
        tls=_tls(variables),
        read_tls=partial(_tls, variables),
        api_prefix=variables.get("ROTATOR_NATS_API_PREFIX") or "$JS.API",
    )
    return NatsBus(options, Verifier.from_files(*keys), prefix=variables.get("ROTATOR_NATS_PREFIX", ""), metrics=metrics)


def _password(file: str) -> Callable[[], SecretValue]:
    """Return what reads the password. It is read at the start, so that a mistake is an error, and at each login."""

    def read() -> SecretValue:
        try:
            return SecretValue(Path(file).read_bytes().rstrip(b"\r\n"))
        except OSError as err:
            raise ConfigurationError(f"ROTATOR_NATS_CREDENTIALS_PASSWORD_FILE: {file}: {err.strerror}") from None

    return read


def _tls(variables: Mapping[str, str]) -> ssl.SSLContext | None:
    """Return what the variables of TLS say, None where they say nothing: then the URL decides, and the system's authorities count."""
    ca, cert, key = (variables.get(f"ROTATOR_NATS_TLS_{name}") for name in ("CA", "CERT", "KEY"))
    if not (ca or cert or key):
        return None
    if bool(cert) != bool(key):
        raise ConfigurationError("ROTATOR_NATS_TLS_CERT and ROTATOR_NATS_TLS_KEY: set both or neither")
    try:
        context = ssl.create_default_context(cafile=ca or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if cert:
            context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as err:
        raise ConfigurationError(f"ROTATOR_NATS_TLS_CA, _CERT or _KEY: {err.strerror or err}") from None
    return context
