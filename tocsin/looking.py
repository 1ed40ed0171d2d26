"""Commands that only look: `tocsin partitions`, `tocsin settings`; and where the parts of a system are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bus.keys import Keys
from bus.partition import balanced_tags
from bus.settings import read, shown
from gateway.settings import GatewaySettings
from tocsin.folder import Folder
from tocsin.settings import ROLES, CliSettings, load_gateway, names_redis, read_checked


@dataclass(frozen=True, slots=True)
class Partition:
    """What one needs to XADD to a partition by hand."""

    partition: int
    tag: str
    events: str


def partitions(settings: CliSettings, names: Sequence[str]) -> list[Partition]:
    """All partitions, or those of the names given (users, topics or ordering keys)."""
    keys = Keys(settings.prefix, settings.partitions)
    tags = balanced_tags(settings.partitions)
    wanted = [keys.partition(name) for name in names] if names else range(settings.partitions)
    return [Partition(p, tags[p], keys.events(p)) for p in wanted]


def partition_lines(rows: Sequence[Partition], names: Sequence[str]) -> list[str]:
    """Them as a table for people."""
    labels = list(names) if names else [""] * len(rows)
    width = max((len(label) for label in labels), default=0)
    return [f"{label:<{width}}  {r.partition:>4}  {r.events}".strip() for label, r in zip(labels, rows, strict=True)]


def all_settings(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The settings of every role as it would read them, secrets masked. Raises `BadSetting`."""
    file = read_checked(environ)
    return {role: shown(read(kind, file, environ, table=role)) for role, kind in ROLES.items()}


def system_settings(folder: Folder, environ: Mapping[str, str]) -> GatewaySettings:
    """The gateway's settings: as it would read them, or as this folder's running `tocsin dev` has it read them."""
    running = folder.running()
    if running and "TOCSIN_CONFIG" not in environ and not names_redis(environ):
        environ = {**environ, "TOCSIN_CONFIG": running.config, "TOCSIN_REDIS_URL": running.redis_url}
    return load_gateway(environ)


def redis_url(settings: CliSettings, folder: Folder, environ: Mapping[str, str]) -> str:
    """Where Redis is: what the settings name, else the Redis of this folder's running `tocsin dev`."""
    if not names_redis(environ) and (running := folder.running()):
        return running.redis_url
    return settings.redis_url


def gateway_url(settings: CliSettings, folder: Folder) -> str:
    """Where the gateway is: what the settings name, else this folder's `tocsin dev`, else port 8000 here."""
    if settings.url:
        return settings.url
    running = folder.running()
    return running.page if running else "http://127.0.0.1:8000"


def as_rows(rows: Sequence[Partition]) -> list[dict[str, Any]]:
    """Them for a script."""
    return [asdict(row) for row in rows]
