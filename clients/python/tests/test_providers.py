"""Every store is read as rotator's own drivers write it: against real servers."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from conftest import Bao, Server, TestBus, free_port
from tradepulse_rotator import SecretValue, Source, Spec, canonical, errors, times
from tradepulse_rotator.providers.aws import AwsProvider
from tradepulse_rotator.providers.env import EnvProvider
from tradepulse_rotator.providers.vault import AppRole, Jwt, VaultProvider
from tradepulse_rotator.settings import bus_from_env, provider_from_env, source_from_env

ID = "TRADEPULSE_AUDIT_SECRET_ID"


# The environment.


@pytest.mark.parametrize(
    ("env", "value"),
    [
        ({"TRADEPULSE_AUDIT_SECRET": "the value"}, "the value"),
        ({"TRADEPULSE_AUDIT_SECRET": "the value", ID: "prod/audit"}, "the value"),
        ({"TRADEPULSE_AUDIT_SECRET": "other", ID: "KEY", "KEY": "named"}, "named"),
        ({"TRADEPULSE_AUDIT_SECRET": "x", ID: ID}, "x"),
        ({"TRADEPULSE_AUDIT_SECRET": "x", ID: "OTHER_ID", "OTHER_ID": "prod/other"}, "x"),
    ],
)
def test_identifiers_map_to_variables(env: dict[str, str], value: str) -> None:
    assert EnvProvider(env).read(ID)[1] == SecretValue(value)


def test_a_path_that_is_no_name_of_a_variable_is_one_that_a_shell_can_set() -> None:
    path = "orders/db-password"
    assert EnvProvider({"ORDERS_DB_PASSWORD": "x"}).read(path)[1] == SecretValue("x")
    assert EnvProvider({path: "y"}).read(path)[1] == SecretValue("y")
    assert EnvProvider({}).hint(path) == "set ORDERS_DB_PASSWORD"
    with pytest.raises(errors.NotFoundError, match="the environment variable ORDERS_DB_PASSWORD is not set"):
        EnvProvider({}).read(path)


def test_a_version_has_a_time_that_people_read() -> None:
    version = EnvProvider({"PLAIN": "x"}).read("PLAIN")[0]
    assert abs((version.created - datetime.now(UTC)).total_seconds()) < 3600


@pytest.mark.parametrize(
    "env",
    [
        {ID: "prod/Canary"},
        {ID: "Canary-Key-For-Tests-1", "TRADEPULSE_AUDIT_SECRET": ""},
        {ID: "CanaryKey", "CanaryKey": ""},
        {ID: ID},
        {ID: "CANARY_ID", "CANARY_ID": "KEY", "KEY": "x"},
    ],
)
def test_the_text_of_an_identifier_is_no_value(env: dict[str, str]) -> None:
    provider = EnvProvider(env)
    with pytest.raises(errors.NotFoundError) as caught:
        provider.read(ID)
    assert str(caught.value) == f"env: {ID} is set and names no variable that has a value, and TRADEPULSE_AUDIT_SECRET is not set"
    assert provider.hint(ID) == "set TRADEPULSE_AUDIT_SECRET, or say with ROTATOR_STORE of which store it is"


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(errors.NotFoundError, match="neither TRADEPULSE_AUDIT_SECRET nor TRADEPULSE_AUDIT_SECRET_ID"):
        EnvProvider({ID: ""}).read(ID)
    assert EnvProvider({ID: ""}).hint(ID) == "set TRADEPULSE_AUDIT_SECRET"
    with pytest.raises(errors.NotFoundError, match="PLAIN"):
        EnvProvider({}).read("PLAIN")


def test_a_variable_that_changes_is_a_new_version() -> None:
    env = {"PLAIN": "one"}
    provider = EnvProvider(env)
    first, again = provider.read("PLAIN")[0], provider.read("PLAIN")[0]
    env["PLAIN"] = "two"
    second = provider.read("PLAIN")[0]
    assert first == again
    assert second.id != first.id
    assert provider.read("PLAIN", second.id)[1] == SecretValue("two")
    with pytest.raises(errors.NotFoundError):
        provider.read("PLAIN", first.id)


@pytest.mark.parametrize("text", ["0", "-1", "+1", "", " 1", "soon", "1.5", "1e3", "316224001", "9" * 30, "\uff17\uff12"])
def test_a_lifetime_that_is_none_is_a_clear_error(text: str) -> None:
    env = {"TRADEPULSE_AUDIT_SECRET": "value", ID + "_TTL_SECONDS": text}
    with pytest.raises(errors.LifetimeError, match=ID + "_TTL_SECONDS is not a whole number of seconds from 1 to 316224000") as caught:
        EnvProvider(env).read(ID)
    assert caught.value.value == SecretValue("value")
    with pytest.raises(errors.LifetimeError):
        Source(EnvProvider(env), [Spec(ID)], env).fresh_for(ID)


def test_a_lifetime_ends_the_version() -> None:
    env = {"KEY": "value", ID: "KEY", "KEY_TTL_SECONDS": "60"}
    version, _ = EnvProvider(env).read(ID)
    assert version.not_after == version.created_at + 60 * 10**9
    env[ID + "_TTL_SECONDS"] = "3600"
    version, _ = EnvProvider(env).read(ID)
    assert version.not_after == version.created_at + 3600 * 10**9


# AWS Secrets Manager.


@pytest.fixture
def aws(moto: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    requests.post(moto + "/moto-api/reset", timeout=30).raise_for_status()
    for name, value in {
        "AWS_ENDPOINT_URL": moto,
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return boto3.client("secretsmanager")


def test_aws_reads_the_current_version_and_others_by_id(aws: Any) -> None:
    one, two, three = ("00000000-0000-4000-8000-00000000000" + n for n in "123")
    aws.create_secret(Name="tradepulse/audit", SecretString="first", ClientRequestToken=one)
    aws.put_secret_value(SecretId="tradepulse/audit", SecretString="second", ClientRequestToken=two)
    aws.put_secret_value(SecretId="tradepulse/audit", SecretString="third", ClientRequestToken=three, VersionStages=["AWSPENDING"])
    provider = AwsProvider()
    version, value = provider.read("tradepulse/audit")
    assert (version.id, value.reveal_text(), version.pending) == (two, "second", False)
    assert abs(version.created_at - times.now_ns()) < 3600 * 10**9
    assert provider.read("tradepulse/audit", one)[1] == SecretValue("first")
    assert provider.read_previous("tradepulse/audit", version)[1] == SecretValue("first")
    pending, value = provider.read("tradepulse/audit", three)
    assert pending.pending
    assert value == SecretValue("third")


def test_aws_reads_binary(aws: Any) -> None:
    aws.create_secret(Name="binary", SecretBinary=b"\xff\x00")
    assert AwsProvider().read("binary")[1].reveal() == b"\xff\x00"


def test_aws_has_no_current_version_before_the_first_is_promoted(aws: Any) -> None:
    token = "00000000-0000-4000-8000-000000000001"
    aws.create_secret(Name="new")
    aws.put_secret_value(
        SecretId="new", SecretString="x", ClientRequestToken=token, VersionStages=["AWSCURRENT", "AWSPENDING", "ROTATOR_UNPROMOTED"]
    )
    with pytest.raises(errors.NotFoundError, match="promoted"):
        AwsProvider().read("new")
    assert AwsProvider().read("new", token)[0].pending
    aws.create_secret(Name="first", SecretString="x")
    with pytest.raises(errors.NotFoundError):
        AwsProvider().read_previous("first", AwsProvider().read("first")[0])


def test_aws_errors_have_classes(aws: Any, moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = AwsProvider()
    with pytest.raises(errors.NotFoundError, match="none"):
        provider.read("none")
    aws.create_secret(Name="gone", SecretString="x")
    aws.delete_secret(SecretId="gone")
    with pytest.raises(errors.NotFoundError, match="gone"):
        provider.read("gone")
    with pytest.raises(errors.StoreError):
        provider.read("gone", "short")
    requests.post(moto + "/moto-api/reset-auth", data="0", timeout=30).raise_for_status()
    try:
        with pytest.raises(errors.AccessDeniedError):
            provider.read("none")
    finally:
        requests.post(moto + "/moto-api/reset-auth", data="inf", timeout=30).raise_for_status()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(errors.UnavailableError):
        AwsProvider(boto3.client("secretsmanager")).read("none")


def test_aws_finds_its_region_as_other_sdks_do(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.create_secret(Name="somewhere", SecretString="first")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    assert AwsProvider().read("somewhere")[1] == SecretValue("first")
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(errors.ConfigurationError, match="AWS_REGION"):
        AwsProvider()


# Vault and OpenBao.


@pytest.fixture
def vault(bao: Bao) -> VaultProvider:
    return VaultProvider(url=bao.url, token=SecretValue("root"), prefix="tradepulse")


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ({"value": "text <&> ü"}, "text <&> ü".encode()),
        ({"value_base64": base64.b64encode(b"\xff\x00").decode()}, b"\xff\x00"),
        ({"value": "x", "user": "ada"}, b'{"user":"ada","value":"x"}'),
        ({"value": 7}, b'{"value":7}'),
        (
            {"b": {"z": 1, "a": [True, None, 1.50, "<&>\u2028\x01"]}, "a": "ü"},
            '{"a":"ü","b":{"a":[true,null,1.5,"<&>\\u2028\\u0001"],"z":1}}'.encode(),
        ),
    ],
)
def test_vault_values_have_the_layout_of_the_driver(bao: Bao, vault: VaultProvider, data: dict[str, object], value: bytes) -> None:
    number = bao.put("tradepulse/layout", data)
    version, found = vault.read("layout")
    assert (version.id, found.reveal()) == (number, value)


def test_numbers_of_a_document_stand_as_they_were_written() -> None:
    text = '{"e":1e3,"n":1.50}'
    assert canonical.document(canonical.load(text)) == text


def test_vault_reads_versions_by_number(bao: Bao, vault: VaultProvider) -> None:
    first = bao.put("tradepulse/many", {"value": "one"})
    second = bao.put("tradepulse/many", {"value": "two"})
    assert vault.read("many")[0].id == second
    assert vault.read("many", first)[1] == SecretValue("one")
    assert vault.read_previous("many", vault.read("many")[0])[1] == SecretValue("one")
    with pytest.raises(errors.NotFoundError):
        vault.read_previous("many", vault.read("many", first)[0])
    for none in (str(int(second) + 1), "0", "-1", "01", "x"):
        with pytest.raises(errors.NotFoundError):
            vault.read("many", none)
    bao.do("PUT", "secret/destroy/tradepulse/many", {"versions": [first]})
    with pytest.raises(errors.NotFoundError):
        vault.read("many", first)


def test_vault_has_no_previous_version_once_rotator_took_its_stage_away(bao: Bao, vault: VaultProvider) -> None:
    bao.put("tradepulse/kept", {"value": "one"})
    bao.put("tradepulse/kept", {"value": "two"})
    current, _ = vault.read("kept")
    for state in ({}, {"versions": {"1": {"kept": False}, "2": {"kept": True}}}):
        bao.put("rotator-state/tradepulse/kept", {"state": json.dumps(state)})
        assert vault.read_previous("kept", current)[1] == SecretValue("one")
    bao.put("rotator-state/tradepulse/kept", {"state": json.dumps({"versions": {"1": {"kept": True}}})})
    with pytest.raises(errors.NotFoundError, match="retired"):
        vault.read_previous("kept", current)
    bao.put("rotator-state/tradepulse/kept", {"state": "none"})
    with pytest.raises(errors.InvalidError):
        vault.read_previous("kept", current)
    token = bao.policy("secrets-only", 'path "secret/data/tradepulse/*" { capabilities = ["read"] }')
    blind = VaultProvider(url=bao.url, token=SecretValue(token), prefix="tradepulse")
    assert blind.read("kept")[1] == SecretValue("two")
    with pytest.raises(errors.AccessDeniedError):
        blind.read_previous("kept", current)


def stage(bao: Bao, path: str, start: int, value: str) -> None:
    state = {"pending": {"token": "t", "from": start, "data": {"value": value}, "created_at": "2026-01-01T00:00:00.5Z"}}
    bao.put("rotator-state/tradepulse/" + path, {"state": json.dumps(state)})


def test_vault_finds_a_pending_version_beside_the_secret(bao: Bao, vault: VaultProvider) -> None:
    bao.put("tradepulse/staged", {"value": "one"})
    stage(bao, "staged", 1, "two")
    version, value = vault.read("staged", "2")
    assert version.pending
    assert (times.write(version.created_at), value) == ("2026-01-01T00:00:00.5Z", SecretValue("two"))
    with pytest.raises(errors.NotFoundError):
        vault.read("staged", "3")
    bao.put("tradepulse/staged", {"value": "two"})
    assert not vault.read("staged", "2")[0].pending
    bao.do("PUT", "secret/destroy/tradepulse/staged", {"versions": [2]})
    with pytest.raises(errors.NotFoundError):
        vault.read("staged", "2")


def test_vault_errors_have_classes(bao: Bao, vault: VaultProvider) -> None:
    with pytest.raises(errors.NotFoundError):
        vault.read("none")
    with pytest.raises(errors.AccessDeniedError):
        VaultProvider(url=bao.url, token=SecretValue("wrong")).read("none")
    with pytest.raises(errors.UnavailableError):
        VaultProvider(url=f"http://127.0.0.1:{free_port()}", token=SecretValue("x")).read("none")
    bao.put("tradepulse/bad", {"value_base64": "!"})
    with pytest.raises(errors.InvalidError, match="base64"):
        vault.read("bad")


@pytest.fixture
def role(bao: Bao) -> AppRole:
    if "approle/" not in bao.do("GET", "sys/auth")["data"]:
        bao.do("POST", "sys/auth/approle", {"type": "approle"})
    bao.do("PUT", "sys/policies/acl/reader", {"policy": 'path "secret/data/*" { capabilities = ["read"] }'})
    bao.do("POST", "auth/approle/role/reader", {"token_policies": ["reader"], "token_ttl": "1h"})
    role_id = bao.do("GET", "auth/approle/role/reader/role-id")["data"]["role_id"]
    secret_id = bao.do("POST", "auth/approle/role/reader/secret-id", {})["data"]["secret_id"]
    return AppRole(role_id, SecretValue(secret_id))


def test_vault_logs_in_again_when_its_token_has_ended(bao: Bao, role: AppRole) -> None:
    bao.put("approle", {"value": "one"})
    provider = VaultProvider(url=bao.url, login=role)
    assert provider.read("approle")[1] == SecretValue("one")
    used = provider._adapter.token
    bao.do("POST", "auth/token/revoke", {"token": used})
    assert provider.read("approle")[1] == SecretValue("one")
    assert provider._adapter.token != used


def test_vault_reads_a_replaced_secret_id(bao: Bao, role: AppRole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service whose secret id was destroyed logs in with the new one, and not at every read before: that locks the role."""
    bao.put("replaced", {"value": "one"})
    assert isinstance(role.secret_id, SecretValue)
    old, file = role.secret_id.reveal_text(), tmp_path / "secret-id"
    file.write_text(old + "\n", encoding="ascii")
    provider = VaultProvider(url=bao.url, login=AppRole(role.role_id, file))
    assert provider.read("replaced")[1] == SecretValue("one")
    bao.do("POST", "auth/approle/role/reader/secret-id/destroy", {"secret_id": old})
    bao.do("POST", "auth/token/revoke", {"token": provider._adapter.token})
    fresh = bao.do("POST", "auth/approle/role/reader/secret-id", {})["data"]["secret_id"]
    logins: list[str] = []
    post = provider._adapter.post

    def counted(url: str, **kwargs: Any) -> Any:
        logins.append(url)
        return post(url, **kwargs)

    monkeypatch.setattr(provider._adapter, "post", counted)
    for content in (old, "", fresh[:10]):
        file.write_text(content, encoding="ascii")
        for _ in range(10):
            with pytest.raises(errors.AccessDeniedError):
                provider.read("replaced")
    assert len(logins) == 2  # one for the destroyed secret id, one for a part of the new one
    file.write_text(fresh + "\n", encoding="ascii")
    assert provider.read("replaced")[1] == SecretValue("one")


