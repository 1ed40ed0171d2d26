"""Those who write the ledger of a run: devices, producers, and the provider that fallbacks go to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import orjson
from aiohttp import web

from tests.faults.crowd import INBOX, Person, Place
from tests.faults.ledger import (
    NEVER,
    OURS,
    REMOVED,
    REPLICATED,
    STORED,
    Accepted,
    Began,
    Called,
    Got,
    Ledger,
    Stored,
    Top,
    Withdrawn,
)
from tests.providers.scripted import listening
from tests.system import KEY

Now = Callable[[], float]
WAIT = 2.0
"""Seconds before a person who has not got an event live is reached otherwise."""
PAGE = 300
ANSWER = 10.0
TRIES = 4
"""A page of history is asked for so often, with so many seconds for each answer: a connection may end meanwhile."""


def named(publication: dict[str, Any]) -> str:
    """What the ledger calls a publication."""
    if publication.get("removed"):
        return REMOVED
    data = publication["data"]
    if data["type"].startswith(OURS):
        return f"{data['type']}/{publication['offset']}"
    return str(data["data"])


@dataclass(eq=False)
class Witness(Person):
    """A device that writes down all that it is told, and judges nothing."""

    ledger: Ledger = field(default_factory=Ledger)
    now: Now = lambda: 0.0
    name: str = ""
    _wanted: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)

    def of(self, channel: str) -> str:
        """The name of a channel in the ledger."""
        return f"@{self.user}" if channel == INBOX else channel

    def begin(self, channel: str, result: dict[str, Any]) -> None:
        recovered = bool(result.get("recovered")) if channel in self.places else None
        self.places[channel] = Place(result["epoch"], result["offset"])
        self.ledger.seen.append(
            Began(self.name, self.of(channel), result["epoch"], result["offset"], recovered, self.now())
        )
        for publication in result.get("publications", ()):
            self.take(channel, publication)

    def take(self, channel: str, publication: dict[str, Any]) -> None:
        place = self.places[channel]
        place.offset = publication["offset"]
        name = named(publication)
        self.ledger.seen.append(Got(self.name, self.of(channel), place.epoch, place.offset, name, self.now()))

    def hear(self, said: dict[str, Any]) -> dict[str, Any] | None:
        if (future := self._wanted.pop(said.get("id", 0), None)) is not None:
            if not future.done():
                future.set_result(said)
            return None
        return super().hear(said)

    async def take_stock(self) -> None:
        """Write down what lies in each of its channels now."""
        for channel in (INBOX, *self.topics):
            since: dict[str, Any] = {"offset": 0, "epoch": self.places[channel].epoch}
            while True:
                page = await self._history(channel, since)
                epoch = page["epoch"]
                for publication in page["publications"]:
                    stored = Stored(self.of(channel), epoch, publication["offset"], named(publication))
                    self.ledger.stored.append(stored)
                if len(page["publications"]) < PAGE:
                    break
                since = {"offset": page["publications"][-1]["offset"], "epoch": epoch}
            self.ledger.tops.append(Top(self.of(channel), epoch, page["offset"]))

    async def _history(self, channel: str, since: dict[str, Any]) -> dict[str, Any]:
        for _ in range(TRIES):
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWER):
                    await self.ready.wait()
                    return await self._page(channel, since)
        raise TimeoutError(f"{self.name} gets no page of {channel}")

    async def _page(self, channel: str, since: dict[str, Any]) -> dict[str, Any]:
        self._id += 1
        future = self._wanted[self._id] = asyncio.get_running_loop().create_future()
        assert self._link is not None
        self._link.say({"id": self._id, "history": {"channel": channel, "limit": PAGE, "since": since}})
        return {"publications": (), **(await future)["history"]}


@dataclass
class Source:
    """A producer that sends one event after the other, each until it is accepted, and withdraws a few."""

    name: str
    users: Sequence[str]
    topics: Sequence[str]
    origins: Sequence[str]
    http: httpx.AsyncClient
    ledger: Ledger
    now: Now
    chance: Random
    partition: int
    mode: str = STORED
    period: float = 0.05
    withdrawn: float = 0.05
    """Share of the events that are withdrawn soon after."""
    unhelpful: list[str] = field(default_factory=list)
    """Refusals that did not say when to come back."""
    sent: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, and the event under way is settled."""
        while not stop.is_set():
            await self.step(stop)
            await asyncio.sleep(self.period * self.chance.uniform(0.5, 1.5))

    async def step(self, stop: asyncio.Event) -> None:
        """One event."""
        self.sent += 1
        name = f"{self.name}-{self.sent}"
        users = self.chance.sample(self.users, self.chance.randint(0, min(4, len(self.users))))
        topics = self.chance.sample(self.topics, self.chance.randint(0 if users else 1, len(self.topics)))
        event: dict[str, Any] = {
            "id": name,
            "source": self.name,
            "type": "note",
            "key": self.name,
            "to": {"users": users, "topics": topics},
            "data": name,
            "ladder": [{"via": "live"}],
        }
        steps: tuple[str, ...] = ()
        if users and self.chance.random() < 0.5:
            event["ladder"].append({"via": "webhook", "after": int(WAIT), "unless": "acked"})
            steps = ("webhook",)
        tries, accepted, sent = 0, False, self.now()
        while not accepted and not (stop.is_set() and tries):
            accepted = await self._post(event)
            tries += 1
            if not accepted:
                await asyncio.sleep(0.1)
        channels = (*(f"@{user}" for user in users), *topics)
        self.ledger.accepted.append(
            Accepted(
                name,
                channels,
                self.now(),
                self.mode,
                self.partition,
                line=self.name,
                certain=accepted,
                steps=steps,
                wait=WAIT,
                sent=sent,
            )
        )
        if accepted and self.chance.random() < self.withdrawn:
            await self._withdraw(name)

    async def _post(self, event: dict[str, Any]) -> bool:
        query = {"durability": REPLICATED} if self.mode == REPLICATED else {}
        answer = await self._ask("POST", "/v1/events", event, query)
        return answer is not None and answer.status_code == 202

    async def _withdraw(self, name: str) -> None:
        for _ in range(100):
            answer = await self._ask("DELETE", f"/v1/events/{name}", None, {"source": self.name})
            if answer is not None and answer.status_code == 200:
                self.ledger.withdrawn.append(Withdrawn(name, self.now()))
                return
            await asyncio.sleep(0.1)
        self.ledger.withdrawn.append(Withdrawn(name, NEVER))  # in some partitions perhaps, in others not

    async def _ask(self, method: str, path: str, body: Any, query: dict[str, str]) -> httpx.Response | None:
        origin = self.chance.choice(self.origins)
        content = orjson.dumps(body) if body is not None else None
        headers = {"x-api-key": KEY, "content-type": "application/json"}
        try:
            answer = await self.http.request(method, origin + path, content=content, headers=headers, params=query)
        except httpx.TimeoutException:
            self.unhelpful.append("it hangs")
            return None
        except httpx.TransportError:
            return None  # the gateway is gone
        if answer.status_code >= 400 and (answer.status_code not in (404, 503) or "retry-after" not in answer.headers):
            self.unhelpful.append(f"{answer.status_code} {answer.text}")
        return answer


@dataclass
class Hooks:
    """The other end of everybody's webhook: notes each call as it comes, and takes its time to answer."""

    ledger: Ledger
    now: Now
    chance: Random
    slowness: float = 0.05
    origin: str = ""

    async def take(self, request: web.Request) -> web.StreamResponse:
        at = self.now()
        body = orjson.loads(await request.read())
        name = str(body["data"]["data"])
        key = request.headers["webhook-id"]
        self.ledger.calls.append(Called(key, name, request.path.removeprefix("/"), "webhook", at))
        await asyncio.sleep(self.chance.uniform(0, self.slowness))
        return web.Response(status=204)


@asynccontextmanager
async def hooks(ledger: Ledger, now: Now, chance: Random) -> AsyncIterator[Hooks]:
    """A provider for the length of the block."""
    made = Hooks(ledger, now, chance)
    async with listening(made.take) as origin:
        made.origin = origin
        yield made
