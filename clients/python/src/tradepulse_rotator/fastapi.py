"""Secrets of a FastAPI service: declared beside the application, loaded by its lifespan.

.. code-block:: python

    secrets = Secrets("tradepulse-api")
    audit = secrets.audit_log("TRADEPULSE_AUDIT_SECRET_ID", "audit.jsonl")
    admin = secrets.bearer_token("TRADEPULSE_ADMIN_TOKEN_ID", realm="admin")

    app = FastAPI(lifespan=secrets.lifespan)


    @app.post("/admin/halt", dependencies=[Depends(admin)])
    async def halt() -> None:
        audit.log("trading.halted")
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from fastapi import HTTPException
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.requests import HTTPConnection
from fastapi.security.base import SecurityBase

from tradepulse_rotator import logs
from tradepulse_rotator.audit import AuditFile, AuditLogger, AuditRecord
from tradepulse_rotator.auth import TokenAuthenticator, TokenUse, refusal
from tradepulse_rotator.errors import AbsentError, ConfigurationError, FenceError, NotStartedError, RotatorError
from tradepulse_rotator.keyring import Keyring, KeyUse
from tradepulse_rotator.manager import Manager
from tradepulse_rotator.settings import bus_from_env, options_from_env, source_from_env

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from pathlib import Path

    from tradepulse_rotator.bus import Bus
    from tradepulse_rotator.metrics import Metrics
    from tradepulse_rotator.store import Source, Spec

DEFAULT_OVERLAP: Final = timedelta(hours=1)


class _Part(Protocol):
    async def open(self, manager: Manager, stack: AsyncExitStack) -> None: ...


_P = TypeVar("_P", bound=_Part)


class KeyringHandle:
    """A key ring that the lifespan fills."""

    def __init__(self, secret_id: str, kind: KeyUse, keep: timedelta | None) -> None:
        self._secret_id, self._kind, self._keep = secret_id, kind, keep
        self._ring: Keyring | None = None

    async def open(self, manager: Manager, stack: AsyncExitStack) -> None:
        """Load the keys."""
        self._ring = await Keyring.open(manager, self._secret_id, self._kind, keep=self._keep)
        stack.callback(self._ring.close)

    def __call__(self) -> Keyring:
        """Return the key ring: ``Depends(handle)`` gives it to an endpoint."""
        if self._ring is None:
            raise NotStartedError(f"{self._secret_id}: the lifespan of the application has not started")
        return self._ring


class AuditLog:
    """An audit log that the lifespan opens, and continues where the process before ended."""

    def __init__(self, keys: KeyringHandle, path: str | Path) -> None:
        self._keys, self._path = keys, path
        self._logger: AuditLogger | None = None

    async def open(self, manager: Manager, stack: AsyncExitStack) -> None:
        """Open the file."""
        file = AuditFile(self._path)
        stack.callback(file.close)
        logger = await AuditLogger.open(manager, self._keys(), file)
        stack.callback(logger.close)
        if file.last is not None:
            logger.resume(file.last)
        self._logger = logger

    def log(self, event: str, fields: Mapping[str, str] | None = None) -> AuditRecord:
        """Append one record and return it."""
        if self._logger is None:
            raise NotStartedError(f"{self._path}: the lifespan of the application has not started")
        return self._logger.log(event, fields)


class BearerToken(SecurityBase):
    """A dependency that lets requests pass which carry an accepted bearer token, and answers others as RFC 6750 says."""

    def __init__(self, secret_id: str, realm: str, overlap: timedelta) -> None:
        if not realm.isascii() or not realm.isprintable() or not {'"', "\\"}.isdisjoint(realm):
            raise ConfigurationError("the realm of a bearer token is printable ASCII without quotes, since it stands in a header")
        self.model = HTTPBearerModel()
        self.scheme_name = "bearer"
        self._secret_id, self._realm, self._overlap = secret_id, realm, overlap
        self._auth: TokenAuthenticator | None = None

    async def open(self, manager: Manager, stack: AsyncExitStack) -> None:
        """Load the token."""
        self._auth = await TokenAuthenticator.open(manager, self._secret_id, overlap=self._overlap)
        stack.callback(self._auth.close)

    async def __call__(self, connection: HTTPConnection) -> TokenUse:
        """Return which token the request carried."""
        if self._auth is None:
            raise NotStartedError(f"{self._secret_id}: the lifespan of the application has not started")
        client = connection.client.host if connection.client else "unknown"
        try:
            await self._auth.confirm()
            use = self._auth.authenticate(connection.headers.getlist("Authorization"), client)
        except AbsentError as err:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(err)) from err
        except FenceError as err:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "1"}) from err
        if not use.accepted:
            code, headers = refusal(self._realm, use)
            raise HTTPException(code, headers=headers)
        return use


class Secrets:
    """The secrets of an application. Declare them first, then give :attr:`lifespan` to the application."""

    def __init__(
        self,
        service: str,
        *,
        source: Callable[[list[str]], Source] = source_from_env,
        bus: Callable[[], Bus | None] | None = None,
        metrics: Metrics | None = None,
        **options: Any,  # noqa: ANN401  # those of Manager
    ) -> None:
        """``source`` and ``bus`` are called at the start of the application; without them the environment says what they are.

        Further options are those of :class:`~tradepulse_rotator.manager.Manager`, and stand before those of the environment.
        """
        self._service, self._source, self._metrics, self._options = service, source, metrics, options
        self._bus = bus if bus is not None else lambda: bus_from_env(metrics=metrics)
        self._ids: dict[str, None] = {}
        self._parts: list[_Part] = []
        self._manager: Manager | None = None

    def need(self, secret_id: str) -> None:
        """Hold a secret that is read through :attr:`manager`."""
        self._ids[secret_id] = None

    def keyring(self, secret_id: str, kind: KeyUse, *, keep: timedelta | None = None) -> KeyringHandle:
        """Declare a key ring."""
        return self._declare(secret_id, KeyringHandle(secret_id, kind, keep))

    def audit_log(self, secret_id: str, path: str | Path, *, keys: KeyringHandle | None = None) -> AuditLog:
        """Declare an audit log in a file of this process."""
        return self._declare(secret_id, AuditLog(keys or self.keyring(secret_id, KeyUse.HISTORY), path))

    def bearer_token(self, secret_id: str, *, realm: str, overlap: timedelta = DEFAULT_OVERLAP) -> BearerToken:
        """Declare a dependency for a bearer token; the one before is accepted for ``overlap`` after a rotation."""
        return self._declare(secret_id, BearerToken(secret_id, realm, overlap))

    def _declare(self, secret_id: str, part: _P) -> _P:
        self.need(secret_id)
        self._parts.append(part)
        return part

    @property
    def manager(self) -> Manager:
        """The manager, once the application has started."""
        if self._manager is None:
            raise NotStartedError("the lifespan of the application has not started")
        return self._manager

    def _specs(self) -> Iterable[Spec]:
        return self._source(list(self._ids)).specs.values()

    async def reload(self) -> None:
        """Read the configuration again, as :meth:`~tradepulse_rotator.manager.Manager.reload` does. A failure is logged."""
        try:
            await self.manager.reload()
        except RotatorError as err:
            logs.event(logging.ERROR, "secret.not_reloaded", error=str(err), detail="the secrets from before stay in use")

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncIterator[None]:
        """Load every secret before the first request, or fail with all that are missing; end all of it after the last."""
        source = self._source(list(self._ids))
        options = {"reconfigure": self._specs, **options_from_env(), **self._options}
        manager = Manager(service=self._service, source=source, bus=self._bus(), metrics=self._metrics, **options)
        async with manager, AsyncExitStack() as stack:
            for part in self._parts:
                await part.open(manager, stack)
            self._manager = manager
            yield
