"""What a person at a terminal is told: what went wrong, where, and what to do; and the exit code for a script."""

from __future__ import annotations

import errno
from typing import Final

from bus.errors import BusDown, BusError, Unfit
from bus.settings import BadSetting

FAILED: Final = 1
USAGE: Final = 2
UNAVAILABLE: Final = 69
"""Something this needs does not answer now (EX_UNAVAILABLE of sysexits.h): trying again may help."""
CONFIG: Final = 78
"""A setting is wrong (EX_CONFIG of sysexits.h): trying again will not help, so a supervisor should give up."""


class Trouble(Exception):
    """An expected failure of a command; the text is all that is shown."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        self.code = code
        super().__init__(message)


_ADDRESS: Final = {
    errno.EADDRINUSE: "the port is taken by another program; choose another: --port, TOCSIN_PORT, TOCSIN_METRICS_PORT",
    errno.EADDRNOTAVAIL: "this machine has no such address; check TOCSIN_HOST",
    errno.EACCES: "this user may not use that port; choose one above 1023 with TOCSIN_PORT",
}


def explain(error: BaseException) -> Trouble | None:
    """An expected failure as `Trouble`; None when the error is a bug, whose traceback is wanted.

    A group of errors, as a TaskGroup raises it, is expected when all of its members are.
    """
    if isinstance(error, BaseExceptionGroup):
        members = [explain(member) for member in error.exceptions]
        known = {str(member): member for member in members if member is not None}
        if len([m for m in members if m is None]) or not known:
            return None
        return Trouble("; ".join(known), max(member.code for member in known.values()))
    match error:
        case Trouble():
            return error
        case BadSetting() | Unfit():
            return Trouble(str(error), CONFIG)
        case BusDown():
            return Trouble(f"{error}. Is Redis running, and is TOCSIN_REDIS_URL right?", UNAVAILABLE)
        case BusError():
            return Trouble(f"Redis refused: {error}", UNAVAILABLE)
        case OSError() if error.errno in _ADDRESS:
            return Trouble(_ADDRESS[error.errno], CONFIG)
    return None
