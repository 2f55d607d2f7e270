"""The connection to NATS: notifications in, reports out."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import Header

from tradepulse_rotator import logs
from tradepulse_rotator.errors import RejectedError, RotatorError
from tradepulse_rotator.events import Event, Names, Report, Verifier, check_token, key
from tradepulse_rotator.metrics import Metrics, SafeMetrics
from tradepulse_rotator.value import SecretValue

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import timedelta

    from nats.aio.msg import Msg

    _OnMessage = Callable[[Msg], Awaitable[None]]

_CALL_TIMEOUT: Final = 10.0
_READ_TIMEOUT: Final = 3.0  # a server that has just started answers nothing at first
_FIRST_PAUSE: Final = 0.5
_LAST_PAUSE: Final = 30.0


class BusError(RotatorError):
    """The bus did not take or give something."""


class Bus(Protocol):
    """What a manager needs of a bus; :class:`NatsBus` is one."""

    async def start(self, service: str, notified: Callable[[Event], None], connected: Callable[[], None]) -> None:
        """Listen for notifications to a service, and tell of each time that the connection was made."""

    async def last_notified(self, service: str, secret_id: str) -> Event | None:
        """Return the last notification to a service about a secret."""

    async def report(self, report: Report, lease: timedelta) -> None:
        """Publish what an instance runs; it is gone unless it is renewed within the lease."""

    async def withdraw(self, service: str, instance: str) -> None:
        """End the report of an instance at once."""

    async def close(self) -> None:
        """End the connection."""


@dataclass(frozen=True)
class NatsOptions:
    """How to reach NATS. At most one of the ways to log in is set."""

    servers: tuple[str, ...]
    name: str = "tradepulse-rotator"
    nkey_file: str | None = None
    """A file with the seed of an nkey."""
    creds_file: str | None = None
    """A file with a user JWT and its key."""
    user: str | None = None
    password: SecretValue | None = None
    tls: ssl.SSLContext | None = None
    api_prefix: str = "$JS.API"
    """Where the JetStream API is; in an account of the service's own it may be ``ROTATOR.API``."""

    def login(self) -> dict[str, Any]:
        """Return the options of the connection that log in."""
        password = None if self.password is None else self.password.reveal_text()
        ways = {
            "nkeys_seed": self.nkey_file,
            "user_credentials": self.creds_file,
            "user": self.user,
            "password": password,
            "tls": self.tls,
        }
        return {name: way for name, way in ways.items() if way is not None}


class NatsBus:
    """A connection to NATS that comes back by itself for ever.

    A server that cannot be reached keeps nothing from starting: it is tried in the background, and said in the log.
    """

    def __init__(self, options: NatsOptions, verifier: Verifier, *, prefix: str = "", metrics: Metrics | None = None) -> None:
        self._options = options
        self._verifier = verifier
        self._names = Names(prefix)
        self._metrics = SafeMetrics(metrics)
        self._nc: Client | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, service: str, notified: Callable[[Event], None], connected: Callable[[], None]) -> None:
        """Connect in the background, and call ``notified`` with each notification that is to be trusted."""
        check_token("service", service)

        async def on_message(message: Msg) -> None:
            event = self._decode(message.subject, message.headers or {}, message.data)
            if event is not None:
                notified(event)

        subject = self._names.live(service, "*")
        self._task = asyncio.create_task(self._run(subject, on_message, connected), name="rotator-nats")

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._nc is not None and self._nc.is_connected

    async def _run(self, subject: str, on_message: _OnMessage, connected: Callable[[], None]) -> None:
        """Keep a connection. nats-py makes most of them again by itself, but gives up for good when a server says no."""
        pause = _FIRST_PAUSE
        while True:
            try:
                ended = await self._connect(connected)
                await self._client().subscribe(subject, cb=on_message)
                await self._client().flush(timeout=5)
                logs.event(logging.INFO, "nats.connected", subject=subject)
                connected()
                pause = _FIRST_PAUSE
                await ended.wait()
                error = "the connection was closed"
            except (OSError, nats.errors.Error, BusError, TimeoutError) as err:
                error = f"{type(err).__name__}: {err}"
            logs.event(logging.WARNING, "nats.unreachable", error=error, again_in=pause)
            await self._disconnect()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)

    async def _connect(self, connected: Callable[[], None]) -> asyncio.Event:
        """Connect and return what is set when the connection has ended for good."""
        ended = asyncio.Event()
        last = ""

        async def on_error(err: Exception) -> None:
            nonlocal last
            text = f"{type(err).__name__}: {err}"
            if text != last:  # an outage is said once
                logs.event(logging.WARNING, "nats.error", error=text)
            last = text

        async def on_disconnect() -> None:
            logs.event(logging.WARNING, "nats.disconnected")

        async def on_reconnect() -> None:
            nonlocal last
            last = ""
            logs.event(logging.INFO, "nats.reconnected")
            connected()

        async def on_close() -> None:
            ended.set()

        self._nc = Client()
        await self._nc.connect(
            list(self._options.servers),
            name=self._options.name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            connect_timeout=5,
            error_cb=on_error,
            disconnected_cb=on_disconnect,
            reconnected_cb=on_reconnect,
            closed_cb=on_close,
            **self._options.login(),
        )
        return ended

    async def _disconnect(self) -> None:
        if self._nc is not None and not self._nc.is_closed:
            await self._nc.close()

    def _decode(self, subject: str, headers: Mapping[str, str], body: bytes) -> Event | None:
        try:
            return self._verifier.decode(self._names, subject, headers, body)
        except RejectedError as err:
            self._metrics.count("rotator.events.rejected", {"reason": err.reason})
            logs.event(logging.WARNING, "event.rejected", subject=subject, reason=err.reason)
            return None

    def _client(self) -> Client:
        if self._nc is None or not self._nc.is_connected:
            raise BusError("bus: not connected")
        return self._nc

    async def last_notified(self, service: str, secret_id: str) -> Event | None:
        """Return the last notification to a service about a secret, None when there is none to be trusted."""
        subject = self._names.notify(service, key(secret_id))
        js = self._client().jetstream(prefix=self._options.api_prefix, timeout=_READ_TIMEOUT)
        try:
            message = await js.get_last_msg(self._names.notify_stream, subject, direct=True)
        except nats.js.errors.NotFoundError:
            return None
        except (nats.errors.Error, TimeoutError) as err:
            raise BusError(f"bus: read the last notification: {type(err).__name__}") from err
        return self._decode(subject, message.headers or {}, message.data or b"")

    async def report(self, report: Report, lease: timedelta) -> None:
        """Publish what an instance runs; the lease is rounded up to whole seconds."""
        seconds = max(1, -int(-lease.total_seconds() // 1))
        await self._publish("report", self._names.report(report.service, report.instance), report.encode(), seconds, {})

    async def withdraw(self, service: str, instance: str) -> None:
        """End the report of an instance at once."""
        await self._publish("withdraw the report", self._names.report(service, instance), b"", 1, {Header.ROLLUP: "sub"})

    async def _publish(self, what: str, subject: str, body: bytes, seconds: int, headers: dict[str, Any]) -> None:
        try:
            await self._client().jetstream(timeout=_CALL_TIMEOUT).publish(subject, body, headers=headers, msg_ttl=seconds)
        except (nats.errors.Error, TimeoutError) as err:
            raise BusError(f"bus: {what}: {type(err).__name__}") from err

    async def close(self) -> None:
        """End the connection, and what tries to make one."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._disconnect()
