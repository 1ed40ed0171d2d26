"""The release that the upgrade is tried with: always one, and its own code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.tocsin_system import clean_environ
from tests.upgrade.releases import PREVIOUS, ROOT, Release, previous


def test_there_is_always_a_release_to_work_with(tmp_path: Path) -> None:
    nothing = tmp_path / "PREVIOUS"
    nothing.write_text("# a clone that does not have this commit\n" + "0" * 40 + "\n")
    assert previous().name
    assert previous(nothing).name


def test_the_file_names_a_whole_commit() -> None:
    (commit,) = [line for line in PREVIOUS.read_text().splitlines() if not line.startswith("#")]
    assert len(commit) == 40


def test_a_release_runs_its_own_code(tmp_path: Path) -> None:
    for release in (previous(), Release("itself")):
        home = release.unpack(tmp_path)
        assert home == (ROOT if release.commit is None else tmp_path)
        environ = clean_environ({"PYTHONPATH": str(home), "PYTHONSAFEPATH": "1"})
        program = "import bus, gateway, fanout, tocsin; print(bus.__file__, gateway.__file__, fanout.__file__)"
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ)
        assert all(place.startswith(str(home)) for place in ran.stdout.split())
