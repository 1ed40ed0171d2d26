"""Who is asked, how often and how many at once: the state of one provider, or of one host behind it. Pure.

Web Push endpoints lead to several hosts, so each host has a breaker of its own: one that is down stops no other.
Webhooks lead to endpoints of people's own choosing, of which many may be at one host, so each endpoint has one; what
the whole host has is a share of the places. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Final
from weakref import WeakValueDictionary

from bus.outcome import (
    Cancelled,
    Deferred,
    Done,
    Expired,
    Gone,
    Misconfigured,
    Outcome,
    Rejected,
    Retry,
    Scope,
    Skipped,
    Throttled,
    Unavailable,
)
from fanout.channels.delivery import HookTarget, PushTarget, Target
from fanout.deliver.breaker import Breaker, State

SLOW: Final = 2.0
"""A call under way for so many seconds shows that its circuit is slow."""
SHARE: Final = 4
"""A slow circuit gets one place in so many of the window, where there are others."""
CROWDED: Final = 2.0
"""Who finds no place there, or comes while a probe is under way, comes again after so many seconds at least."""
LINE: Final = 100.0
"""So many of them a second come again: each waits longer than the one before, or they would only ask and ask."""
LONGEST_LINE: Final = 60.0
LEAST: Final = 1.0
"""Seconds for which who asks for less is left alone at least, whatever it says: "now" would be asked again for ever."""
REST: Final = 60.0
"""Seconds for which a provider, or a host of it, rests that does not accept us."""
AWAY: Final = "the provider is away"
DEAD: Final = "the endpoint did not answer others a moment ago"
REFUSES: Final = "the provider does not accept us"
MOST: Final = 10_000
"""Most circuits that are remembered."""


class Crowd:
    """The calls under way to one host."""

    def __init__(self) -> None:
        self._calls: OrderedDict[int, float] = OrderedDict()
        self._number = 0
        self._in_line = 0

    def full(self, now: float, places: int) -> bool:
        """Whether a slow host has its share of so many places."""
        if len(self._calls) < max(1, places // SHARE):
            return False
        return now - next(iter(self._calls.values())) > SLOW

    def stand_in_line(self) -> float:
        """Seconds until the next of those may come who found no place; the line begins anew with every call."""
        self._in_line += 1
        return min(LONGEST_LINE, CROWDED + (self._in_line - 1) / LINE)

    def begin(self, now: float) -> int:
        """A call begins; its number."""
        self._number += 1
        self._in_line = 0
        self._calls[self._number] = now
        return self._number

    def end(self, number: int) -> None:
        """A call ended."""
        del self._calls[number]


class Circuit:
    """One of them. `personal`: it is one person's own endpoint, so that its failures are held against each job.

    `crowd`: the calls to its host, which it may share with other people's endpoints.
    """

    def __init__(self, personal: bool, crowd: Crowd | None = None) -> None:
        self.personal = personal
        self.breaker = Breaker()
        self._crowd = crowd or Crowd()
        self.under_way = 0
        self._rests_until = 0.0
        self._refuses_until = 0.0

    def admit(self, now: float, places: int) -> Throttled | Retry | None:
        """Why a call is not made now; None: `begin` it. `places`: size of the window, 0 where nobody else is in it."""
        if self.refuses(now):
            return Throttled(self._refuses_until - now, Scope.CHANNEL, REFUSES)
        if now < self._rests_until:
            return Throttled(self._rests_until - now, Scope.ENDPOINT, "throttled")
        if places and self._crowd.full(now, places):
            return Throttled(self._crowd.stand_in_line(), Scope.ENDPOINT, "the provider is slow")
        wait = self.breaker.admit(now)
        if not wait:
            return None
        if self.breaker.state is State.PROBING:
            return Throttled(self._crowd.stand_in_line(), Scope.ENDPOINT, AWAY)
        # Else what waits for an endpoint that is gone for good would wait for ever: one probe at a time is too few.
        return Retry(DEAD) if self.personal else Throttled(wait, Scope.ENDPOINT, AWAY)

    def refuses(self, now: float) -> bool:
        """Whether it rests because it did not accept us."""
        return now < self._refuses_until

    def begin(self, now: float) -> int:
        """A call begins; its number."""
        self.under_way += 1
        return self._crowd.begin(now)

    def end(self, number: int, outcome: Outcome | None, now: float) -> Outcome | None:
        """A call ended, with no outcome where it broke off; what its job is told, `None` for `None`."""
        self.under_way -= 1
        self._crowd.end(number)
        match outcome:
            case Retry() | Unavailable():
                wait = self.breaker.failed(now)
                # What may have been taken goes to no other provider: it is this one's target that waits.
                scope = Scope.TARGET if isinstance(outcome, Retry) else Scope.ENDPOINT
                if not wait or self.personal:
                    return outcome
                asked = outcome.after if isinstance(outcome, Retry) else None
                return Throttled(max(wait, asked or 0.0), scope, outcome.reason)
            case Done() | Gone():
                self.breaker.succeeded()
            case Misconfigured():
                self.breaker.succeeded()
                self._refuses_until = now + REST
            case Throttled(after, scope):
                self.breaker.succeeded()
                after = max(LEAST, after)
                if scope is not Scope.TARGET:
                    self._rests_until = max(self._rests_until, now + after)
                return replace(outcome, after=after)
            case Rejected() | Expired() | Cancelled() | Skipped() | Deferred() | None:
                # Said perhaps without a word to the provider.
                self.breaker.ended(now)
        return outcome

    @property
    def idle(self) -> bool:
        """Whether it can be forgotten."""
        return not self.under_way and self.breaker.state is State.CLOSED


class Circuits:
    """Those of one provider: by host where its targets lead to many, by endpoint where these are people's own."""

    def __init__(self) -> None:
        self._by_place: OrderedDict[str, Circuit] = OrderedDict()
        self._crowds: WeakValueDictionary[str, Crowd] = WeakValueDictionary()

    def of(self, target: Target) -> Circuit:
        """The circuit that a target is on."""
        host, personal = host_of(target)
        place = target.url if isinstance(target, HookTarget) else host
        circuit = self._by_place.get(place)
        if circuit is None:
            crowd = self._crowds.get(host)
            if crowd is None:
                crowd = self._crowds[host] = Crowd()
            circuit = self._by_place[place] = Circuit(personal, crowd)
            self._forget_some()
        else:
            self._by_place.move_to_end(place)
        return circuit

    def _forget_some(self) -> None:
        if len(self._by_place) > MOST:
            idle = [place for place, circuit in self._by_place.items() if circuit.idle]
            # Where all are dead, those go that nobody asked for longest: they are found out again.
            unused = idle or [place for place, circuit in self._by_place.items() if not circuit.under_way]
            for place in unused[: MOST // 10]:
                del self._by_place[place]

    def refusing(self, now: float) -> bool:
        """Whether any rests because it did not accept us."""
        return any(circuit.refuses(now) for circuit in self._by_place.values())

    @property
    def open(self) -> int:
        """How many are not closed."""
        return sum(circuit.breaker.state is not State.CLOSED for circuit in self._by_place.values())


def host_of(target: Target) -> tuple[str, bool]:
    """The host that a target leads to ("" where the provider has one address), and whether it is the person's own."""
    match target:
        case HookTarget(url):
            return _host(url), True
        case PushTarget(provider="webpush", target=url):
            return _host(url), False
        case _:
            return "", False


def _host(url: str) -> str:
    """Host and port of a URL that was checked when it was stored."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2]
