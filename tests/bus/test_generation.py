"""Generations: another server begins one, a moved slot does not; and what each script makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from bus.cursor import NONE_BEFORE, Cursor, carried, read_survived
from bus.errors import BusError, Refused
from bus.generation import FIRST, Generation, Generations, forgot_together
from bus.keys import Keys, inbox_of
from bus.pipe import ALL_SLOTS, Arg, Pipe, Reply, Server
from tests.bus.test_scripts import Bench
from tests.conftest import open_pipe
from tocsin.embedded import EmbeddedRedis

ALICE = inbox_of("alice")


@pytest_asyncio.fixture
async def pipe(any_server: EmbeddedRedis) -> AsyncIterator[Pipe]:
    async with asyncio.timeout(60), open_pipe(any_server.url) as pipe:
        yield pipe


async def arrive(
    generations: Generations, pipe: Pipe, server: str, *peers: str, slots: Any = ALL_SLOTS
) -> dict[int, str]:
    """A connection to this server is new; the generations that are known then."""
    await generations(pipe.asks, Server(server, frozenset(peers)), slots)
    return {p: each.name for p, each in generations.known.items()}


# Servers -------------------------------------------------------------------------------------------------------------


async def test_the_same_server_goes_on_and_another_begins_a_generation(pipe: Pipe, keys: Keys) -> None:
    generations = Generations(keys)
    told: list[frozenset[int]] = []
    generations.watch(told.append)
    everything = range(keys.partitions)
    assert await arrive(generations, pipe, "a") == dict.fromkeys(everything, FIRST)
    assert await arrive(generations, pipe, "a") == dict.fromkeys(everything, FIRST)
    assert told == []
    second = await arrive(generations, pipe, "b")
    assert all(name.startswith("2g") for name in second.values())
    assert told == [frozenset(everything)]
    assert generations.known[3] == Generation(second[3], "b", FIRST, "a")
    assert await arrive(Generations(keys), pipe, "b") == second, "whoever comes next finds it"
    # The one before comes back, and may have been written to meanwhile by somebody who did not know.
    third = await arrive(generations, pipe, "a")
    assert all(name.startswith("3g") for name in third.values())


async def test_two_generations_never_have_one_name(pipe: Pipe, keys: Keys) -> None:
    """A replica that lagged behind does not know of the generation that its master had begun."""
    generations = Generations(keys)
    await arrive(generations, pipe, "a")
    lagging = await pipe.ask("DUMP", keys.generation(0))
    second = (await arrive(generations, pipe, "b"))[0]
    await pipe.ask("RESTORE", keys.generation(0), 0, lagging, "REPLACE")
    other = (await arrive(generations, pipe, "c"))[0]
    assert (second[:2], other[:2]) == ("2g", "2g")
    assert second != other


async def test_a_slot_that_was_moved_keeps_its_generation(pipe: Pipe, keys: Keys) -> None:
    generations = Generations(keys)
    first = await arrive(generations, pipe, "a", "b")
    assert await arrive(generations, pipe, "b", "a") == first
    assert {each.server for each in generations.known.values()} == {"b"}
    assert await arrive(Generations(keys), pipe, "b") == first


async def test_a_slot_that_was_moved_to_a_server_that_then_failed_begins_one(pipe: Pipe, keys: Keys) -> None:
    """What the second server wrote is lost, and with it the note that the slot had come to it."""
    generations = Generations(keys)
    await arrive(generations, pipe, "a", "b")
    at_first = await pipe.ask("DUMP", keys.generation(0))
    await arrive(generations, pipe, "b", "a")
    await pipe.ask("RESTORE", keys.generation(0), 0, at_first, "REPLACE")
    names = await arrive(generations, pipe, "c", "a")
    assert names[0].startswith("2g")


async def test_a_servers_end_begins_one_generation_however_many_had_met_it(pipe: Pipe, keys: Keys) -> None:
    processes = [Generations(keys) for _ in range(3)]
    for each in processes:
        await arrive(each, pipe, "a")
    second = await arrive(processes[0], pipe, "b")
    assert [await arrive(each, pipe, "b") for each in processes] == [second] * 3
    # Two pipes of one process that connect at the same moment.
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(arrive(processes[0], pipe, "c"))
    assert all(name.startswith("3g") for name in (await arrive(processes[1], pipe, "c")).values())


async def test_an_older_generation_is_not_the_one_that_others_began(pipe: Pipe, keys: Keys) -> None:
    """Its replica lagged so far behind that it does not know of the last one, and a stranger took it for moved."""
    generations = Generations(keys)
    await arrive(generations, pipe, "a")
    at_first = await pipe.ask("DUMP", keys.generation(0))
    second = await arrive(generations, pipe, "b")
    await pipe.ask("RESTORE", keys.generation(0), 0, at_first, "REPLACE")
    assert (await arrive(Generations(keys), pipe, "c", "a"))[0] == FIRST
    again = (await arrive(generations, pipe, "c", "a"))[0]
    assert again.startswith("2g")
    assert again != second[0]


async def test_only_the_slots_that_came_are_looked_at(pipe: Pipe, keys: Keys) -> None:
    generations = Generations(keys)
    assert set(await arrive(generations, pipe, "a", slots=range(16384 // 2))) == set(range(keys.partitions // 2))


async def test_an_emptied_database_begins_a_generation_with_the_next_server(pipe: Pipe, keys: Keys) -> None:
    generations = Generations(keys)
    await arrive(generations, pipe, "a")
    await pipe.asks(("DEL", keys.generation(p)) for p in range(keys.partitions))
    await generations.look(pipe)
    assert generations.known[0] == Generation(FIRST, "a")
    names = await arrive(generations, pipe, "b")
    assert names[0].startswith("2g")


async def test_what_others_found_out_is_seen(pipe: Pipe, keys: Keys) -> None:
    mine, theirs = Generations(keys), Generations(keys)
    await arrive(mine, pipe, "a")
    names = await arrive(theirs, pipe, "b")
    told: list[frozenset[int]] = []
    mine.watch(told.append)
    before = mine.version
    await mine.look(pipe)
    after = mine.version
    await mine.look(pipe)
    assert before != after == mine.version
    assert {p: each.name for p, each in mine.known.items()} == names
    assert told == [frozenset(names)]
    mine.forget(told.append)
    await arrive(mine, pipe, "c")
    assert len(told) == 1


async def test_a_look_goes_on_without_those_who_do_not_answer(pipe: Pipe, keys: Keys) -> None:
    generations = Generations(keys)
    await arrive(generations, pipe, "a")
    await pipe.ask("DEL", keys.generation(2))
    await pipe.ask("SET", keys.generation(2), "of another type")
    await generations.look(pipe)
    assert generations.known[2].name == FIRST


async def test_a_server_that_is_full_can_still_be_met(pipe: Pipe, keys: Keys) -> None:
    """Else nobody could empty it."""
    generations = Generations(keys)
    await arrive(generations, pipe, "a")
    await pipe.ask("CONFIG", "SET", "maxmemory", "1mb")
    try:
        with pytest.raises(Refused, match="OOM"):
            await pipe.ask("SET", keys.lease(0), "x")
        names = await arrive(generations, pipe, "b")
    finally:
        await pipe.ask("CONFIG", "SET", "maxmemory", "0")
    assert all(name.startswith("2g") for name in names.values())
    assert await arrive(Generations(keys), pipe, "b") == names


async def test_a_connection_that_cannot_ask_is_none(keys: Keys) -> None:
    async def refused(commands: Iterable[Any]) -> list[Reply]:
        return [Refused("OOM command not allowed") for _ in commands]

    with pytest.raises(BusError, match="OOM"):
        await Generations(keys)(refused, Server("a"), ALL_SLOTS)


def test_what_was_on_one_server_before_and_after_forgot_together() -> None:
    ours, theirs = Generation("2ga", "b", "1", "a"), Generation("2gb", "b", "1", "a")
    assert forgot_together(ours, "1", theirs, "1")
    assert not forgot_together(ours, "1", Generation("2gb", "c", "1", "a"), "1"), "another server now"
    assert not forgot_together(ours, "1", Generation("2gb", "b", "1", "x"), "1"), "another server before"
    assert not forgot_together(ours, "1", theirs, "0"), "a step between was missed"
    assert not forgot_together(Generation("1", "b"), "", Generation("1", "b"), ""), "nothing is known"


# Scripts -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bench(pipe: Pipe, keys: Keys) -> Bench:
    return Bench(pipe, keys)


async def begin(bench: Bench, topic: str, name: str) -> None:
    """Another generation of the topic's partition."""
    await bench.ask("HSET", bench.keys.generation(bench.keys.partition(topic)), "n", 2, "name", name)


