"""A FastAPI service: its secrets are loaded by the lifespan, and rotate under it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI

from conftest import Recorder, eventually
from tradepulse_rotator import Keyring, KeyUse, MissingSecretsError, SecretValue, Source, TokenUse, verify
from tradepulse_rotator.errors import ConfigurationError, NotStartedError
from tradepulse_rotator.fastapi import Secrets
from tradepulse_rotator.settings import source_from_env

AUDIT, ADMIN = "TRADEPULSE_AUDIT_SECRET_ID", "TRADEPULSE_ADMIN_TOKEN_ID"

Logged = Callable[[str], list[dict[str, Any]]]


class Service:
    """An application with everything in it."""

    def __init__(self, folder: Path, env: dict[str, str], metrics: Recorder) -> None:
        def source(ids: list[str]) -> Source:
            return source_from_env(ids, env)

        self.env = env
        self.secrets = Secrets("tradepulse-api", source=source, bus=lambda: None, metrics=metrics, poll_interval=timedelta(milliseconds=20))
        keys = self.secrets.keyring(AUDIT, KeyUse.HISTORY)
        self.audit = self.secrets.audit_log(AUDIT, folder / "audit.jsonl", keys=keys)
        self.admin = self.secrets.bearer_token(ADMIN, realm="admin", overlap=timedelta(hours=1))
        self.app = FastAPI(lifespan=self.secrets.lifespan)

        @self.app.get("/open")
        async def open_to_all() -> str:
            return "open"

        @self.app.post("/admin/halt", dependencies=[Depends(self.admin)])
        async def halt() -> int:
            return self.audit.log("trading.halted", {"by": "admin"}).seq

        @self.app.get("/admin/key")
        async def key(use: Annotated[TokenUse, Depends(self.admin)], ring: Annotated[Keyring, Depends(keys)]) -> list[str]:
            return [use, ring.current().id]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app, client=("192.0.2.7", 4711))
        async with self.app.router.lifespan_context(self.app), httpx.AsyncClient(transport=transport, base_url="http://test") as c:
            yield c


@pytest.fixture
def service(tmp_path: Path, metrics: Recorder) -> Service:
    return Service(
        tmp_path, {"TRADEPULSE_AUDIT_SECRET": "Audit-Key-For-Tests-1", "TRADEPULSE_ADMIN_TOKEN": "Admin-Token-For-Tests-1"}, metrics
    )


def with_token(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_the_admin_interface_is_behind_the_token(service: Service, metrics: Recorder) -> None:
    async with service.client() as c:
        assert (await c.get("/open")).status_code == 200
        missing = await c.post("/admin/halt")
        assert (missing.status_code, missing.headers["WWW-Authenticate"]) == (401, 'Bearer realm="admin"')
        wrong = await c.post("/admin/halt", headers=with_token("Wrong"))
        assert (wrong.status_code, wrong.headers["WWW-Authenticate"]) == (401, 'Bearer realm="admin", error="invalid_token"')
        basic = await c.post("/admin/halt", headers={"Authorization": "Basic YTpi"})
        assert (basic.status_code, basic.headers["WWW-Authenticate"]) == (401, 'Bearer realm="admin"')
        malformed = await c.post("/admin/halt", headers=with_token("two words"))
        assert (malformed.status_code, malformed.headers["WWW-Authenticate"]) == (400, 'Bearer realm="admin", error="invalid_request"')
        right = await c.post("/admin/halt", headers=with_token("Admin-Token-For-Tests-1"))
        assert (right.status_code, right.json()) == (200, 1)
        key = await c.get("/admin/key", headers=with_token("Admin-Token-For-Tests-1"))
        assert key.json() == ["current", "env-1"]
    uses = [a["token"] for n, a in metrics.attributes if n == "admin.token.uses"]
    assert uses == ["missing", "rejected", "missing", "malformed", "current", "current"]


async def test_both_secrets_rotate_under_it(service: Service, tmp_path: Path, logged: Logged, metrics: Recorder) -> None:
    async with service.client() as c:

        def rotated(n: int) -> bool:
            return len(logged("admin.token.rotated")) == n == len(logged("audit.secret.loaded"))

        for n in (2, 3):
            service.env["TRADEPULSE_AUDIT_SECRET"] = f"Audit-Key-For-Tests-{n}"
            service.env["TRADEPULSE_ADMIN_TOKEN"] = f"Admin-Token-For-Tests-{n}"
            await eventually(partial(rotated, n))
            for token in (f"Admin-Token-For-Tests-{n}", f"Admin-Token-For-Tests-{n - 1}", f"Admin-Token-For-Tests-{n - 1}"):
                assert (await c.post("/admin/halt", headers=with_token(token))).status_code == 200
            assert (await c.post("/admin/halt", headers=with_token(f"Admin-Token-For-Tests-{n - 2}"))).status_code == 401
    assert logged("admin.token.previous_used") == [  # once per rotation
        {"secret_id": ADMIN, "version_id": version, "client": "192.0.2.7"} for version in ("env-1", "env-2")
    ]
    assert ("admin.token.uses", {"token": "previous"}) in metrics.attributes
    with (tmp_path / "audit.jsonl").open("rb") as lines:
        assert verify(lines, lambda v: SecretValue(f"Audit-Key-For-Tests-{v[-1]}")).records == 7  # with the change of the key


async def test_the_audit_log_goes_on_after_a_restart(service: Service) -> None:
    for n in (1, 2, 3):
        async with service.client() as c:
            assert (await c.post("/admin/halt", headers=with_token("Admin-Token-For-Tests-1"))).json() == n


async def test_it_does_not_start_without_its_secrets(service: Service) -> None:
    service.env.clear()
    with pytest.raises(MissingSecretsError) as caught:
        async with service.client():
            pass
    assert AUDIT in str(caught.value)
    assert ADMIN in str(caught.value)


async def test_what_is_used_before_the_start_says_so(service: Service) -> None:
    with pytest.raises(NotStartedError, match="lifespan"):
        service.audit.log("too.early")
    with pytest.raises(NotStartedError, match="lifespan"):
        _ = service.secrets.manager
    with pytest.raises(ConfigurationError):
        service.secrets.bearer_token(ADMIN, realm="zwei\nZeilen")


async def test_the_documentation_of_the_api_shows_the_lock(service: Service) -> None:
    schema = service.app.openapi()
    assert schema["components"]["securitySchemes"] == {"bearer": {"type": "http", "scheme": "bearer"}}
    assert schema["paths"]["/admin/halt"]["post"]["security"] == [{"bearer": []}]


async def test_a_secret_can_be_read_through_the_manager(service: Service) -> None:
    service.secrets.need("OTHER")
    service.env["OTHER"] = "other"
    async with service.client():
        assert service.secrets.manager.get("OTHER").value.reveal_text() == "other"


async def test_past_the_fence_the_service_says_that_it_is_unavailable(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTATOR_CHECKED_AT_USE", f"{AUDIT}:{ADMIN}")
    async with service.client() as c:
        entry = service.secrets.manager._entries[ADMIN]
        assert entry.checked
        token = service.env.pop("TRADEPULSE_ADMIN_TOKEN")
        monkeypatch.setattr(entry.fence, "period", 0)
        refused = await c.post("/admin/halt", headers=with_token(token))
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        service.env["TRADEPULSE_ADMIN_TOKEN"] = token
        monkeypatch.setattr(entry.fence, "period", 10**18)
        assert (await c.post("/admin/halt", headers=with_token(token))).status_code == 200
