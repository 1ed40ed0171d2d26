"""A gateway node put together: every part made once, in the order in which they need each other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from secrets import token_hex
from typing import Any

from bus.clock import Clock
from bus.keys import Keys
from bus.namespaces import Namespaces
from bus.people.erase import Eraser
from bus.pipe import Pipe
from gateway.calls import Calls, Spawn
from gateway.feed import STREAM_TTLS, Feed, Heartbeat
from gateway.flusher import Flusher
from gateway.forgetting import FORGET, Forgetting
from gateway.history import History
from gateway.hub import Hub
from gateway.inbox import Inbox
from gateway.ingest import Ingest
from gateway.names import Names
from gateway.origins import Origins
from gateway.people import People
from gateway.presence import Presence
from gateway.procedures import Procedures
from gateway.receipts import Receipts
from gateway.relay import Relay, ignore
from gateway.service import Parts, Service
from gateway.session import SessionContext
from gateway.settings import GatewaySettings
from gateway.stats import Stats
from gateway.verifier import Verifier


@dataclass(frozen=True, slots=True)
class Node:
    """One gateway process: what its loops and routes are made of."""

    id: str
    settings: GatewaySettings
    clock: Clock
    keys: Keys
    pipe: Pipe
    service: Service
    ingest: Ingest
    verifier: Verifier
    relay: Relay
    procedures: Procedures
    people: People
    forgetting: Forgetting
    feed: Feed
    heartbeat: Heartbeat
    stats: Stats

    async def ready(self, timeout: float = 2.0) -> bool:
        """Whether a message of ours goes through Redis to this node's own stream and comes back within `timeout` s."""
        if not self.pipe.up or self.service.draining:
            return False

        def send(number: int) -> None:
            self.relay.control(self.id, {"op": "probe", "number": number}, ignore)

        return await self.service.watch.probe(send, timeout)


def build(settings: GatewaySettings, clock: Clock, pipe: Pipe, line: Pipe, spawn: Spawn) -> Node:
    """All parts of a node; `line` is a second pipe, for reads that block; `spawn` starts a coroutine in the node's task
    group. Must be called from the event loop.

    Raises `BadSetting` for rules or keys that are not of their form.
    """
    node = token_hex(6)
    keys = Keys(settings.prefix, settings.partitions)
    hub, stats = Hub(), Stats()
    loop = asyncio.get_running_loop()
    receipts = Receipts(pipe, keys, hub, loop, stats)
    flusher = Flusher(hub, loop, receipts.wake)
    names = Names(node)
    history = History(pipe, keys, names)
    verifier = Verifier(settings, clock, pipe, keys)
    relay = Relay(pipe, keys, settings.node_stream, STREAM_TTLS * settings.node_ttl)
    ingest = Ingest(pipe, keys, clock)
    procedures = Procedures()
    inbox = Inbox(pipe, keys, clock, names, relay, receipts, size=settings.inbox_size, ttl=settings.inbox_ttl)
    procedures.add(inbox.procedures())
    people = People(pipe, keys, clock, settings)
    procedures.add(people.procedures())
    forgetting = Forgetting(pipe, keys, relay, Eraser(pipe, keys, people.directory, people.followers))
    service = Service(
        Parts(
            settings=settings,
            clock=clock,
            keys=keys,
            pipe=pipe,
            context=_context(settings, node),
            names=names,
            hub=hub,
            flusher=flusher,
            stats=stats,
            verifier=verifier,
            ingest=ingest,
            presence=Presence(pipe, keys, settings.presence_ttl),
            relay=relay,
            history=history,
            calls=Calls(procedures, spawn),
            receipts=receipts,
            origins=Origins(settings.allowed_origins),
        )
    )

    def controlled(order: Mapping[str, Any]) -> None:
        service.controlled(order)
        if order.get("op") == FORGET:
            feed.drop_read(pipe)

    feed = Feed(line, keys, node, hub, service.joins, flusher, stats, controlled)
    heartbeat = Heartbeat(pipe, keys, node, settings.node_ttl, feed, service.joins)
    return Node(
        id=node,
        settings=settings,
        clock=clock,
        keys=keys,
        pipe=pipe,
        service=service,
        ingest=ingest,
        verifier=verifier,
        relay=relay,
        procedures=procedures,
        people=people,
        forgetting=forgetting,
        feed=feed,
        heartbeat=heartbeat,
        stats=stats,
    )


def _context(settings: GatewaySettings, node: str) -> SessionContext:
    return SessionContext(
        namespaces=Namespaces(settings.namespaces),
        node=node,
        version=f"tocsin {version('tocsin')}",
        ping_interval=settings.ping_interval,
        subscriptions=settings.subscriptions,
        messages_per_second=settings.messages_per_second,
    )