@pytest.mark.parametrize("topic", ["news:a", ALICE])
async def test_an_epoch_ends_with_its_generation(bench: Bench, topic: str) -> None:
    for number in range(3):
        await bench.publish(f"e{number}", [topic], epoch="base")
    assert await bench.join(topic) == [b"base", 3, []], "of the first one nothing is said"
    await begin(bench, topic, "2gab")
    assert (await bench.join(topic))[::3] == [b"base-2gab", b"base 3"]
    ((offset, epoch, *_),) = (await bench.publish("e3", [topic]))[-1:]
    assert (offset, epoch) == (4, b"base-2gab")
    await begin(bench, topic, "3gcd")
    assert (await bench.history(topic, "-", 0))[::3] == [b"base-3gcd", b"base-2gab 4 base 3"]
    assert (await bench.join(topic, 3))[:2] == [b"base-3gcd", 4]


@pytest.mark.parametrize("first", ["publish", "join", "history"])
async def test_whoever_comes_first_begins_the_epoch(bench: Bench, first: str) -> None:
    await bench.publish("e1", ["news:a"], epoch="base")
    await begin(bench, "news:a", "2gab")
    if first == "publish":
        await bench.publish("e2", ["news:a"])
    elif first == "join":
        await bench.join("news:a")
    else:
        await bench.history("news:a", "-", 1)
    meta = bench.keys.meta("news:a")
    assert await bench.ask("HMGET", meta, "epoch", "gen", "survived") == [b"base-2gab", b"2gab", b"base 1"]


