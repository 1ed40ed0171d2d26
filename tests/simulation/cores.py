"""The cores under trial, each replaceable by one that is broken on purpose: so the simulator can be seen to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bus.ranges import merge
from bus.settlement import settle
from fanout.deliver.breaker import Breaker
from fanout.deliver.case import judge
from fanout.ladder.moves import decide
from gateway.hub import Hub
from gateway.session import Session


@dataclass(frozen=True)
class Cores:
    """As the product has them. The two last are what scripts do, and workers."""

    hub: type[Hub] = Hub
    session: type[Session] = Session
    merge: Callable[..., Any] = merge
    settle: Callable[..., Any] = settle
    decide: Callable[..., Any] = decide
    judge: Callable[..., Any] = judge
    breaker: type[Breaker] = Breaker
    remembers: bool = True
    """Whether publishing looks at what was given before."""
    replays: bool = True
    """Whether the owner of a partition publishes again what a failover may have lost elsewhere."""
