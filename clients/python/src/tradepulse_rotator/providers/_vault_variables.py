"""The variables of the ``vault`` and ``bao`` commands, by one rule that Go has too."""

from __future__ import annotations

import contextlib
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import requests
from requests.adapters import HTTPAdapter

from tradepulse_rotator.errors import ConfigurationError
from tradepulse_rotator.providers._files import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_UNSUPPORTED: Final = ("SRV_LOOKUP", "DISABLE_REDIRECTS")
_BOOLEANS: Final = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False, "": False}


def variable(env: Mapping[str, str], name: str) -> str:
    """Return ``BAO_name``, also when it is empty, else ``VAULT_name``; an empty ``BAO_TOKEN`` does not count.

    White space around a value does not count: a variable that is set from a file often ends in a line break.
    """
    return _find(env, name)[0]


def _find(env: Mapping[str, str], name: str) -> tuple[str, str]:
    chosen = "BAO_" + name
    text = env.get(chosen)
    if text is None or (name == "TOKEN" and not text.strip()):
        chosen = "VAULT_" + name
        text = env.get(chosen, "")
    text = text.strip()
    if name != "CACERT_BYTES" and any(c < " " or c == "\x7f" for c in text):
        raise ConfigurationError(f"vault: {chosen}: it contains a control character")
    return text, chosen


@dataclass(frozen=True)
class Variables:
    """What the variables say of a server."""

    env: Mapping[str, str]

    def __post_init__(self) -> None:
        """Refuse what only the commands read."""
        for name in (f"{command}_{what}" for what in _UNSUPPORTED for command in ("BAO", "VAULT")):
            if self.env.get(name):
                raise ConfigurationError(f"vault: {name} is not supported by the Python client: unset it")

    def __getitem__(self, name: str) -> str:
        return variable(self.env, name)

    def address(self) -> str:
        """Return the address of the server; that of an agent wins."""
        return self["AGENT_ADDR"] or self["ADDR"] or "https://127.0.0.1:8200"

    def proxies(self) -> dict[str, str]:
        """Return the proxy for every request, none for that of the system."""
        proxy = self["PROXY_ADDR"] or self["HTTP_PROXY"]
        return {"http": proxy, "https": proxy} if proxy else {}

    def session(self, ca_cert: str | None) -> requests.Session:
        """Return a session whose TLS is as the variables say; ``ca_cert`` replaces their authorities."""
        session = requests.Session()
        session.verify = ca_cert or self["CACERT"] or True
        session.proxies.update(self.proxies())
        context, name = self._context(ca_cert)
        if context is not None:
            files = [Path(file) for file in (ca_cert or self["CACERT"], self["CLIENT_CERT"], self["CLIENT_KEY"]) if file]
            session.mount("https://", _Adapter(context, name, files, lambda: self._context(ca_cert)[0]))
        return session

    def _context(self, ca_cert: str | None) -> tuple[ssl.SSLContext | None, str]:
        cert, key, name = self["CLIENT_CERT"], self["CLIENT_KEY"], self["TLS_SERVER_NAME"]
        insecure = self._insecure()
        own = not ca_cert and not self["CACERT"] and bool(self["CACERT_BYTES"] or self["CAPATH"])
        if bool(cert) != bool(key):
            raise ConfigurationError("vault: CLIENT_CERT and CLIENT_KEY, with BAO_ or VAULT_ before them: set both or neither")
        if not (cert or name or insecure or own):
            return None, ""  # requests does it
        try:
            context = ssl.create_default_context(cafile=ca_cert or self["CACERT"] or None, cadata=self._authorities(ca_cert))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if cert:
                context.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as err:
            raise ConfigurationError(f"vault: the variables of TLS: {err.strerror or err}") from None
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context, name

    def _authorities(self, ca_cert: str | None) -> str | None:
        """Return the text of ``CACERT_BYTES``, or of every file in ``CAPATH``."""
        if ca_cert or self["CACERT"]:
            return None
        if text := self["CACERT_BYTES"]:
            return text
        if not (folder := self["CAPATH"]):
            return None
        return "\n".join(file.read_text(encoding="ascii") for file in sorted(Path(folder).rglob("*")) if file.is_file())

    def _insecure(self) -> bool:
        text, chosen = _find(self.env, "SKIP_VERIFY")
        if text.lower() not in _BOOLEANS:
            raise ConfigurationError(f"vault: {chosen}: want true or false")
        return _BOOLEANS[text.lower()]


class _Adapter(HTTPAdapter):
    """Connects with a context of its own, and may expect another name in the certificate than that of the address.

    The context is made again when a file that it was made of has changed. While files are replaced, the one from before stays in use.
    """

    def __init__(self, context: ssl.SSLContext, name: str, files: Sequence[Path], make: Callable[[], ssl.SSLContext | None]) -> None:
        self._tls: dict[str, Any] = {"ssl_context": context}
        self._files, self._make, self._lock = files, make, threading.Lock()
        self._made_of = [stamp(file) for file in files]
        if name:
            self._tls |= {"server_hostname": name, "assert_hostname": name}
        super().__init__()

    def send(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as in the library
        """Send with what the files say now."""
        self._renew()
        return super().send(*args, **kwargs)

    def _renew(self) -> None:
        with self._lock:
            now = [stamp(file) for file in self._files]
            if now == self._made_of:
                return
            with contextlib.suppress(ConfigurationError):
                self._tls["ssl_context"], self._made_of = self._make(), now
                for pool in (self.poolmanager, *self.proxy_manager.values()):
                    pool.connection_pool_kw["ssl_context"] = self._tls["ssl_context"]
                    pool.clear()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:  # noqa: ANN401, FBT001, FBT002
        """Make the pool with the context."""
        super().init_poolmanager(connections, maxsize, block, **kwargs, **self._tls)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401  # as in the library
        """Make the pool of a proxy with the context."""
        return super().proxy_manager_for(proxy, **kwargs, **self._tls)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:  # noqa: ANN401
        """Leave all of TLS to the context."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:  # noqa: ANN401
        """Leave all of TLS to the context."""
