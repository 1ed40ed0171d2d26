"""Settings of the command line, and the environment that it hands to the roles it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bus.settings import BusSettings, check_top_level, read, read_file, secret
from fanout.deliver.settings import DeliverSettings
from fanout.settings import FanoutSettings
from gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class CliSettings(BusSettings):
    """What the commands need beside the bus."""

    data: str = ".tocsin"
    """Folder of `tocsin dev`: the embedded Redis's data and the development secret."""
    url: str = ""
    """Where the gateway is, for `tocsin publish`; empty: the `tocsin dev` of this folder, else port 8000 here."""
    api_key: str = secret("dev-key")
    """The producer key of `tocsin publish`."""


ROLES: Mapping[str, type[Any]] = {
    "gateway": GatewaySettings,
    "fanout": FanoutSettings,
    "deliver": DeliverSettings,
    "cli": CliSettings,
}
"""Each role's table in `tocsin.toml`."""


def environment() -> dict[str, str]:
    """A copy of this process's environment."""
    return dict(os.environ)


def file_path(environ: Mapping[str, str]) -> Path:
    """Where the settings file is, whether or not it exists."""
    return Path(environ.get("TOCSIN_CONFIG", "tocsin.toml"))


def read_checked(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """The settings file, its top-level keys known. Raises `BadSetting`."""
    file = read_file(file_path(environ))
    check_top_level(file, ROLES)
    return file


def load(environ: Mapping[str, str]) -> CliSettings:
    """From the settings file and the environment. Raises `BadSetting`."""
    return read(CliSettings, read_checked(environ), environ, table="cli")


def load_gateway(environ: Mapping[str, str]) -> GatewaySettings:
    """The gateway's settings, as it would read them. Raises `BadSetting`."""
    return read(GatewaySettings, read_checked(environ), environ, table="gateway")


def names_redis(environ: Mapping[str, str]) -> bool:
    """Whether the file or the environment says where Redis is; else `tocsin dev` embeds one."""
    file = read_checked(environ)
    tables = (file, *(file.get(role, {}) for role in ROLES))
    return "TOCSIN_REDIS_URL" in environ or any("redis_url" in table for table in tables)
