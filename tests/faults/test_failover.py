"""A replica takes the place of its master without the newest that was written there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson
import pytest

from bus.keys import Keys
from bus.partition import DEFAULT_PARTITIONS, SLOTS, crc16
from tests.faults.crowd import INBOX, Person, eventually, gathered
from tests.redis_node import Node
from tests.servers import Cluster
from tests.system import KEY, System, system

KEYS = Keys("tocsin", DEFAULT_PARTITIONS)
FEW = 5
"""People, and events of each kind."""

_numbers = count(1)


def names(made: System, master: Node, prefix: str, *, there: bool) -> list[str]:
    """Some whose keys are on this master, or on another."""
    assert isinstance(made.redis, Cluster)
    held = set(made.redis.slots_of(master))
    found = (f"{prefix}{number}" for number in range(10_000))
    tag = KEYS.log("@x").partition("{")[0]
    slot = {name: crc16(KEYS.log(f"@{name}")[len(tag) + 1 :].partition("}")[0].encode()) % SLOTS for name in found}
    return [name for name in slot if (slot[name] in held) == there][:FEW]


async def post(http: httpx.AsyncClient, made: System, users: Sequence[str], key: str, durability: str) -> int:
    """The number that the event carries, once it is accepted."""
    number = next(_numbers)
    while not await _posted(number, http, made, users, key, durability):
        pass  # a replica that was late for a moment has it the next time
    return number


async def is_replicated(http: httpx.AsyncClient, made: System, users: Sequence[str], key: str) -> bool:
    """Whether an event, which is stored in any case, is accepted as replicated."""
    return await _posted(next(_numbers), http, made, users, key, "replicated")


async def _posted(
    number: int, http: httpx.AsyncClient, made: System, users: Sequence[str], key: str, durability: str
) -> bool:
    """Whether it was accepted; False when it is stored but not replicated."""
    event: dict[str, Any] = {"id": f"e{number}", "type": "x", "to": {"users": list(users)}, "key": key, "data": number}
    url = f"{made.gateways[0].origin}/v1/events?durability={durability}"
    while (answer := await http.post(url, json=event, headers={"x-api-key": KEY})).status_code != 202:
        assert answer.status_code == 503
        if "not confirmed by enough replicas" in answer.json()["detail"]:
            return False
        await asyncio.sleep(0.05)
    return True


def inbox(made: System, user: str) -> list[int]:
    """The numbers in somebody's inbox, in its order."""
    client = made.redis.client()
    try:
        refs = [fields[b"b"].decode() for _, fields in client.xrange(KEYS.log(f"@{user}"))]
        prefix = KEYS.body_prefix(KEYS.partition(user))
        found = [client.hget(prefix + ref, "pub") or b"" for ref in refs]
        return [orjson.loads(b"{" + publication + b"}")["data"]["data"] for publication in found]
    finally:
        client.close()


async def until_in(made: System, user: str, numbers: Sequence[int]) -> list[int]:
    """Somebody's inbox, once these are in it."""
    while not set(numbers) <= set(found := await asyncio.to_thread(inbox, made, user)):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return found


async def everybody_is_back(people: Sequence[Person], last: int) -> None:
    """Until each was given what came after the failover, or was told, only after that had come, to read all anew."""
    told = "not recovered in inbox"
    await eventually(lambda: all(last in person.got[INBOX] or told in person.faults for person in people))


@pytest.mark.slow
async def test_a_master_of_a_cluster_takes_with_it_what_only_it_had(tmp_path: Path) -> None:
    with system(tmp_path, site="cluster", workers=2) as made:
        master = made.redis.masters()[0]
        # People whose inboxes are on it, and events whose own streams are on the others.
        users, keys = names(made, master, "user", there=True), names(made, master, "key", there=False)
        people = [Person(user, [], [made.gateways[0].port], Random(n)) for n, user in enumerate(users)]
        async with asyncio.timeout(150), httpx.AsyncClient(timeout=30) as http, gathered(people):
            kept = [await post(http, made, users, key, "replicated") for key in keys]
            await eventually(lambda: all(person.got[INBOX] for person in people))
            await asyncio.to_thread(made.redis.cut_replication, master)
            # Their streams are replicated all the same.
            lost = [await post(http, made, users, key, "replicated") for key in keys]
            await eventually(lambda: all(set(person.got[INBOX]) == {*kept, *lost} for person in people))
            assert not await is_replicated(http, made, users, users[0]), "and this one's is not"
            await asyncio.to_thread(master.kill)
            await asyncio.to_thread(made.redis.replaced, master)
            last = await post(http, made, users, keys[0], "stored")
            for user in users:
                # What was acknowledged elsewhere is given again,
                found = await until_in(made, user, (*kept, *lost, last))
                assert len(set(found)) == len(found), "but nothing is there twice,"
                same = [number for number in found if number in (kept[0], lost[0], last)]
                assert same == [kept[0], lost[0], last], "and each stream in its order"
            # Who had seen what was lost was told so, and has to read that inbox; everyone gets what comes then.
            await everybody_is_back(people, last)
            newest = await post(http, made, users, keys[0], "stored")
            await eventually(lambda: all(newest in person.got[INBOX] for person in people))
            for person in people:
                assert {fault.partition(" in ")[0] for fault in person.faults} <= {"not recovered"}, "no silent gap"


@pytest.mark.slow
async def test_sentinels_put_a_replica_that_lags_in_the_masters_place(tmp_path: Path) -> None:
    with system(tmp_path, site="sentinel", replicas=2) as made:
        master, users = made.redis.masters()[0], [f"user{n}" for n in range(FEW)]
        people = [Person(user, [], [made.gateways[0].port], Random(n)) for n, user in enumerate(users)]
        async with asyncio.timeout(150), httpx.AsyncClient(timeout=30) as http, gathered(people):
            kept = [await post(http, made, users, f"key{n}", "replicated") for n in range(FEW)]
            await eventually(lambda: all(set(person.got[INBOX]) == set(kept) for person in people))
            await asyncio.to_thread(made.redis.cut_replication, master)
            gone = [await post(http, made, users, f"key{n}", "stored") for n in range(FEW)]
            assert not await is_replicated(http, made, users, "key")
            await eventually(lambda: all(set(person.got[INBOX]) >= {*kept, *gone} for person in people))
            await asyncio.to_thread(master.kill)
            await asyncio.to_thread(made.redis.replaced, master)
            last = await post(http, made, users, "key", "stored")
            for user in users:
                found = await until_in(made, user, (last,))
                assert sorted(found) == sorted((*kept, last)), "what was lost was lost as a whole"
            await everybody_is_back(people, last)
            newest = await post(http, made, users, "key", "stored")
            await eventually(lambda: all(newest in person.got[INBOX] for person in people))
            # The offsets of what was lost are given anew; nobody was told that nothing is missing.
            for person in people:
                assert {fault.partition(" in ")[0] for fault in person.faults} == {"not recovered"}
