"""The connection to NATS: notifications in, records out."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import nats.errors
import nats.js.errors
from nats.aio.client import Client, RawCredentials
from nats.js.api import Header

from tradepulse_rotator import logs, tasks
from tradepulse_rotator.errors import RejectedError, RotatorError
from tradepulse_rotator.events import Event, Names, Verifier, check_token, key
from tradepulse_rotator.metrics import Metrics, SafeMetrics
from tradepulse_rotator.value import SecretValue

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    from nats.aio.msg import Msg

    from tradepulse_rotator.records import Presence, Use

    _OnMessage = Callable[[Msg], Awaitable[None]]

_CALL_TIMEOUT: Final = 10.0
_READ_TIMEOUT: Final = 3.0  # a server that has just started answers nothing at first
_CONNECT_TIMEOUT: Final = 60.0  # for all servers together; each has 5 s
_PING_INTERVAL: Final = 10  # two that are not answered end the connection
_CHECK_INTERVAL: Final = 1.0
_FIRST_PAUSE: Final = 0.5
_LAST_PAUSE: Final = 30.0
_MAX_LOGGED: Final = 64
_WRONG_LAST_SEQUENCE: Final = frozenset({10071, 10164})

_REFUSAL: Final = re.compile("authorization|authentication", re.IGNORECASE)


class BusError(RotatorError):
    """The bus did not take or give something."""


class ConflictError(BusError):
    """The presence that was to be renewed is not the stored one: the records of this incarnation were lost or removed."""


class Bus(Protocol):
    """What a manager needs of a bus; :class:`NatsBus` is one."""

    async def start(self, service: str, notified: Callable[[Event], None], connected: Callable[[], None]) -> None:
        """Listen for notifications to a service, and tell of each time that the connection was made."""

    async def last_notified(self, service: str, secret_id: str) -> Event | None:
        """Return the last notification to a service about a secret."""

    async def join(self, presence: Presence) -> int:
        """Store a presence whatever was there, after every use was written, and return its sequence."""

    async def renew(self, presence: Presence, after: int) -> int:
        """Replace the presence with the sequence ``after``, and return the new sequence.

        It raises :class:`ConflictError` when another record is stored, or none.
        """

    async def write_use(self, use: Use) -> None:
        """Store a use. It is acknowledged when this returns."""

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
    read_password: Callable[[], SecretValue] | None = None
    """Returns the password as it is now, at each login, in place of ``password``."""
    tls: ssl.SSLContext | None = None
    read_tls: Callable[[], ssl.SSLContext | None] | None = None
    """Returns what the files of TLS say now, for each connection, in place of ``tls``."""
    api_prefix: str = "$JS.API"
    """Where the JetStream API is; in an account of the service's own it may be ``ROTATOR.API``."""

    def login(self) -> dict[str, Any]:
        """Return the options of the connection that log in."""
        password = self.password if self.read_password is None else self.read_password()
        ways = {
            "nkeys_seed": self.nkey_file,
            "user_credentials": None if self.creds_file is None else _credentials(self.creds_file),
            "user": self.user,
            "password": None if password is None else password.reveal_text(),
            "tls": self.tls if self.read_tls is None else self.read_tls(),
        }
        return {name: way for name, way in ways.items() if way is not None}


def _credentials(path: str) -> RawCredentials:
    """Read a credentials file, and check it: nats-py reads one that has a key and no JWT for ever, which stops the event loop."""
    text = Path(path).read_text(encoding="ascii")
    if not re.search(r"BEGIN NATS USER JWT.*\n.+\n(.*\n)*.*BEGIN USER NKEY SEED.*\n.+\n", text):
        raise BusError(f"{path}: has no user JWT and key; write a credentials file of NATS there")
    return RawCredentials(text)


def _reason(error: BaseException) -> str:
    """Return why a connection was not made or ended."""
    if isinstance(error, nats.errors.AuthorizationError):
        return "Authorization Violation"  # what the server said
    if isinstance(error, (nats.errors.Error, BusError)):
        return str(error).removeprefix("nats: ").strip("'") or type(error).__name__
    if isinstance(error, (OSError, TimeoutError)):
        return f"{type(error).__name__}: {error}".removesuffix(": ")
    return tasks.describe(error)


def _is_refusal(error: BaseException) -> bool:
    """Report whether a server refused the credentials."""
    return isinstance(error, nats.errors.Error) and _REFUSAL.search(str(error)) is not None


async def _ended(nc: Client, closed: asyncio.Event) -> BaseException:
    """Wait until a connection is closed, and return why. nats-py may fail before it calls back, so it is asked, too."""
    while nc.is_connected:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CHECK_INTERVAL):
                await closed.wait()
                break
    return nc.last_error or BusError("the connection was closed")


