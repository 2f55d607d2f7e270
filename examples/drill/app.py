"""A service with a pool on PostgreSQL: ``uvicorn app:app``. The credentials of the pool rotate; nothing below the pool knows that."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI, Request

from tradepulse_rotator.asyncpg import pool
from tradepulse_rotator.fastapi import Secrets

ORDERS_DB = "ORDERS_DB"
# Without NATS the client polls the store, which is how a deployment reaches this process.
secrets = Secrets("orders", poll_interval=timedelta(seconds=float(os.environ.get("POLL_SECONDS", "60"))))
secrets.need(ORDERS_DB)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the pool once the credentials are there, and close it before they go."""
    settings = {"application_name": os.environ.get("APPLICATION_NAME", "orders")}
    async with (
        secrets.lifespan(app),
        pool(secrets.manager, ORDERS_DB, min_size=2, max_size=10, server_settings=settings) as app.state.orders,
    ):
        yield


app = FastAPI(title="Orders", lifespan=lifespan)


@app.get("/healthz")
async def healthz() -> dict[str, int]:
    """Say which process answers."""
    return {"pid": os.getpid()}


@app.post("/orders")
async def order(request: Request) -> dict[str, str]:
    """Write an order, and say as which user of the database."""
    user = await request.app.state.orders.fetchval("INSERT INTO orders (by) VALUES (session_user) RETURNING by")
    return {"by": user}
