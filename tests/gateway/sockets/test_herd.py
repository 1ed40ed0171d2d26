"""A herd at the door: as many as the rate come in, the others are told when to come again."""

from __future__ import annotations

import re

from gateway.settings import GatewaySettings
from tests.gateway.echo import UPGRADE, Echo, serving
from tests.gateway.turns import SlowClock


async def test_more_handshakes_than_the_rate_are_told_to_come_again() -> None:
    service = Echo(GatewaySettings(handshakes_per_second=5), SlowClock())  # type: ignore[arg-type]
    async with serving(service) as served:
        heads = [await (await served.client()).ask(UPGRADE) for _ in range(20)]
        inside = [head for head in heads if head.startswith(b"HTTP/1.1 101")]
        away = [head for head in heads if head.startswith(b"HTTP/1.1 503")]
        assert (len(inside), len(away)) == (5, 15)
        waits = [int(re.search(rb"Retry-After: (\d+)\r\n", head)[1]) for head in away]  # type: ignore[index]
        assert all(1 <= wait <= 31 for wait in waits)
        service.clock.now += 1
        heads = [await (await served.client()).ask(UPGRADE) for _ in range(10)]
        assert [head.startswith(b"HTTP/1.1 101") for head in heads] == [True] * 5 + [False] * 5