@pytest.mark.usefixtures("role")
def test_vault_reads_a_replaced_token(bao: Bao, tmp_path: Path) -> None:
    bao.put("replaced-token", {"value": "one"})

    def token() -> str:
        return str(bao.do("POST", "auth/token/create", {"policies": ["reader"], "ttl": "1h"})["auth"]["client_token"])

    old, file = token(), tmp_path / "token"
    file.write_text(old, encoding="ascii")
    provider = VaultProvider(url=bao.url, token=file)
    assert provider.read("replaced-token")[1] == SecretValue("one")
    bao.do("POST", "auth/token/revoke", {"token": old})
    for content in (old, ""):
        file.write_text(content, encoding="ascii")
        with pytest.raises(errors.AccessDeniedError):
            provider.read("replaced-token")
    file.write_text(token(), encoding="ascii")
    assert provider.read("replaced-token")[1] == SecretValue("one")


def test_vault_says_that_a_login_was_refused(bao: Bao, role: AppRole, tmp_path: Path) -> None:
    with pytest.raises(errors.AccessDeniedError, match="log in"):
        VaultProvider(url=bao.url, login=AppRole(role.role_id, SecretValue("wrong"))).read("approle")
    with pytest.raises(errors.AccessDeniedError, match="log in"):
        VaultProvider(url=bao.url, login=Jwt("role", tmp_path / "none")).read("approle")


