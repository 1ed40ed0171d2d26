"""What can be wrong with the bus itself.

BusError
├── BusDown         no connection, or it was lost before the reply: the command may or may not have run
├── Overloaded      more commands in flight than the pipe's bound; nothing was sent
├── Unconfirmed     it was written, but fewer replicas than asked for are known to have it
├── Refused         Redis answered with an error; `code` is its first word (OOM, READONLY, MISCONF, NOPERM …)
└── Unfit           this Redis cannot be used as it is configured; says what to change
"""

from __future__ import annotations

import re
from typing import Final

_IN_SCRIPT: Final = re.compile(r"^(?:ERR Error running script \(call to \w+\): )?(?:@user_script: ?\d+: )+-?")
"""What Redis before 7 puts in front of the error of a command that a script ran."""


class BusError(Exception):
    """Base of all."""


class BusDown(BusError):
    """No connection, or it was lost before the reply: the command may or may not have run."""


class Overloaded(BusError):
    """More commands in flight than the pipe's bound; nothing was sent."""


class Unconfirmed(BusError):
    """It was written, but fewer replicas than asked for are known to have it: a failover may lose it."""


class Refused(BusError):
    """Redis answered with an error."""

    def __init__(self, message: str) -> None:
        message = _IN_SCRIPT.sub("", message, count=1)
        self.code = message.split(" ", 1)[0]
        super().__init__(message)

    @property
    def passing(self) -> bool:
        """Whether waiting may cure it: Redis is full, read-only, loading or moving, and no command is to blame."""
        return self.code in PASSING


PASSING = frozenset(
    (
        "OOM",
        "READONLY",
        "LOADING",
        "MISCONF",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "MASTERDOWN",
        "UNBLOCKED",  # a blocked read, when its server becomes a replica
        "NOREPLICAS",
        "BUSY",
        "MOVED",
        "ASK",
    )
)


class Unfit(BusError):
    """This Redis cannot be used as it is configured; the text says what to change."""
