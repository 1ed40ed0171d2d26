"""Places for connections that all nodes share, borrowed in Redis: see `gateway.shares`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b, sha256
from typing import Final

from bus.errors import BusError
from bus.pipe import Pipe, Reply
from gateway.settings import GatewaySettings
from gateway.shares import Shares

TTL: Final = 15.0
"""What a node borrowed and does not keep borrowing is nobody's after so many seconds."""


class Places:
    """`key_of` makes the Redis key of a person or address; `ttl` is seconds."""

    def __init__(self, pipe: Pipe, key_of: Callable[[str], str], node: str, limit: int, *, ttl: float = TTL) -> None:
        self._pipe, self._key_of, self._node, self._ttl = pipe, key_of, node, ttl
        self.shares = Shares(limit)
        self._asking: set[str] = set()

    def allows(self, key: str, count: int) -> bool:
        """Whether one more may come to the `count` that are here, as far as is known without asking. Where not, it is
        asked for, so that who comes again a moment later may find a place."""
        if self.shares.allows(key, count):
            return True
        if key not in self._asking:
            self._asking.add(key)
            self.ask(key, lambda: count, lambda allowed: self._asking.discard(key))
        return False

    def ask(self, key: str, count: Callable[[], int], on_answer: Callable[[bool | None], None]) -> None:
        """Borrow one more for those that are here, of whom `count` says how many; None when Redis does not say."""
        wanted, least = self.shares.wanted(count())

        def answered(reply: Reply) -> None:
            if isinstance(reply, BusError):
                on_answer(None)
                return
            self.shares.has(key, reply)
            allowed = self.shares.allows(key, count())
            if not allowed and reply >= least:
                # Another came meanwhile and took it; they are as many as the limit at most, so this comes to an end.
                self.ask(key, count, on_answer)
            else:
                on_answer(allowed)

        self._borrow(key, wanted, least, answered)

    def left(self, key: str, count: int) -> None:
        """One has gone, `count` are still here."""
        if (kept := self.shares.spare(key, count)) is not None:
            # At once, or it would be given back once more with every further one that goes.
            self.shares.has(key, kept)
            self._borrow(key, kept, 0, partial(self._had, key))

    def resize(self, nodes: int, counts: Callable[[], Iterable[tuple[str, int]]]) -> None:
        """There are so many nodes now. `counts`: how many connections each has here, for where fewer places are free
        than before, those who have more borrow them."""
        if self.shares.resize(nodes):
            for key, count in tuple(counts()):
                if self.shares.owes(key, count):
                    wanted, _ = self.shares.wanted(count - 1)
                    self._borrow(key, wanted, 0, partial(self._got, key))

    def _got(self, key: str, reply: Reply) -> None:
        if not isinstance(reply, BusError):
            self.shares.has(key, reply)

    async def run(self, nodes: Callable[[], int], counts: Callable[[], Iterable[tuple[str, int]]]) -> None:
        """Keep what is borrowed, until cancelled. `nodes` says how many nodes there are."""
        unused: frozenset[str] = frozenset()
        while True:
            self.resize(nodes(), counts)
            unused = self._keep(unused, counts)
            await asyncio.sleep(self._ttl / 3)

    def _keep(self, unused: frozenset[str], counts: Callable[[], Iterable[tuple[str, int]]]) -> frozenset[str]:
        """Keep what is borrowed, but for what was of no use the last time either: whom it was for went before it came,
        or did not come again. What is of no use now."""
        borrowed = tuple(self.shares.borrowed())
        here = dict(counts()) if borrowed else {}
        spare: set[str] = set()
        for key, count in borrowed:
            kept = self.shares.spare(key, here.get(key, 0))
            if kept is not None and key in unused:
                self.shares.has(key, kept)
                count = kept
            elif kept is not None:
                spare.add(key)
            self._borrow(key, count, 0, partial(self._had, key))
        return frozenset(spare)

    def _borrow(self, key: str, wanted: int, least: int, on_reply: Callable[[Reply], None]) -> None:
        args = (self._node, wanted, least, self.shares.pool, round(self._ttl * 1000))
        self._pipe.post_script("borrow", (self._key_of(key),), args, on_reply)

    def _had(self, key: str, reply: Reply) -> None:
        """Fewer than were wanted: whoever is here stays, but nobody comes to them."""
        if not isinstance(reply, BusError) and reply < dict(self.shares.borrowed()).get(key, 0):
            self.shares.has(key, reply)


def address_digest(settings: GatewaySettings) -> Callable[[str], str]:
    """What stands for an address in Redis: its hash under a key that only those have who know our secrets, for there
    are so few addresses that a plain hash hides none of them. The same on all nodes."""
    secret = settings.directory_index_key or settings.token_secret or settings.prefix
    key = sha256(b"addresses\0" + secret.encode()).digest()
    return lambda address: blake2b(address.encode(), key=key, digest_size=16).hexdigest()
