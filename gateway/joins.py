"""Joining topics: the place where the hub's cursors and Redis's logs are brought together.

One script does it all: it notes that this node listens, says where the topic stands, and reads what was missed. The
same script, read from the hub's own position, is the position check, and fills holes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from bus.cursor import NONE_BEFORE, Cursor, Survived, carried, read_survived
from bus.errors import BusError
from bus.keys import INBOX, Keys
from bus.pipe import OnReply, Pipe, Reply
from gateway.batch import Publication
from gateway.connection import Connection
from gateway.effects import Failed, Joined
from gateway.hub import Behind, Hub, Landing
from gateway.names import Names
from gateway.pace import Pace
from gateway.reads import SharedReads
from gateway.relay import ignore
from gateway.session import State
from gateway.stats import Stats
from gateway.wire.codes import Error

LIMIT: Final = 300
"""Most publications given to a client that comes back; who missed more is told so."""
MOST_BYTES: Final = 2_097_152
"""Most bytes of these: more than a slow phone could read before it counts as stalled, comes back, and begins again."""
META_TTL: Final = 60 * 86_400
TRIES: Final = 10
AGAIN: Final = 0.02
"""Seconds until a join is tried again that found the hub behind its client: a flush may have to be waited for."""
URGENT: Final = 250
"""Topics looked at per step when all have to be looked at soon."""

OnJoined = Callable[[Joined | Failed], None]
OnLost = Callable[[str, Sequence[Connection]], None]


class Joins:
    """Joins, leaves and position checks of one node. `on_lost` is told of those who listened to a topic, do so no more,
    and must recover; who comes to a topic comes at `pace`."""

    def __init__(
        self,
        pipe: Pipe,
        hub: Hub,
        keys: Keys,
        names: Names,
        stats: Stats,
        routes_ttl: int,
        wake: Callable[[], None],
        on_lost: OnLost,
        pace: Pace,
    ) -> None:
        self._pipe, self._hub, self._keys, self._names, self._stats = pipe, hub, keys, names, stats
        self._node = names.node
        self._routes_ttl = routes_ttl
        self._wake = wake
        self._on_lost = on_lost
        self._pace = pace
        self._round: Iterator[str] = iter(())
        self._urgent = False
        self._reads = SharedReads(hub, self._read, LIMIT, self._unroute, pace)

    # One listener ------------------------------------------------------------------------------------------------

    def join(self, name: str, member: Connection, recover: Cursor | None, on_joined: OnJoined) -> Joined | None:
        """Make a connection a listener. Answers at once where the hub knows enough, else calls `on_joined` later."""
        if (landing := self._hub.shortcut(name, member, recover)) is not None:
            return self._joined(landing, recover)
        self._hub.begin(name)
        self._ask(name, member, recover, on_joined, TRIES)
        return None

    def _ask(self, name: str, member: Connection, recover: Cursor | None, on_joined: OnJoined, tries: int) -> None:
        def answered(reply: Reply) -> None:
            if isinstance(reply, BusError) or member.session.state is State.CLOSED:
                if isinstance(reply, BusError):
                    self._stats.bus_failures += 1
                if self._hub.abandon(name):
                    self._unroute(name)
                on_joined(Failed(Error.INTERNAL))
                return
            cursor, survived, missed = read(reply)
            place = carried(recover, cursor.epoch, survived) if recover and tries else None
            landing = self._hub.finish(name, member, place, cursor, missed, survived)
            if isinstance(landing, Behind):
                self._reads.drop(name)
                self.catch_up(name)
                again = partial(self._ask, name, member, recover, on_joined, tries - 1)
                asyncio.get_running_loop().call_later(AGAIN, again)
            else:
                on_joined(self._joined(landing, recover))
                if landing.epoch != cursor.epoch:
                    self.catch_up(name)
                self._wake()

        since = recover.offset if recover else None
        if name.startswith(INBOX):
            self._read(name, since, partial(self._pace.enter, answered))
        else:
            self._reads.fetch(name, since, answered)

    def _joined(self, landing: Landing, recover: Cursor | None) -> Joined:
        if recover is not None:
            self._stats.recovered += landing.recovered
            self._stats.unrecovered += not landing.recovered
        return Joined(landing.epoch, landing.offset, landing.recovered, landing.publications)

    def leave(self, name: str, member: Connection) -> None:
        """A connection stops listening."""
        if self._hub.leave(name, member):
            self._left(name)

    def _disband(self, name: str) -> Sequence[Connection]:
        """Nobody listens any more; who did. What comes from now on is not theirs: they have not heard of the new log,
        and would take it for what follows on the old one."""
        members, gone = self._hub.disband(name)
        if gone:
            self._left(name)
        return members

    def _left(self, name: str) -> None:
        if not name.startswith(INBOX):
            self._unroute(name)
            return
        _, meta, routes, _ = self._keys.listening(name)
        self._pipe.post_script("leave", (routes, meta), (self._node,), ignore)

    def _unroute(self, name: str) -> None:
        self._pipe.post(("HDEL", self._keys.routes(name), self._node), ignore)

    def nobody(self, name: str) -> None:
        """Something came for a topic that nobody here listens to: its route is stale."""
        if name not in self._hub.topics:
            self._unroute(name)

    def _read(self, name: str, since: int | None, on_reply: OnReply) -> None:
        log, meta, routes, bodies = self._keys.listening(name)
        seen = ("0", 0) if since is None else ("1", since)
        arguments = (self._node, self._names.next(), *seen, LIMIT, bodies, self._routes_ttl, META_TTL, MOST_BYTES)
        self._pipe.post_script("join", (log, meta, routes), arguments, on_reply)

    # All topics --------------------------------------------------------------------------------------------------

    def catch_up(self, name: str) -> None:
        """Compare a topic's position with its log, and take in what the hub has not seen."""
        topic = self._hub.topics.get(name)
        if topic is None or topic.epoch is None:
            return
        before = topic.offset

        def answered(reply: Reply) -> None:
            if isinstance(reply, BusError):
                self._stats.bus_failures += 1
                return
            cursor, survived, missed = read(reply)
            self._stats.position_checks += 1
            if name not in self._hub.topics:
                self._unroute(name)
                return
            caught_up = self._hub.catch_up(name, cursor, missed, survived)
            if caught_up is Behind.BEHIND:
                self.catch_up(name)
            elif not caught_up:
                self._stats.resyncs += 1
                self._on_lost(name, self._disband(name))
            elif missed and topic.offset > before:
                self._stats.position_failures += 1
            self._wake()

        self._read(name, before, answered)

    def fill_gaps(self) -> None:
        """Fill the holes that have not filled themselves."""
        for name in tuple(self._hub.gaps):
            self._stats.gaps += 1
            self.catch_up(name)

    def check_all_soon(self) -> None:
        """Something may have been missed by any topic: look at all of them, quickly."""
        self._urgent = True
        self._round = iter(tuple(self._hub.topics))

    def check_soon(self, partitions: frozenset[int]) -> None:
        """These partitions may have forgotten something: look at their topics, quickly."""
        if self._urgent:  # of others some may be left
            self.check_all_soon()
            return
        self._urgent = True
        self._round = iter([name for name in self._hub.topics if self._keys.partition(name) in partitions])

    def check_some(self, share: float) -> None:
        """Look at the next topics in turn: `share` is the part of all that is due now."""
        count = URGENT if self._urgent else max(1, round(len(self._hub.topics) * share))
        while count:
            name = next(self._round, None)
            if name is None:
                self._urgent = False
                self._round = iter(tuple(self._hub.topics))
                return
            if name in self._hub.topics:  # one that has gone since the round began takes no turn
                self.catch_up(name)
                count -= 1


def read(reply: Reply) -> tuple[Cursor, Survived, Sequence[Publication]]:
    """What join.lua and history.lua return: the position, what of former epochs counts, and publications."""
    epoch, top, flat, *before = reply
    survived = read_survived(before[0]) if before else NONE_BEFORE
    return Cursor(epoch.decode(), top), survived, list(zip(flat[::2], flat[1::2], strict=True))
