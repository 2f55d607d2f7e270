"""Who may pass while the token rotates."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tradepulse_rotator import Change, Manager, SecretValue, Source, Spec, TokenAuthenticator, TokenUse, Version
from tradepulse_rotator.auth import UnsendableError, bearer, refusal
from tradepulse_rotator.errors import UnavailableError
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
async def auth(clock: Clock) -> AsyncIterator[TokenAuthenticator]:
    env = {"TRADEPULSE_ADMIN_TOKEN": "zero"}
    async with Manager(service="api", source=Source(EnvProvider(env), [Spec(ID)], {}), poll_interval=None) as manager:
        yield TokenAuthenticator(manager, ID, timedelta(seconds=60), clock)


def take(auth: TokenAuthenticator, new: Change) -> None:
    """Have a version taken as its manager does."""
    fence = auth._manager._entries[ID].fence
    fence.accept(new.version.id, fence.clock())
    auth._prepare(new)
    if not new.staged:
        auth._commit(new)


async def test_the_previous_token_passes_during_the_overlap(auth: TokenAuthenticator, clock: Clock) -> None:
    take(auth, change("one"))
    assert [auth.check(t) for t in ("one", "two", "")] == [TokenUse.CURRENT, TokenUse.REJECTED, TokenUse.REJECTED]
    take(auth, change("two"))
    assert [auth.check(t) for t in ("one", "two")] == [TokenUse.PREVIOUS, TokenUse.CURRENT]
    clock.now = 59.9
    assert auth.check("one").accepted
    clock.now = 60
    assert not auth.check("one").accepted
    take(auth, change("three"))
    assert [auth.check(t) for t in ("one", "two", "three")] == [TokenUse.REJECTED, TokenUse.PREVIOUS, TokenUse.CURRENT]


async def test_the_same_token_again_is_not_its_own_previous(auth: TokenAuthenticator) -> None:
    for value in ("one", "two", "two"):
        take(auth, change(value))
    assert [auth.check(t) for t in ("one", "two")] == [TokenUse.PREVIOUS, TokenUse.CURRENT]


async def test_a_staged_token_passes_before_it_is_current(auth: TokenAuthenticator) -> None:
    take(auth, change("one"))
    take(auth, change("two", staged=True))
    assert [auth.check(t) for t in ("one", "two")] == [TokenUse.CURRENT, TokenUse.STAGED]
    take(auth, change("three", staged=True))
    assert [auth.check(t) for t in ("two", "three")] == [TokenUse.REJECTED, TokenUse.STAGED]
    take(auth, change("three"))
    assert [auth.check(t) for t in ("one", "three")] == [TokenUse.PREVIOUS, TokenUse.CURRENT]


@pytest.mark.parametrize("token", ["x" * (8 << 10) + "x", "\ud800", "\0", "\u043ene", "one "])
async def test_strange_tokens_are_rejected(auth: TokenAuthenticator, token: str) -> None:
    take(auth, change("one"))
    assert auth.check(token) is TokenUse.REJECTED


async def test_before_the_first_token_nothing_passes(auth: TokenAuthenticator) -> None:
    assert not auth.check("\0" * 32).accepted


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        (["Bearer abc"], "abc"),
        (["bearer  abc "], "abc"),
        (["BEARER abc"], "abc"),
        (["Bearer "], TokenUse.MALFORMED),
        (["Bearer"], TokenUse.MALFORMED),
        (["Bearer a b"], TokenUse.MALFORMED),
        (["Bearer sec\xf6nd"], TokenUse.MALFORMED),
        (["Bearer abc", "Bearer abc"], TokenUse.MALFORMED),
        (["Basic abc"], TokenUse.MISSING),
        ([""], TokenUse.MISSING),
        ([], TokenUse.MISSING),
    ],
)
def test_the_header_is_read_as_the_rfc_says(headers: list[str], token: str | TokenUse) -> None:
    assert bearer(headers) == token


@pytest.mark.parametrize(
    ("use", "answer"),
    [
        (TokenUse.MISSING, (401, 'Bearer realm="admin"')),
        (TokenUse.REJECTED, (401, 'Bearer realm="admin", error="invalid_token"')),
        (TokenUse.MALFORMED, (400, 'Bearer realm="admin", error="invalid_request"')),
    ],
)
def test_who_may_not_pass_is_told_as_the_rfc_says(use: TokenUse, answer: tuple[int, str]) -> None:
    assert not use.accepted
    code, headers = refusal("admin", use)
    assert (code, headers["WWW-Authenticate"], headers["Cache-Control"]) == (*answer, "no-store")


async def test_a_token_that_was_replaced_twice_within_the_overlap_is_retired_with_the_drop(auth: TokenAuthenticator) -> None:
    for value in ("one", "two", "three"):
        take(auth, change(value))
    assert auth.check("one") is TokenUse.REJECTED
    auth._drop({"three", "two"})
    assert [auth.check(t) for t in ("one", "two")] == [TokenUse.RETIRED, TokenUse.PREVIOUS]
    take(auth, change("one"))
    assert auth.check("one") is TokenUse.CURRENT
    take(auth, change("four"))
    take(auth, change("five"))
    assert auth.check("one") is TokenUse.REJECTED, "it is in use again, and replaced again"


async def test_a_staged_token_that_was_given_up_is_retired(auth: TokenAuthenticator) -> None:
    take(auth, change("one"))
    take(auth, change("two", staged=True))
    auth._withdraw("two")
    assert auth.check("two") is TokenUse.RETIRED


@pytest.mark.parametrize("value", ["", "two words", "line\n", "t\xf6ken", "x" * (8 << 10) + "x"])
async def test_a_token_that_cannot_be_sent_is_refused(auth: TokenAuthenticator, value: str) -> None:
    take(auth, change("one"))
    for staged in (False, True):
        with pytest.raises(UnsendableError) as caught:
            take(auth, change(value, staged=staged))
        assert not value or value not in str(caught.value)
        assert str(caught.value).startswith(f"{auth.secret_id}: ")
    assert auth.check("one") is TokenUse.CURRENT


class Kept(EnvProvider):
    """The environment, in a store that keeps the version before."""

    def __init__(self, env: dict[str, str], *, age: float = 0) -> None:
        super().__init__(env)
        self._started -= round(age * 1e9)

    def read_previous(self, path: str, current: Version) -> tuple[Version, SecretValue]:
        assert (path, current.id) == (ID, "env-1")
        if "BEFORE" not in self._env:
            raise UnavailableError("kept: out of order")
        return Version("env-0", 0), SecretValue(self._env["BEFORE"])


async def test_the_overlap_outlives_the_process() -> None:
    env = {"TRADEPULSE_ADMIN_TOKEN": "two", "BEFORE": "one"}
    for age, use in ((30, TokenUse.PREVIOUS), (3600, TokenUse.REJECTED)):
        async with Manager(service="api", source=Source(Kept(env, age=age), [Spec(ID)], {}), poll_interval=None) as manager:
            clock = Clock()
            auth = TokenAuthenticator(manager, ID, timedelta(minutes=30), clock)
            await manager.attach(ID, auth._hooks())
            await auth._load_previous()
            assert [auth.check(t) for t in ("one", "two")] == [use, TokenUse.CURRENT]
            clock.now = 1771  # more than what was left of the half hour
            assert not auth.check("one").accepted


async def test_a_previous_token_that_cannot_be_had_is_said(logged: Callable[[str], list[dict[str, Any]]]) -> None:
    env = {"TRADEPULSE_ADMIN_TOKEN": "two"}
    for provider, said in ((EnvProvider(env), 0), (Kept(env), 1)):
        async with Manager(service="api", source=Source(provider, [Spec(ID)], {}), poll_interval=None) as manager:
            auth = await TokenAuthenticator.open(manager, ID, overlap=timedelta(hours=1))
            assert auth.check("two") is TokenUse.CURRENT
        assert len(logged("admin.token.no_previous")) == said


@pytest.mark.parametrize("ahead", [0, 600_000_000_000])
async def test_a_version_made_in_the_future_has_no_age(ahead: int) -> None:
    """Without a record the age of the version in use is all that keeps the one before: this clock is behind the store's."""
    env = {"TRADEPULSE_ADMIN_TOKEN": "zero"}
    async with Manager(service="api", source=Source(EnvProvider(env), [Spec(ID)], {}), poll_interval=None) as manager:
        entry = manager._entries[ID]
        entry.current = replace(entry.current, version=replace(entry.current.version, created_at=time.time_ns() + ahead))
        assert await manager.accept(ID, "before") is (ahead == 0)
