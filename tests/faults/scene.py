"""One run: people, producers and a provider in a world, a nemesis at work, and the ledger of it all at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random
from typing import Final

import httpx
from redis.exceptions import RedisError

from bus.clock import SystemClock
from tests.faults.books import Books
from tests.faults.crowd import gathered
from tests.faults.ledger import REPLICATED, STORED, Ledger
from tests.faults.mischief import Mischief, targets
from tests.faults.nemesis import Kind, Step, schedule
from tests.faults.witness import Hooks, Source, Witness, hooks
from tests.faults.world import World
from tests.system import KEY

POST_LIMIT: Final = 12.0
QUIET: Final = 40.0
"""Seconds in which all that waits is done once nothing is broken any more."""
LOOK: Final = 0.25
"""Seconds between two looks at the queues."""
BESIDE: Final = 0.5
"""Seconds of work before anything is broken, and after."""
PRODUCERS: Final = 3
ABSENT: Final = 0.25
"""Share of the users who never come, and are to be reached otherwise."""


@dataclass
class Scene:
    """A run that is over."""

    ledger: Ledger
    steps: list[Step]
    sources: list[Source]
    devices: list[Witness]

    @property
    def unhelpful(self) -> list[str]:
        """What producers were told that does not help them."""
        return [text for source in self.sources for text in source.unhelpful]


@dataclass(frozen=True)
class Size:
    """How much goes on."""

    seconds: float = 10.0
    faults: int = 6
    users: int = 12
    topics: int = 3
    period: float = 0.04


@dataclass
class Stage:
    """What a run consists of."""

    world: World
    seed: int
    size: Size
    http: httpx.AsyncClient
    provider: Hooks
    ledger: Ledger
    now: Callable[[], float]
    chance: Random
    users: list[str] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)
    devices: list[Witness] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)

    def cast(self, mode: str) -> None:
        """Everybody who plays."""
        made, tag = self.world, f"s{self.seed}"
        self.users = [f"{tag}u{n}" for n in range(self.size.users)]
        self.topics = [f"room:{tag}t{n}" for n in range(self.size.topics)]
        present = self.users[int(len(self.users) * ABSENT) :]
        for n, user in enumerate((*present, *present[: len(present) // 2])):
            topics = [self.topics[n % len(self.topics)]]
            self.devices.append(self._device(user, topics, f"{user}/{n}"))
        for n in range(PRODUCERS):
            name = f"{tag}p{n}"
            self.sources.append(
                Source(
                    name,
                    self.users[n::PRODUCERS],
                    self.topics[n::PRODUCERS],
                    made.origins,
                    self.http,
                    self.ledger,
                    self.now,
                    Random(self.chance.random()),
                    made.keys.partition(name),
                    mode=REPLICATED if mode == REPLICATED and n == 0 else STORED,
                    period=self.size.period,
                )
            )

    def _device(self, user: str, topics: list[str], name: str) -> Witness:
        chance = Random(self.chance.random())
        return Witness(user, topics, self.world.ports, chance, ledger=self.ledger, now=self.now, name=name)

    @cached_property
    def mischief(self) -> Mischief:
        """What breaks things here and writes it down."""
        return Mischief(self.world, self.ledger, self.now, self.devices)

    async def introduce(self) -> None:
        """Tell where everybody's webhook is."""
        for user in self.users:
            answer = await self.http.put(
                f"{self.world.origins[0]}/v1/users/{user}",
                json={"webhook": {"url": f"{self.provider.origin}/{user}"}},
                headers={"x-api-key": KEY},
            )
            assert answer.status_code == 200, answer.text

    async def readers(self) -> list[Witness]:
        """Fresh devices, one for each user and all topics among them, which see what is there at the end."""
        own = [[topic] for topic in self.topics] + [[]] * len(self.users)
        return [self._device(user, topics, f"{user}/reader") for user, topics in zip(self.users, own, strict=False)]


@asynccontextmanager
async def _stage(world: World, seed: int, size: Size, mode: str) -> AsyncIterator[Stage]:
    ledger, clock, chance = Ledger(), SystemClock(), Random(seed)
    began = clock.monotonic()

    def now() -> float:
        return clock.monotonic() - began

    limits = httpx.Limits(max_connections=50, max_keepalive_connections=10)
    async with (
        httpx.AsyncClient(timeout=POST_LIMIT, trust_env=False, limits=limits) as http,
        hooks(ledger, now, Random(seed)) as provider,
    ):
        made = Stage(world, seed, size, http, provider, ledger, now, chance)
        made.cast(mode)
        await made.introduce()
        yield made


