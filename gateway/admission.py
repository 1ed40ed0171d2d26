"""Who may come: limits on the connections of a person and of an address, on all nodes together, and on those of this
node that have not said who they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from bus.keys import INBOX, Keys, inbox_of
from bus.pipe import Pipe
from gateway.connection import Connection
from gateway.effects import Answer, Denied, Done, Failed, OnAnswer
from gateway.hub import Hub
from gateway.limits import Tally
from gateway.places import Places, address_digest
from gateway.settings import GatewaySettings
from gateway.wire.codes import Disconnect, Error


class Admission:
    """Places of this node. A person's connections are counted by who listens to their inbox."""

    def __init__(self, settings: GatewaySettings, pipe: Pipe, keys: Keys, node: str, hub: Hub) -> None:
        self._hub = hub
        self._strangers = settings.max_unauthenticated
        self._by_address = Tally(settings.connections_per_address)
        digest = address_digest(settings)
        self.users = Places(pipe, keys.places, node, settings.connections_per_user)
        self.addresses = Places(
            pipe, lambda remote: keys.address_places(digest(remote)), node, settings.connections_per_address
        )

    def allows(self, remote: str, strangers: int) -> bool:
        """Whether one more connection from this address can be taken; `strangers` have not said who they are."""
        return strangers < self._strangers and self.addresses.allows(remote, self._by_address.count(remote))

    def user(self, user: str, later: OnAnswer) -> Answer | None:
        """Whether a person may have one more; None, and `later` is called, where that has to be asked for."""
        if self.users.shares.allows(user, self._here(user)):
            return Done()

        def answered(allowed: bool | None) -> None:
            if allowed is None:
                later(Failed(Error.INTERNAL))
            else:
                later(Done() if allowed else Denied(Disconnect.CONNECTION_LIMIT))

        self.users.ask(user, lambda: self._here(user), answered)
        return None

    def opened(self, connection: Connection) -> None:
        """It has come, whoever it is."""
        self._by_address.take(connection.remote)

    def closed(self, connection: Connection) -> None:
        """It has gone, and listens to nothing any more."""
        self._by_address.release(connection.remote)
        self.addresses.left(connection.remote, self._by_address.count(connection.remote))
        session = connection.session
        if session.authenticated:
            self.users.left(session.user, self._here(session.user))

    def people(self) -> Iterator[tuple[str, int]]:
        """Everyone who is here, and how many connections they have."""
        for name, topic in self._hub.topics.items():
            if name.startswith(INBOX):
                yield name.removeprefix(INBOX), len(topic.members) + topic.joining

    async def keep(self, nodes: Callable[[], int]) -> None:
        """Keep the places that were borrowed, until cancelled. `nodes`: how many nodes there are."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.users.run(nodes, self.people))
            group.create_task(self.addresses.run(nodes, self._by_address.counts))

    def _here(self, user: str) -> int:
        """How many connections a person has on this node. Those whose join is under way count too, else any number who
        come at once would be let in."""
        topic = self._hub.topics.get(inbox_of(user))
        return 0 if topic is None else len(topic.members) + topic.joining
