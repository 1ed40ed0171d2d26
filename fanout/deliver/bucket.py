"""A token bucket: no more than so many calls a second to a provider, with some at once. Pure.

It keeps one number, the time at which the bucket would be full again (the generic cell rate algorithm), so there is
nothing to refill. Times are seconds of any steady clock.
"""

from __future__ import annotations


class Bucket:
    """`rate`: calls a second; `burst`: how many may come at once, at least 1."""

    def __init__(self, rate: float, burst: float) -> None:
        self._interval = 1.0 / rate
        self._slack = (max(1.0, burst) - 1.0) * self._interval
        self._full = 0.0
        self._line = 0.0

    def wait(self, now: float) -> float:
        """Seconds until a call may be made."""
        return max(0.0, self._full - self._slack - now)

    def take(self, now: float) -> float:
        """Take a token, ahead of its time where there is none; seconds until the call may be made."""
        wait = self.wait(now)
        self._full = max(self._full, now) + self._interval
        return wait

    def put_off(self, now: float) -> float:
        """Seconds after which to ask again, for who cannot wait here: one after the other, at the rate."""
        self._line = max(self._line, self._full, now) + self._interval
        return self._line - now