Breaking = Callable[[Stage], Awaitable[None]]
"""What befalls a system at work; returns when it is over."""


async def play(
    world: World,
    seed: int,
    size: Size = Size(),  # it is frozen
    *,
    mode: str = STORED,
    only: frozenset[Kind] | None = None,
    told: Callable[[str], None] = lambda text: None,
) -> Scene:
    """A run under the nemesis of this seed. `only`: these kinds of faults; `told` is called with each fault."""
    hits = {kind: hit for kind, hit in targets(world).items() if only is None or kind in only}
    steps = schedule(seed, hits, size.seconds, size.faults)

    async def nemesis(stage: Stage) -> None:
        began = stage.now()
        async with asyncio.TaskGroup() as doing:
            for step in steps:
                doing.create_task(_later(stage.mischief, step, began, stage.now, told))
        await asyncio.sleep(max(0.0, began + size.seconds - stage.now()))

    return replace(await under(world, seed, nemesis, size, mode=mode), steps=steps)


async def under(
    world: World,
    seed: int,
    breaking: Breaking,
    size: Size = Size(),
    *,
    mode: str = STORED,
) -> Scene:
    """A run in which something is broken: begins before it, and ends when all is whole, quiet and written down."""
    async with _stage(world, seed, size, mode) as stage, gathered(stage.devices):
        books = await asyncio.to_thread(Books, world.site, world.keys)
        leases = await asyncio.to_thread(books.leases)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(books, stage))
            for source in stage.sources:
                group.create_task(source.run(stop))
            await asyncio.sleep(BESIDE)
            await breaking(stage)
            await asyncio.to_thread(world.heal)
            stage.ledger.healed = stage.now()
            await asyncio.sleep(BESIDE)
            stop.set()
            watching.cancel()
        await _end(stage, books, leases)
    return Scene(stage.ledger, [], stage.sources, stage.devices)


async def _later(
    mischief: Mischief, step: Step, began: float, now: Callable[[], float], told: Callable[[str], None]
) -> None:
    await asyncio.sleep(max(0.0, began + step.at - now()))
    told(str(step))
    await mischief.perform(step)


async def _watch(books: Books, stage: Stage) -> None:
    """Look at the queues again and again while Redis answers."""
    while True:
        with suppress(RedisError, OSError):
            stage.ledger.queues += await asyncio.to_thread(books.queues)
        await asyncio.sleep(LOOK)


async def _end(stage: Stage, books: Books, leases: list[int]) -> None:
    """`leases`: how many there were at the beginning, by partition."""
    ledger, keys = stage.ledger, stage.world.keys
    try:
        async with asyncio.timeout(QUIET):
            await _until_quiet(stage, books)
    except TimeoutError:
        waits, behind = await asyncio.to_thread(books.waiting), await _behind(stage, books)
        ledger.notes.append(f"it was not quiet after {QUIET:.0f} s: {waits} wait, {behind} are behind")
    ledger.live = {device.name for device in stage.devices if device.ready.is_set()}
    readers = await stage.readers()
    async with gathered(readers):
        for reader in readers:
            await reader.take_stock()
    await asyncio.to_thread(books.gather, ledger, stage.users)
    given = [now - before for now, before in zip(await asyncio.to_thread(books.leases), leases, strict=True)]
    ledger.handed = {user: given[keys.partition(user)] for user in stage.users}
    await asyncio.to_thread(books.close)
    ledger.end = stage.now()


async def _until_quiet(stage: Stage, books: Books) -> None:
    """Nothing waits, everybody is there and has all, and for a while nothing came."""
    before = -1
    while True:
        seen = len(stage.ledger.seen) + len(stage.ledger.calls)
        if seen == before and not await asyncio.to_thread(books.waiting) and not await _behind(stage, books):
            return
        before = seen
        await asyncio.sleep(0.5)


async def _behind(stage: Stage, books: Books) -> list[str]:
    """Devices that are away or lack something."""
    channels = [*(f"@{user}" for user in stage.users), *stage.topics]
    ends = await asyncio.to_thread(books.ends_of, channels)
    found = []
    for device in stage.devices:
        lacks = [name for name, place in device.places.items() if place.offset < ends.get(device.of(name), 0)]
        if lacks or not device.ready.is_set():
            found.append(f"{device.name} {'in ' + ', '.join(lacks) if lacks else 'away'} at {device.port}")
    return found
