"""How much waits for the senders of a channel, read when somebody asks for the figures."""

from __future__ import annotations

from collections.abc import Sequence

from bus.clock import Clock
from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Pipe
from fanout.deliver.stats import ChannelStats
from fanout.stats import Backlog


async def read_backlog(
    pipe: Pipe, keys: Keys, channel: str, partitions: Sequence[int], clock: Clock, stats: ChannelStats
) -> None:
    """Into the statistics. Raises `BusError`."""
    commands = []
    for p in partitions:
        jobs = keys.jobs(p, channel)
        commands += [("XLEN", jobs), ("XRANGE", jobs, "-", "+", "COUNT", 1), ("ZCARD", keys.later(p, channel))]
    replies = await pipe.asks(commands)
    for reply in replies:
        if isinstance(reply, BusError):
            raise reply
    # What is done is deleted, so all that is in the stream is still to be done.
    heads = [int(entries[0][0].partition(b"-")[0]) / 1000 for entries in replies[1::3] if entries]
    oldest = max(0.0, clock.wall() - min(heads)) if heads else 0.0
    stats.backlog = Backlog(waiting=sum(replies[::3]), oldest=oldest)
    stats.later = sum(replies[2::3])
