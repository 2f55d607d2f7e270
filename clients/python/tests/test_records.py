"""Records are the bytes that the Go programs write."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from tradepulse_rotator import times
from tradepulse_rotator.records import PastFence, Presence, Process, RetiredUse, Status, Use, new_incarnation, this_process, whole_seconds

VECTORS = json.loads((ROOT / "pkg/events/testdata/records.json").read_text())


def record_of(text: dict[str, Any]) -> Presence | Use:
    fields = text | {name: times.parse(text[name]) for name in ("at", "started_at") if name in text}
    if "lease_seconds" in fields:
        process = fields.pop("process", None)
        return Presence(**fields, process=None if process is None else Process(**process))
    accepts = fields.pop("accepts")
    retired = fields.pop("retired_uses", [])
    fields["retired_uses"] = tuple(RetiredUse(**(u | {"last": times.parse(u["last"])})) for u in retired)
    fields |= {"status": Status(text["status"]), "past_fence": PastFence(text["past_fence"])}
    return Use(**fields, accepts=None if accepts is None else tuple(accepts))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_record_vectors(vector: dict[str, Any]) -> None:
    assert record_of(json.loads(vector["record"])).encode().decode() == vector["record"]


def test_the_process_is_the_one_of_the_host() -> None:
    here = this_process()
    if here is not None:  # in a PID namespace of its own there is nothing to say
        assert here.pid == os.getpid()
        assert here == this_process()
        assert here.start_ticks > 0


@pytest.mark.parametrize("namespace", ["pid:[4026532001]", "pid:[4026531836]"])
def test_a_process_in_a_namespace_of_its_own_is_not_named(tmp_path: Path, namespace: str) -> None:
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to(namespace)
    (tmp_path / "sys/kernel/random/boot_id").write_text("boot\n")
    stat = " ".join(["1 (a) b) R", *(str(n) for n in range(4, 30))])
    (tmp_path / "self/stat").write_text(stat)
    expected = Process("boot", os.getpid(), 22) if namespace.endswith("1836]") else None
    assert this_process(tmp_path) == expected
    assert this_process(tmp_path / "nowhere") is None


def test_names_and_lengths() -> None:
    assert new_incarnation() != new_incarnation()
    assert [whole_seconds(n) for n in (0, 1, 10**9, 10**9 + 1)] == [1, 1, 1, 2]