async def test_a_topic_that_begins_later_has_an_epoch_of_its_own(bench: Bench) -> None:
    await begin(bench, "news:a", "2gab")
    assert (await bench.join("news:a", epoch="base"))[::3] == [b"base", b""]
    await bench.publish("e1", ["news:a"])
    assert (await bench.join("news:a"))[:2] == [b"base", 1]
    await begin(bench, "news:a", "3gcd")
    assert (await bench.join("news:a"))[::3] == [b"base-3gcd", b"base 1"]


async def test_what_survived_is_the_top_of_the_log_where_the_position_lags(bench: Bench) -> None:
    for number in range(3):
        await bench.publish(f"e{number}", ["news:a"], epoch="base")
    await bench.ask("HSET", bench.keys.meta("news:a"), "top", 2)
    await begin(bench, "news:a", "2gab")
    assert (await bench.join("news:a"))[:4:3] == [b"base-2gab", b"base 3"]
    assert (await bench.publish("e4", ["news:a"]))[-1][0] == 4


async def test_only_some_former_epochs_are_kept(bench: Bench) -> None:
    await bench.publish("e1", ["news:a"], epoch="base")
    for number in range(2, 14):
        await begin(bench, "news:a", f"{number}gab")
        found = await bench.join("news:a")
    assert len(read_survived(found[3])) == 8
    assert "base" not in read_survived(found[3])


async def test_what_is_meant_for_another_generation_is_refused(bench: Bench) -> None:
    await bench.called("e1", ["news:a"], meant=FIRST)
    await begin(bench, "news:a", "2gab")
    with pytest.raises(Refused) as refused:
        await bench.called("e2", ["news:a"], meant=FIRST)
    assert refused.value.code == "STALE"
    assert (await bench.join("news:a"))[1] == 1
    await bench.called("e2", ["news:a"], meant="2gab")
    await bench.called("e3", ["news:a"], meant="")


async def receipt(bench: Bench, epoch: str, written: str, acked: str) -> list[Any]:
    keys, p = bench.keys, bench.keys.partition(ALICE)
    names = (keys.meta(ALICE), keys.log(ALICE), keys.trail("alice"))
    args = (keys.counts_prefix(p), keys.body_prefix(p), 100, 32, epoch, written, acked)
    (answer,) = await bench.pipe.script("receipts", names, args)
    return list(answer)


