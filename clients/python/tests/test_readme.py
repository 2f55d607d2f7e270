"""The blocks of README.md, as a reader pastes them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from test_package import GOOD, HERE

if TYPE_CHECKING:
    from pathlib import Path

README = (HERE / "README.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def block(language: str, has: str) -> str:
    (found,) = [text for kind, text in BLOCKS if kind == language and has in text]
    return found


@pytest.fixture(autouse=True)
def development(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith(("TRADEPULSE_", "ROTATOR_"))]:
        monkeypatch.delenv(name)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(HERE / "src"))
    monkeypatch.chdir(tmp_path)


def test_every_python_block_compiles() -> None:
    blocks = [text for kind, text in BLOCKS if kind == "python"]
    assert len(blocks) > 3
    for text in blocks:
        ast.parse(text)


def test_every_shell_block_is_shell() -> None:
    for kind, text in BLOCKS:
        if kind == "sh":
            subprocess.run(["bash", "-n"], input=text, text=True, check=True)
            assert "…" not in text


async def test_main_py_answers_as_the_page_says(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "main"}
    exec(compile(block("python", "app = FastAPI("), "main.py", "exec", dont_inherit=True), names)
    app = names["app"]
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        refused = await http.post("/admin/halt")
        assert (refused.status_code, "WWW-Authenticate" in refused.headers) == (401, True)
        token = {"Authorization": f"Bearer {GOOD['TRADEPULSE_ADMIN_TOKEN']}"}
        assert (await http.post("/admin/halt", headers=token)).status_code == 200
    assert "trading.halted" in (tmp_path / "audit.jsonl").read_text()


def test_the_program_without_fastapi_runs() -> None:
    subprocess.run([sys.executable, "-c", block("python", "asyncio.run(main())")], check=True, capture_output=True)


def test_the_log_is_json() -> None:
    text = block("python", "JSONFormatter()")
    done = subprocess.run(
        [sys.executable, "-c", text + "logging.getLogger('tradepulse_rotator').warning('an event')\n"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "an event" in done.stderr
    assert done.stderr.startswith("{")
