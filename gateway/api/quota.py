"""How much a key may still send: over all processes, and in this one alone where Redis cannot be asked."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from bus.allowance import Limit, whole_seconds
from bus.allowances import Allowances
from bus.clock import Clock
from bus.errors import BusError
from gateway.limits import Rate

POLICY: Final = "events"
"""Name of the one policy in `RateLimit` headers."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on; `wait` is whole seconds until it could, 0 when it can now."""

    wait: int
    remaining: int
    limit: int
    window: int

    def headers(self) -> dict[str, str]:
        """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), and Retry-After when refused."""
        out = {
            "RateLimit-Policy": f'"{POLICY}";q={self.limit};w={self.window}',
            "RateLimit": f'"{POLICY}";r={self.remaining};t={self.wait or self.window}',
        }
        if self.wait:
            out["Retry-After"] = str(self.wait)
        return out


class Quotas:
    """What each key has spent; there are as many as keys in the settings.

    A key may send a second's worth at once, and never less than `least`, so that a full batch always fits.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        self._debts: dict[str, float] = {}

    def take(self, name: str, per_second: float, amount: int, now: float) -> Verdict:
        """Take `amount` (at most `least`) if all of it is there, at monotonic time `now`."""
        rate = Rate(per_second, max(1.0, self._least / per_second))
        debt = max(self._debts.get(name, now), now)
        spent = rate.spend(debt, now, amount)
        wait = 0 if spent is not None else max(1, ceil(debt + amount / per_second - now - rate.window))
        self._debts[name] = debt if spent is None else spent
        remaining = (rate.window - (self._debts[name] - now)) * per_second
        return Verdict(wait, int(remaining), int(rate.window * per_second), ceil(rate.window))


class SharedQuotas:
    """What each key has spent on all nodes together.

    While the bucket of a key cannot be asked for, this process counts alone: what takes the events may well be there,
    and a limit is no reason to refuse what is within it.
    """

    def __init__(self, allowances: Allowances, clock: Clock, least: int) -> None:
        self._allowances, self._clock, self._least = allowances, clock, least
        self._alone = Quotas(least)

    async def take(self, name: str, limit: Limit, amount: int) -> Verdict:
        """Take `amount` (at most `least`) if all of it is there. Raises nothing."""
        limit = Limit(limit.rate, max(limit.burst, self._least))
        try:
            spent = await self._allowances.take(name, limit, amount)
        except BusError:
            return self._alone.take(name, limit.rate, amount, self._clock.monotonic())
        window = ceil(limit.burst / limit.rate)
        return Verdict(whole_seconds(spent.wait), min(spent.remaining, int(limit.burst)), int(limit.burst), window)
