"""A gateway node put together: every part made once, in the order in which they need each other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from secrets import token_hex
from typing import Any, Final

from bus.clock import Clock
from bus.keys import Keys
from bus.namespaces import Namespaces
from bus.people.erase import Eraser
from bus.pipe import OnReply, Pipe
from bus.stored_rules import StoredRules
from gateway.barometer import Barometer
from gateway.calls import Calls, Spawn
from gateway.control import Control
from gateway.durable import Durable
from gateway.feed import STREAM_TTLS, Feed, Heartbeat
from gateway.flusher import Flusher
from gateway.forgetting import FORGET, Forgetting
from gateway.health import Health, Patience, Readiness
from gateway.history import History
from gateway.hub import Hub
from gateway.inbox import Inbox
from gateway.ingest import Ingest, durability_in
from gateway.names import Names
from gateway.origins import Origins
from gateway.people import People
from gateway.presence import Presence
from gateway.pressure import Pressure
from gateway.procedures import Procedures
from gateway.pulse import Pulse
from gateway.receipts import Receipts
from gateway.relay import Relay
from gateway.revocation import Revocations
from gateway.service import Parts, Service
from gateway.session import SessionContext
from gateway.settings import GatewaySettings
from gateway.stats import Stats
from gateway.verifier import Verifier

PROBE: Final = "probe"

log = logging.getLogger(__name__)


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
    barometer: Barometer
    pulse: Pulse
    control: Control
    stats: Stats

    async def ready(self, timeout: float = 2.0) -> bool:
        """Whether a message of ours goes through Redis to this node's own stream and comes back within `timeout` s, or
        did so within the last second."""
        return self.pipe.up and not self.service.draining and await self.pulse.proof(timeout)

    async def readiness(self) -> Readiness:
        """The same, and where the node stands."""
        ready = await self.ready()
        state = self.pulse.state.value
        if not ready:
            # Not yet for so long that it were stale, but what just failed is no sign of health.
            state = Health.STALE.value if self.pulse.state is Health.HEALTHY else state
        return Readiness(ready, "draining" if self.service.draining else state, self.pulse.seconds)


def build(
    settings: GatewaySettings, clock: Clock, pipe: Pipe, line: Pipe, spawn: Spawn, behind: Pipe | None = None
) -> Node:
    """All parts of a node; `line` is a second pipe, for reads that block; `spawn` starts a coroutine in the node's task
    group; `behind` is a third pipe, for writes that wait for replicas. Must be called from the event loop.

    Raises `BadSetting` for rules or keys that are not of their form.
    """
    node = token_hex(6)
    keys = Keys(settings.prefix, settings.partitions)
    hub, stats = Hub(), Stats()
    loop = asyncio.get_running_loop()
    revocations, namespaces = Revocations(settings.revocations), Namespaces(settings.namespaces)
    receipts = Receipts(pipe, keys, hub, loop, stats)
    flusher = Flusher(hub, loop, receipts.wake)
    names = Names(node)
    history = History(pipe, keys, names)
    verifier = Verifier(settings, clock, pipe, keys, revocations)
    relay = Relay(pipe, keys, settings.node_stream, STREAM_TTLS * settings.node_ttl)
    durable = (
        None if behind is None else Durable(behind, replicas=settings.replicas, timeout=settings.replication_timeout)
    )
    ingest = Ingest(pipe, keys, clock, durable=durable, durability=durability_in(settings.durability))
    ingest.pressure = Pressure(settings.refuse_memory, settings.refuse_backlog)
    procedures = Procedures()
    inbox = Inbox(pipe, keys, clock, names, relay, receipts, size=settings.inbox_size, ttl=settings.inbox_ttl)
    procedures.add(inbox.procedures())
    people = People(pipe, keys, clock, settings, namespaces)
    procedures.add(people.procedures())
    forgetting = Forgetting(pipe, keys, relay, Eraser(pipe, keys, people.directory, people.followers))
    service = Service(
        Parts(
            settings=settings,
            clock=clock,
            keys=keys,
            pipe=pipe,
            context=_context(settings, node, namespaces, revocations),
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

    rules = StoredRules(pipe, keys, namespaces, service.telling.reconsider)
    control = Control(settings, pipe, keys, clock, relay, revocations, rules, service.telling.ordered)

    def controlled(order: Mapping[str, Any]) -> None:
        if order.get("op") == PROBE:
            pulse.probed(order["number"])
            return
        service.controlled(order)
        control.ordered(order)
        if order.get("op") == FORGET:
            feed.drop_read(pipe)

    feed = Feed(line, keys, node, hub, service.joins, flusher, stats, controlled)
    heartbeat = Heartbeat(pipe, keys, node, settings.node_ttl, feed, service.joins)

    def send_probe(number: int, on_reply: OnReply) -> None:
        relay.control(node, {"op": PROBE, "number": number}, on_reply)

    def on_health(state: Health) -> None:
        _log_health(node, state, pulse.seconds)
        service.isolated = state is Health.ISOLATED
        if service.isolated:
            spawn(service.send_away())

    patience = Patience(settings.stale_after, settings.isolated_after)
    pulse = Pulse(send_probe, clock, patience, stats, lambda: feed.read_to, on_health)
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
        barometer=Barometer(pipe, keys, ingest.pressure, stats),
        pulse=pulse,
        control=control,
        stats=stats,
    )


def _log_health(node: str, state: Health, seconds: float) -> None:
    match state:
        case Health.HEALTHY:
            log.info("messages come back from Redis", extra={"node": node})
        case Health.STALE:
            log.warning("no message comes back from Redis", extra={"node": node, "seconds": round(seconds, 1)})
        case _:
            log.error("cut off from Redis: clients are sent away", extra={"node": node, "seconds": round(seconds, 1)})


def _context(settings: GatewaySettings, node: str, namespaces: Namespaces, revocations: Revocations) -> SessionContext:
    return SessionContext(
        namespaces=namespaces,
        revocations=revocations,
        node=node,
        version=f"tocsin {version('tocsin')}",
        ping_interval=settings.ping_interval,
        subscriptions=settings.subscriptions,
        messages_per_second=settings.messages_per_second,
    )
