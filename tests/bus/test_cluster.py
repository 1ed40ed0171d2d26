"""The pipe on a real cluster: routing, slots that move under load, masters that fail over or are away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bus.clock import SystemClock
from bus.errors import BusDown, BusError, Refused, Unconfirmed
from bus.keys import Keys
from bus.pipe import Asks, Master, Pipe, Server, Topology
from bus.pipe.cluster import Cluster as Road
from bus.pipe.routing import SlotMap, slot_of
from bus.pipe.watch import ClusterWatch
from gateway.durable import Durable
from tests.bus.traffic import Traffic, eventually
from tests.conftest import CALM
from tests.redis_node import Node
from tests.servers import Cluster, start

P = 8


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Nobody in it takes over unasked from a server that had to wait for its turn."""
    with start("cluster", tmp_path_factory.mktemp("cluster"), CALM) as site:
        assert isinstance(site, Cluster)
        yield site


@asynccontextmanager
async def piped(where: str | Topology, *, within: float = 60, **options: Any) -> AsyncIterator[Pipe]:
    pipe = Pipe(where, name="test", clock=SystemClock(), **options)
    async with asyncio.timeout(within), asyncio.TaskGroup() as group:
        running = group.create_task(pipe.run())
        await pipe.wait_up(30)
        yield pipe
        running.cancel()


@asynccontextmanager
async def loaded(pipe: Pipe, keys: Keys) -> AsyncIterator[Traffic]:
    """What was sent is answered when the block is over."""
    traffic = Traffic(pipe, keys)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run())
        await traffic.moved_on(5)
        yield traffic
        traffic.stop = True


def slot(keys: Keys, p: int) -> int:
    return slot_of(keys.tagged(p, "x").encode())


# Routing ---------------------------------------------------------------------------------------------------------


async def test_commands_and_scripts_find_their_masters(cluster: Cluster, keys: Keys) -> None:
    async with piped(cluster.url) as pipe:
        assert pipe.cluster
        assert await pipe.asks(("SET", keys.lease(p), p) for p in range(P)) == [b"OK"] * P
        assert await pipe.asks(("GET", keys.lease(p)) for p in range(P)) == [b"%d" % p for p in range(P)]
        assert (
            await pipe.scripts(("lease", (keys.tagged(p, "l"), keys.head(p)), ("a", 5_000, 0)) for p in range(P))
            == [1] * P
        )
        assert await pipe.script("register", (keys.workers,), (1_000, "w")) == [b"w"]
        assert await pipe.ask("PING") == b"PONG"
        homes = {master.name for master in pipe.masters()}
        assert len(homes) == 3
        assert {pipe.at(keys.lease(p)).name for p in range(P)} == homes


