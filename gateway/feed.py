"""The feed: this node's own stream, read in batches and handed to the hub.

The number of an entry is the node's own sequence, so a hole in it is seen at once; then every topic is compared with
its log, which is the same as any position check, only sooner.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Final

import orjson

from bus.connect import BLOCK
from bus.errors import BusError
from bus.keys import Keys, inbox_of
from bus.pipe import Asks, Pipe, Server
from bus.pipe.routing import slot_of
from gateway.flusher import Flusher
from gateway.hub import Hub, Verdict
from gateway.joins import Joins
from gateway.relay import ignore
from gateway.stats import Stats

BATCH: Final = 500
GAP_WAIT: Final = 0.05
"""How long a hole in a topic may wait for the other worker's entry before it is filled from history, in seconds."""
RETRY_WAIT: Final = 0.2
REMEMBERED: Final = 2_000
"""Entries that are known again when they are seen once more."""
PAGE: Final = 100
STREAM_TTLS: Final = 6
"""A node's stream outlives its last heartbeat by this many times `node_ttl`."""

Fields = Mapping[bytes, bytes]
OnControl = Callable[[Mapping[str, Any]], None]


class Feed:
    """`run` reads for ever; `apply` is what it does with one entry."""

    def __init__(
        self,
        line: Pipe,
        keys: Keys,
        node: str,
        hub: Hub,
        joins: Joins,
        flusher: Flusher,
        stats: Stats,
        on_control: OnControl,
    ) -> None:
        self._line = line
        """A pipe of its own, for its reads block."""
        self._stream = keys.node_deliveries(node)
        self._hub, self._joins, self._flusher, self._stats = hub, joins, flusher, stats
        self._on_control = on_control
        self._filling = False
        self.read_to = 0
        """Number of the newest entry read."""
        self._marks: OrderedDict[int, int] = OrderedDict()
        """Number → hash of the newest entries read."""
        self._doubtful = False
        """Whether Redis may have forgotten some of these."""
        self._server = ""

    async def run(self) -> None:
        """Read until cancelled. A lost connection is waited out; nothing is lost, for the stream keeps."""
        while True:
            try:
                if self._doubtful:
                    await self._go_back(self._line.asks)
                found = await self._line.ask(
                    "XREAD", "COUNT", BATCH, "BLOCK", int(BLOCK * 1000), "STREAMS", self._stream, f"{self.read_to}-0"
                )
            except BusError:
                await asyncio.sleep(RETRY_WAIT)
                continue
            for _, entries in found or ():
                for number, flat in entries:
                    self._take(int(number.partition(b"-")[0]), flat)
            self._flusher.wake()
            self._watch_gaps()

    def _take(self, number: int, flat: Sequence[bytes]) -> None:
        self._marks[number] = hash(tuple(flat))
        if len(self._marks) > REMEMBERED:
            self._marks.popitem(last=False)
        if number != self.read_to + 1:
            self._stats.stream_gaps += 1
            self._joins.check_all_soon()
        self.read_to = number
        self.apply(dict(zip(flat[::2], flat[1::2], strict=True)))

    async def arrived(self, asks: Asks, server: Server, slots: Container[int]) -> None:
        """A connection to a server is new (see `bus.pipe.Arrival`). Raises `BusError`.

        Another one than before may have forgotten the newest of the stream, and others may have put something in its
        place: then it is read again from there.
        """
        if slot_of(self._stream.encode()) not in slots or self._server == server.run_id:
            return
        if self._server and self.read_to:
            await self._go_back(asks)
            self._joins.check_all_soon()
        self._server = server.run_id

    async def _go_back(self, asks: Asks) -> None:
        """To the newest entry read that is still there. What comes twice is an order carried out twice."""
        upto = self.read_to
        while upto:
            (found,) = await asks([("XREVRANGE", self._stream, f"{upto}-0", "-", "COUNT", PAGE)])
            if isinstance(found, BusError):
                raise found
            upto = 0
            for entry, flat in found:
                number = int(entry.partition(b"-")[0])
                mark = self._marks.get(number)
                if mark == hash(tuple(flat)):
                    self._read_again(number)
                    return
                upto = 0 if mark is None else number - 1
        # Where all that was read was trimmed, what is left is new; where nothing is known again, all of it may be.
        self._read_again(0)

    def _read_again(self, after: int) -> None:
        self.read_to, self._doubtful = after, False
        while self._marks and next(reversed(self._marks)) > after:
            self._marks.popitem()

    def drop_read(self, pipe: Pipe) -> None:
        """Take what was read out of the stream now; else it stays until the stream is full, or ends with the node."""
        pipe.post(("XTRIM", self._stream, "MINID", f"{self.read_to + 1}-0"), ignore)

    def restarted(self, sequence: int, read_to: int) -> None:
        """Redis says that the stream is at `sequence`, long after we had read to `read_to`: when that is less, the
        stream was made anew (Redis came back without it, or without the newest of it), and is read again."""
        if sequence < read_to:
            self._doubtful = True
            self._stats.stream_gaps += 1
            self._joins.check_all_soon()

    def apply(self, fields: Fields) -> None:
        """One entry to the hub."""
        match fields.get(b"k"):
            case b"t":
                self._publish(fields[b"t"].decode(), fields[b"ep"].decode(), int(fields[b"o"]), fields[b"b"])
            case b"u":
                body = fields[b"b"]
                for user, offset, epoch in orjson.loads(fields[b"u"]):
                    self._publish(inbox_of(user), epoch, offset, body)
            case b"p":
                self._hub.push(fields[b"t"].decode(), fields[b"b"])
            case b"c":
                self._on_control(orjson.loads(fields[b"c"]))
            case _:
                pass  # of a newer release; the position check finds what it may have meant

    def _publish(self, topic: str, epoch: str, offset: int, body: bytes) -> None:
        match self._hub.publish(topic, epoch, offset, body):
            case Verdict.ACCEPTED:
                self._stats.publications += 1
            case Verdict.DUPLICATE:
                self._stats.duplicates += 1
            case Verdict.NOBODY:
                self._joins.nobody(topic)
            case Verdict.OTHER_EPOCH:
                self._joins.catch_up(topic)
            case Verdict.AHEAD:
                pass

    def _watch_gaps(self) -> None:
        if self._hub.gaps and not self._filling:
            self._filling = True
            asyncio.get_running_loop().call_later(GAP_WAIT, self._fill)

    def _fill(self) -> None:
        self._filling = False
        self._joins.fill_gaps()


