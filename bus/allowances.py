"""The buckets that all processes share: one for each producer, in Redis, by Redis's clock (docs/decisions/0018)."""

from __future__ import annotations

import asyncio
from typing import Final

from bus.allowance import Ask, Limit, Portion, Spent, Told
from bus.clock import Clock
from bus.keys import Keys
from bus.pipe import Pipe, Reply

MOST: Final = 10_000
"""Buckets of which a process keeps portions: their names come from settings, of which there are never so many."""


class _Bucket:
    """What is kept of a bucket here."""

    __slots__ = ("asking", "limit", "portion")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.portion = Portion(limit)
        self.asking = asyncio.Lock()


class Allowances:
    """One per process. A bucket has one name and one limit wherever it is used."""

    def __init__(self, pipe: Pipe, keys: Keys, clock: Clock) -> None:
        self._pipe, self._keys, self._clock = pipe, keys, clock
        self._buckets: dict[str, _Bucket] = {}

    async def take(self, name: str, limit: Limit, amount: int) -> Spent:
        """Spend `amount` tokens (at most the burst) if they are there. Most calls ask nobody. Raises `BusError`."""
        bucket = self._bucket(name, limit)
        found = bucket.portion.take(amount, self._clock.monotonic())
        if isinstance(found, Spent):
            return found
        async with bucket.asking:  # who waited here finds what the one before was given
            return await self._refilled(name, bucket, amount)

    async def _refilled(self, name: str, bucket: _Bucket, amount: int) -> Spent:
        found = bucket.portion.take(amount, self._clock.monotonic())
        while isinstance(found, Ask):
            told = await self._spend(name, bucket.limit, found.needed, found.wanted)
            now = self._clock.monotonic()
            bucket.portion.told(told, now)
            if not told.taken:
                return Spent(max(told.wait, 0.001), 0)
            found = bucket.portion.take(amount, now)
        return found

    async def reserve(self, name: str, limit: Limit, amount: int) -> Told:
        """Take `amount` tokens, ahead of their time where they are not there yet; `wait` and `at` say when the last of
        them is there. Raises `BusError`."""
        return await self._spend(name, limit, amount, amount, ahead=True)

    async def _spend(self, name: str, limit: Limit, needed: int, wanted: int, ahead: bool = False) -> Told:
        arguments = (repr(limit.rate), repr(limit.burst), needed, wanted, int(ahead))
        return _told(await self._pipe.script("spend", (self._keys.allowance(name),), arguments))

    def _bucket(self, name: str, limit: Limit) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None or bucket.limit != limit:
            if len(self._buckets) >= MOST:
                self._buckets.clear()  # portions taken are lost, which errs towards sending less
            bucket = self._buckets[name] = _Bucket(limit)
        return bucket


def _told(reply: Reply) -> Told:
    taken, wait, full, at = reply
    return Told(taken, wait / 1000, full / 1000, at / 1000)