# The environment says which.


@pytest.mark.parametrize(("store", "sdk"), [("aws", "boto3"), ("vault", "hvac")])
def test_a_store_whose_sdk_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch, store: str, sdk: str) -> None:
    monkeypatch.setitem(sys.modules, sdk, None)
    monkeypatch.delitem(sys.modules, f"tradepulse_rotator.providers.{store}", raising=False)
    with pytest.raises(errors.ConfigurationError, match=rf"tradepulse-rotator\[{store}\]"):
        provider_from_env({"ROTATOR_STORE": store})


def test_settings_choose_the_store(bao: Bao, role: AppRole, aws: Any) -> None:
    assert isinstance(provider_from_env({}), EnvProvider)
    with pytest.raises(errors.ConfigurationError, match="use env, aws or vault"):
        provider_from_env({"ROTATOR_STORE": "gcp"})
    aws.create_secret(Name="tradepulse/audit", SecretString="of aws")
    source = source_from_env([ID], {"ROTATOR_STORE": "aws", ID: "tradepulse/audit", ID + "_TTL_SECONDS": "60"})
    assert source.read(ID)[1] == SecretValue("of aws")
    assert source.fresh_for(ID) is not None
    bao.put("in/the/mount/" + ID, {"value": "of vault"})
    assert isinstance(role.secret_id, SecretValue)
    env = {"ROTATOR_STORE": "vault", "VAULT_ADDR": bao.url, "ROTATOR_VAULT_PREFIX": "in/the/mount", "VAULT_ROLE_ID": role.role_id}
    source = source_from_env([ID], env | {"VAULT_SECRET_ID": role.secret_id.reveal_text()})
    assert source.read(ID)[1] == SecretValue("of vault")


