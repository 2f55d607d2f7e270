"""An optional secret: the service runs without it, and takes a first version into use without a restart."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from fastapi import Depends, FastAPI

from conftest import eventually
from tradepulse_rotator import AbsentError, Keyring, KeyUse, Manager, SecretValue, Source, Spec, Version, errors
from tradepulse_rotator.fastapi import Secrets
from tradepulse_rotator.providers.env import EnvProvider
from tradepulse_rotator.settings import source_from_env

AUDIT, ADMIN = "TRADEPULSE_AUDIT_SECRET_ID", "TRADEPULSE_ADMIN_TOKEN_ID"
SOON = timedelta(milliseconds=20)
TOKEN = {"Authorization": "Bearer Admin-Token-For-Tests-1"}


class Store(EnvProvider):
    """The environment, which refuses to read one path."""

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(env)
        self.refusal: Exception | None = None

    def read(self, path: str, version: str | None = None) -> tuple[Version, SecretValue]:
        if self.refusal is not None and path == ADMIN:
            raise self.refusal
        return super().read(path, version)


@asynccontextmanager
async def service(env: dict[str, str]) -> AsyncIterator[tuple[httpx.AsyncClient, Secrets]]:
    secrets = Secrets(
        "tradepulse-api", source=lambda ids: source_from_env(ids, env), bus=lambda: None, poll_interval=SOON,
        checked_at_use=[AUDIT, ADMIN], optional=[ADMIN],
    )  # fmt: skip
    secrets.need(AUDIT)
    admin = secrets.bearer_token(ADMIN, realm="admin")
    app = FastAPI(lifespan=secrets.lifespan)

    @app.get("/admin", dependencies=[Depends(admin)])
    async def interface() -> str:
        return "open"

    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client, secrets


async def test_the_routes_of_an_absent_token_name_the_variable() -> None:
    env = {"TRADEPULSE_AUDIT_SECRET": "Audit-Key-For-Tests-1"}
    async with service(env) as (client, secrets):
        for headers in ({}, TOKEN, {"Authorization": "Bearer "}):
            answer = await client.get("/admin", headers=headers)
            assert answer.status_code == 503
            assert "set TRADEPULSE_ADMIN_TOKEN" in answer.json()["detail"]
        env["TRADEPULSE_ADMIN_TOKEN"] = "Admin-Token-For-Tests-1"
        await eventually(lambda: not secrets.manager.absent(ADMIN))
        assert (await client.get("/admin", headers=TOKEN)).status_code == 200
        assert (await client.get("/admin", headers={"Authorization": "Bearer other"})).status_code == 401


@pytest.mark.parametrize("use", [KeyUse.HISTORY, KeyUse.LIVE])
async def test_a_key_ring_signs_once_there_is_a_key(use: KeyUse) -> None:
    env: dict[str, str] = {}
    source = Source(Store(env), [Spec(ADMIN)], env)
    async with Manager(service="api", source=source, poll_interval=SOON, checked_at_use=[ADMIN], optional=[ADMIN]) as manager:
        ring = await Keyring.open(manager, ADMIN, use)
        with pytest.raises(AbsentError, match="TRADEPULSE_ADMIN_TOKEN"):
            ring.current()
        with pytest.raises(AbsentError):
            await ring.confirm()
        env["TRADEPULSE_ADMIN_TOKEN"] = "first"
        await eventually(lambda: not manager.absent(ADMIN))
        assert ring.current().value == SecretValue("first")
        assert manager.gauges()


@pytest.mark.parametrize(
    "refusal",
    [
        errors.AccessDeniedError("no"), errors.UnavailableError("no"), errors.ThrottledError("no"), errors.InvalidError("no"),
        errors.DeletedError("no"), errors.NoValueError("no"),
    ],
    ids=lambda e: type(e).__name__,
)  # fmt: skip
async def test_only_a_plain_answer_is_absence(refusal: Exception) -> None:
    store = Store({})
    store.refusal = refusal
    source = Source(store, [Spec(ADMIN)], {})
    with pytest.raises(errors.MissingSecretsError, match=ADMIN):
        async with Manager(service="api", source=source, checked_at_use=[ADMIN], optional=[ADMIN]):
            pass


async def test_what_is_not_checked_at_use_is_not_optional() -> None:
    with pytest.raises(errors.ConfigurationError, match=f"optional: {ADMIN}"):
        Manager(service="api", source=Source(Store({}), [Spec(ADMIN)], {}), optional=[ADMIN])


async def test_an_absent_secret_moves() -> None:
    env: dict[str, str] = {}
    specs = [Spec(ADMIN)]
    source = Source(Store(env), specs, env)
    async with Manager(service="api", source=source, checked_at_use=[ADMIN], optional=[ADMIN], reconfigure=lambda: specs) as manager:
        ring = await Keyring.open(manager, ADMIN, KeyUse.HISTORY)
        specs[0] = replace(specs[0], path="ELSEWHERE")
        await manager.reload()
        with pytest.raises(AbsentError):
            ring.current()
        env["THERE"] = "moved"
        specs[0] = replace(specs[0], path="THERE")
        await manager.reload()
        assert ring.current().value == SecretValue("moved")