async def test_a_receipt_of_a_former_epoch_counts_up_to_the_top_that_survived(bench: Bench) -> None:
    for number in range(5):
        await bench.publish(f"e{number}", [ALICE], epoch="base")
    await begin(bench, ALICE, "2gab")
    await bench.publish("e5", [ALICE])
    await bench.publish("e6", [ALICE])
    assert await receipt(bench, "base", "4-6", "4-6") == [2, 2]
    assert await receipt(bench, "base", "6-7", "6-7") == [-1, b"epoch"]
    assert await receipt(bench, "other", "", "1-1") == [-1, b"epoch"]
    assert await receipt(bench, "base-2gab", "", "6-6") == [0, 1]
    assert await receipt(bench, "base-2gab", "", "8-8") == [-1, b"top"]
    assert await bench.ask("HGET", bench.keys.meta(ALICE), "acked") == b"4-6"


async def test_a_receipt_that_comes_first_begins_the_epoch_too(bench: Bench) -> None:
    await bench.publish("e1", [ALICE], epoch="base")
    await begin(bench, ALICE, "2gab")
    assert await receipt(bench, "base", "", "1-1") == [0, 1]
    assert (await bench.join(ALICE))[::3] == [b"base-2gab", b"base 1"]


async def test_the_pages_and_the_marks_of_an_inbox_name_the_new_epoch(bench: Bench) -> None:
    keys, p = bench.keys, bench.keys.partition(ALICE)
    log, meta, routes, bodies = keys.listening(ALICE)
    await bench.publish("e1", [ALICE], epoch="base")
    await bench.publish("e2", [ALICE])
    await begin(bench, ALICE, "2gab")
    names: tuple[str, ...] = (log, meta, keys.unread("alice"), keys.archived("alice"))
    args: tuple[Arg, ...] = ("new", "+", "all", 10, bodies, 86_400, 300, 100_000)
    assert (await bench.pipe.script("inbox_list", names, args))[:3] == [b"base-2gab", 2, 2]
    await begin(bench, ALICE, "3gcd")
    args = ("read", "", bodies, keys.counts_prefix(p), "s1", "now", 600, 100, 100, 100, 1)
    changed = await bench.pipe.script("inbox_change", (*names, routes, keys.trail("alice")), args)
    assert changed[3:5] == [3, b"base-3gcd"]
    assert (await bench.join(ALICE))[::3] == [b"base-3gcd", b"base-2gab 2 base 2"]
    await begin(bench, ALICE, "4gef")
    names = (keys.tagged(p, "told"), keys.counts(p, "e1"), keys.timers(p))
    names += (log, meta, routes, keys.unread("alice"), keys.archived("alice"), keys.trail("alice"))
    args = ("e1", 600, bodies, "now", 600, 100, 100, "", ALICE, "alice", 1, "s2")
    ((offset, epoch, *_),) = await bench.pipe.script("recall", names, args)
    assert (offset, epoch) == (4, b"base-4gef")


async def test_a_failover_at_any_moment(bench: Bench) -> None:
    """Publish, read, and lose the newest, in any order: what counts of a cursor is what stands there still."""
    chance = Random(4)
    topic, keys = "news:a", bench.keys
    p = keys.partition(topic)
    kept = [keys.log(topic), keys.meta(topic), keys.generation(p)]
    snapshots: list[list[Any]] = []
    taken: list[tuple[Cursor, list[bytes]]] = []

    async def events() -> list[bytes]:
        return [fields[1] for _, fields in await bench.ask("XRANGE", keys.log(topic), "-", "+")]

    await bench.publish("e0", [topic], epoch="base")
    for number in range(1, 120):
        snapshots.append(await bench.pipe.asks(("DUMP", key) for key in kept))
        match chance.randrange(5):
            case 0:
                # Back to how a replica knew it, some steps ago.
                at = max(0, len(snapshots) - 1 - chance.randrange(8))
                del snapshots[at + 1 :]
                for key, dump in zip(kept, snapshots[at], strict=True):
                    await bench.ask("DEL", key)
                    if dump is not None:
                        await bench.ask("RESTORE", key, 0, dump)
                await begin(bench, topic, f"2g{number:x}")
            case 1:
                await bench.history(topic, "-", 5)
            case _:
                await bench.publish(f"e{number}", [topic])
        epoch, top, _, *survived = await bench.join(topic)
        there = await events()
        assert len(there) == top
        before = read_survived(survived[0]) if survived else NONE_BEFORE
        for cursor, read in taken:
            if carried(cursor, epoch.decode(), before) is not None:
                assert there[: cursor.offset] == read
        offset = chance.randint(0, top)
        taken.append((Cursor(epoch.decode(), offset), there[:offset]))
