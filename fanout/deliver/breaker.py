"""A circuit breaker: after failures in a row nobody is sent to, but for one probe from time to time. Pure.

What waits behind an open breaker is not held against any job: a provider may be down for hours, and everything still
arrives. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

FAILURES: Final = 3
"""So many in a row, without a success, open it."""
RESTS: Final = (10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""Seconds for which it stays open, the first time, the second …; the last one repeats."""
PROBE: Final = 2.0
"""Who comes while a probe is under way is told to come again after so many seconds."""


class State(Enum):
    """Whether calls are made."""

    CLOSED = "closed"
    """They are."""
    OPEN = "open"
    """They are not."""
    PROBING = "probing"
    """One is under way, and it decides."""


class _Happening(Enum):
    SUCCESS = 1
    FAILURE = 2
    LAST_FAILURE = 3
    """The one too many."""
    NOTHING = 4
    """A call ended without a word on the provider."""
    TIME = 5
    """The rest is over, and somebody asks."""


_NEXT: Final = {
    (State.CLOSED, _Happening.SUCCESS): State.CLOSED,
    (State.CLOSED, _Happening.FAILURE): State.CLOSED,
    (State.CLOSED, _Happening.LAST_FAILURE): State.OPEN,
    (State.CLOSED, _Happening.NOTHING): State.CLOSED,
    # What ends while it is open began before: it says nothing about now.
    (State.OPEN, _Happening.SUCCESS): State.OPEN,
    (State.OPEN, _Happening.FAILURE): State.OPEN,
    (State.OPEN, _Happening.LAST_FAILURE): State.OPEN,
    (State.OPEN, _Happening.NOTHING): State.OPEN,
    (State.OPEN, _Happening.TIME): State.PROBING,
    (State.PROBING, _Happening.SUCCESS): State.CLOSED,
    (State.PROBING, _Happening.FAILURE): State.OPEN,
    (State.PROBING, _Happening.LAST_FAILURE): State.OPEN,
    (State.PROBING, _Happening.NOTHING): State.OPEN,
}


class Breaker:
    """That of one provider, or of one host of it."""

    def __init__(self) -> None:
        self.state = State.CLOSED
        self._failures = 0
        self._opened = 0
        self._until = 0.0

    def admit(self, now: float) -> float:
        """0 when a call is to be made, which must be followed by `succeeded`, `failed` or `ended`; else seconds to
        wait."""
        if self.state is State.OPEN and now >= self._until:
            self._after(_Happening.TIME)
            return 0.0
        match self.state:
            case State.CLOSED:
                return 0.0
            case State.OPEN:
                return self._until - now
            case State.PROBING:
                return PROBE

    def succeeded(self) -> None:
        """The provider answered."""
        self._failures = 0
        if self._after(_Happening.SUCCESS) is State.CLOSED:
            self._opened = 0

    def failed(self, now: float) -> float:
        """The provider was not reached, or failed; seconds for which nobody is sent to, 0 when calls go on."""
        self._failures += 1
        before = self.state
        last = self._failures >= FAILURES
        if self._after(_Happening.LAST_FAILURE if last else _Happening.FAILURE) is not State.OPEN:
            return 0.0
        if before is not State.OPEN:
            self._until = now + RESTS[min(self._opened, len(RESTS) - 1)]
            self._opened += 1
        return max(0.0, self._until - now)

    def ended(self, now: float) -> None:
        """A call ended without a word on the provider; if it was the probe, the next one may be made at once."""
        if self.state is State.PROBING:
            self._until = now
        self._after(_Happening.NOTHING)

    def _after(self, happening: _Happening) -> State:
        self.state = _NEXT[self.state, happening]
        return self.state