def test_a_bus_without_trusted_keys_is_a_mistake() -> None:
    assert bus_from_env({}) is None
    with pytest.raises(errors.ConfigurationError, match="ROTATOR_TRUSTED_KEYS"):
        bus_from_env({"ROTATOR_NATS_URL": "nats://127.0.0.1:4222"})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("ROTATOR_NATS_CREDENTIALS_PASSWORD_FILE", "/nowhere/password", "/nowhere/password"),
        ("ROTATOR_NATS_TLS_CA", "/nowhere/ca.pem", "ROTATOR_NATS_TLS_CA"),
        ("ROTATOR_NATS_TLS_CERT", "/nowhere/cert.pem", "set both or neither"),
    ],
)
def test_a_file_of_the_bus_that_cannot_be_used_is_named(bus: TestBus, name: str, value: str, says: str) -> None:
    env = {"ROTATOR_NATS_URL": bus.url, "ROTATOR_TRUSTED_KEYS": str(bus.key), name: value}
    with pytest.raises(errors.ConfigurationError, match=says):
        bus_from_env(env)


def test_errors_quote_nothing_of_an_answer(bao: Bao) -> None:
    bao.put("tradepulse/quoted", {"value_base64": "Sensitive-Text-1!"})
    reads: list[Callable[[], object]] = [
        lambda: VaultProvider(url=bao.url, token=SecretValue("Sensitive-Text-1!")).read("x"),
        lambda: VaultProvider(url=bao.url, token=SecretValue("root"), prefix="tradepulse").read("quoted"),
    ]
    for read in reads:
        with pytest.raises(errors.StoreError) as caught:
            read()
        assert "Sensitive" not in f"{caught.value}{caught.value.__cause__}"


