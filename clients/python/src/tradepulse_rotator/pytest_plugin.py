"""The policy gate at the start of a pytest session.

It is closed by one line in the configuration of pytest, ``rotator_policy = true``, for TradePulse's baseline, or by a hook
in ``conftest.py`` for a policy of one's own:

.. code-block:: python

    def pytest_rotator_policy():
        return Policy(min_ttl={"TRADEPULSE_AUDIT_SECRET_ID": timedelta(hours=1)})
"""

from __future__ import annotations

from typing import NoReturn

import pytest

from tradepulse_rotator.errors import RotatorError
from tradepulse_rotator.policy import Policy

_ACTIVE = pytest.StashKey[Policy | None]()


class Hooks:
    """What a ``conftest.py`` can implement."""

    @pytest.hookspec(firstresult=True)
    def pytest_rotator_policy(self, config: pytest.Config) -> Policy | None:
        """Return the policy that this session enforces."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Make the hook known."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Make the options known."""
    group = parser.getgroup("rotator", "secrets")
    group.addoption("--no-rotator-policy", action="store_true", help="run the tests although secrets may violate their policy")
    parser.addini("rotator_policy", "enforce the baseline policy of secrets at the start of a session", type="bool", default=False)


def _policy(config: pytest.Config) -> Policy | None:
    if config.getoption("--no-rotator-policy"):
        return None
    own = config.hook.pytest_rotator_policy(config=config)
    if own is not None:
        if not isinstance(own, Policy):
            raise pytest.UsageError("pytest_rotator_policy returned no Policy")
        return own
    return Policy() if config.getini("rotator_policy") else None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """End the session with exit code 1 when the policy is violated, with everything that is wrong and what to do."""
    policy = _policy(session.config)
    session.config.stash[_ACTIVE] = policy
    if policy is None:
        return
    try:
        policy.enforce()
    except RotatorError as err:
        _end(session.config, f"rotator: {err}")


def _end(config: pytest.Config, text: str) -> NoReturn:
    """End the session. Pytest prints the reason twice, so the text goes to the terminal once and the reason is short."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(text)
        text = "rotator: no test runs, see above"
    pytest.exit(text, returncode=1)


def pytest_report_header(config: pytest.Config) -> str:
    """Say whether the gate was there."""
    policy = config.stash.get(_ACTIVE, None)
    if policy is None:
        return "rotator: no policy of secrets is enforced (rotator_policy = true does)"
    return f"rotator: {len(policy.min_ttl)} secrets follow their policy"
