"""Commands to Redis, wherever it is: one server, the master that sentinels name, or the masters of a cluster.

`Pipe` is what everybody uses; which of the three it goes to is said by the URL and by nothing else.
"""

from __future__ import annotations

from bus.pipe.arrival import ALL_SLOTS, Arrival, Asks, Server
from bus.pipe.commands import Call, Commands, Master
from bus.pipe.line import Arg, OnReply, Reply
from bus.pipe.pipe import Pipe, opened
from bus.pipe.topology import Topology

__all__ = [
    "ALL_SLOTS",
    "Arg",
    "Arrival",
    "Asks",
    "Call",
    "Commands",
    "Master",
    "OnReply",
    "Pipe",
    "Reply",
    "Server",
    "Topology",
    "opened",
]
