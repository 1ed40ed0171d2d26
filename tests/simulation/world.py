"""A world made of a seed: people and devices, nodes, workers and senders, masters and providers, and what befalls them.

For a while events come and things break; then everything is mended, and the world must come to rest with every promise
kept. Some seeds are quiet deploys, in which nobody may be sent a fallback for having been reconnected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bus.errors import BusError
from bus.event import Event, Step
from bus.keys import Keys, inbox_of
from bus.namespaces import Namespaces
from fanout.audience import Retention, Rules
from tests.simulation.client import INBOX, Client
from tests.simulation.cores import Cores
from tests.simulation.kernel import Kernel, Process, Violation
from tests.simulation.ledger import POISON, Accepted, Ledger
from tests.simulation.link import SLOW, Link
from tests.simulation.node import POSITION_CHECK, Node
from tests.simulation.sender import CHANNELS, Provider, Sender
from tests.simulation.store import MASTERS, Store
from tests.simulation.worker import Worker

SOURCE: Final = "sim"
PARTITIONS: Final = 4
ACTIVE: Final = 30.0
"""Seconds of events and faults."""
PATIENCE: Final = 900.0
"""Seconds in which the world must have come to rest after that."""
MOST_LAG: Final = 3.0
"""Seconds by which a replica may lag behind."""
USERS: Final = ("ann", "bob", "cleo", "dan", "eve", "finn")
TOPICS: Final = ("room:1", "room:2")
PROVIDER_MODES: Final = ("fails", "forgets", "throttles", "slow")


@dataclass(frozen=True)
class Result:
    """What became of a run."""

    seed: int
    fault: str
    """Empty where every invariant held."""
    seconds: float
    steps: int
    events: int
    calls: int
    resyncs: int
    failovers: int
    trace: tuple[str, ...]


class World:
    """One run."""

    def __init__(self, seed: int, cores: Cores | None = None, trace: bool = False) -> None:
        self.kernel = Kernel(seed, trace)
        self.ledger = Ledger(self.kernel)
        self.cores = cores or Cores()
        self.keys = Keys("sim", PARTITIONS)
        self.store = Store(self.kernel, self.ledger, self.cores, PARTITIONS)
        self.rules = Rules(self.keys, Namespaces({"room": {"history_size": 30}}), Retention(1_000, 86_400))
        self.providers = {channel: Provider(self.kernel, self.ledger) for channel in CHANNELS}
        self.nodes: list[Node] = []
        self.workers: list[Worker] = []
        self.senders: list[Sender] = []
        self.clients: list[Client] = []
        self.shop = Process(self.kernel, "shop")
        self.door = Link(self.kernel, self.store, self.shop)
        self.away: set[int] = set()
        self.moved_at = [-1e9] * MASTERS
        """When each master was last taken over."""
        self.mending = False
        self._made = 0
        chance = self.kernel.chance
        self.quiet = chance.random() < 0.15
        for _ in range(chance.randint(1, 3)):
            self.add_node()
        for _ in range(chance.randint(1, 3)):
            self.add_worker()
        for _ in range(chance.randint(1, 2)):
            self.add_sender()
        for user in USERS[: chance.randint(2, len(USERS))]:
            for _ in range(chance.choice((0, 1, 1, 2))):
                self.add_client(user)

    # What there is ---------------------------------------------------------------------------------------------------

    def _name(self, kind: str) -> str:
        self._made += 1
        return f"{kind}{self._made}"

    def _start(self, process: Any) -> Any:
        for link in process.links:
            for master in sorted(self.away):
                link.lose(master)
        return process

    def add_node(self) -> None:
        topics = [*map(inbox_of, USERS), *TOPICS]
        node = Node(self.kernel, self._name("node"), self.store, self.keys, self.cores, topics)
        self.nodes.append(self._start(node))

    def add_worker(self) -> None:
        worker = Worker(self.kernel, self._name("worker"), self.store, self.ledger, self.cores, self.rules)
        self.workers.append(self._start(worker))

    def add_sender(self) -> None:
        sender = Sender(self.kernel, self._name("sender"), self.store, self.ledger, self.cores, self.providers)
        self.senders.append(self._start(sender))

    def add_client(self, user: str) -> None:
        topics = [topic for topic in TOPICS if self.kernel.chance.random() < 0.5]
        slowness = 0.0 if self.quiet else SLOW
        name = f"{user}{sum(client.user == user for client in self.clients) + 1}"
        self.clients.append(Client(self.kernel, name, user, topics, lambda: self.nodes, self.ledger, slowness))

    @property
    def links(self) -> list[Link]:
        return [self.door, *(link for p in (*self.nodes, *self.workers, *self.senders) for link in p.links)]

    # Producers -------------------------------------------------------------------------------------------------------

    def produce(self) -> None:
        """An event comes now and then."""
        chance = self.kernel.chance
        self._made += 1
        users = tuple(chance.sample(USERS, chance.choice((0, 1, 1, 2, 4))))
        topics = tuple(chance.sample(TOPICS, chance.choice((0, 0, 1)) if users else 1))
        poison = chance.random() < 0.04 and not self.quiet
        event = Event(
            id=f"n{self._made}",
            source=SOURCE,
            type=POISON if poison else "news",
            created_at=self.shop.wall(),
            users=users,
            topics=topics,
            ladder=self._ladder() if users else None,
        )
        self._post(event, replicated=chance.random() < 0.4)
        if chance.random() < 0.08 and not self.quiet:
            self.kernel.at(chance.uniform(0.0, 20.0), lambda: self.shop.spawn(self._withdraw(event.ref)))
        if self.kernel.now < ACTIVE:
            self.kernel.at(chance.expovariate(1.5), self.produce)

    def _ladder(self) -> tuple[Step, ...]:
        chance = self.kernel.chance
        first = 30 if self.quiet else chance.choice((0, 2, 10))
        sms, mail = Step("sms", first, chance.choice(("acked", "acked", None)) if not self.quiet else "acked"), ()
        if chance.random() < 0.6:
            mail = (Step("email", 15, chance.choice(("acked", "read")) if not self.quiet else "acked"),)
        return (Step("live"), sms, *mail)

    def _post(self, event: Event, replicated: bool) -> None:
        """XADD until it is accepted, under the same id; replicated ones also until the replica surely has them."""
        p = self.keys.partition(event.ordering_key)
        master = self.store.master_of(p)

        def answered(reply: Any) -> None:
            if isinstance(reply, BusError):
                self.kernel.at(0.5, lambda: self._post(event, replicated))
            elif replicated:
                self.kernel.at(MOST_LAG, lambda at=self.kernel.now: confirm(at))
            else:
                self._accept(event, False)

        def confirm(at: float) -> None:
            if self.moved_at[master] >= at - 2.0 or master in self.away:
                self._post(event, replicated)
            else:
                self._accept(event, True)

        self.door.post(p, lambda: self.store.add(p, event), answered)

    def _accept(self, event: Event, replicated: bool) -> None:
        self.kernel.say("shop", f"{event.ref} accepted, for {', '.join((*event.users, *event.topics))}")
        self.ledger.accepted[event.ref] = Accepted(event, self.kernel.now, replicated)

    async def _withdraw(self, ref: str) -> None:
        for p in range(PARTITIONS):
            while isinstance(await self.door.ask(p, lambda p=p: self.store.withdraw(p, ref)), BusError):
                await self.shop.sleep(0.5)
        self.kernel.say("shop", f"{ref} is withdrawn")
        self.ledger.withdrawn[ref] = self.kernel.now

    # People ----------------------------------------------------------------------------------------------------------

    def read_something(self) -> None:
        """Somebody reads the newest that they have."""
        chance = self.kernel.chance
        there = [client for client in self.clients if INBOX in client.places]
        if there:
            client = chance.choice(there)
            place, user = client.places[INBOX], client.user
            named = self.ledger.named.get((inbox_of(user), place.epoch, place.offset))
            if named is not None and named.partition("/")[2] in self.ledger.received[user]:
                self.ledger.read[user].add(named.partition("/")[2])
                topic, p, epoch, offset = inbox_of(user), self.keys.partition(inbox_of(user)), place.epoch, place.offset
                self.door.post(p, lambda: self.store.mark_read(topic, p, offset, epoch), lambda _: None)
        if self.kernel.now < ACTIVE:
            self.kernel.at(chance.uniform(1.0, 6.0), self.read_something)

    # Faults ----------------------------------------------------------------------------------------------------------

    def trouble(self) -> None:
        """Something happens, and again after a while."""
        chance = self.kernel.chance
        if self.quiet:
            self.deploy()
            wait = chance.uniform(10.0, 20.0)
        else:
            chance.choice(self._faults)()
            wait = chance.expovariate(0.5)
        if self.kernel.now + wait < ACTIVE:
            self.kernel.at(wait, self.trouble)

    @property
    def _faults(self) -> list[Callable[[], None]]:
        return [
            self.kill_node,
            self.deploy,
            self.kill_worker,
            self.kill_worker,
            self.kill_sender,
            self.pause_somebody,
            self.fail_over,
            self.fail_over,
            self.lose_redis,
            self.lose_redis,
            self.turn_a_clock,
            self.trouble_a_client,
            self.trouble_a_client,
            self.stall_a_client,
            self.new_device,
            self.trouble_a_provider,
        ]

    def _end(self, process: Any, group: list[Any]) -> None:
        self.kernel.say(process.name, "is killed")
        process.crash()
        group.remove(process)

    def kill_node(self) -> None:
        node = self.kernel.chance.choice(self.nodes)
        self.nodes.remove(node)
        self.add_node()
        self._end_node(node)

    def _end_node(self, node: Node) -> None:
        self.kernel.say(node.name, "ends")
        node.crash()
        for client in self.clients:
            if client.net is not None and client.net.node is node:
                net = client.net
                self.kernel.at(self.kernel.chance.uniform(0.001, 1.0), lambda c=client, n=net: c.closed(n, 0))

    def deploy(self) -> None:
        """A node is replaced in good order."""
        node = self.kernel.chance.choice(self.nodes)
        self.kernel.say(node.name, "drains")
        self.add_node()
        self.nodes.remove(node)
        node.drain(3.0)
        self.kernel.at(8.0, lambda: self._end_node(node))

    def kill_worker(self) -> None:
        self._end(self.kernel.chance.choice(self.workers), self.workers)
        self.kernel.at(self.kernel.chance.uniform(0.0, 4.0), self.add_worker)
        if not self.workers:
            self.add_worker()

    def kill_sender(self) -> None:
        self._end(self.kernel.chance.choice(self.senders), self.senders)
        self.kernel.at(self.kernel.chance.uniform(0.0, 4.0), self.add_sender)
        if not self.senders:
            self.add_sender()

    def pause_somebody(self) -> None:
        process = self.kernel.chance.choice([*self.nodes, *self.workers, *self.senders])
        seconds = self.kernel.chance.uniform(0.5, 9.0)
        self.kernel.say(process.name, f"stands still for {seconds:.1f} s")
        process.pause(seconds)

    def fail_over(self) -> None:
        """A master goes away, and its replica takes over with what it had a moment before."""
        chance = self.kernel.chance
        master = chance.randrange(MASTERS)
        lag, gone = chance.choice((0.0, chance.uniform(0.0, MOST_LAG))), chance.uniform(0.2, 2.0)
        replica = self.store.replica(master)
        self.kernel.at(lag, lambda: self._go(master, gone, replica))

    def lose_redis(self) -> None:
        """Nobody reaches a master for a while."""
        self._go(self.kernel.chance.randrange(MASTERS), self.kernel.chance.uniform(0.1, 5.0), None)

    def _go(self, master: int, seconds: float, replica: Any) -> None:
        if master in self.away or self.mending:
            return
        self.kernel.say(
            f"master{master}", f"goes away for {seconds:.1f} s{', and loses the newest' if replica else ''}"
        )
        self.away.add(master)
        for link in self.links:
            link.lose(master)

        def back() -> None:
            self.away.discard(master)
            if replica is not None:
                self.store.promote(master, replica)
                self.moved_at[master] = self.kernel.now
                self.ledger.failovers += 1
            self.kernel.say(f"master{master}", "is back")
            for link in self.links:
                link.found(master)

        self.kernel.at(seconds, back)

    def turn_a_clock(self) -> None:
        chance = self.kernel.chance
        if chance.random() < 0.5:
            master, seconds = chance.randrange(MASTERS), chance.uniform(-3.0, 3.0)
            self.store.skew[master] += seconds
            self.kernel.say(f"master{master}", f"its clock is set by {seconds:.1f} s")
            return
        process = chance.choice([*self.nodes, *self.workers, *self.senders])
        process.skew = chance.choice((-3_600.0, 3_600.0, chance.uniform(-30, 30)))
        self.kernel.say(process.name, f"its clock is wrong by {process.skew:.0f} s")

    def trouble_a_client(self) -> None:
        if self.clients:
            chance = self.kernel.chance
            client = chance.choice(self.clients)
            noticed = chance.random() < 0.5
            self.kernel.say(client.name, "goes" if noticed else "is cut off")
            client.leave(noticed, back_in=chance.choice((None, chance.uniform(0.0, 40.0))))

    def new_device(self) -> None:
        self.add_client(self.kernel.chance.choice(USERS))

    def stall_a_client(self) -> None:
        """It does not read for a while."""
        chance = self.kernel.chance
        there = [client.net.socket for client in self.clients if client.net is not None and client.net.socket]
        if there:
            socket = chance.choice(there)
            socket.stall(True)
            self.kernel.at(chance.uniform(0.5, 20.0), lambda: socket.node.turn(lambda: socket.stall(False)))

    def trouble_a_provider(self) -> None:
        chance = self.kernel.chance
        provider = self.providers[chance.choice(CHANNELS)]
        provider.mode = chance.choice(PROVIDER_MODES)
        self.kernel.at(chance.uniform(2.0, 30.0), lambda: setattr(provider, "mode", "fine"))

    # From the beginning to the end -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Raises `Violation`."""
        self.kernel.run(3.0)
        self.produce()
        self.read_something()
        self.kernel.at(self.kernel.chance.uniform(0, 10), self.trouble)
        self.kernel.run(ACTIVE - self.kernel.now)
        self._mend()
        self._rest()
        self._judge()

    def _mend(self) -> None:
        self.mending = True
        for provider in self.providers.values():
            provider.mode = "fine"
        self.kernel.say("world", "everything is mended")

    def _rest(self) -> None:
        until = self.kernel.now + PATIENCE
        self.kernel.run(10.0)
        while left := self._restless():
            if self.kernel.now > until:
                self.ledger.fail(8, f"does not come to rest: {'; '.join(left)}")
            self.kernel.run(3.0)
        self.kernel.run(2 * POSITION_CHECK)

    def _restless(self) -> list[str]:
        out = self.store.unfinished()
        out += [f"{client.name} is not connected" for client in self.clients if INBOX not in client.subscribed]
        return out

    def _judge(self) -> None:
        logs = {topic: log.entries for part in self.store.parts for topic, log in part.logs.items()}
        self.ledger.judge(logs, [ref for part in self.store.parts for ref in part.dead])
        for client in self.clients:
            for channel, place in client.places.items():
                topic = inbox_of(client.user) if channel == INBOX else channel
                log = self.store.parts[self.keys.partition(topic)].logs[topic]
                if (place.epoch, place.offset) != (log.epoch, log.top):
                    self.ledger.fail(
                        5, f"{client.name} stands at {place} in {channel}, whose top is {log.epoch}:{log.top}"
                    )
        if self.quiet:
            self._judge_deploy()

    def _judge_deploy(self) -> None:
        steady = {client.user for client in self.clients if client.longest_away < 20.0}
        for job_id, job in self.ledger.called_for.items():
            if job.user in steady:
                self.ledger.fail(12, f"{job.user} was sent {job.ref} ({job_id}) for having been reconnected")


def run(seed: int, cores: Cores | None = None, trace: bool = False) -> Result:
    """One run, and what became of it."""
    world, fault = World(seed, cores, trace), ""
    try:
        world.run()
    except Violation as violation:
        fault = str(violation)
    kernel, ledger = world.kernel, world.ledger
    figures = (len(ledger.accepted), ledger.calls.total(), ledger.resyncs, ledger.failovers)
    return Result(seed, fault, kernel.now, kernel.steps, *figures, tuple(kernel.trace))
