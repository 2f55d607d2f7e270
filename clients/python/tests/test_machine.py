"""The reload machine: the sequences that the Go client runs, too, and what holds whatever happens."""

from __future__ import annotations

import json
import random
from typing import Any, ClassVar

import pytest

from conftest import ROOT
from tradepulse_rotator import machine
from tradepulse_rotator.states import ANSWERED, MAX_RETRY, Announcement, Do, Effect, Event, Failure, Kind, Rules, State, Status

FOLDER = ROOT / "pkg/client/internal/reload/testdata"
VECTORS = [(f"{file.stem}: {v['name']}", v) for file in sorted(FOLDER.glob("*.json")) for v in json.loads(file.read_text())]

MS = 1_000_000
SECOND = 1_000 * MS
MAX_EFFECTS = 6


def rules_of(text: dict[str, int]) -> Rules:
    def span(name: str) -> int | None:
        return text[name] * MS if text.get(name) else None

    return Rules(text["margin"] * MS, text["retry"] * MS, span("again") or 100 * MS, span("lifetime"))


def announcement_of(text: dict[str, Any]) -> Announcement:
    return Announcement(text["version"], text["announced_at"] * MS, text.get("trace", ""), text.get("seq", 0))


def event_of(text: dict[str, Any]) -> Event:
    announced = "announced_at" in text
    return Event(
        Kind(text["kind"]),
        announcement=announcement_of(text) if announced else None,
        version="" if announced else text.get("version", ""),
        previous=text.get("previous", ""),
        created_at=text["created_at"] * MS if "created_at" in text else None,
        not_after=text["not_after"] * MS if "not_after" in text else None,
        pending=text.get("pending", False),
        failure=Failure(text["failure"], text["text"]) if "failure" in text else None,
    )


def told(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that are not empty, as a vector has them."""
    return {name: value for name, value in fields.items() if value not in {None, "", 0}}


def millis(ns: int | None) -> int | None:
    return None if ns is None else ns // MS


def effect_text(effect: Effect) -> dict[str, Any]:
    cause, failure = effect.cause or Announcement("", 0), effect.failure or Failure("", "")
    return told({
        "kind": effect.kind.value, "version": effect.version, "staged": effect.staged, "announced": cause.version,
        "announced_at": millis(cause.at), "trace": cause.trace, "not_after": millis(effect.not_after), "at": millis(effect.at),
        "failure": failure.kind, "text": failure.text, "pause": millis(effect.pause),
    })  # fmt: skip


def state_text(state: State) -> dict[str, Any]:
    return told({
        "version": state.version, "not_after": millis(state.not_after), "loaded_at": millis(state.loaded_at), "stale": state.stale,
        "mixed": state.mixed, "status": state.status.value, "wanted": state.wanted, "reason": state.reason,
        "phase": str(state.phase), "pause": millis(state.retry),
    })  # fmt: skip


@pytest.mark.parametrize("vector", [v for _, v in VECTORS], ids=[name for name, _ in VECTORS])
def test_vectors(vector: dict[str, Any]) -> None:
    state, rules = State(), rules_of(vector["rules"])
    for number, step in enumerate(vector["steps"], start=1):
        state, effects = machine.step(state, rules, event_of(step["event"]), step["at"] * MS)
        where = f"step {number}, {step['event']['kind']}"
        assert [effect_text(e) for e in effects] == step["effects"], where
        assert state_text(state) == step["state"], where


class World:
    """Feeds a machine with random events, and checks what every shell and every hook may rely on."""

    versions = ("v1", "v2", "v3", "v4")
    answers: ClassVar = {
        Do.READ: (Kind.READ_DONE, Kind.READ_FAILED),
        Do.PREPARE: (Kind.PREPARED, Kind.REFUSED),
        Do.COMMIT: (Kind.COMMITTED, Kind.COMMIT_FAILED),
    }

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.state, self.now = State(), 10**18
        self.due: int | None = None
        self.pending: Effect | None = None
        self.accepted: dict[str, bool] = {}
        self.offered: set[str] = set()
        self.rules = Rules(self.span(400), SECOND + self.span(10), 100 * MS, self.span(900) or None)

    def span(self, most: int) -> int:
        return self.draw.randint(0, most) * SECOND

    def event(self) -> Event:
        kinds = [Kind.STARTED, Kind.ANNOUNCED, Kind.STAGED, Kind.DRAINING, Kind.CLOCK, Kind.POLLED, Kind.REFRESH_ASKED]
        kind = self.draw.choice(kinds if self.draw.random() < 0.4 else list(Kind))
        if self.pending is not None and self.draw.random() < 0.5:
            kind = self.draw.choice(self.answers[self.pending.kind])
        staged = self.pending is not None and self.pending.staged
        fails = kind in {Kind.READ_FAILED, Kind.REFUSED, Kind.COMMIT_FAILED}
        return Event(
            kind,
            Announcement(self.draw.choice(self.versions), self.now - self.span(120), seq=self.draw.randint(0, 5)),
            self.pending.version if self.pending is not None and staged else self.draw.choice(self.versions),
            self.draw.choice(self.versions),
            self.now - self.span(120),
            None if self.draw.random() < 0.5 else self.now + self.span(1000) - 10 * SECOND,
            self.draw.random() < 0.5,
            Failure(self.draw.choice(["unavailable", "not_found", "no_value"]), "it failed") if fails else None,
        )

    def feed(self, event: Event) -> None:
        before = self.state
        self.state, effects = machine.step(before, self.rules, event, self.now)
        expected = () if self.pending is None else self.answers[self.pending.kind]
        if any(event.kind in kinds for kinds in self.answers.values()):
            if event.kind not in expected:
                assert not effects, f"{event.kind}, which nothing asked for, has effects"
                return
            self.learn(event)
        assert len(effects) <= MAX_EFFECTS
        assert not any(e.kind in ANSWERED for e in effects[:-1])
        for effect in effects:
            self.check(effect)
        if self.state.version != before.version and event.kind is not Kind.STARTED:
            assert self.accepted[self.state.version], "a version is in use that a hook refused last"
        if self.state.status is Status.FAILED and not self.state.busy:
            assert self.due is not None, "it failed, and no retry is scheduled"

    def learn(self, event: Event) -> None:
        assert self.pending is not None
        if event.kind in {Kind.PREPARED, Kind.REFUSED}:
            self.accepted[self.pending.version] = event.kind is Kind.PREPARED
            if self.pending.version != self.state.version:
                self.offered.add(self.pending.version)
        elif event.kind in {Kind.COMMITTED, Kind.COMMIT_FAILED}:
            self.offered.discard(self.pending.version)
        self.pending = None

    def check(self, effect: Effect) -> None:
        if effect.kind in ANSWERED:
            assert self.pending is None
            is_new = effect.kind is Do.PREPARE and effect.version != self.state.version
            assert not is_new or self.offered <= {effect.version}
            self.pending = effect
        elif effect.kind is Do.WITHDRAW:
            self.offered.remove(effect.version)
        elif effect.kind is Do.FAILED:
            assert 0 < effect.pause <= MAX_RETRY
        elif effect.kind is Do.SCHEDULE:
            self.due = effect.at


def test_what_holds_whatever_happens() -> None:
    for seed in range(300):
        world = World(seed)
        for _ in range(80):
            world.now += world.span(90)
            world.feed(world.event())
