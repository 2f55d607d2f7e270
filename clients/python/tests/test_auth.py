"""Who may pass while the token rotates."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tradepulse_rotator import Change, Manager, SecretValue, Source, Spec, TokenAuthenticator, TokenUse, Version
from tradepulse_rotator.auth import bearer, challenge
from tradepulse_rotator.providers.env import EnvProvider

ID = "TRADEPULSE_ADMIN_TOKEN_ID"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def change(value: str, *, staged: bool = False) -> Change:
    return Change(ID, Version(value, 0), SecretValue(value), staged=staged)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def auth(clock: Clock) -> TokenAuthenticator:
    manager = Manager(service="api", source=Source(EnvProvider({}), [Spec(ID)], {}))
    return TokenAuthenticator(manager, ID, timedelta(seconds=60), clock)


async def test_the_previous_token_passes_during_the_overlap(auth: TokenAuthenticator, clock: Clock) -> None:
    auth._take(change("one"))
    assert [auth.check(t) for t in ("one", "two", "")] == [TokenUse.CURRENT, TokenUse.REJECTED, TokenUse.REJECTED]
    auth._take(change("two"))
    assert [auth.check(t) for t in ("one", "two")] == [TokenUse.PREVIOUS, TokenUse.CURRENT]
    clock.now = 59.9
    assert auth.check("one").accepted
    clock.now = 60
    assert not auth.check("one").accepted
    auth._take(change("three"))
    assert [auth.check(t) for t in ("one", "two", "three")] == [TokenUse.REJECTED, TokenUse.PREVIOUS, TokenUse.CURRENT]


async def test_the_same_token_again_is_not_its_own_previous(auth: TokenAuthenticator) -> None:
    for value in ("one", "two", "two"):
        auth._take(change(value))
    assert [auth.check(t) for t in ("one", "two")] == [TokenUse.PREVIOUS, TokenUse.CURRENT]


async def test_a_staged_token_passes_before_it_is_current(auth: TokenAuthenticator) -> None:
    auth._take(change("one"))
    auth._take(change("two", staged=True))
    assert [auth.check(t) for t in ("one", "two")] == [TokenUse.CURRENT, TokenUse.STAGED]
    auth._take(change("three", staged=True))
    assert [auth.check(t) for t in ("two", "three")] == [TokenUse.REJECTED, TokenUse.STAGED]
    auth._take(change("three"))
    assert [auth.check(t) for t in ("one", "three")] == [TokenUse.PREVIOUS, TokenUse.CURRENT]


@pytest.mark.parametrize("token", ["x" * (8 << 10) + "x", "\ud800", "\0", "\u043ene", "one "])
async def test_strange_tokens_are_rejected(auth: TokenAuthenticator, token: str) -> None:
    auth._take(change("one"))
    assert auth.check(token) is TokenUse.REJECTED


async def test_before_the_first_token_nothing_passes(auth: TokenAuthenticator) -> None:
    assert not auth.check("\0" * 32).accepted


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("BEARER abc", "abc"),
        ("Bearer ", ""),
        ("Bearer", None),
        ("Basic abc", None),
        ("", None),
        (None, None),
    ],
)
def test_the_header_is_read_as_the_rfc_says(header: str | None, token: str | None) -> None:
    assert bearer(header) == token


def test_the_challenge_quotes_the_realm() -> None:
    assert challenge("admin", sent=False) == 'Bearer realm="admin"'
    assert challenge('a"b\\', sent=True) == 'Bearer realm="a\\"b\\\\", error="invalid_token"'
