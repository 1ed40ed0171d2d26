"""Settings of a gateway node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bus.people.settings import PeopleSettings
from bus.settings import read, read_file, secret


@dataclass(frozen=True, slots=True)
class GatewaySettings(PeopleSettings):
    """Sizes in bytes, times in seconds."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all of this machine's."""
    port: int = 8000
    """Of HTTP and WebSocket alike; TLS ends at a proxy in front."""
    workers: int = 1
    """Processes on this port, each a node of its own."""
    metrics_host: str = "127.0.0.1"
    """Address of each process's own port."""
    metrics_port: int = 0
    """Each process's own port, the n-th's n - 1 higher: /metrics and /readyz of that one, not of any; 0 opens none."""
    dev: bool = False
    """Development conveniences: the demo page's own endpoints. Never in production."""

    # Who may come in
    token_secret: str = secret("")
    """HMAC secret (at least 32 bytes) of HS256 tokens; empty: none are accepted."""
    token_public_key: str = ""
    """Path of a PEM file with the public key of RS256, ES256 or EdDSA tokens."""
    token_jwks_url: str = ""
    """Where the issuer publishes its keys; fetched, cached, and never taken from a token."""
    token_issuer: str = "tocsin"
    """What `iss` of every token must be."""
    token_audience: str = "tocsin"
    """What `aud` of every token must be, or hold."""
    token_leeway: float = 10.0
    """How far clocks may be apart when `exp` and `nbf` are judged."""
    token_lifetime: float = 366 * 86_400.0
    """How long a token may be good at most; one that ends later is not accepted, and a revocation is kept this long."""
    revocations: int = 100_000
    """Most tokens and users that can be revoked at a time."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of pages that may connect, exact, such as https://app.example; the node's own is always allowed."""
    api_keys: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """`[gateway.api_keys.NAME]`: `sha256` (hex of the key), `scopes` (events, admin, contacts), `rate`, `sources`."""
    webpush_public_key: str = ""
    """Public half (base64url) of the key in `[deliver.webpush.NAME]`: what browsers subscribe to pushes with."""
    twilio: Mapping[str, Any] = field(default_factory=dict, repr=False, metadata={"secret": True})
    """Auth tokens that status callbacks are checked with, by the name of `[deliver.sms.NAME]`."""
    public_url: str = "http://127.0.0.1:8000"
    """Where people and providers reach the gateway, the delivery worker's setting of this name; best set for all."""
    namespaces: Mapping[str, Any] = field(default_factory=dict)
    """Rules of topics by the part before the colon, best as `[namespaces.NAME]` for all roles."""

    # What a connection may cost
    header_bytes: int = 16_384
    """Largest head of an HTTP request."""
    header_timeout: float = 10.0
    """How long a head may take to arrive."""
    message_bytes: int = 65_536
    """Largest message of a client."""
    body_bytes: int = 1_048_576
    """Largest body of an HTTP request; one event may have 64 KiB."""
    connect_timeout: float = 10.0
    """How long a connection may stay without a `connect`."""
    ping_interval: float = 25.0
    """How often a client is pinged."""
    pong_timeout: float = 8.0
    """How long it may take to answer."""
    outbox_bytes: int = 1_048_576
    """How much may wait for one connection."""
    outbox_seconds: float = 15.0
    """How long the oldest of it may wait."""
    send_buffer: int = 65_536
    """SO_SNDBUF of every connection, so that the kernel cannot hide a stalled peer."""
    subscriptions: int = 128
    """Per connection."""
    connections_per_user: int = 64
    """On all nodes together; one more is refused."""
    connections_per_address: int = 0
    """On all nodes together. 0: no limit, for a proxy in front makes all addresses one."""
    messages_per_second: int = 50
    """Per connection, averaged over two seconds."""
    max_unauthenticated: int = 20_000
    """Connections of a node that have not connected yet; one more is refused."""
    refuse_memory: float = 0.9
    """Share of a Redis master's maxmemory above which events are refused (503) until there is room again."""
    refuse_backlog: int = 100_000
    """Entries of one partition that may wait for a worker before events for it are refused (503)."""
    posts: int = 1_000
    """Requests with events under way at once in this process; one more is refused (503)."""
    post_bytes: int = 67_108_864
    """Bytes of their bodies together."""
    handshakes_per_second: int = 5_000
    """Handshakes and streams taken in this process, a second's worth at once; one more is told to come again, each at
    another moment. 0: no limit."""
    drain_seconds: float = 10.0
    """Over how long connections are closed on SIGTERM."""

    # What it remembers
    withdrawn_ttl: int = 86_400
    """How long an event is refused that was withdrawn before anybody had it; longer where it may come later still."""

    # When it counts an event as accepted
    durability: str = "stored"
    """`stored`: once Redis has it; `replicated`: once replicas have it too. A request may ask by `?durability=`."""
    replicas: int = 1
    """How many replicas must have what is to be replicated: all of a master's, if any of them may take its place."""
    replication_timeout: float = 1.0
    """How long they may take, before the producer is told that it is not confirmed."""

    # How it talks to the bus
    stale_after: float = 3.0
    """How long Redis may owe this node a message of its own before `/readyz` fails."""
    isolated_after: float = 30.0
    """How long until the node takes no more clients and sends its own away; above what a Redis may hang."""
    node_ttl: float = 10.0
    """How long a node counts as alive after its last heartbeat."""
    node_stream: int = 100_000
    """Most entries kept for a node that does not read."""
    position_check: float = 40.0
    """Every topic's position is compared with its log this often."""
    presence_ttl: float = 60.0
    """How long a client stays present after its node last said so."""


def load(environ: Mapping[str, str] | None = None) -> GatewaySettings:
    """From `tocsin.toml` (or the file in TOCSIN_CONFIG) and the environment. Raises `BadSetting`."""
    env = os.environ if environ is None else environ
    return read(GatewaySettings, read_file(Path(env.get("TOCSIN_CONFIG", "tocsin.toml"))), env, table="gateway")
