"""The data folder: one system at a time, a secret that only its owner can read, and no stale claims."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from bus.people.vault import vault_of
from tocsin.folder import Folder, Running
from tocsin.trouble import Trouble

RUNNING = Running(pid=1, page="http://127.0.0.1:1/", redis_url="redis://127.0.0.1:2/0", config="dev.toml")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "data")


def test_the_secret_is_made_once_and_is_its_owners_alone(folder: Folder) -> None:
    secret = folder.secret()
    assert len(secret) >= 32
    assert folder.secret() == secret
    assert stat.S_IMODE((folder.path / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert sorted(p.name for p in folder.path.iterdir()) == ["secret"]


def test_keys_are_made_once_too(folder: Folder) -> None:
    keys = folder.keys()
    assert folder.keys() == keys
    assert vault_of([keys.directory_key], keys.directory_index_key) is not None
    assert stat.S_IMODE((folder.path / "keys.json").stat().st_mode) == 0o600


def test_nothing_runs_on_a_folder_that_is_not_there(folder: Folder) -> None:
    assert folder.running() is None


def test_a_holder_is_found_and_keeps_others_out(folder: Folder) -> None:
    with folder.held():
        folder.announce(RUNNING)
        assert folder.running() == RUNNING
        with pytest.raises(Trouble, match="already runs"), Folder(folder.path).held():
            pass
    assert folder.running() is None


def test_what_a_killed_holder_left_is_nobodys(folder: Folder) -> None:
    folder.make()
    folder.announce(RUNNING)
    (folder.path / "lock").touch()
    assert folder.running() is None
    with folder.held():
        pass


def test_half_a_file_is_no_claim(folder: Folder) -> None:
    with folder.held():
        (folder.path / "running.json").write_text('{"pid": 1')
        assert folder.running() is None


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Trouble, match="--data-folder"):
        Folder(tmp_path / "file" / "data").make()
