"""Counters of one gateway node: plain integers, so that counting costs nothing on the hot path."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stats:
    """What /metrics shows. Counters only rise; gauges say so."""

    connections: int = 0
    """Gauge: open connections, authenticated or not."""
    authenticated: int = 0
    """Gauge: open connections whose `connect` was accepted."""
    stalled: int = 0
    """Gauge: connections whose outbox is not empty."""
    topics: int = 0
    """Gauge: topics and inboxes with a listener here."""
    opened: int = 0
    turned_away: int = 0
    """Handshakes that came too soon after too many others."""
    closed: Counter[int] = field(default_factory=Counter)
    """By close code; 0 is a client that just went."""
    messages: int = 0
    """Messages received from clients."""
    publications: int = 0
    """Publications accepted by the hub, once each however many listen."""
    deliveries: int = 0
    """Publications written, once per listener."""
    duplicates: int = 0
    """Publications dropped because the hub had them already."""
    gaps: int = 0
    """Holes found in a topic's offsets, filled from history."""
    resyncs: int = 0
    """Topics whose listeners had to recover because a hole could not be filled."""
    stream_gaps: int = 0
    """Holes found in the node's own stream."""
    position_checks: int = 0
    position_failures: int = 0
    """Position checks that found something missed."""
    receipts: int = 0
    """Notifications newly acknowledged by clients here."""
    receipts_refused: int = 0
    """Receipts of a log that was made anew since, or for offsets that it does not have."""
    receipts_dropped: int = 0
    """Receipts lost because too many waited for Redis."""
    revoked: int = 0
    """Connections ended because their token was revoked or their user was sent away."""
    unsubscribed: int = 0
    """Subscriptions ended because a rule or a token no longer grants them."""
    health: int = 0
    """Gauge: 0 healthy, 1 stale, 2 isolated; see `gateway.health`."""
    proof_seconds: float = 0.0
    """Gauge: age of the newest proof that messages of this node's own go through Redis and come back."""
    stream_lag: int = 0
    """Gauge: entries of the node's own stream that it had not read at the last probe."""
    full: int = 0
    """Gauge: 1 while events are refused because a Redis master has too little memory left."""
    crowded_partitions: int = 0
    """Gauge: partitions whose events are refused because too much waits there."""
    recovered: int = 0
    unrecovered: int = 0
    bus_failures: int = 0
    """Calls to Redis that failed on behalf of a client."""
    loop_blocked_seconds_max: float = 0.0
    """Gauge: longest time the event loop was blocked since the last scrape, in seconds."""
