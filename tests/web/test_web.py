"""The browser client under Node: its unit tests, the transcripts, and its types."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"
TESTS = Path(__file__).parent

pytestmark = pytest.mark.node


def run(*command: str) -> None:
    """Run in web/; on failure its output is the failure's text."""
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode != 0:
        pytest.fail(f"{command[0]} failed\n{done.stdout[-8000:]}\n{done.stderr[-2000:]}", pytrace=False)


def program(name: str) -> str:
    """Path of a program; where it is missing the test is skipped, but in CI that is a failure."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.parametrize("file", sorted(TESTS.glob("*.test.mjs")), ids=lambda file: file.name.removesuffix(".test.mjs"))
def test_unit(file: Path) -> None:
    run(program("node"), "--test", "--test-reporter=spec", str(file))


def test_types() -> None:
    compiler = WEB / "node_modules" / ".bin" / "tsc"
    if not compiler.exists():
        run(program("npm"), "ci", "--no-audit", "--no-fund")
    run(program("node"), str(compiler), "--project", "jsconfig.json")
