"""What a driver says of a login that failed has no password in it, in whatever field it stands."""

from __future__ import annotations

import asyncio
import traceback

import pytest

from conftest import eventually
from tradepulse_rotator import Manager, SecretValue, Source, Spec
from tradepulse_rotator.databases import Credentials, Login, Where
from tradepulse_rotator.providers.env import EnvProvider
from tradepulse_rotator.scrub import scrub_error

OLD, NEW = "Old-Password-1", "New-Password-2"


class DriverError(Exception):
    """An exception of a driver, which has more than its arguments."""

    def __init__(self, text: str) -> None:
        super().__init__(text, text.encode())
        self.detail = text


def fail() -> None:
    raise DriverError(f"login with {NEW} failed, and so did {OLD}") from OSError(1, f"refused postgres://app:{OLD}@db", f"/{NEW}")


def shown(error: BaseException) -> str:
    parts = [error, error.__cause__, getattr(error, "detail", "")]
    return "".join(traceback.format_exception(error, limit=0)) + repr(parts) + repr([getattr(p, "args", ()) for p in parts])


def check(error: BaseException) -> None:
    text = shown(error)
    assert "[redacted]" in text
    assert OLD not in text
    assert NEW not in text


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_login_that_fails_quotes_neither_the_old_nor_the_new_password(*, blocking: bool) -> None:
    env = {"DB": OLD}
    working = True

    async def verify(_: Login) -> None:
        if not working:
            fail()

    async def dial(_: Login) -> None:
        fail()

    async def replace() -> None:
        pass

    async def close(_: None) -> None:
        pass

    async with Manager(service="api", source=Source(EnvProvider(env), [Spec("DB")], {}), poll_interval=None) as manager:
        async with Credentials(manager, "DB", Where(user="app"), verify, replace) as credentials:
            env["DB"] = NEW
            manager._entries["DB"].poll()
            await eventually(lambda: credentials.login.password == SecretValue(NEW))
            connecting = asyncio.to_thread(credentials.connect_blocking, lambda _: fail()) if blocking else credentials.connect(dial, close)
            with pytest.raises(DriverError) as caught:
                await connecting
            check(caught.value)
        working = False
        with pytest.raises(DriverError) as caught:
            await Credentials(manager, "DB", Where(user="app"), verify, replace).__aenter__()
        assert NEW not in shown(caught.value)


def test_every_text_of_an_exception_and_of_its_causes_is_scrubbed() -> None:
    for make in (
        lambda: OSError(1, f"refused postgres://app:{OLD}@db", f"/{NEW}"),
        lambda: UnicodeEncodeError("ascii", NEW + "ä", len(NEW), len(NEW) + 1, "ordinal not in range"),
        lambda: ExceptionGroup("all hosts", [DriverError(OLD), ValueError(NEW)]),
    ):
        error = make()
        scrub_error(error, SecretValue(OLD), SecretValue(NEW))
        check(error)
        if isinstance(error, UnicodeEncodeError):
            assert NEW not in error.object
