"""A service like TradePulse's: an administrative interface behind a bearer token, and an audit log of what was done there.

Run it with ``uvicorn app:app``; README.md says what it needs. Nothing in here knows that secrets rotate.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from io import BytesIO
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from tradepulse_rotator import AuditError, FenceError, JSONFormatter, Keyring, KeyUse, StoreError, TokenUse, verify
from tradepulse_rotator.audit import key_ids
from tradepulse_rotator.fastapi import Secrets
from tradepulse_rotator.prometheus import PrometheusMetrics

MAX_LOG = 64 << 20

handler = logging.StreamHandler()
handler.setFormatter(JSONFormatter())
logging.getLogger("tradepulse_rotator").addHandler(handler)
logging.getLogger("tradepulse_rotator").setLevel(logging.INFO)

AUDIT, ADMIN = "TRADEPULSE_AUDIT_SECRET_ID", "TRADEPULSE_ADMIN_TOKEN_ID"

# Nothing below copies a value of the two: the log signs with a key ring, and the token is compared by a dependency.
metrics = PrometheusMetrics()
# Without the token the service runs, and its administrative routes answer 503 and say what to set.
secrets = Secrets("tradepulse-api", checked_at_use=[AUDIT, ADMIN], optional=[ADMIN], metrics=metrics)
keys = secrets.keyring(AUDIT, KeyUse.HISTORY)
audit = secrets.audit_log(AUDIT, os.environ.get("AUDIT_LOG", "audit.jsonl"), keys=keys)
admin = secrets.bearer_token(ADMIN, realm="tradepulse-admin", overlap=timedelta(minutes=5))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the secrets, and read the configuration again at each SIGHUP."""
    async with secrets.lifespan(app), asyncio.TaskGroup() as reloads:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, lambda: reloads.create_task(secrets.reload()))
        yield
        loop.remove_signal_handler(signal.SIGHUP)


app = FastAPI(title="TradePulse", lifespan=lifespan)


class Order(BaseModel):
    """What an administrator does to a market."""

    symbol: Annotated[str, Field(pattern=r"^[A-Z]{1,8}$")]
    reason: Annotated[str, Field(max_length=200)]


@app.exception_handler(FenceError)
async def fenced(_request: Request, _error: Exception) -> Response:
    """Answer a request that needs a key which may be retired: neither the bus nor the store confirms it."""
    return Response(status_code=503, headers={"Retry-After": "1"})


@app.get("/healthz")
async def healthz() -> dict[str, int]:
    """Say which process answers."""
    return {"pid": os.getpid()}


@app.get("/metrics")
def scrape() -> Response:
    """Answer Prometheus."""
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


@app.post("/admin/halt")
async def halt(order: Order, request: Request, use: Annotated[TokenUse, Depends(admin)]) -> dict[str, int]:
    """Halt trading in a symbol, and leave a record of it."""
    client = request.client.host if request.client else "unknown"
    record = audit.log("trading.halted", {"symbol": order.symbol, "reason": order.reason, "client": client, "token": use})
    return {"seq": record.seq}


@app.post("/admin/audit/verify", dependencies=[Depends(admin)])
async def verify_log(request: Request, ring: Annotated[Keyring, Depends(keys)]) -> dict[str, int]:
    """Verify an audit log that was signed with the same secret, by this service or another, in Python or in Go."""
    if int(request.headers.get("Content-Length", MAX_LOG)) >= MAX_LOG:
        raise HTTPException(413, "the log is too long")
    log = await request.body()
    try:
        known = {version: (await ring.fetch(version)).value for version in key_ids(BytesIO(log))}
        good = await asyncio.to_thread(verify, BytesIO(log), known.get)
    except (AuditError, StoreError) as err:
        raise HTTPException(422, str(err)) from None
    return {"records": good.records}
