"""How long a version may be used that nothing confirms."""

from __future__ import annotations

import pytest

from tradepulse_rotator import fence
from tradepulse_rotator.fence import Fence, Moment, elapsed

MINUTE = 60 * 10**9


class Clocks:
    """Both clocks, which tests move."""

    def __init__(self) -> None:
        self.boot, self.wall = 7 * MINUTE, 10**18

    def __call__(self) -> Moment:
        return Moment(self.boot, self.wall)

    def advance(self, ns: int) -> None:
        self.boot += ns
        self.wall += ns


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def held(clocks: Clocks) -> Fence:
    """A fence of ten minutes over v1, which was read now."""
    held = Fence(10 * MINUTE, clocks)
    held.use("v1", clocks())
    return held


def test_a_version_may_be_used_for_the_length_of_its_fence(held: Fence, clocks: Clocks) -> None:
    assert not Fence(10 * MINUTE, clocks).holds
    clocks.advance(10 * MINUTE - 1)
    assert held.holds
    clocks.advance(1)
    assert not held.holds


def test_the_clock_on_which_more_has_passed_counts(held: Fence, clocks: Clocks) -> None:
    start = clocks()
    clocks.boot += 10 * MINUTE  # the wall clock was set back, or is
    assert not held.holds
    clocks.boot, clocks.wall = start.boot, start.wall + 10 * MINUTE  # the machine was paused
    assert not held.holds
    assert not held.holds
    assert elapsed(start, Moment(start.boot + 1, start.wall + 2)) == 2


def test_a_renewal_extends_from_when_it_was_sent(held: Fence, clocks: Clocks) -> None:
    clocks.advance(5 * MINUTE)
    sent = clocks()
    clocks.advance(4 * MINUTE)
    held.renewed(["v1"], sent)
    clocks.advance(6 * MINUTE - 1)
    assert held.holds
    clocks.advance(1)
    assert not held.holds


def test_a_renewal_revives_nothing(held: Fence, clocks: Clocks) -> None:
    clocks.advance(5 * MINUTE)
    sent = clocks()
    clocks.advance(5 * MINUTE)
    held.renewed(["v1"], sent)  # the acknowledgement came late
    held.renewed(["v1"], clocks())
    assert not held.holds
    held.read("v1", clocks())
    assert held.holds


def test_a_renewal_confirms_what_is_recorded_and_nothing_else(held: Fence, clocks: Clocks) -> None:
    held.use("v2", clocks())
    clocks.advance(5 * MINUTE)
    held.renewed(["v1"], clocks())
    clocks.advance(5 * MINUTE)
    assert held.covers("v1")
    assert not held.holds


def test_a_read_confirms_the_version_in_use_and_no_other(held: Fence, clocks: Clocks) -> None:
    held.use("v2", clocks())
    clocks.advance(5 * MINUTE)
    held.read("v1", clocks())
    held.read("v2", clocks())
    clocks.advance(5 * MINUTE)
    assert held.holds
    assert not held.covers("v1")


def test_what_was_confirmed_later_counts(held: Fence, clocks: Clocks) -> None:
    sent = clocks()
    clocks.advance(5 * MINUTE)
    held.read("v1", clocks())
    held.renewed(["v1"], sent)
    clocks.advance(9 * MINUTE)
    assert held.holds


def test_a_version_that_ran_out_is_accepted_no_more(held: Fence, clocks: Clocks) -> None:
    held.accept("v0", clocks())
    clocks.advance(10 * MINUTE)
    held.accept("v0", clocks())
    assert not held.covers("v0")


def test_the_clocks_of_the_machine_go_on() -> None:
    first = fence.now()
    assert elapsed(first, fence.now()) >= 0
