from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest

from tradepulse_rotator import bus_from_env, errors, settings
from tradepulse_rotator._variables import PROGRAMS, SERVICES

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import TestBus


class Recorder(dict[str, str]):
    """Records which settings are looked up and not refused."""

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__(variables)
        self.read: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.read.add(key)
        return super().get(key, default)


@pytest.mark.parametrize("name", sorted(SERVICES + PROGRAMS))
def test_a_setting_is_read_or_refused_by_name(name: str) -> None:
    env = {name: "5m"}
    if name in settings.READ:
        settings._refuse(env)
        return
    for read in (settings.provider_from_env, bus_from_env):
        with pytest.raises(errors.ConfigurationError, match=rf"^{name}: .*: \w+"):
            read(env)
    settings._refuse({name: ""})  # empty counts as unset


def test_what_counts_as_read_is_looked_up(bus: TestBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_refuse", lambda _: None)
    looked_up: set[str] = set()
    for store in ("env", "aws", "vault"):
        env = Recorder({"ROTATOR_STORE": store, "AWS_REGION": "eu-central-1"})
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        settings.provider_from_env(env)
        looked_up |= env.read
    env = Recorder({"ROTATOR_NATS_URL": bus.url, "ROTATOR_TRUSTED_KEYS": str(bus.key)})
    bus_from_env(env)
    settings.options_from_env(env)
    looked_up |= env.read
    assert {name for name in looked_up if name.startswith("ROTATOR_")} == settings.READ
    assert set(SERVICES) >= settings.READ


def test_each_setting_that_is_not_read_has_a_remedy() -> None:
    assert set(settings.REMEDIES) == set(SERVICES) - settings.READ


def test_everything_that_is_refused_is_said_at_once() -> None:
    env = {"ROTATOR_SERVICE": "api", "ROTATOR_AWS_REGION": "eu-central-1", "ROTATOR_LOG_LEVEL": "debug"}
    with pytest.raises(errors.ConfigurationError) as caught:
        settings.source_from_env(["A"], env)
    assert str(caught.value) == (
        "ROTATOR_AWS_REGION: the Python client does not read it: set AWS_REGION; "
        "ROTATOR_SERVICE: the Python client does not read it: pass service to Manager or Secrets; "
        "ROTATOR_LOG_LEVEL: it is a setting of rotator and notifier: unset it for this service"
    )


def test_the_settings_of_vault_win_over_the_variables_of_its_own_client() -> None:
    own = {"VAULT_ADDR": "https://a.invalid", "VAULT_NAMESPACE": "a", "VAULT_CACERT": "/a.pem"}
    ours = {"ROTATOR_VAULT_ADDRESS": "https://b.invalid", "ROTATOR_VAULT_NAMESPACE": "b", "ROTATOR_VAULT_CA": "/b.pem"}
    for env, letter in ((own, "a"), (own | ours, "b")):
        provider = settings.provider_from_env({"ROTATOR_STORE": "vault", **env})
        adapter = provider._adapter  # type: ignore[attr-defined]
        assert (adapter.base_uri, adapter.namespace, adapter._kwargs["verify"]) == (f"https://{letter}.invalid", letter, f"/{letter}.pem")


def _adapter(env: dict[str, str]) -> Any:
    return settings.provider_from_env({"ROTATOR_STORE": "vault", **env})._adapter  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("env", "want"),
    [
        ({"BAO_ADDR": "http://b", "BAO_TOKEN": "b", "BAO_NAMESPACE": "nb"}, ("http://b", "b", "nb")),
        ({"VAULT_ADDR": "http://v", "VAULT_TOKEN": "v", "VAULT_NAMESPACE": "nv"}, ("http://v", "v", "nv")),
        (
            {
                "BAO_ADDR": "http://b",
                "VAULT_ADDR": "http://v",
                "BAO_TOKEN": "b",
                "VAULT_TOKEN": "v",
                "BAO_NAMESPACE": "nb",
                "VAULT_NAMESPACE": "nv",
            },
            ("http://b", "b", "nb"),
        ),
        ({"VAULT_ADDR": "http://v", "VAULT_TOKEN": "v", "BAO_NAMESPACE": "", "VAULT_NAMESPACE": "nv"}, ("http://v", "v", None)),
        ({"VAULT_ADDR": "http://v", "VAULT_TOKEN": "v", "BAO_TOKEN": ""}, ("http://v", "v", None)),
        ({"VAULT_ADDR": "http://v\n", "VAULT_TOKEN": "v\r\n", "BAO_NAMESPACE": " nb\n"}, ("http://v", "v", "nb")),
        ({"BAO_AGENT_ADDR": "http://a", "BAO_ADDR": "http://b", "BAO_TOKEN": "b"}, ("http://a", "b", None)),
    ],
)
def test_the_variables_of_openbao_and_vault_are_read_as_bao_reads_them(env: dict[str, str], want: tuple[str, str, str | None]) -> None:
    adapter = _adapter(env)
    assert (adapter.base_uri, adapter.token, adapter.namespace) == want


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BAO_TOKEN", "a\x00b"),
        ("VAULT_ADDR", "http://a\nb"),
        ("BAO_SKIP_VERIFY", "maybe"),
        ("BAO_SRV_LOOKUP", "true"),
        ("VAULT_CLIENT_KEY", "/nowhere"),
    ],
)
def test_a_variable_of_vault_that_cannot_be_read_is_named(name: str, value: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=name.removeprefix("VAULT_") if name == "VAULT_CLIENT_KEY" else name):
        _adapter({name: value})


def test_the_variables_of_tls_reach_the_connection(tmp_path: Path) -> None:
    context = ssl.create_default_context()
    authority = ssl.DER_cert_to_PEM_cert(context.get_ca_certs(binary_form=True)[0])
    (tmp_path / "ca.pem").write_text(authority)
    for name, value in (("CAPATH", str(tmp_path)), ("CACERT_BYTES", authority)):
        pool = _adapter({"BAO_" + name: value}).session.get_adapter("https://a").poolmanager
        assert pool.connection_pool_kw["ssl_context"].cert_store_stats()["x509"] == 1
    for prefix in ("BAO_", "VAULT_"):
        pool = _adapter({prefix + "SKIP_VERIFY": "true"}).session.get_adapter("https://a").poolmanager
        assert pool.connection_pool_kw["ssl_context"].verify_mode is ssl.CERT_NONE
        pool = _adapter({prefix + "TLS_SERVER_NAME": "vault.internal"}).session.get_adapter("https://a").poolmanager
        assert pool.connection_pool_kw["server_hostname"] == "vault.internal"
    assert _adapter({"BAO_PROXY_ADDR": "http://p"})._kwargs["proxies"] == {"http": "http://p", "https": "http://p"}
