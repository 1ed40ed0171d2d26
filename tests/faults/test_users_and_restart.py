"""A Redis that only named users may enter loses nothing when it is started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.redis_programs import bundled, in_path
from tests.servers import Account, Plan, start


@pytest.mark.parametrize("program", [in_path(), bundled()], ids=["of this machine", "of the floor"])
def test_what_scripts_wrote_is_there_after_a_crash(tmp_path: Path, program: str | None) -> None:
    """Redis 7.0 reads its append-only file with the rights of the default user, and leaves out what it may not do."""
    plan = Plan({"appendfsync": "always"}, accounts=[Account("someone", "secret", "~* +ping")], program=program)
    with start("one", tmp_path, plan) as site:
        redis = site.client()
        redis.eval("redis.call('SET', KEYS[1], 1) redis.call('SET', KEYS[2], 1)", 2, "one", "two")
        redis.set("three", 1)
        site.kill()
        site.restart()
        assert redis.exists("one", "two", "three") == 3
        redis.close()