class NatsBus:
    """A connection to NATS that is made again for ever.

    A server that cannot be reached, or that refuses the credentials, keeps nothing from starting: it is tried in the
    background, and logged.
    """

    def __init__(self, options: NatsOptions, verifier: Verifier, *, prefix: str = "", metrics: Metrics | None = None) -> None:
        self._options = options
        self._verifier = verifier
        self._names = Names(prefix)
        self._metrics = SafeMetrics(metrics)
        self._nc: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._pause = _FIRST_PAUSE
        self._discovered: set[str] = set()  # servers of the cluster that earlier connections learned of

    async def start(self, service: str, notified: Callable[[Event], None], connected: Callable[[], None]) -> None:
        """Connect in the background, and call ``notified`` with each notification that is to be trusted."""
        check_token("service", service)

        async def on_message(message: Msg) -> None:
            try:
                event = self._decode(message.subject, message.headers or {}, message.data)
                if event is not None:
                    notified(event)
            except Exception as err:  # noqa: BLE001  # the next message has to be heard
                tasks.failed("nats.message", err, self._metrics)

        hold = partial(self._hold, self._names.live(service, "*"), on_message, connected)
        self._task = asyncio.create_task(tasks.forever("nats", hold, self._metrics), name="rotator-nats")

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._nc is not None and self._nc.is_connected

    async def _hold(self, subject: str, on_message: _OnMessage, connected: Callable[[], None]) -> None:
        """Make one connection, keep it until it ends, log why it ended, and pause.

        nats-py does not reconnect by itself here: it gives up for good when a server refuses a connection that is made, and
        when the credentials cannot be read.
        """
        event = "nats.unreachable"
        try:
            nc, closed = await self._connect()
            await nc.subscribe(subject, cb=on_message)
            await nc.flush(timeout=5)
            logs.event(logging.INFO, "nats.connected", subject=subject)
            event, self._pause = "nats.disconnected", _FIRST_PAUSE
            connected()
            error = await _ended(nc, closed)
        except BaseException as err:
            if tasks.ends(err):
                raise
            error = err
        finally:
            await self._disconnect()
        self._report_end(event, error)
        await asyncio.sleep(tasks.jitter(self._pause))
        self._pause = min(self._pause * 2, _LAST_PAUSE)

    def _report_end(self, event: str, error: BaseException) -> None:
        level, text = logging.WARNING, f"{_reason(error)} at {self._url()}"
        if _is_refusal(error):
            event, level, text = "nats.refused", logging.ERROR, f"{text}; check the credentials"
        logs.event(level, event, error=text, again_in=self._pause)

    def _url(self) -> str:
        """Return the servers that are tried, without the credentials that a URL may have."""
        return ",".join(re.sub(r"^(\w+://)?.*@", r"\1", server) for server in self._servers())

    def _servers(self) -> list[str]:
        return [*self._options.servers, *sorted(self._discovered)]

    async def _connect(self) -> tuple[Client, asyncio.Event]:
        """Return a connection, and what is set when it is closed."""
        closed = asyncio.Event()
        logged: set[str] = set()  # an outage is logged once, though every server is tried each second

        async def on_error(err: Exception) -> None:
            text = f"{_reason(err)} at {self._url()}"
            if text not in logged and not _is_refusal(err):  # a refusal ends the connection, which is logged
                logs.event(logging.WARNING, "nats.error", error=text)
            if len(logged) >= _MAX_LOGGED:
                logged.clear()
            logged.add(text)

        async def on_close() -> None:
            closed.set()

        self._nc = Client()
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            await self._nc.connect(
                self._servers(),
                name=self._options.name,
                allow_reconnect=False,
                max_reconnect_attempts=-1,  # of the servers that cannot be reached
                reconnect_time_wait=1,
                connect_timeout=5,
                ping_interval=_PING_INTERVAL,
                error_cb=on_error,
                closed_cb=on_close,
                **self._options.login(),
            )
        return self._client(), closed

    async def _disconnect(self) -> None:
        if self._nc is None:
            return
        self._discovered.update(uri.geturl() for uri in self._nc.discovered_servers)
        try:
            await self._nc.close()
        except Exception as err:  # noqa: BLE001  # it is closed nevertheless
            logs.event(logging.DEBUG, "nats.close", error=_reason(err))

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
        except Exception as err:
            raise BusError(f"bus: read the last notification: {type(err).__name__}") from err
        return self._decode(subject, message.headers or {}, message.data or b"")

    async def join(self, presence: Presence) -> int:
        """Store a presence whatever was there, and return its sequence."""
        return await self._store("join", self._presence(presence), presence.encode(), {})

    async def renew(self, presence: Presence, after: int) -> int:
        """Replace the presence with the sequence ``after``, and return the new sequence."""
        headers = {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(after)}
        return await self._store("renew the presence", self._presence(presence), presence.encode(), headers)

    async def write_use(self, use: Use) -> None:
        """Store a use."""
        subject = self._names.use(key(use.secret_id), use.service, use.incarnation)
        await self._store(f"write the use of {use.secret_id}", subject, use.encode(), {})

    def _presence(self, presence: Presence) -> str:
        return self._names.presence(presence.service, presence.instance, presence.incarnation)

    async def _store(self, what: str, subject: str, body: bytes, headers: dict[str, str]) -> int:
        """Publish a record, and return its sequence once a server has stored it."""
        js = self._client().jetstream(timeout=_CALL_TIMEOUT)
        try:
            ack = await js.publish(subject, body, headers=headers or None)
        except nats.js.errors.APIError as err:
            if err.err_code in _WRONG_LAST_SEQUENCE:
                raise ConflictError(f"bus: {what}: another record is stored") from err
            raise BusError(f"bus: {what}: {err.description or type(err).__name__}") from err
        except Exception as err:  # nats-py raises more than its own errors while a connection ends
            raise BusError(f"bus: {what}: {type(err).__name__}") from err
        return ack.seq

    async def close(self) -> None:
        """End the connection, and what tries to make one."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._disconnect()
