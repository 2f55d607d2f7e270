"""Secrets that rotate under a running service.

A :class:`Manager` holds the current version of every secret of a service, hears of new ones over NATS, and takes them into
use in place; the store is read with the credentials of the service, and what the process runs is reported, which is how
rotator knows when the old version may be retired. A version that a hook refuses leaves the one before in use.

The package writes to no store and decides nothing about rotation.
"""

from tradepulse_rotator.audit import AuditError, AuditFile, AuditLogger, AuditRecord, verify
from tradepulse_rotator.auth import TokenAuthenticator, TokenUse
from tradepulse_rotator.bus import NatsBus, NatsOptions
from tradepulse_rotator.errors import AbsentError, FenceError, MissingSecretsError, RotatorError, StoreError
from tradepulse_rotator.events import Verifier
from tradepulse_rotator.keyring import Key, Keyring, KeyUse
from tradepulse_rotator.logs import JSONFormatter
from tradepulse_rotator.manager import Manager
from tradepulse_rotator.metrics import Metrics
from tradepulse_rotator.reload import Current, Handle
from tradepulse_rotator.settings import bus_from_env, options_from_env, source_from_env
from tradepulse_rotator.store import Provider, Source, Spec, Version
from tradepulse_rotator.users import Change, Hooks
from tradepulse_rotator.value import SecretValue

__all__ = [
    "AbsentError",
    "AuditError",
    "AuditFile",
    "AuditLogger",
    "AuditRecord",
    "Change",
    "Current",
    "FenceError",
    "Handle",
    "Hooks",
    "JSONFormatter",
    "Key",
    "KeyUse",
    "Keyring",
    "Manager",
    "Metrics",
    "MissingSecretsError",
    "NatsBus",
    "NatsOptions",
    "Provider",
    "RotatorError",
    "SecretValue",
    "Source",
    "Spec",
    "StoreError",
    "TokenAuthenticator",
    "TokenUse",
    "Verifier",
    "Version",
    "bus_from_env",
    "options_from_env",
    "source_from_env",
    "verify",
]
