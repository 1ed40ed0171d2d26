"""A device: connects, subscribes, answers pings, and comes back with its cursors; it notes what it was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.wire.codes import Disconnect
from tests.simulation.kernel import Kernel, Process
from tests.simulation.ledger import Ledger
from tests.simulation.node import Node, Socket

INBOX = "inbox"
PING = b"{}"


@dataclass
class Place:
    """Where a device stands in a channel."""

    epoch: str
    offset: int


class Network:
    """One connection: bytes take a while in both directions, in their order."""

    def __init__(self, client: Client, node: Node) -> None:
        self._client, self.node = client, node
        self._kernel = client.kernel
        self._arrives = [0.0, 0.0]
        self.cut = False
        """Nothing passes any more, and nobody is told."""
        self.socket: Socket | None = node.accept(self._carry)
        if self.socket is None:
            self._later(0, lambda: client.closed(self, 0))

    def _later(self, way: int, work: Callable[[], None]) -> None:
        chance = self._kernel.chance
        slow = chance.random() < self._client.slowness
        at = self._kernel.now + (chance.uniform(0.1, 2.0) if slow else chance.uniform(0.0005, 0.02))
        at = self._arrives[way] = max(at, self._arrives[way])
        self._kernel.at(at - self._kernel.now, lambda: None if self.cut else work())

    def _carry(self, data: bytes | None, disconnect: Disconnect | None) -> None:
        if disconnect is not None:
            self._later(0, lambda: self._client.closed(self, disconnect.value.code))
        elif data:
            self._later(0, lambda: self._client.hear(self, data))

    def say(self, message: bytes) -> None:
        """To the node."""
        socket = self.socket
        if socket is not None:
            self._later(1, lambda: self.node.turn(lambda: socket.received(message)))

    def drop(self, noticed: bool) -> None:
        """The client's end is gone; the node may be told."""
        socket = self.socket
        if noticed and socket is not None:
            self._later(1, lambda: self.node.turn(socket.gone))
        else:
            self.cut = True


