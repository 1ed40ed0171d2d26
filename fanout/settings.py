"""Settings of a fan-out worker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bus.people.settings import PeopleSettings
from bus.settings import read, read_file


@dataclass(frozen=True, slots=True)
class FanoutSettings(PeopleSettings):
    """Times in seconds."""

    worker_ttl: float = 3.0
    """How long a worker counts as alive after its last heartbeat."""
    lease_ttl: float = 10.0
    """How long a partition stays with a worker that lives and does not renew its lease. Longer than Redis may hang:
    when it is over, what was under way is done again."""
    batch: int = 100
    """Most entries taken from a partition at a time, at most 1000."""
    keep_acked: float = 60.0
    """How long an acknowledged entry stays in the ingest stream."""
    dedupe_ttl: int = 86_400
    """How long an event is remembered by source and id, so that its repeat has no second effect."""
    dead_size: int = 10_000
    """Most dead letters kept per partition."""
    node_stream: int = 100_000
    """Most entries kept for a gateway node that does not read."""
    node_stream_ttl: float = 60.0
    """How long the stream of a node that says nothing is kept."""
    routes_ttl: float = 60.0
    """How long a node may be silent before topics forget it."""
    templates: str = ""
    """Folder of the templates, the senders' one; empty: an event that names a template is shown without words."""
    stop_timeout: float = 5.0
    """How long a worker that is told to stop may go on with what it has taken."""
    metrics_host: str = "127.0.0.1"
    """Address of /metrics, /healthz and /readyz; they ask nobody who they are, so keep them off public networks."""
    metrics_port: int = 0
    """Port of /metrics, /healthz and /readyz; 0 opens none."""
    namespaces: Mapping[str, Any] = field(default_factory=dict)
    """The same table as the gateway's: the history size and TTL of a topic come from it."""


def load(environ: Mapping[str, str] | None = None) -> FanoutSettings:
    """From `tocsin.toml` (or the file in TOCSIN_CONFIG) and the environment. Raises `BadSetting`."""
    env = os.environ if environ is None else environ
    return read(FanoutSettings, read_file(Path(env.get("TOCSIN_CONFIG", "tocsin.toml"))), env, table="fanout")
