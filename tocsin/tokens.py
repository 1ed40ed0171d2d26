"""`tocsin token`: a user's token that the gateway of this folder accepts."""

from __future__ import annotations

import re
from typing import Final

from bus.clock import Clock
from bus.naming import name_fault, topic_fault
from gateway.mint import mint
from gateway.settings import GatewaySettings
from tocsin.folder import Folder, signing_secret
from tocsin.trouble import USAGE, Trouble

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
MAX_TTL: Final = 366 * 86_400


def duration(text: str) -> int:
    """`90`, `90s`, `15m`, `1h` or `7d` in seconds. Raises `Trouble`."""
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text, re.ASCII)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= MAX_TTL:
        raise Trouble(f"--ttl {text}: give 1 s to 366 d, as in 90s, 15m, 1h or 7d", USAGE)
    return seconds


def make(settings: GatewaySettings, folder: Folder, clock: Clock, *, user: str, ttl: int, topics: list[str]) -> str:
    """A token for `user`. Raises `Trouble` for names that the gateway would not know."""
    if fault := name_fault(user):
        raise Trouble(f"the user's name {fault}", USAGE)
    for topic in topics:
        if fault := topic_fault(topic):
            raise Trouble(f"--topics {topic}: {fault}", USAGE)
    return mint(
        signing_secret(settings, folder),
        user=user,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        now=clock.wall(),
        ttl=ttl,
        topics=topics,
    )
