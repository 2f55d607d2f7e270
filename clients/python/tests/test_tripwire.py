"""The uses of retired versions are counted exactly, and reported rarely."""

from __future__ import annotations

import pytest

from tradepulse_rotator.tripwire import MAX_RETIRED_USES, OTHERS, UNKNOWN, Tripwire, client_name

_MINUTE = 60 * 10**9


class Clock:
    def __init__(self) -> None:
        self.now = 10**18

    def __call__(self) -> int:
        return self.now


def test_a_tripwire_is_bounded() -> None:
    clock = Clock()
    wire = Tripwire(clock)
    reports = sum(wire.used(f"v{n % 3}", f"192.0.2.{n % 500}") > 0 for n in range(10_000))
    first = wire.record()
    assert len(first) == reports == MAX_RETIRED_USES
    assert sum(u.uses for u in first) == 10_000
    clock.now += _MINUTE - 1
    wire.used("v0", first[0].client)
    wire.used("v9", "198.51.100.1")
    assert wire.record() == first, "within a minute the record stays as it is"
    clock.now += 1
    assert sum(u.uses for u in wire.record()) == 10_002


def test_a_client_that_comes_later_is_named() -> None:
    clock = Clock()
    wire = Tripwire(clock)
    for n in range(20):
        wire.used("v1", f"192.0.2.{n}")
    wire.record()
    clock.now += 60 * _MINUTE
    assert wire.used("v1", "198.51.100.1") == 1
    assert {u.client: u.uses for u in wire.record()}["198.51.100.1"] == 1
    assert sum(u.client == OTHERS for u in wire.record()) == 1


@pytest.mark.parametrize(
    ("client", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("ingress-7.example.com", "ingress-7.example.com"),
        ("", UNKNOWN),
        ("a b", UNKNOWN),
        ("x\n", UNKNOWN),
        ("é", UNKNOWN),
        ('"}', UNKNOWN),
        ("1" * 65, UNKNOWN),
    ],
)
def test_only_an_address_gets_into_the_record(client: str, name: str) -> None:
    assert client_name(client) == name
