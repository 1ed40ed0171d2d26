"""A gateway node: the real sessions, hub, joins, feed and receipts over simulated connections and a simulated Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bus.connect import BLOCK
from bus.errors import BusError
from bus.keys import Keys, inbox_of
from bus.namespaces import Namespaces
from bus.ranges import parse
from gateway.effects import (
    Acked,
    Admit,
    Answer,
    Claims,
    Close,
    Done,
    Effect,
    Failed,
    Join,
    Leave,
    Send,
    Verified,
    Verify,
)
from gateway.feed import Feed
from gateway.flusher import Flusher
from gateway.joins import LIMIT, Joins
from gateway.names import Names
from gateway.outbox import Outbox
from gateway.pace import Pace
from gateway.receipts import Receipts
from gateway.session import SessionContext, State
from gateway.stats import Stats
from gateway.watch import PONG_PATIENCE
from gateway.wheel import Wheel
from gateway.wire.codes import Disconnect, Error, Unsubscribed
from gateway.wire.framing import Wire, encode
from tests.simulation.cores import Cores
from tests.simulation.kernel import Ask, Kernel, Process
from tests.simulation.link import Link
from tests.simulation.store import Store

SLOTS: Final = 10
PING_INTERVAL: Final = 10.0
PONG_SLOTS: Final = 4
NODE_TTL: Final = 6.0
POSITION_CHECK: Final = 8.0
OUTBOX_BYTES: Final = 20_000
OUTBOX_SECONDS: Final = 10.0
EXPIRY: Final = 1e9


class Hurried:
    """A clock by which everything takes a while, so that little is done in one turn of the loop."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 0.002
        return self._now

    def wall(self) -> float:
        return self._now


class Bus:
    """The pipe of a node, for what its parts ask of Redis."""

    def __init__(self, link: Link, store: Store, keys: Keys, topics: Sequence[str]) -> None:
        self._link, self._store, self._keys = link, store, keys
        self._topics = {
            key: topic for topic in topics for key in (keys.log(topic), keys.meta(topic), keys.routes(topic))
        }

    def post(self, command: Sequence[Any], on_reply: Callable[[Any], None]) -> None:
        """HDEL of a route is all that is asked so."""
        name, key, node = command
        assert name == "HDEL"
        topic = self._topics[key]
        p = self._keys.partition(topic)
        self._link.post(p, lambda: self._store.leave(node, topic, p), on_reply)

    def post_script(self, name: str, keys: Sequence[str], args: Sequence[Any], on_reply: Callable[[Any], None]) -> None:
        topic = next(self._topics[key] for key in keys if key in self._topics)
        p = self._keys.partition(topic)
        match name:
            case "join":
                node, _, reads, since = args[:4]
                wanted = int(since) if reads == "1" else None
                self._link.post(p, lambda: self._store.join(node, topic, p, wanted, LIMIT), on_reply)
            case "leave":
                self._link.post(p, lambda: self._store.leave(args[0], topic, p), on_reply)
            case "receipts":
                people = [self._topics[key] for key in keys if key in self._topics][::2]
                said = list(args[4:])
                self._link.post(p, lambda: self._receipts(p, people, said), on_reply)
            case _:
                raise AssertionError(f"the simulator knows no script {name}")

    def _receipts(self, p: int, people: Sequence[str], said: Sequence[Any]) -> list[Any]:
        asked = [said[start : start + 3] for start in range(0, len(said), 3)]
        return [
            self._store.receipts(topic, p, epoch, parse(acked.encode()))
            for topic, (epoch, _, acked) in zip(people, asked, strict=True)
        ]


