"""What revoke.lua promises in its header, on Redis 6.2 and 7."""

from __future__ import annotations

import asyncio
from typing import Any

from bus.clock import SystemClock
from bus.keys import Keys
from bus.pipe import Pipe
from tests.conftest import open_pipe
from tests.servers import RedisSite


class Revoking:
    """The script with its keys filled in; each call brings a version of its own."""

    def __init__(self, pipe: Pipe, keys: Keys, most: int = 3) -> None:
        self.pipe, self.most, self.count = pipe, most, 0
        self.names = (keys.revoked, keys.revoked_until, keys.revoked_version)

    async def __call__(self, name: str, until: int, value: str = "") -> list[Any]:
        self.count += 1
        return list(await self.pipe.script("revoke", self.names, (f"v{self.count}", self.most, name, until, value)))


async def test_versions_follow_each_other_and_a_repeat_changes_nothing(any_server: RedisSite, keys: Keys) -> None:
    later = int(SystemClock().wall() * 1000) + 60_000
    async with asyncio.timeout(60), open_pipe(any_server.url) as pipe:
        revoke = Revoking(pipe, keys)
        assert await revoke("t:a", later) == [b"", b"v1", b"%d " % later]
        assert await revoke("u:b", later, "5.5") == [b"v1", b"v2", b"%d 5.5" % later]
        assert await revoke("u:b", later, "4") == [b"v2", b"v2", b"%d 5.5" % later]
        assert await revoke("u:b", later - 5, "7.25") == [b"v2", b"v4", b"%d 7.25" % later]
        assert await revoke("d:c", later + 9, "3503 5") == [b"v4", b"v5", b"%d 3503 5" % (later + 9)]
        assert await revoke("t:d", later) == []
        assert await revoke("t:a", later + 20) == [b"v5", b"v7", b"%d " % (later + 20)]
        assert await pipe.ask("HLEN", keys.revoked) == await pipe.ask("ZCARD", keys.revoked_until) == 3
        for name in revoke.names:
            before = SystemClock().wall() * 1000
            left = await pipe.ask("PTTL", name)
            assert later + 20 - SystemClock().wall() * 1000 - 10 < left < later + 20 - before + 10


async def test_what_is_over_makes_room(any_server: RedisSite, keys: Keys) -> None:
    now = int(SystemClock().wall() * 1000)
    async with asyncio.timeout(60), open_pipe(any_server.url) as pipe:
        revoke = Revoking(pipe, keys)
        for name, until in (("t:a", now + 60), ("t:b", now + 60), ("t:c", now + 60_000)):
            assert await revoke(name, until)
        while not await revoke("t:d", now + 60_000):
            assert await pipe.ask("HLEN", keys.revoked) == 3
        assert await pipe.ask("HEXISTS", keys.revoked, "t:a") == 0
        assert await pipe.ask("ZSCORE", keys.revoked_until, "t:b") is None