async def test_batches_keep_their_order_in_each_partition(cluster: Cluster, keys: Keys) -> None:
    async with piped(cluster.url) as pipe:
        replies = await pipe.asks(("RPUSH", keys.tagged(n % P, "l"), n) for n in range(40 * P))
        assert replies == [n // P + 1 for n in range(40 * P)]


async def test_keys_of_all_masters_are_gone_through(cluster: Cluster, keys: Keys) -> None:
    async with piped(cluster.url) as pipe:
        names = {keys.tagged(p, str(n)).encode() for p in range(P) for n in range(30)}
        await pipe.asks(("SET", name, "x") for name in names)
        found = [key async for some in pipe.scan(keys.pattern("*"), 20) for key in some]
        assert set(found) == names


async def test_keys_are_not_gone_through_while_slots_move(cluster: Cluster, keys: Keys) -> None:
    moving = slot(keys, 0)
    target = next(one for one in cluster.masters() if one is not cluster.owner(moving))
    source = await asyncio.to_thread(cluster.begin_move, moving, target)
    async with piped(cluster.url) as pipe:
        with pytest.raises(Refused, match="TRYAGAIN") as refusal:
            await anext(pipe.scan("*", 10))
        assert refusal.value.passing
    await asyncio.to_thread(cluster.move_keys, moving, source, target)
    await asyncio.to_thread(cluster.end_move, moving, target)


async def test_one_master_by_itself_follows_no_redirection(cluster: Cluster, keys: Keys) -> None:
    async with piped(cluster.url, timeout=30) as pipe:
        home = pipe.at(keys.lease(0))
        other = next(master for master in pipe.masters() if master.name != home.name)
        assert (await home.asks([("SET", keys.lease(0), "x"), ("WAIT", 1, 20_000)])) == [b"OK", 1]
        with pytest.raises(Refused, match="MOVED"):
            await other.ask("GET", keys.lease(0))


async def test_writes_that_replicas_confirm_go_on_when_a_slot_of_one_of_them_moves(
    cluster: Cluster, keys: Keys
) -> None:
    """What came first in a line of writes must not say where the later ones go."""
    where = Topology(cluster.url, clock=SystemClock())
    async with piped(cluster.url) as looking, piped(where, arrival=ready_at_once, timeout=50) as pipe:
        home = pipe.at(keys.events(0)).name
        stays = next(p for p in range(1, P) if pipe.at(keys.events(p)).name == home)
        writes, answers = Durable(pipe, replicas=9, timeout=40), asyncio.Queue[Any]()
        writes.post(keys.events(0), ("XADD", keys.events(0), "*", "a", "b"), answers.put_nowait)
        for n in range(3):
            writes.post(keys.events(stays), ("XADD", keys.events(stays), f"{n + 1}-0", "a", "b"), answers.put_nowait)
        while not await looking.ask("XLEN", keys.events(0)):  # else it may come after the move, and be refused
            pass
        source = cluster.owner(slot(keys, 0))
        target = next(one for one in cluster.masters() if one is not source)
        await asyncio.to_thread(cluster.move_slot, slot(keys, 0), target)
        await seen(where, slot(keys, 0), target)
        assert answers.empty()
        async with asyncio.TaskGroup() as group:
            hurrying = group.create_task(wait_no_longer(source))
            assert [type(await answers.get()) for _ in range(4)] == [Unconfirmed] * 4
            hurrying.cancel()
        assert await pipe.ask("XLEN", keys.events(stays)) == 3


async def wait_no_longer(node: Node) -> None:
    """Let every WAIT there be over, as if its time were."""
    while True:
        for client in await asyncio.to_thread(node.redis.client_list):
            if client["cmd"] == "wait":
                await asyncio.to_thread(node.redis.client_unblock, int(client["id"]))
        await asyncio.sleep(0.01)


async def test_what_is_for_one_master_goes_to_no_other(cluster: Cluster, keys: Keys) -> None:
    """While it waits for its slot there, and that moves on: a WAIT would ask a master that was not written to."""
    held, holding = asyncio.Event(), False

    async def arrival(asks: Asks, server: Server, slots: Container[int]) -> None:
        if holding:
            await held.wait()

    moving = slot(keys, 0)
    source = cluster.owner(moving)
    target = next(one for one in cluster.masters() if one is not source)
    before = next(number for number in cluster.slots_of(source) if number != moving)
    where = Topology(cluster.url, clock=SystemClock())
    async with piped(where, arrival=arrival) as pipe:
        await pipe.asks(("EXISTS", keys.lease(p)) for p in range(P))
        holding = True
        for number in (before, moving):  # the connection there is being made ready for the first when the other comes
            await asyncio.to_thread(cluster.move_slot, number, target)
            await seen(where, number, target)
        bound = pipe.at(keys.lease(0))
        async with asyncio.TaskGroup() as group:
            refused = group.create_task(refusal(bound, "SET", keys.lease(0), "x"))
            await asyncio.to_thread(cluster.move_slot, moving, source)
            await seen(where, moving, source)
            held.set()
        assert refused.result().passing
        assert await pipe.ask("GET", keys.lease(0)) is None


async def seen(where: Topology, number: int, owner: Node) -> None:
    """Until the slot's new owner is known here."""
    watch = where.watch
    assert isinstance(watch, ClusterWatch)
    watch.hurry()
    await eventually(lambda: (place := watch.map and watch.map.owners[number]) and place.port == owner.port)


async def ready_at_once(asks: Asks, server: Server, slots: Container[int]) -> None:
    pass


async def refusal(master: Master, *command: str) -> Refused:
    with pytest.raises(Refused) as caught:
        await master.ask(*command)
    return caught.value


async def test_pipes_of_one_process_look_for_the_masters_once(cluster: Cluster, keys: Keys) -> None:
    topology = Topology(cluster.url, clock=SystemClock())
    async with piped(topology) as first, piped(topology) as second:
        await first.ask("SET", keys.lease(0), "x")
        assert await second.ask("GET", keys.lease(0)) == b"x"
        looking = 0
        for master in first.masters():
            looking += (await master.ask("CLIENT", "LIST")).count(b"name=topology")
        assert looking <= 3
    assert not first.up
    with pytest.raises(BusDown):
        await first.ask("PING")


async def test_who_looks_may_end_and_another_goes_on(cluster: Cluster, keys: Keys) -> None:
    topology = Topology(cluster.url, clock=SystemClock())
    async with piped(topology) as second:
        async with piped(topology) as first:
            await first.ask("SET", keys.lease(0), "x")
        source, target = cluster.owner(slot(keys, 0)), cluster.masters()[0]
        target = target if target is not source else cluster.masters()[1]
        await asyncio.to_thread(cluster.move_slot, slot(keys, 0), target)
        assert await second.ask("GET", keys.lease(0)) == b"x"


async def test_a_look_that_finds_everything_as_it_was_keeps_what_is_known(cluster: Cluster, keys: Keys) -> None:
    topology = Topology(cluster.url, clock=SystemClock())
    async with piped(topology) as pipe:
        assert isinstance(topology.watch, ClusterWatch)
        # What moved in a test before may still be news to one of the nodes, which are asked in turn.
        while True:
            known = pipe.map
            for _ in pipe.masters():
                await topology.watch.refresh()
            if pipe.map is known:
                break
        await pipe.ask("SET", keys.lease(0), "x")
        assert await pipe.ask("GET", keys.lease(0)) == b"x"


# Slots that move -------------------------------------------------------------------------------------------------


async def test_slots_move_under_load_and_nothing_is_lost_doubled_or_done_by_half(cluster: Cluster, keys: Keys) -> None:
    arrived: list[Server] = []

    async def arrival(asks: Asks, server: Server, slots: Container[int]) -> None:
        arrived.append(server)

    async with piped(cluster.url, arrival=arrival) as pipe:
        async with loaded(pipe, keys) as traffic:
            for round in range(2):
                for p in range(P):
                    masters = cluster.masters()
                    target = masters[(p + round) % 3]
                    if target is not cluster.owner(slot(keys, p)):
                        await asyncio.to_thread(cluster.move_slot, slot(keys, p), target)
                await traffic.moved_on(3)
        await traffic.check()
        assert len(arrived) > 3
        assert len({server.run_id for server in arrived}) == 3


async def test_while_a_slot_is_on_its_way_keys_are_found_and_scripts_wait(cluster: Cluster, keys: Keys) -> None:
    moving = slot(keys, 0)
    names = [keys.tagged(0, str(number)) for number in range(10)]
    async with piped(cluster.url) as pipe:
        await pipe.asks(("SET", name, name) for name in names)
        target = next(one for one in cluster.masters() if one is not cluster.owner(moving))
        source = await asyncio.to_thread(cluster.begin_move, moving, target)
        await asyncio.to_thread(cluster.move_keys, moving, source, target, 5)
        # Five are here and five are there; a new one begins where the slot goes.
        assert await pipe.asks(("GET", name) for name in names) == [name.encode() for name in names]
        assert await pipe.ask("SET", keys.tagged(0, "new"), "x") == b"OK"
        for one, two in ((names[0], names[9]), (keys.tagged(0, "a"), keys.tagged(0, "b")), (names[0], names[0])):
            with pytest.raises(Refused, match="TRYAGAIN") as refusal:
                await pipe.script("lease", (one, two), ("a", 5_000, 0))
            assert refusal.value.passing
        await asyncio.to_thread(cluster.move_keys, moving, source, target)
        await asyncio.to_thread(cluster.end_move, moving, target)
        assert await pipe.script("lease", (keys.tagged(0, "a"), keys.tagged(0, "b")), ("a", 5_000, 0)) == 1


async def test_a_blocked_read_follows_its_stream(cluster: Cluster, keys: Keys) -> None:
    stream = keys.events(0)
    async with piped(cluster.url, timeout=15, scripts=False) as waiting, piped(cluster.url) as pipe:
        await pipe.ask("XADD", stream, "1-0", "a", "b")
        async with asyncio.TaskGroup() as group:
            read = group.create_task(waiting.ask("XREAD", "BLOCK", 10_000, "STREAMS", stream, "1-0"))
            await asyncio.sleep(0.1)
            target = next(one for one in cluster.masters() if one is not cluster.owner(slot(keys, 0)))
            await asyncio.to_thread(cluster.move_slot, slot(keys, 0), target)
            await pipe.ask("XADD", stream, "2-0", "a", "b")
        ((name, ((entry, _),)),) = read.result()
        assert (name, entry) == (stream.encode(), b"2-0")


# What comes before traffic ---------------------------------------------------------------------------------------


async def test_traffic_for_a_slot_waits_until_its_new_master_was_made_ready(cluster: Cluster, keys: Keys) -> None:
    calls: list[tuple[Server, Container[int]]] = []
    ready = asyncio.Event()
    ready.set()

    async def arrival(asks: Asks, server: Server, slots: Container[int]) -> None:
        calls.append((server, slots))
        await ready.wait()

    async with piped(cluster.url, arrival=arrival) as pipe:
        await pipe.asks(("SET", keys.lease(p), p) for p in range(P))
        servers = {server.run_id: server for server, _ in calls}
        assert len(servers) == 3
        for run_id, server in servers.items():
            assert server.peers == set(servers) - {run_id}
        assert all(sum(number in slots for _, slots in calls) == 1 for number in (0, 5_000, 16_383))
        calls.clear()
        ready.clear()
        moving = slot(keys, 0)
        target = next(one for one in cluster.masters() if one is not cluster.owner(moving))
        await asyncio.to_thread(cluster.move_slot, moving, target)
        async with asyncio.TaskGroup() as group:
            # It is refused when the map was not whole in time, and asked again.
            first = group.create_task(until_fine(pipe, "SET", keys.lease(0), "first"))
            await eventually(lambda: calls)
            second = group.create_task(pipe.ask("SET", keys.lease(0), "second"))
            others = [p for p in range(1, P) if slot(keys, p) != moving]
            assert await pipe.asks(("GET", keys.lease(p)) for p in others) == [b"%d" % p for p in others]
            assert not first.done()
            ready.set()
        assert (first.result(), second.result()) == (b"OK", b"OK")
        assert await pipe.ask("GET", keys.lease(0)) == b"second"
        ((server, slots),) = calls
        assert moving in slots
        assert 0 not in slots or moving == 0
        assert len(server.peers) == 2


async def test_a_master_that_was_replaced_is_no_peer_of_who_replaced_it(
    cluster: Cluster, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, and says by a redirection of one slot that it has lost that one: it has lost all, and writes too."""
    calls: list[Server] = []

    async def arrival(asks: Asks, server: Server, slots: Container[int]) -> None:
        calls.append(server)

    where, look = Topology(cluster.url, clock=SystemClock()), asyncio.Event()
    watch = where.watch
    assert isinstance(watch, ClusterWatch)
    async with piped(where, arrival=arrival) as pipe:
        await pipe.asks(("SET", keys.lease(p), p) for p in range(P))
        old, refresh = cluster.owner(slot(keys, 0)), watch.refresh

        async def later() -> None:
            await look.wait()
            await refresh()

        monkeypatch.setattr(watch, "refresh", later)
        old_id = (await pipe.at(keys.lease(0)).ask("INFO", "server")).decode().partition("run_id:")[2].split()[0]
        calls.clear()
        new = await asyncio.to_thread(cluster.failover, old)
        async with asyncio.TaskGroup() as group:
            group.create_task(seen(where, slot(keys, 0), new))
            writing = group.create_task(set_in_the_end(pipe, keys.lease(0)))
            await asyncio.sleep(0.3)
            look.set()
            await writing
        assert calls
        assert all(old_id not in server.peers for server in calls)


async def set_in_the_end(pipe: Pipe, key: str) -> None:
    while True:
        try:
            await pipe.ask("SET", key, "x")
            return
        except BusError:
            await asyncio.sleep(0.05)


async def test_a_connection_that_is_wanted_no_more_when_it_is_made_is_closed(
    cluster: Cluster, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A master that was replaced may come back as a replica while we try to reach it again."""
    asked, ready = asyncio.Event(), asyncio.Event()

    async def arrival(asks: Asks, server: Server, slots: Container[int]) -> None:
        asked.set()
        await ready.wait()

    topology = Topology(cluster.url, clock=SystemClock())
    road = Road(topology, topology.dialer(keys.prefix, ()), SystemClock(), 5, arrival, lambda: None)
    refresh = road.watch.refresh

    async def once() -> None:
        await refresh()
        await asyncio.Event().wait()

    monkeypatch.setattr(road.watch, "refresh", once)  # or the master is soon found, and wanted, again
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        running = group.create_task(road.run())
        await asked.wait()
        watch = road.watch
        assert watch.map is not None
        watch.map = SlotMap()
        watch.listeners.copy().pop()()
        ready.set()
        await eventually(lambda: not any(keys.prefix in str(node.ask("CLIENT", "LIST")) for node in cluster.masters()))
        running.cancel()


async def test_what_is_sent_while_a_pipe_ends_fails(cluster: Cluster, keys: Keys) -> None:
    road = Road(
        topology := Topology(cluster.url, clock=SystemClock()), topology.dialer("", ()), SystemClock(), 5, None, list
    )
    replies: list[Any] = []

    async def last_words() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for p in range(P):
                road.post(("SET", keys.lease(p), p), replies.append)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        running = group.create_task(road.run())
        await eventually(lambda: road.up)
        speaking = group.create_task(last_words())
        await asyncio.sleep(0)
        running.cancel()
        speaking.cancel()
    await eventually(lambda: len(replies) == P)
    assert {type(reply) for reply in replies} == {BusDown}


async def test_one_that_fails_for_new_slots_costs_the_connection(cluster: Cluster, keys: Keys) -> None:
    failing = False
    calls = 0

    async def arrival(asks: Asks, server: Server, slots: Container[int]) -> None:
        nonlocal calls, failing
        calls += 1
        if failing:
            failing = False
            raise Refused("OOM no room")

    async with piped(cluster.url, arrival=arrival) as pipe:
        await pipe.ask("SET", keys.lease(0), "x")
        target = next(one for one in cluster.masters() if one is not cluster.owner(slot(keys, 0)))
        before, failing = calls, True
        await asyncio.to_thread(cluster.move_slot, slot(keys, 0), target)
        with pytest.raises(BusDown):
            await in_the_end(pipe, "GET", keys.lease(0))
        await eventually(lambda: calls >= before + 2)
        assert await until_fine(pipe, "GET", keys.lease(0)) == b"x"


async def test_a_slot_on_its_way_keeps_no_new_connection_from_the_others(cluster: Cluster, keys: Keys) -> None:
    async def arrival(asks: Asks, server: Server, slots: Container[int]) -> None:
        wanted = [p for p in range(P) if slot(keys, p) in slots]
        generations = [
            ("EVAL", "return redis.call('INCR', KEYS[1])", 2, keys.generation(p), keys.tagged(p, "never"))
            for p in wanted
        ]
        for reply in await asks(generations):
            if isinstance(reply, BusError):
                raise reply

    moving = slot(keys, 0)
    source, target = cluster.owner(moving), next(one for one in cluster.masters() if one is not cluster.owner(moving))
    async with piped(cluster.url) as pipe:
        await pipe.ask("SET", keys.generation(0), 7)
    await asyncio.to_thread(cluster.begin_move, moving, target, source)
    try:
        async with piped(cluster.url, arrival=arrival) as pipe:
            fine = [p for p in range(P) if slot(keys, p) != moving]
            assert await pipe.asks(("SET", keys.lease(p), p) for p in fine) == [b"OK"] * len(fine)
            with pytest.raises(Refused, match="TRYAGAIN"):
                await pipe.ask("GET", keys.lease(0))
            await asyncio.to_thread(cluster.move_keys, moving, source, target)
            await asyncio.to_thread(cluster.end_move, moving, target)
            assert await until_fine(pipe, "GET", keys.generation(0)) == b"8"
    finally:
        await asyncio.to_thread(cluster.end_move, moving, target)


async def until_fine(pipe: Pipe, *args: Any) -> Any:
    async with asyncio.timeout(40):
        while True:
            try:
                return await pipe.ask(*args)
            except BusError:
                await asyncio.sleep(0.05)


async def in_the_end(pipe: Pipe, *args: Any) -> Any:
    """What comes of a command that is asked again when it is refused in passing."""
    while True:
        try:
            return await pipe.ask(*args)
        except Refused as refusal:
            if not refusal.passing:
                raise
            await asyncio.sleep(0.01)


# Masters that are away -------------------------------------------------------------------------------------------


async def test_a_master_hands_over_under_load_and_nothing_is_lost(cluster: Cluster, keys: Keys) -> None:
    async with piped(cluster.url) as pipe:
        async with loaded(pipe, keys) as traffic:
            await asyncio.to_thread(cluster.failover, cluster.owner(slot(keys, 0)))
            await traffic.moved_on(20)
        await traffic.check(certain=False)


async def test_a_master_that_hangs_slows_no_other(cluster: Cluster, keys: Keys) -> None:
    async with piped(cluster.url, timeout=2) as pipe:  # longer than one of the others may have to wait for its turn
        await pipe.asks(("SET", keys.lease(p), p) for p in range(P))
        hung = cluster.owner(slot(keys, 0))
        away = [p for p in range(P) if cluster.owner(slot(keys, p)) is hung]
        others = [p for p in range(P) if p not in away]
        await asyncio.to_thread(cluster.pause, hung)
        try:
            lost = asyncio.Event()
            pipe.post(("GET", keys.lease(0)), lambda reply: lost.set())
            rounds = 0
            while not lost.is_set():
                assert await pipe.asks(("GET", keys.lease(p)) for p in others) == [b"%d" % p for p in others]
                rounds += 1
            assert rounds > 5
            with pytest.raises(BusDown):
                async with asyncio.timeout(1.5):  # at once: not by a reply that does not come
                    await pipe.ask("GET", keys.lease(0))
            assert pipe.up
        finally:
            await asyncio.to_thread(cluster.resume, hung)
        for p in away:
            assert await until_fine(pipe, "GET", keys.lease(p)) == b"%d" % p
    await asyncio.to_thread(cluster.until_whole)


@pytest.mark.slow
async def test_a_master_that_is_killed_is_replaced_while_the_others_go_on(cluster: Cluster, keys: Keys) -> None:
    async with piped(cluster.url, within=80) as pipe:
        await pipe.asks(("SET", keys.lease(p), p) for p in range(P))
        killed = cluster.owner(slot(keys, 0))
        others = [p for p in range(P) if cluster.owner(slot(keys, p)) is not killed]
        await asyncio.to_thread(cluster.kill, killed)
        with pytest.raises(BusDown):
            await pipe.ask("GET", keys.lease(0))
        for p in others:
            assert await until_fine(pipe, "GET", keys.lease(p)) == b"%d" % p
        await asyncio.to_thread(cluster.config_set, "cluster-node-timeout", 1_000)  # it is missed from now on
        await until_fine(pipe, "SET", keys.lease(0), "again")
        assert pipe.at(keys.lease(0)).name != killed.name
    await asyncio.to_thread(cluster.restart, killed)
    await asyncio.to_thread(cluster.until_whole)


async def test_without_any_node_nobody_is_up_and_it_is_said_why(keys: Keys) -> None:
    pipe = Pipe("redis+cluster://127.0.0.1:1", name="test", clock=SystemClock())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(pipe.run())
        with pytest.raises(BusDown, match="no node of the cluster answers"):
            await pipe.try_up(30)
        with pytest.raises(BusDown):
            await pipe.ask("GET", keys.lease(0))
        assert pipe.masters() == ()
        with pytest.raises(BusDown):
            pipe.at(keys.lease(0))
        running.cancel()