class Line:
    """The pipe on which a node waits for its own stream."""

    def __init__(self, link: Link, store: Store, node: str, kernel: Kernel) -> None:
        self._link, self._store, self._node, self._kernel = link, store, node, kernel

    def ask(self, *command: Any) -> Ask:
        """XREAD, which waits for a while; it is asked again by itself when the connection was lost."""
        after = int(str(command[-1]).partition("-")[0])

        def start(resume: Callable[[Any], None]) -> None:
            def look() -> None:
                self._link.post(self._node, lambda: self._store.read(self._node, after), answered)

            def answered(found: Any) -> None:
                if isinstance(found, BusError):
                    self._kernel.at(0.2, look)
                elif found:
                    resume([(b"stream", _flat(found))])
                else:
                    self._wait(look, lambda: resume(None))

            look()

        return Ask(start)

    def _wait(self, rung: Callable[[], None], late: Callable[[], None]) -> None:
        """Until something comes for the node, but not for long."""
        waiting = True

        def once(then: Callable[[], None]) -> None:
            nonlocal waiting
            if waiting:
                waiting = False
                then()

        self._store.bells.setdefault(("node", self._node), []).append(lambda: once(rung))
        self._kernel.at(BLOCK, lambda: once(late))

    def asks(self, commands: Sequence[Sequence[Any]]) -> Ask:
        """XREVRANGE is all that is asked so: what came last, newest first."""
        ((_, _, upto, _, _, most),) = commands
        newest = int(str(upto).partition("-")[0])

        def start(resume: Callable[[Any], None]) -> None:
            def answered(found: Any) -> None:
                if isinstance(found, BusError):
                    self._kernel.at(0.2, lambda: start(resume))
                else:
                    resume([_flat([entry for entry in reversed(found) if entry[0] <= newest][:most])])

            self._link.post(self._node, lambda: self._store.read(self._node, 0), answered)

        return Ask(start)


def _flat(entries: Sequence[tuple[int, Mapping[bytes, bytes]]]) -> list[tuple[bytes, list[bytes]]]:
    """Entries as Redis shows them."""
    return [(b"%d-0" % number, [part for pair in fields.items() for part in pair]) for number, fields in entries]


class Socket:
    """The gateway's end of a connection."""

    wire = Wire.STREAM
    remote = ""

    def __init__(self, node: Node, carry: Callable[[bytes | None, Disconnect | None], None]) -> None:
        self.slot = -1
        self.node = node
        self._carry = carry
        self.closed = False
        self.outbox: Outbox | None = None
        self.session = node.cores.session(node.names.next(), node.context)

    def write(self, data: bytes) -> None:
        if self.closed:
            return
        if self.outbox is None:
            self._carry(data, None)
            return
        self.outbox.put(data, self.node.kernel.now)
        if self.outbox.size > OUTBOX_BYTES:
            self.close(Disconnect.SLOW)

    def close(self, disconnect: Disconnect) -> None:
        if not self.closed:
            self.closed = True
            self._carry(None, disconnect)
            self.node.ended(self)

    def stall(self, stalled: bool) -> None:
        """The peer does not read, or reads again."""
        if stalled and self.outbox is None:
            self.outbox = Outbox(self.node.kernel.now)
        elif not stalled and self.outbox is not None:
            waiting, self.outbox = self.outbox.take(OUTBOX_BYTES + 1, self.node.kernel.now), None
            for data in waiting:
                self.write(data)

    def overdue(self, now: float) -> bool:
        return self.outbox is not None and now - self.outbox.since > OUTBOX_SECONDS

    def received(self, message: bytes) -> None:
        if not self.closed:
            self.node.act(self, self.session.feed(message, self.node.wall()))

    def gone(self) -> None:
        """The peer went, and this end noticed."""
        if not self.closed:
            self.closed = True
            self.node.ended(self)