def test_a_store_that_hangs_is_given_up(tmp_path: Path) -> None:
    server = Bao(tmp_path)
    try:
        server.hang()
        with pytest.raises(errors.UnavailableError):
            VaultProvider(url=server.url, token=SecretValue("root"), timeout=0.2).read("x")
    finally:
        Server.kill(server)


def test_vault_ends_a_version_when_the_engine_does(bao: Bao, vault: VaultProvider) -> None:
    """The earlier of the TTL and the engine's own end counts."""
    requests.post(
        f"{bao.url}/v1/secret/metadata/tradepulse/ends", headers={"X-Vault-Token": "root"}, json={"delete_version_after": "1h"}, timeout=60
    )
    bao.put("tradepulse/ends", {"value": "x"})
    version, _ = vault.read("ends")
    assert version.not_after == version.created_at + times.span(timedelta(hours=1))
    assert Spec("ends", ttl=timedelta(days=30)).not_after(version) == version.not_after
    assert Spec("ends", ttl=timedelta(minutes=8)).not_after(version) == version.created_at + times.span(timedelta(minutes=8))


@pytest.mark.parametrize("path", ["one/path", "/one/path", "one//path", "one/./path", "one/path/", "../one/path"])
def test_vault_has_one_path_for_a_secret(bao: Bao, vault: VaultProvider, path: str) -> None:
    number = bao.put("tradepulse/one/path", {"value": "x"})
    assert vault.read(path)[0].id == number


