"""What all simulated people and producers of one test share: the numbered streams, and the account of who got what.

A *lane* is one topic or one inbox that only one producer feeds, with events numbered from 1. The names are fresh in
each test, so a lane's offset and its number are the same, and a position tells what a client is owed.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from loadtest.ledger import Ledger, Tally

TOPICS = 8
TOPICS_EACH = 2


@dataclass(slots=True)
class Lane:
    """A numbered stream: its name is a topic's `load:…` or a user's."""

    name: str
    sent: int = 0
    """The highest number that was accepted."""
    busy: bool = False
    """An event is on its way; the next must wait, or the two could change places."""

    @property
    def audience(self) -> dict[str, list[str]]:
        """As an event's `to`."""
        return {"topics": [self.name]} if ":" in self.name else {"users": [self.name]}

    def event(self, now: float) -> dict[str, Any]:
        """The next event, stamped with Unix time in seconds. The same id for the same number, so it may be repeated."""
        number = self.sent + 1
        return {
            "id": f"{self.name}.{number}",
            "source": "load",
            "type": "load",
            "to": self.audience,
            "data": {"lane": self.name, "number": number, "sent_at": now},
        }


@dataclass(slots=True)
class World:
    """One test."""

    run: str
    """Part of every name, so that no two tests meet."""
    producers: int
    lanes: dict[str, Lane] = field(default_factory=dict)
    storms: int = 0
    """How often everyone has been cut off."""
    accounts: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    """By kind of receiver."""
    _people: int = 0
    _seats: int = 0

    def topics(self, count: int = TOPICS_EACH) -> list[str]:
        """Some topics to follow."""
        chosen = random.sample(range(TOPICS), count)
        return [self.lane(f"load:{self.run}-{number}").name for number in chosen]

    def person(self) -> str:
        """A new user."""
        self._people += 1
        return self.lane(f"{self.run}-u{self._people}").name

    def seat(self) -> int:
        """A new producer's number."""
        self._seats += 1
        return (self._seats - 1) % self.producers

    def lane(self, name: str) -> Lane:
        """The lane of that name, made when first asked for."""
        return self.lanes.setdefault(name, Lane(name))

    def lane_for(self, seat: int) -> Lane | None:
        """One that this producer feeds and that is not busy; topics as often as inboxes."""
        free = [
            lane for lane in self.lanes.values() if crc32(lane.name.encode()) % self.producers == seat and not lane.busy
        ]
        kinds = [[lane for lane in free if (":" in lane.name) is topics] for topics in (True, False)]
        candidates = random.choice([kind for kind in kinds if kind] or [[]])
        return random.choice(candidates) if candidates else None


class Receiver:
    """The account of one person: a ledger for each lane that they follow."""

    def __init__(self, world: World, kind: str, on_delivery: Callable[[str, float], None]) -> None:
        self._world = world
        self._kind = kind
        self._on_delivery = on_delivery
        self._ledgers: dict[str, Ledger] = {}

    def stand(self) -> dict[str, int]:
        """A number for each lane after which everything is still to come, for whoever is subscribed by now."""
        return {name: lane.sent + lane.busy for name, lane in self._world.lanes.items()}

    def follow(self, lane: str, position: int) -> None:
        """From now on this person is owed everything after `position`; following again changes nothing."""
        self._ledgers.setdefault(lane, Ledger(position))

    def follows(self, lane: str) -> bool:
        """Whether this person follows it."""
        return lane in self._ledgers

    def receive(self, data: dict[str, Any]) -> None:
        """What an event carried arrived. `on_delivery` gets the lane's kind and the time at which it was sent."""
        lane = data["lane"]
        self._ledgers[lane].receive(data["number"])
        self._on_delivery("topic" if ":" in lane else "inbox", data["sent_at"])

    def owed(self) -> dict[str, int]:
        """The highest number sent so far, by lane."""
        return {name: self._world.lanes[name].sent for name in self._ledgers}

    def has_all(self, owed: dict[str, int]) -> bool:
        """Whether everything owed has come."""
        return all(self._ledgers[name].has_all(last) for name, last in owed.items())

    def close(self, owed: dict[str, int]) -> None:
        """Put this person's account to the world's."""
        for name, last in owed.items():
            self._world.accounts[self._kind].add(self._ledgers[name].close(last))
        self._ledgers.clear()
