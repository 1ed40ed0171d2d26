"""How long this system waits for Redis: every timeout is explicit, and no command is ever repeated by itself.

A command that was repeated after a timeout may have been executed twice (docs/decisions/0002).
"""

from __future__ import annotations

from typing import Final

CONNECT_TIMEOUT: Final = 2.0
COMMAND_TIMEOUT: Final = 5.0
BACKOFF: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to connect."""
MAX_IN_FLIGHT: Final = 100_000
"""Commands of one connection that wait for their replies; more are refused."""
BLOCK: Final = 5.0
"""How long a blocking read waits at Redis, in seconds; its socket waits `COMMAND_TIMEOUT` longer."""
