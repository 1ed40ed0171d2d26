"""Producers that number their events and keep books: what was accepted, what was refused, what nobody can know."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol

import httpx
import orjson
from redis.asyncio import Redis

from bus.keys import Keys
from tests.faults.crowd import INBOX, Person
from tests.system import KEY

POST_LIMIT: Final = 10.0
"""A POST that takes longer than this many seconds hangs."""
REPEATED: Final = 0.1
"""Share of the accepted events that a persistent producer sends once more, as if the answer had been lost."""


class Send(Protocol):
    """Sends one event; whether it was accepted. False: perhaps not."""

    async def __call__(self, event: dict[str, Any]) -> bool: ...


@dataclass
class Producer:
    """Sends numbered events, one after the other, to recipients that are its own, so that their order is known."""

    name: str
    users: Sequence[str]
    topics: Sequence[str]
    send: Send
    chance: Random
    persistent: bool = False
    """Sends an event again under the same id until it is accepted."""
    period: float = 0.05
    owed: dict[str, list[int]] = field(default_factory=dict)
    """By user, or topic: the numbers of accepted events for it, in order."""
    unknown: dict[str, set[int]] = field(default_factory=dict)
    """Numbers that may or may not have been accepted."""
    sent: int = 0

    def __post_init__(self) -> None:
        self.owed = {name: [] for name in (*self.users, *self.topics)}
        self.unknown = {name: set() for name in self.owed}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, and the event under way is settled."""
        while not stop.is_set():
            await self.step()
            await asyncio.sleep(self.period * self.chance.uniform(0.5, 1.5))

    async def step(self) -> bool:
        """One event to some of the recipients; whether it was accepted."""
        self.sent += 1
        everyone = (*self.users, *self.topics)
        chosen = self.chance.sample(everyone, self.chance.randint(1, len(everyone)))
        users = [name for name in chosen if name in self.users]
        topics = [name for name in chosen if name in self.topics]
        event = {
            "id": f"{self.name}-{self.sent}",
            "source": self.name,
            "type": "note",
            "key": self.name,
            "to": {"users": users, "topics": topics},
            "data": self.sent,
        }
        accepted = await self.send(event)
        while self.persistent and not accepted:
            await asyncio.sleep(self.period)
            accepted = await self.send(event)
        if self.persistent and self.chance.random() < REPEATED:
            await self.send(event)
        for name in chosen:
            if accepted:
                self.owed[name].append(self.sent)
            else:
                self.unknown[name].add(self.sent)
        return accepted


@dataclass
class Poster:
    """Sends by POST, to the gateways in turn; to the same one again as long as it accepts."""

    http: httpx.AsyncClient
    origins: Sequence[str]
    keyed: bool = False
    """Under an Idempotency-Key, without an id of the event's own."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Of all answers; 0: there was none."""
    unhelpful: list[str] = field(default_factory=list)
    """Answers that did not say when to come back."""
    _turn: int = 0

    async def __call__(self, event: dict[str, Any]) -> bool:
        headers = {"x-api-key": KEY, "content-type": "application/json"}
        if self.keyed:
            event = dict(event)
            headers["idempotency-key"] = event.pop("id")
        url = f"{self.origins[self._turn % len(self.origins)]}/v1/events"
        status = 0
        try:
            answer = await self.http.post(url, content=orjson.dumps(event), headers=headers)
            status = answer.status_code
            if status != 202 and (status not in (409, 503) or "retry-after" not in answer.headers):
                self.unhelpful.append(f"{status} {answer.text}")
        except httpx.TimeoutException:
            self.unhelpful.append("it hangs")
        except httpx.TransportError:
            pass  # the gateway is gone
        self.statuses[status] += 1
        self._turn += status != 202
        return status == 202


@dataclass
class Adder:
    """Sends by XADD, as a producer without us would."""

    redis: Redis
    keys: Keys

    async def __call__(self, event: dict[str, Any]) -> bool:
        partition = self.keys.partition(event["key"])
        await self.redis.xadd(self.keys.events(partition), {"e": orjson.dumps(event)})
        return True


@asynccontextmanager
async def posting() -> AsyncIterator[httpx.AsyncClient]:
    """A client for posters, which waits as long as none may need."""
    async with httpx.AsyncClient(timeout=POST_LIMIT, trust_env=False) as client:
        yield client


# The ledger --------------------------------------------------------------------------------------------------------


def complaints(producers: Sequence[Producer], people: Sequence[Person]) -> list[str]:
    """What the books of producers and people disagree about; empty when everyone got everything once, in order."""
    return [f"{who}: {what}" for _, who, what in _differences(producers, people) if what]


def behind(producers: Sequence[Producer], people: Sequence[Person]) -> int:
    """How many channels of people still lack something."""
    return sum(lacks for lacks, _, _ in _differences(producers, people))


def _differences(producers: Sequence[Producer], people: Sequence[Person]) -> list[tuple[bool, str, str]]:
    owed = {name: (producer, numbers) for producer in producers for name, numbers in producer.owed.items()}
    found = []
    for person in people:
        for channel, got in person.got.items():
            name = person.user if channel == INBOX else channel
            producer, numbers = owed[name]
            certain = [number for number in got if number not in producer.unknown[name]]
            lost = sorted(set(numbers) - set(got))
            found.append((bool(lost), f"{person.user} in {channel}", _difference(numbers, got, certain, lost)))
    return found


def _difference(owed: Sequence[int], got: Sequence[int], certain: Sequence[int], lost: Sequence[int]) -> str:
    doubled = sorted(number for number, times in Counter(got).items() if times > 1)
    if lost or doubled:
        return f"lost {lost[:10]}, doubled {doubled[:10]}"
    return "" if list(certain) == list(owed) else f"out of order, or nobody sent it: {certain[:50]}"
