"""The session says, word for word, what the transcripts say it must. Their format: tests/transcripts/README.md."""

from __future__ import annotations

from typing import Any

import pytest

from tests.transcripts.replay import Replay, cases

STEPS = {"app", "c", "asks", "answer", "does", "node", "s", "close", "cut", "at"}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in cases()])
def test_replay(case: dict[str, Any]) -> None:
    Replay(case).run()


def test_every_step_is_of_the_documented_form() -> None:
    for name, case in cases():
        assert set(case["sides"]) <= {"server", "client"}, name
        assert all(set(step) <= STEPS for step in case["steps"]), name


def test_names_are_unique() -> None:
    names = [name for name, _ in cases()]
    assert len(set(names)) == len(names)
