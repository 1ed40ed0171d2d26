"""The servers that tests find: the machine's is not hidden by the wheel's, as in an activated venv."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.providers.tls import certificate
from tests.redis_programs import bundled, in_path, with_tls
from tests.servers import Plan, start

pytestmark = pytest.mark.one_server


@pytest.fixture
def hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel's server, first in PATH."""
    server = tmp_path / "bin" / "redis-server"
    server.parent.mkdir()
    server.symlink_to(str(bundled()))
    monkeypatch.setenv("PATH", f"{server.parent}{os.pathsep}{os.environ['PATH']}")
    return server


def test_the_machines_server_is_found_behind_the_venvs(hidden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(hidden.parent / "python"))
    assert in_path() not in {str(hidden), None}
    monkeypatch.setenv("PATH", str(hidden.parent))
    assert in_path() == str(hidden)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert in_path() is None


def test_a_server_with_tls_is_found_behind_one_without(hidden: Path, tmp_path: Path) -> None:
    assert with_tls() not in {str(hidden), bundled()}
    with start("one", tmp_path / "site", Plan(tls=certificate(tmp_path))) as site, site.client() as redis:
        assert redis.ping()


def test_where_no_server_has_tls_the_test_is_left_out(hidden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(hidden.parent))
    with pytest.raises(pytest.skip.Exception, match="made with TLS"):
        with_tls()