class Client(Process):
    """One device of a user."""

    def __init__(
        self,
        kernel: Kernel,
        name: str,
        user: str,
        topics: Sequence[str],
        nodes: Callable[[], list[Node]],
        ledger: Ledger,
        slowness: float,
    ) -> None:
        super().__init__(kernel, name)
        self.user, self.topics = user, topics
        self._nodes, self._ledger = nodes, ledger
        self.places: dict[str, Place] = {}
        self.subscribed: set[str] = set()
        self.slowness = slowness
        """Share of what is said, in either direction, that takes up to two seconds."""
        self.net: Network | None = None
        self.away_since: float | None = 0.0
        self.longest_away = 0.0
        self._id = 0
        self._asked: dict[int, str] = {}
        self._connect()

    # Coming and going ------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self.net is not None:
            return
        nodes = [node for node in self._nodes() if not node.draining]
        if not nodes:
            self.call_later(0.5, self._connect)
            return
        node = self.kernel.chance.choice(nodes)
        self.kernel.say(self.name, f"connects to {node.name} {self.places}")
        self.net = Network(self, node)
        self._asked.clear()
        inbox = {INBOX: self._from(INBOX)} if INBOX in self.places else {}
        self._say({"connect": {"token": self.user, "subs": inbox}}, INBOX)
        for topic in self.topics:
            self._subscribe(topic)
        self.call_later(30.0, self._give_up, self.net)

    def _give_up(self, net: Network) -> None:
        """What has not become of it by now never will."""
        if self.net is net and self._asked:
            self.leave(noticed=True)

    def leave(self, noticed: bool, back_in: float | None = None) -> None:
        """End the connection, and come back after a while."""
        if self.net is not None:
            self.net.drop(noticed)
            self._ended()
            if back_in is None:
                back_in = self.kernel.chance.uniform(0.1, 2.0)
            self.call_later(back_in, self._connect)

    def closed(self, net: Network, code: int) -> None:
        """The node ended it, or is gone."""
        if net is self.net:
            self.kernel.say(self.name, f"closed with {code}")
            net.cut = True
            self._ended()
            self.call_later(self.kernel.chance.uniform(0.1, 2.0), self._connect)

    def _ended(self) -> None:
        self.net = None
        self.subscribed.clear()
        if self.away_since is None:
            self.away_since = self.kernel.now

    # Saying ----------------------------------------------------------------------------------------------------------

    def _subscribe(self, topic: str) -> None:
        self._say({"subscribe": {"channel": topic} | self._from(topic)}, topic)

    def _from(self, channel: str) -> dict[str, Any]:
        place = self.places.get(channel)
        return {} if place is None else {"recover": True, "epoch": place.epoch, "offset": place.offset}

    def _say(self, command: dict[str, Any], channel: str) -> None:
        self._id += 1
        self._asked[self._id] = channel
        assert self.net is not None
        self.net.say(orjson.dumps({"id": self._id} | command))

    # Hearing ---------------------------------------------------------------------------------------------------------

    def hear(self, net: Network, data: bytes) -> None:
        """Bytes of a node."""
        for line in data.split(b"\r\n")[1::2]:
            if self.net is not net:
                return
            self._hear_one(orjson.loads(line))

    def _hear_one(self, said: dict[str, Any]) -> None:
        if not said:
            assert self.net is not None
            self.net.say(PING)
        elif "id" in said:
            self._on_reply(said)
        elif "pub" in said["push"]:
            self._on_publication(said["push"]["channel"], said["push"]["pub"])
        elif "unsubscribe" in said["push"]:
            channel = said["push"]["channel"]
            self.subscribed.discard(channel)
            self._subscribe(channel)

    def _on_reply(self, reply: dict[str, Any]) -> None:
        channel = self._asked.pop(reply["id"])
        if "error" in reply:
            self.kernel.say(self.name, f"{channel}: {reply['error']}")
            if not reply["error"].get("temporary"):
                self._ledger.fail(4, f"{self.name} was refused {channel}: {reply['error']}")
            self.leave(noticed=True)
            return
        result = reply["connect"]["subs"][INBOX] if "connect" in reply else reply["subscribe"]
        self._land(channel, result)
        for publication in result.get("publications", ()):
            self._on_publication(channel, publication)
        self.subscribed.add(channel)
        if channel == INBOX and self.away_since is not None:
            self.longest_away = max(self.longest_away, self.kernel.now - self.away_since)
            self.away_since = None

    def _land(self, channel: str, result: dict[str, Any]) -> None:
        before, place = self.places.get(channel), Place(result["epoch"], result["offset"])
        self.places[channel] = place
        if self.kernel.tracing:
            self.kernel.say(self.name, f"{channel}: from {before} to {place}, recovered {result.get('recovered')}")
        if before is None:
            return
        if not result.get("recovered"):
            self._ledger.resyncs += 1
            return
        stood, stands = self._ref(channel, before), self._ref(channel, place)
        if place.offset != before.offset or (stood and stands and stood != stands):
            self._ledger.fail(4, f"{self.name} recovered {channel} at {place}, and had asked from {before}")

    def _ref(self, channel: str, place: Place) -> str | None:
        """The event at a place; None where the model does not know of one."""
        topic = f"@{self.user}" if channel == INBOX else channel
        return self._ledger.named.get((topic, place.epoch, place.offset))

    def _on_publication(self, channel: str, publication: dict[str, Any]) -> None:
        place, offset = self.places[channel], publication["offset"]
        if offset != place.offset + 1:
            self._ledger.fail(4, f"{self.name} got {channel} {offset} after {place.offset}")
        place.offset = offset
        told = "" if publication.get("removed") else publication["data"]["id"]
        if self.kernel.tracing:
            self.kernel.say(self.name, f"got {channel} {place.epoch}:{offset} {told or 'nothing, it was withdrawn'}")
        named = self._ref(channel, place)
        if told and (named is None or named.partition("/")[2] != told):
            self._ledger.fail(3, f"{self.name} got {told} at {channel} {place}, where {named} stands")
        if channel == INBOX and named is not None:
            self._ledger.received[self.user].add(named.partition("/")[2])
