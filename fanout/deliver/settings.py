"""Settings of a delivery worker: its providers, each a table of its own, and how it works."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bus.people.settings import PeopleSettings
from bus.settings import BadSetting, read, read_file

CHANNELS: Final = ("push", "email", "sms", "webhook")
"""What a delivery worker can be started for; `live` is the gateway's."""
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "push": ("webpush", "fcm", "apns"),
    "email": ("email",),
    "sms": ("sms",),
    "webhook": ("webhook",),
}
"""The tables of a channel. A device names its own kind of push table; within a kind the order is the failover's."""
RATE: Final = "rate"
BURST: Final = "burst"
"""Keys that any provider's table may have: most calls a second, and how many at once (default: those of a second)."""


def _tables() -> Any:
    """Provider tables: masked whole wherever settings are shown, for each may hold a secret."""
    return field(default_factory=dict, repr=False, metadata={"secret": True})


@dataclass(frozen=True, slots=True)
class DeliverSettings(PeopleSettings):
    """Times in seconds. The provider tables are tables of tables: `[deliver.email.main]`, `[deliver.email.spare]`."""

    email: Mapping[str, Any] = _tables()
    """SMTP servers by name, in the order in which they are tried."""
    webpush: Mapping[str, Any] = _tables()
    """Web Push keys (VAPID) by name."""
    fcm: Mapping[str, Any] = _tables()
    """Firebase projects by name."""
    apns: Mapping[str, Any] = _tables()
    """Apple keys by name."""
    sms: Mapping[str, Any] = _tables()
    """Text message services by name, in the order in which they are tried."""
    webhook: Mapping[str, Any] = _tables()
    """How webhooks are sent; one table is enough, and none means the defaults."""
    templates: str = ""
    """Folder of the templates; empty: the title and body of each event are its wording."""
    public_url: str = "http://127.0.0.1:8000"
    """Where people reach the gateway: what links in messages begin with."""
    allow_private_addresses: bool = False
    """Whether webhooks and push endpoints may lead into private networks. Open it for tests and development only."""
    push_concurrency: int = 256
    """Most pushes under way at once in a worker."""
    email_concurrency: int = 32
    """Most mails under way at once in a worker."""
    sms_concurrency: int = 32
    """Most text messages under way at once in a worker."""
    webhook_concurrency: int = 128
    """Most webhooks under way at once in a worker."""
    send_timeout: float = 30.0
    """How long a provider may take for one message."""
    worker_ttl: float = 3.0
    """How long a worker counts as alive after its last heartbeat."""
    lease_ttl: float = 15.0
    """How long a partition's jobs stay with a worker that lives and does not renew its lease. Longer than Redis may
    hang: when it is over, what was under way is sent again."""
    dead_size: int = 10_000
    """Most dead letters kept per partition."""
    inbox_ttl: int = 30 * 86_400
    """How long a person's trail is kept after its last entry; the fan-out worker's setting of this name, once more."""
    stop_timeout: float = 20.0
    """How long a worker that is told to stop may go on with what is under way."""
    metrics_host: str = "127.0.0.1"
    """Address of /metrics, /healthz and /readyz; they ask nobody who they are, so keep them off public networks."""
    metrics_port: int = 0
    """Port of /metrics, /healthz and /readyz; 0 opens none."""

    def concurrency(self, channel: str) -> int:
        """Most deliveries of a channel under way at once in this worker."""
        return int(getattr(self, f"{channel}_concurrency"))

    def providers(self, kind: str) -> Mapping[str, Mapping[str, Any]]:
        """The tables of a kind by name. Raises `BadSetting` when one is no table."""
        tables: Mapping[str, Any] = getattr(self, kind)
        for name, table in tables.items():
            if not isinstance(table, Mapping):
                raise BadSetting(f"[deliver.{kind}] must hold tables: [deliver.{kind}.NAME]; {name} is none")
        return tables


def load(environ: Mapping[str, str] | None = None) -> DeliverSettings:
    """From `tocsin.toml` (or the file in TOCSIN_CONFIG) and the environment. Raises `BadSetting`."""
    env = os.environ if environ is None else environ
    return read(DeliverSettings, read_file(Path(env.get("TOCSIN_CONFIG", "tocsin.toml"))), env, table="deliver")