class Heartbeat:
    """Says that this node is alive, and notices when it was taken for dead."""

    def __init__(self, pipe: Pipe, keys: Keys, node: str, ttl: float, feed: Feed, joins: Joins) -> None:
        self._pipe, self._keys, self._node = pipe, keys, node
        self._ttl = ttl
        self._feed, self._joins = feed, joins
        self._beaten = False
        self.nodes = 1
        """How many nodes there are, this one included."""

    async def run(self) -> None:
        """Beat until cancelled, three times per `ttl`."""
        while True:
            try:
                async with asyncio.timeout(self._ttl):
                    await self.beat()
            except (BusError, TimeoutError):
                self._beaten = False
            await asyncio.sleep(self._ttl / 3)

    async def beat(self) -> None:
        """One heartbeat. Raises `BusError`."""
        keys, node = self._keys, self._node
        ttl = int(self._ttl * 1000)
        names = (keys.node_deliveries(node), keys.node_sequence(node), keys.node_alive(node))
        read_to = self._feed.read_to
        sequence, lapsed = await self._pipe.script("beat_node", names, (ttl, STREAM_TTLS * ttl, read_to))
        self.nodes = len(await self._pipe.script("register", (keys.nodes,), (ttl, node)))
        self._feed.restarted(sequence, read_to)
        if lapsed or not self._beaten:
            # While we were away from Redis others may have dropped our routes: tell it again what we listen to.
            self._joins.check_all_soon()
        self._beaten = True

    async def retire(self) -> None:
        """Leave the living, so that nobody writes to this node any more. Raises `BusError`."""
        keys, node = self._keys, self._node
        await self._pipe.ask("ZREM", keys.nodes, node)
        await self._pipe.ask("UNLINK", keys.node_alive(node), keys.node_deliveries(node), keys.node_sequence(node))