class Node(Process):
    """One gateway process."""

    def __init__(
        self, kernel: Kernel, name: str, store: Store, keys: Keys, cores: Cores, topics: Sequence[str]
    ) -> None:
        super().__init__(kernel, name)
        self.cores, self._store = cores, store
        self.link, self.line = Link(kernel, store, self), Link(kernel, store, self)
        bus: Any = Bus(self.link, store, keys, topics)
        self.hub, stats, self.names = cores.hub(), Stats(), Names(name)
        loop: Any = self
        self.receipts = Receipts(bus, keys, self.hub, loop, stats)
        flusher = Flusher(self.hub, loop, self.receipts.wake)
        self._pace = Pace(Hurried())
        self.joins = Joins(bus, self.hub, keys, self.names, stats, 600, flusher.wake, self._lost, Pace(Hurried()))
        line: Any = Line(self.line, store, name, kernel)
        self.feed = Feed(line, keys, name, self.hub, self.joins, flusher, stats, lambda order: None)
        namespaces = Namespaces({"room": {"subscribe": "user", "history_size": 30}})
        self.link.on_arrival = self._arrived
        self.context = SessionContext(namespaces, name, "sim", ping_interval=PING_INTERVAL)
        self._wheel: Wheel[Socket] = Wheel(SLOTS)
        self._sockets: dict[Socket, None] = {}
        self.draining = False
        self._beaten = False
        self.spawn(self.feed.run())
        self.spawn(self._beat())
        self.every(PING_INTERVAL / SLOTS, self._tick)

    @property
    def links(self) -> tuple[Link, Link]:
        return self.link, self.line

    def _arrived(self, master: int) -> None:
        mine = frozenset(p for p in range(len(self._store.parts)) if self._store.master_of(p) == master)
        self.joins.check_soon(mine)

    # Connections -----------------------------------------------------------------------------------------------------

    def accept(self, carry: Callable[[bytes | None, Disconnect | None], None]) -> Socket | None:
        """A client's connection; None while draining."""
        if self.draining:
            return None
        socket = Socket(self, carry)
        self._sockets[socket] = None
        return socket

    def ended(self, socket: Socket) -> None:
        for topic in tuple(socket.session.subscriptions):
            self.joins.leave(topic, socket)
        socket.session.closed()
        self._sockets.pop(socket, None)
        if socket.slot >= 0:
            self._wheel.remove(socket, socket.slot)

    def drain(self, seconds: float) -> None:
        """Close everybody, spread over a time."""
        self.draining = True
        for socket in tuple(self._sockets):
            self.call_later(self.kernel.chance.uniform(0, seconds), self._send_away, socket, PONG_PATIENCE)

    def _send_away(self, socket: Socket, patience: float) -> None:
        if patience > 0 and socket.session.state is State.CONNECTED and socket.session.unacknowledged:
            self.call_later(0.1, self._send_away, socket, patience - 0.1)
        else:
            socket.close(Disconnect.SHUTDOWN)

    # What sessions ask for -------------------------------------------------------------------------------------------

    def act(self, socket: Socket, effects: Sequence[Effect]) -> None:
        out: list[bytes] = []
        while effects:
            answer: Answer | None = None
            for effect in effects:
                match effect:
                    case Send(payload):
                        out.append(encode(socket.wire, payload))
                    case Close(disconnect):
                        socket.write(b"".join(out))
                        socket.close(disconnect)
                        return
                    case Leave(topic):
                        self.joins.leave(topic, socket)
                    case Acked(first, to):
                        if self.hub.has(socket.session.inbox, socket):
                            self.receipts.acked(socket.session.user, first, to)
                    case _:
                        answer = self._ask(socket, effect)
            effects = () if answer is None else self._answer(socket, answer)
        if out:
            socket.write(b"".join(out))

    def _answer(self, socket: Socket, answer: Answer) -> Sequence[Effect]:
        before = socket.session.state
        effects = socket.session.answer(answer, self.wall())
        if before is not State.CONNECTED and socket.session.state is State.CONNECTED:
            socket.slot = self._wheel.add(socket)
        return effects

    def _ask(self, socket: Socket, question: Effect) -> Answer | None:
        match question:
            case Verify(token):
                return Verified(Claims(token, self.wall() + EXPIRY))
            case Admit():
                return Done()
            case Join(topic, recover):
                return self.joins.join(
                    topic, socket, recover, lambda answer: self.act(socket, self._answer(socket, answer))
                )
            case _:
                return Failed(Error.NOT_AVAILABLE)

    def _lost(self, topic: str, members: Sequence[Any]) -> None:
        def tell(member: Socket) -> None:
            self.act(member, member.session.unsubscribe(topic, Unsubscribed.INSUFFICIENT_STATE))

        self._pace.each(members, tell)

    # Time ------------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        for socket in [socket for socket in self._sockets if socket.overdue(self.kernel.now)]:
            socket.close(Disconnect.SLOW)
        for socket in _in_order(self._wheel.advance()):
            self.act(socket, socket.session.ping(self.wall()))
        for socket in _in_order(self._wheel.behind(PONG_SLOTS)):
            self.act(socket, socket.session.overdue_pong(self.wall()))
        self.joins.check_some(PING_INTERVAL / SLOTS / POSITION_CHECK)

    async def _beat(self) -> None:
        store = self._store
        while True:
            read_to = self.feed.read_to
            ask = self.link.ask(self.name, lambda read_to=read_to: store.beat(self.name, NODE_TTL, read_to))
            answer = await ask
            if isinstance(answer, tuple):
                sequence, lapsed = answer
                store.register("nodes", self.name, NODE_TTL)
                self.feed.restarted(sequence, read_to)
                if lapsed or not self._beaten:
                    self.joins.check_all_soon()
                self._beaten = True
            else:
                self._beaten = False
            await self.sleep(NODE_TTL / 3)


def _in_order(sockets: Sequence[Socket]) -> list[Socket]:
    """A set has an order of its own in each run."""
    return sorted(sockets, key=lambda socket: (len(socket.session.client), socket.session.client))


def inboxes(users: Sequence[str]) -> list[str]:
    return [inbox_of(user) for user in users]