@pytest.mark.parametrize(
    ("mount", "says"),
    [
        ("kv1", "mount kv1: it is a KV version 1 engine"),
        ("nosuch", "mount nosuch: the server shows the token none of this name"),
        ("secret/data", "mount secret/data: it is a path in the mount secret; set the mount to secret"),
        ("transit1", "mount transit1: it is an engine of type transit"),
    ],
)
def test_a_mount_that_is_no_kv_version_2_engine_is_named(bao: Bao, mount: str, says: str) -> None:
    kinds: dict[str, dict[str, Any]] = {"kv1": {"type": "kv", "options": {"version": "1"}}, "transit1": {"type": "transit"}}
    if mount in kinds:
        bao.do("POST", f"sys/mounts/{mount}", kinds[mount])
    provider = VaultProvider(url=bao.url, token=SecretValue("root"), mount=mount)
    with pytest.raises(errors.InvalidError) as caught:
        provider.read("a/b")
    assert says in str(caught.value)


def test_a_version_that_was_taken_away_says_how(bao: Bao) -> None:
    provider = VaultProvider(url=bao.url, token=SecretValue("root"))
    for how, says in (("delete", "vault kv undelete -mount=secret -versions=1 gone/delete"), ("destroy", "version 1 was destroyed")):
        bao.put(f"gone/{how}", {"value": "x"})
        bao.do("POST", f"secret/{how}/gone/{how}", {"versions": [1]})
        with pytest.raises(errors.NotFoundError) as caught:
            provider.read(f"gone/{how}")
        assert says in str(caught.value)


def test_an_address_has_a_scheme() -> None:
    with pytest.raises(errors.ConfigurationError, match="has no scheme: write https://"):
        VaultProvider(url="127.0.0.1:8200", token=SecretValue("t"))
