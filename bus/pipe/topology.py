"""Where Redis is, and what is known of it: made once per process, and shared by all its pipes."""

from __future__ import annotations

import asyncio

from bus.address import Address, BadAddress, Cluster, Login, OneServer, Sentinels, read_address
from bus.clock import Clock
from bus.pipe.dial import Dialer, tls_context
from bus.pipe.watch import ClusterWatch, SentinelWatch
from bus.scripts import Script
from bus.settings import BadSetting

NAME = "topology"
"""What the connections are called on which the masters are looked for."""


class Topology:
    """Of the Redis at this URL. Raises `BadSetting`."""

    def __init__(self, url: str, *, clock: Clock) -> None:
        address = read_address(url)
        if isinstance(address, BadAddress):
            raise BadSetting(f"redis_url {address.fault}")
        self.address: Address = address
        self._clock = clock
        self._context = tls_context(address.tls)
        self.watch: SentinelWatch | ClusterWatch | None = self._watch()
        self._turn = asyncio.Lock()

    def _watch(self) -> SentinelWatch | ClusterWatch | None:
        match self.address:
            case OneServer():
                return None
            case Sentinels(places, service, _, _, watch):
                return SentinelWatch(places, service, self._dialer(watch), self._clock)
            case Cluster(places, login):
                return ClusterWatch(places, self._dialer(login), self._clock)

    def _dialer(self, login: Login) -> Dialer:
        return Dialer(self._clock, NAME, login, self._context)

    def dialer(self, name: str, scripts: tuple[Script, ...]) -> Dialer:
        """How a pipe of that name connects to a master."""
        address = self.address
        sentinels = isinstance(address, Sentinels)
        db = 0 if isinstance(address, Cluster) else address.db
        fatal = frozenset(("READONLY",)) if sentinels else frozenset[str]()
        return Dialer(self._clock, name, address.login, self._context, db, scripts, fatal, master=sentinels)

    async def run(self) -> None:
        """Look where the masters are, for ever. Every pipe runs it; one does the work, and the next when that ends."""
        if self.watch is not None:
            async with self._turn:
                await self.watch.run()
