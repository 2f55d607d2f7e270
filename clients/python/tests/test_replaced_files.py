"""Files with our own credentials that are replaced while a program runs."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import ssl
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tradepulse_rotator import SecretValue, errors
from tradepulse_rotator.bus import NatsOptions
from tradepulse_rotator.providers.aws import AwsProvider
from tradepulse_rotator.providers.vault import VaultProvider
from tradepulse_rotator.settings import _tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Server:
    """Refuses every request, and notes what identifies its sender."""

    def __init__(self, certificate: Path | None = None) -> None:
        seen: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                client = self.connection.getpeercert(binary_form=True) if isinstance(self.connection, ssl.SSLSocket) else None
                seen.append((self.headers.get("Authorization", ""), client))
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                self.send_error(404)

            do_POST = do_GET  # noqa: N815  # as in the library

            def log_message(self, *_: Any) -> None:
                pass

        self.seen = seen
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate:
            self._plain = self._server.socket
            self.serve(certificate)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def serve(self, certificate: Path, client_ca: Path | None = None) -> None:
        """Present a certificate to the connections that follow."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        if client_ca:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(client_ca)
        get = self._plain.accept

        def accept() -> tuple[Any, Any]:
            connection, address = get()
            return context.wrap_socket(connection, server_side=True), address

        self._server.get_request = accept  # type: ignore[method-assign]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def make(path: Path) -> bytes:
    """Replace a file by a new certificate that signed itself and its key, and return the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, path.stem)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    new = path.with_suffix(".new")
    new.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    new.replace(path)
    return made.public_bytes(serialization.Encoding.DER)


@pytest.fixture
def plain() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_keys_of_a_profile_are_read_again(plain: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ENDPOINT_URL": plain.url, "AWS_REGION": "eu-central-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_CONFIG_FILE": str(tmp_path / "none"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)

    def write(text: str) -> None:
        file.with_suffix(".new").write_text(text)
        file.with_suffix(".new").replace(file)

    def key() -> str:
        with pytest.raises(errors.StoreError):
            provider.read("a")
        found = re.search(r"Credential=([^/]+)/", plain.seen[-1][0])
        return found[1] if found else ""

    write("[default]\naws_access_key_id = FIRST\naws_secret_access_key = one\n")
    provider = AwsProvider()
    assert key() == "FIRST"
    write("[default]\naws_access_key_id = SECOND\naws_secret_access_key = two\n")
    assert key() == "SECOND"
    for torn in ("[default", "[default]\n", ""):
        write(torn)
        assert key() == "SECOND"
    write("[default]\naws_access_key_id = THIRD\naws_secret_access_key = three\n")
    assert key() == "THIRD"


@pytest.mark.parametrize("own", [False, True])
def test_files_of_tls_are_read_again(tmp_path: Path, *, own: bool) -> None:
    ca, cert = tmp_path / "ca.pem", tmp_path / "cert.pem"
    make(ca)
    client = make(cert)
    server = Server(ca)
    env = {"BAO_CLIENT_CERT": str(cert), "BAO_CLIENT_KEY": str(cert)} if own else {}
    try:
        server.serve(ca, cert)
        provider = VaultProvider(url=server.url, token=SecretValue("t"), ca_cert=str(ca), env=env)

        def ask() -> None:
            with pytest.raises(errors.NotFoundError):
                provider.read("a")
            assert server.seen[-1][1] == (client if own else None)

        ask()
        for _ in range(2):
            make(ca)
            client = make(cert)
            server.serve(ca, cert)
            ask()
            cert.write_text("torn")
            ask()
    finally:
        server.close()


def test_files_of_nats_are_read_for_each_connection(tmp_path: Path) -> None:
    ca, creds = tmp_path / "ca.pem", tmp_path / "user.creds"
    files = {f"ROTATOR_NATS_TLS_{name}": str(ca) for name in ("CA", "CERT", "KEY")}
    options = NatsOptions(("tls://127.0.0.1:4222",), creds_file=str(creds), read_tls=partial(_tls, files))
    for nth in ("one", "two"):
        certificate = make(ca)
        creds.write_text(f"-----BEGIN NATS USER JWT-----\n{nth}\n------END\n\n-----BEGIN USER NKEY SEED-----\nseed\n------END\n")
        login = options.login()
        assert login["tls"].get_ca_certs(binary_form=True) == [certificate]
        assert nth in login["user_credentials"]
