"""The policy gate finds what rotator's own finds."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from conftest import ROOT, Bao, free_port
from tradepulse_rotator import SecretValue, Source, Spec
from tradepulse_rotator.errors import ConfigurationError
from tradepulse_rotator.policy import ADMIN_TOKEN_ID, AUDIT_SECRET_ID, Policy, PolicyError, check_value
from tradepulse_rotator.providers.vault import VaultProvider
from tradepulse_rotator.settings import source_from_env

TABLE = json.loads((ROOT / "pkg/gate/testdata/policy-vectors.json").read_text())


def test_the_baseline_is_that_of_the_table() -> None:
    assert list(Policy().min_ttl) == TABLE["required"]
    assert {i: f.total_seconds() for i, f in Policy().min_ttl.items()} == TABLE["default_min_ttl_seconds"]
    assert len(TABLE["cases"]) >= 40


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda c: c["name"])
def test_vectors(case: dict[str, Any]) -> None:
    floors = {**Policy().min_ttl, **{i: timedelta(seconds=s) for i, s in case.get("min_ttl_seconds", {}).items()}}
    policy = Policy(min_ttl=floors, source=lambda ids: source_from_env(ids, case["environment"]))
    found = policy.violations()
    assert sorted((v.id, v.code) for v in found) == sorted((v["id"], v["code"]) for v in case["violations"])
    assert all(v.problem and v.remedy for v in found)
    if not found:
        policy.enforce()
        return
    with pytest.raises(PolicyError) as caught:
        policy.enforce()
    for v in found:
        assert f"{v.id}: {v.code}: " in str(caught.value)
    values = [v for k, v in case["environment"].items() if not k.endswith("_TTL_SECONDS") and len(v) > 8]
    assert not any(v in str(caught.value) for v in values)


def test_binary_and_huge_values_break_the_policy() -> None:
    assert [rule for rule, _ in check_value(SecretValue(b"\xff" * 20))] == ["encoding"]
    assert [rule for rule, _ in check_value(SecretValue("Aa1!" * (16 << 10) + "x"))] == ["max_length"]


def test_a_store_is_checked_as_well(bao: Bao) -> None:
    bao.put("gate/audit", {"value": "Audit-Key-For-Tests-1"})
    bao.put("gate/token", {"value": "weak"})
    specs = [Spec(AUDIT_SECRET_ID, "audit", timedelta(minutes=59)), Spec(ADMIN_TOKEN_ID, "token"), Spec("NONE"), Spec("DENIED", "denied")]

    def source(ids: list[str], url: str = bao.url) -> Source:
        token = bao.policy(
            "gate", 'path "secret/data/gate/*" { capabilities = ["read"] } path "secret/data/gate/denied" { capabilities = ["deny"] }'
        )
        return Source(VaultProvider(url=url, token=SecretValue(token), prefix="gate"), [s for s in specs if s.id in ids], {})

    floors = {i: timedelta(hours=1) for i in (AUDIT_SECRET_ID, ADMIN_TOKEN_ID, "NONE", "DENIED")}
    found = {(v.id, v.code) for v in Policy(min_ttl=floors, source=source).violations()}
    weak = {(ADMIN_TOKEN_ID, rule) for rule in ("min_length", "upper", "digit", "symbol")}
    assert found == {(AUDIT_SECRET_ID, "ttl"), ("NONE", "missing"), ("DENIED", "unreadable")} | weak
    unused = f"http://127.0.0.1:{free_port()}"
    away = Policy(min_ttl={AUDIT_SECRET_ID: timedelta()}, source=lambda ids: source(ids, unused)).violations()
    assert [v.code for v in away] == ["unreadable"]


def test_a_gate_that_checks_nothing_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="nothing is checked"):
        Policy(min_ttl={}).enforce()
