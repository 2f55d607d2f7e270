"""The package as it is installed: built without a network, and its plugin in front of a user's tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=HERE, check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--target"]
    subprocess.run([*pip, str(folder), str(wheel)], check=True)
    return folder


def test_the_wheel_has_types_and_the_plugin(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as z:
        names = z.namelist()
        (info,) = (n for n in names if n.endswith("entry_points.txt"))
        assert "tradepulse_rotator = tradepulse_rotator.pytest_plugin" in z.read(info).decode()
    assert wheel.name.startswith("tradepulse_rotator-")
    assert "tradepulse_rotator/py.typed" in names
    assert not [n for n in names if "test" in n and "pytest_plugin" not in n]


def run_pytest(installed: Path, folder: Path, env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text("def test_it(): pass\n")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("TRADEPULSE_", "ROTATOR_", "PYTEST_"))}
    variables |= {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"} | env
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), *args, str(folder)]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


GOOD = {"TRADEPULSE_AUDIT_SECRET": "Audit-Key-For-Tests-1", "TRADEPULSE_ADMIN_TOKEN": "Admin-Token-For-Tests-1"}
ON = "[pytest]\nrotator_policy = true\n"


def test_violations_end_the_session_before_any_test(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(ON)
    env = {"TRADEPULSE_ADMIN_TOKEN": "short", "TRADEPULSE_ADMIN_TOKEN_ID_TTL_SECONDS": "60"}
    result = run_pytest(installed, tmp_path, env)
    assert result.returncode == 1
    assert "passed" not in result.stdout
    for part in (
        "2 of 2 secrets are not fit for use, 6 violations",
        "TRADEPULSE_AUDIT_SECRET_ID: missing: env: neither TRADEPULSE_AUDIT_SECRET nor TRADEPULSE_AUDIT_SECRET_ID is set; set ",
        "TRADEPULSE_ADMIN_TOKEN_ID: min_length: ",
        "TRADEPULSE_ADMIN_TOKEN_ID: ttl: 1m of its life are left, and it has to be more than 30m",
    ):
        assert (result.stdout + result.stderr).count(part) == 1
    assert "short;" not in result.stdout


def test_secrets_that_are_fit_let_the_tests_run(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(ON)
    result = run_pytest(installed, tmp_path, GOOD)
    assert result.returncode == 0, result.stdout
    assert "rotator: 2 secrets follow their policy" in result.stdout
    assert "1 passed" in result.stdout


def test_a_policy_stands_in_conftest(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from datetime import timedelta\n"
        "from tradepulse_rotator.policy import Policy\n"
        "def pytest_rotator_policy():\n"
        "    return Policy(min_ttl={'DB_PASSWORD': timedelta(hours=2)})\n"
    )
    assert run_pytest(installed, tmp_path, {"DB_PASSWORD": "Database-Password-1"}).returncode == 0
    result = run_pytest(installed, tmp_path, {"DB_PASSWORD": "Database-Password-1", "DB_PASSWORD_TTL_SECONDS": "7200"})
    assert result.returncode == 1
    assert "DB_PASSWORD: ttl: 2h of its life are left" in result.stdout


def test_it_enforces_nothing_that_nobody_asked_for(installed: Path, tmp_path: Path) -> None:
    result = run_pytest(installed, tmp_path, {})
    assert result.returncode == 0
    assert "rotator: no policy of secrets is enforced" in result.stdout
    (tmp_path / "pytest.ini").write_text(ON)
    assert run_pytest(installed, tmp_path, {}, "--no-rotator-policy").returncode == 0


def test_the_policy_of_the_readme_is_enforced(installed: Path, tmp_path: Path) -> None:
    readme = (HERE / "README.md").read_text()
    (policy,) = re.findall(r"^```python\n([^`]*def pytest_rotator_policy[^`]*)^```$", readme, re.MULTILINE)
    (tmp_path / "conftest.py").write_text(policy)
    assert "DB_PASSWORD: missing" in run_pytest(installed, tmp_path, {}).stdout
    assert run_pytest(installed, tmp_path, {"DB_PASSWORD": "Database-Password-1"}).returncode == 0
    assert f"```ini\n{ON}```" in readme
