"""What tests of the delivery worker stand on: a worker in this process, people in a directory, a scripted provider.

Everything is real but the provider, which stands at the edge: it takes deliveries as any sender does and answers as the
test says.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from bus.allowances import Allowances
from bus.clock import Clock, SystemClock
from bus.codec import encode_content
from bus.consumer import Consumer
from bus.event import Event
from bus.jobs import Jobs
from bus.keys import Keys
from bus.lease import Leases
from bus.outcome import Done, Outcome
from bus.people.categories import Categories
from bus.people.devices import Device, Registration
from bus.people.directory import Directory, NoKeys
from bus.people.profile import Contacts, Profile, Webhook
from bus.people.vault import Vault
from bus.pipe import Pipe
from bus.policy import SENDERS
from bus.producers import Producers
from bus.window import Window
from fanout.channels.delivery import Delivery
from fanout.deliver.bells import Bells
from fanout.deliver.compose import Composer
from fanout.deliver.deliverer import Deliverer, Office
from fanout.deliver.guard import Guard, Provider
from fanout.deliver.main import run
from fanout.deliver.settings import KINDS, DeliverSettings
from fanout.deliver.stats import ChannelStats
from fanout.job import Job, delivery_id
from fanout.render import Templates
from tests.conftest import open_pipe

LIMIT: Final = 120.0
"""Every test of a delivery worker is over by then, however seldom it gets a core."""
SEAL: Final = base64.urlsafe_b64encode(bytes((1,)) * 32).decode()
INDEX: Final = base64.urlsafe_b64encode(bytes((9,)) * 32).decode()
ADDRESS, PHONE, TOKEN = "alice@example.com", "+4930123456", "token-of-a-device-0123456789"
HOOK = Webhook("https://hooks.example.com/alice", "whsec_" + base64.b64encode(bytes(24)).decode())
TITLE, BODY = "Your code is 493817", "Never tell it to anyone."
PRIVATE: Final = (ADDRESS, PHONE, TOKEN, HOOK.url, HOOK.secret, TITLE, BODY)
"""What may never stand in a log, a trail or a dead letter."""


async def until(check: Callable[[], Any]) -> None:
    """Return when it is so; asked again and again, for what is waited for says nothing by itself."""
    while not (await found if isinstance(found := check(), Awaitable) else found):  # noqa: ASYNC110
        await asyncio.sleep(0.002)


@dataclass
class Scripted:
    """A provider at the edge: takes every delivery, and answers what `rule` says."""

    rule: Callable[[Delivery], Outcome] = lambda delivery: Done()
    taken: list[Delivery] = field(default_factory=list)
    gate: asyncio.Event | None = None
    """Answers only when it is set."""
    closed: bool = False

    async def send(self, delivery: Delivery) -> Outcome:
        self.taken.append(delivery)
        if self.gate is not None:
            await self.gate.wait()
        return self.rule(delivery)

    async def close(self) -> None:
        self.closed = True

    @property
    def ids(self) -> list[str]:
        """The idempotency keys it saw."""
        return [delivery.id for delivery in self.taken]


class Town:
    """An installation with people in it, and jobs for its senders."""

    def __init__(self, pipe: Pipe, keys: Keys, url: str, clock: Clock) -> None:
        self.pipe, self.keys, self.url, self.clock = pipe, keys, url, clock
        self.directory = Directory(pipe, keys, Vault((f"k1:{SEAL}",), INDEX), clock)

    def settings(self, **more: Any) -> DeliverSettings:
        given = {"directory_keys": (f"k1:{SEAL}",), "directory_index_key": INDEX, "public_url": "https://t.example"}
        own = {"redis_url": self.url, "prefix": self.keys.prefix, "partitions": self.keys.partitions}
        return DeliverSettings(**(own | given | more))

    @asynccontextmanager
    async def working(
        self, *channels: str, providers: Mapping[str, Sequence[Provider]], **settings: Any
    ) -> AsyncIterator[asyncio.Event]:
        """A worker for the length of the block; the event given stops it."""
        stop = asyncio.Event()

        def find(_: DeliverSettings, channel: str, __: Clock) -> Mapping[str, Sequence[Provider]]:
            return {kind: providers[kind] for kind in KINDS[channel] if kind in providers}

        async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
            group.create_task(run(self.settings(**settings), channels, stop, self.clock, find))
            yield stop
            stop.set()

    @asynccontextmanager
    async def desk(self, channel: str, guard: Guard, user: str = "alice") -> AsyncIterator[None]:
        """Only the jobs of one person's partition, worked while the block lasts; the guard may have its own clock."""
        partition = self.keys.partition(user)
        lease = (await Leases(self.pipe, self.keys, "desk", 600, channel).hold((partition,)))[partition]
        assert lease is not None
        office = Office(
            channel=channel,
            pipe=self.pipe,
            keys=self.keys,
            directory=self.directory,
            categories=Categories({}),
            composer=Composer(Templates(), channel),
            guard=guard,
            unsubscribe=lambda user, category, channel: None,
            clock=self.clock,
            stats=ChannelStats(channel),
            producers=Producers({}),
            allowances=Allowances(self.pipe, self.keys, self.clock),
            locale="en",
            zone="UTC",
        )
        deliverer = Deliverer(office, partition)
        jobs = Jobs(self.pipe, self.keys, lease, channel, deliverer.note, self.clock, batch=8, dead=1_000, ttl=3_600)
        line = Pipe(self.url, name="test-line", clock=self.clock, timeout=30, scripts=False)
        bells = Bells(line)
        bell = bells.of(self.keys.jobs(partition, channel))
        consumer = Consumer(jobs, deliverer.handle, SENDERS[channel], bell, office.stats.queues, window=Window(8))
        async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
            beside = (group.create_task(line.run()), group.create_task(bells.run()))
            working = group.create_task(consumer.run())
            yield
            consumer.stop()
            await working
            for task in beside:
                task.cancel()

    # People and events -------------------------------------------------------------------------------------------

    async def person(self, user: str = "alice", **more: Any) -> None:
        contacts = Contacts(ADDRESS, PHONE, HOOK)
        await self.directory.put(user, Profile(**({"name": "Alice", "contacts": contacts} | more)))

    async def device(self, user: str = "alice", token: str = TOKEN, provider: str = "fcm") -> Device:
        device = await self.directory.register(user, Registration(provider, token))
        assert not isinstance(device, NoKeys)
        return device

    async def place(self, event: Event, user: str = "alice") -> int:
        """Put an event into somebody's inbox, unread, as publishing does; its offset."""
        keys, p = self.keys, self.keys.partition(user)
        inbox = "@" + user
        offset = int(await self.pipe.ask("HINCRBY", keys.meta(inbox), "top", 1))
        await self.pipe.ask("HSET", keys.body(p, event.ref), "pub", "{}", "e", encode_content(event))
        ref = keys.body(p, event.ref).removeprefix(keys.body_prefix(p))
        await self.pipe.ask("XADD", keys.log(inbox), f"{offset}-0", "b", ref)
        await self.pipe.ask("ZADD", keys.unread(user), offset, offset)
        return offset

    async def job(self, channel: str, event: Event, user: str = "alice", **more: Any) -> Job:
        """Queue a delivery of an event that is in the inbox."""
        target = more.pop("target", "")
        job = Job(delivery_id(event.ref, user, channel, target), event.ref, user, target=target, **more)
        await self.pipe.ask("XADD", self.keys.jobs(self.keys.partition(user), channel), "*", *job.fields())
        return job

    async def send(self, channel: str, number: int = 1, user: str = "alice", **more: Any) -> Job:
        """An event of its own in the inbox, and its delivery queued."""
        event = an_event(number)
        offset = await self.place(event, user)
        return await self.job(channel, event, user, offset=offset, **more)

    # What became of it -------------------------------------------------------------------------------------------

    async def waiting(self, channel: str, user: str = "alice") -> int:
        return int(await self.pipe.ask("XLEN", self.keys.jobs(self.keys.partition(user), channel)))

    async def later(self, channel: str, user: str = "alice") -> list[float]:
        """When the jobs are due that wait: seconds from now."""
        key = self.keys.later(self.keys.partition(user), channel)
        flat = await self.pipe.ask("ZRANGE", key, 0, -1, "WITHSCORES")
        return [float(score) / 1000 - SystemClock().wall() for score in flat[1::2]]

    async def hasten(self, channel: str, seconds: float, user: str = "alice") -> None:
        """Let so much time go by for the jobs that wait."""
        key = self.keys.later(self.keys.partition(user), channel)
        for member in await self.pipe.ask("ZRANGE", key, 0, -1):
            # XX: what is taken at this moment must not come twice. INCR: from where it stands now, for it may have been
            # taken and put back since we looked.
            await self.pipe.ask("ZADD", key, "XX", "INCR", -seconds * 1000, member)

    async def told(self, user: str = "alice") -> list[tuple[str, str, str]]:
        """Kind, channel and reason of each entry of a person's trail."""
        found = await self.pipe.ask("XRANGE", self.keys.trail(user), "-", "+")
        entries = [dict(zip(flat[::2], flat[1::2], strict=True)) for _, flat in found]
        return [(one[b"k"].decode(), one[b"c"].decode(), one[b"r"].decode()) for one in entries]

    async def count(self, event: Event, user: str = "alice") -> dict[str, int]:
        flat = await self.pipe.ask("HGETALL", self.keys.counts(self.keys.partition(user), event.ref))
        return {name.decode(): int(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}

    async def dead(self, user: str = "alice") -> list[dict[bytes, bytes]]:
        found = await self.pipe.ask("XRANGE", self.keys.dead(self.keys.partition(user)), "-", "+")
        return [dict(zip(flat[::2], flat[1::2], strict=True)) for _, flat in found]

    async def caught_up(self, channel: str, user: str = "alice") -> None:
        """Until whatever is due has been taken and is done, or waits for another time."""

        async def nothing_is_due() -> bool:
            return all(due > 0 for due in await self.later(channel, user)) and not await self.waiting(channel, user)

        await until(nothing_is_due)

    async def quiet(self, *channels: str, user: str = "alice") -> None:
        """Until no job is in a stream: each is done, or waits."""

        async def empty() -> bool:
            return not any([await self.waiting(channel, user) for channel in channels])

        await until(empty)


def an_event(number: int = 1, **more: Any) -> Event:
    given = {"id": f"e{number}", "source": "shop", "type": "note", "created_at": 1_800_000_000.0}
    return Event(**(given | {"title": TITLE, "body": BODY} | more))


@asynccontextmanager
async def town(url: str, keys: Keys, clock: Clock | None = None) -> AsyncIterator[Town]:
    """An installation on this Redis."""
    async with open_pipe(url) as pipe:
        yield Town(pipe, keys, url, clock or SystemClock())
