"""A bulkhead: the only place where an exception of any kind is caught, so that a bug costs the one piece of work that
found it, and not the process with everybody's connections or queues."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from traceback import walk_tb
from typing import TypeVar

from bus.errors import BusError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bug:
    """Something that should not have happened."""

    where: str
    """What kind of error, in which function and line; never its text, which may quote a payload."""


async def contained(work: Awaitable[T]) -> T | Bug:
    """What the work gives, or where it failed.

    Lets a cancellation pass, and raises `BusError`: what Redis does is no bug.
    """
    try:
        return await work
    except BusError:
        raise
    except Exception as error:
        return Bug(whereabouts(error))


def whereabouts(error: BaseException) -> str:
    """What kind of error and where; never its text, which may quote a payload."""
    frames = list(walk_tb(error.__traceback__))
    if not frames:
        return type(error).__name__
    frame, line = frames[-1]
    return f"{type(error).__name__} in {frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}, line {line}"
