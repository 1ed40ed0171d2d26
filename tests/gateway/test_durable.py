"""Events that count as accepted once a replica has them: a real replica, which is cut off and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from redis import Redis

from bus.clock import SystemClock
from bus.errors import BusError, Overloaded, Unconfirmed
from bus.keys import Keys
from bus.pipe import Pipe, Reply
from bus.settings import BadSetting
from gateway import durable
from gateway.durable import Durable
from gateway.ingest import Durability, durability_in
from tests.conftest import open_pipe
from tests.gateway.api.harness import EVENT, Api, open_api
from tocsin.embedded import EmbeddedRedis


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    folder = tmp_path_factory.mktemp("master")
    with EmbeddedRedis(folder, options={"appendonly": "no", "repl-diskless-sync-delay": "0"}) as server:
        yield server


@pytest.fixture(scope="module")
def replica(master: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    options = {"appendonly": "no", "repl-diskless-sync-delay": "0"}
    with EmbeddedRedis(tmp_path_factory.mktemp("replica"), options=options) as server:
        with Redis.from_url(server.url) as client:
            client.replicaof("127.0.0.1", master.port)
        yield server


@pytest_asyncio.fixture
async def pipe(master: EmbeddedRedis, replica: EmbeddedRedis) -> AsyncIterator[Pipe]:
    async with asyncio.timeout(90), open_pipe(master.url) as pipe:
        while (await pipe.ask("WAIT", 1, 1_000)) < 1:
            pass
        yield pipe


@asynccontextmanager
async def cut_off(pipe: Pipe, replica: EmbeddedRedis) -> AsyncIterator[None]:
    """Nothing that is written in this block reaches the replica before its end."""
    async with open_pipe(replica.url) as other:
        _, port = await pipe.ask("CONFIG", "GET", "port")
        await other.ask("REPLICAOF", "NO", "ONE")
        while (await pipe.ask("WAIT", 1, 50)) > 0:
            pass
        yield
        await other.ask("REPLICAOF", "127.0.0.1", port)


async def told(writes: Durable, key: str, *values: str) -> list[Reply]:
    """What the writes of these values are answered, all posted at once."""
    answers: asyncio.Queue[Reply] = asyncio.Queue()
    for value in values:
        writes.post(key, ("RPUSH", key, value), answers.put_nowait)
    return [await answers.get() for _ in values]


async def test_writes_of_a_moment_share_a_wait_and_keep_their_order(pipe: Pipe, keys: Keys) -> None:
    writes = Durable(pipe, replicas=1, timeout=30)
    before = await _waits(pipe)
    first, second = await asyncio.gather(
        told(writes, keys.mailbox, "a"), told(writes, keys.mailbox, *(str(n) for n in range(1_200)))
    )
    assert (first, second) == ([1], list(range(2, 1_202)))
    # One for the first, then as many as it takes for the others, who came while it was under way.
    assert await _waits(pipe) - before == 4


async def _waits(pipe: Pipe) -> int:
    stats: bytes = await pipe.ask("INFO", "commandstats")
    (line,) = [line for line in stats.decode().splitlines() if line.startswith("cmdstat_wait:")]
    return int(line.split("calls=")[1].split(",")[0])


async def test_what_no_replica_confirms_is_said_to_be_stored_only(
    pipe: Pipe, replica: EmbeddedRedis, keys: Keys
) -> None:
    writes = Durable(pipe, replicas=1, timeout=0.05)
    async with cut_off(pipe, replica):
        assert [type(each) for each in await told(writes, keys.mailbox, "a", "b")] == [Unconfirmed, Unconfirmed]
        assert await pipe.ask("LRANGE", keys.mailbox, 0, -1) == [b"a", b"b"]


async def test_what_redis_refuses_is_refused(pipe: Pipe, keys: Keys) -> None:
    await pipe.ask("SET", keys.mailbox, "text")
    (refused,) = await told(Durable(pipe, replicas=1, timeout=1), keys.mailbox, "a")
    assert isinstance(refused, BusError)
    assert str(refused).startswith("WRONGTYPE")


async def test_more_than_can_wait_is_refused(pipe: Pipe, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "MOST", 2)
    answers = await told(Durable(pipe, replicas=1, timeout=30), keys.mailbox, *"abcd")
    assert sorted(type(each).__name__ for each in answers) == ["Overloaded", "int", "int", "int"]
    assert isinstance(answers[0], Overloaded), "it is told at once"


async def test_without_a_connection_nothing_is_stored(keys: Keys) -> None:
    nowhere = Pipe("redis://127.0.0.1:1", name="nowhere", clock=SystemClock())
    (down,) = await told(Durable(nowhere, replicas=1, timeout=1), keys.mailbox, "a")
    assert type(down).__name__ == "BusDown"


# Over HTTP -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def replicating(
    pipe: Pipe, url: str, keys: Keys, *, patience: float = 0.2, **options: object
) -> AsyncIterator[Api]:
    """`patience`: for how many seconds a replica is waited for."""
    writes = Durable(pipe, replicas=1, timeout=patience)
    async with open_api(url, keys, ingest_options={"durable": writes, **options}) as api:
        yield api


REPLICATED = {"params": {"durability": "replicated"}}


async def test_a_producer_may_ask_for_replication(
    pipe: Pipe, master: EmbeddedRedis, replica: EmbeddedRedis, keys: Keys
) -> None:
    async with replicating(pipe, master.url, keys, patience=30) as api:
        assert (await api.post(EVENT, **REPLICATED)).status_code == 202
    async with replicating(pipe, master.url, keys) as api:
        async with cut_off(pipe, replica):
            assert (await api.post(EVENT)).status_code == 202
            answer = await api.post(EVENT, **REPLICATED)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "not confirmed by enough replicas" in answer.json()["detail"]
            assert len(await api.stored()) == 3
        assert "Unconfirmed" in api.ingest.stats.failed


async def test_a_repeat_under_its_key_is_confirmed_without_a_second_event(
    pipe: Pipe, master: EmbeddedRedis, replica: EmbeddedRedis, keys: Keys
) -> None:
    headers = {"idempotency-key": "k1"}
    # A request that broke off may be repeated at once.
    async with replicating(pipe, master.url, keys, lease=0.0) as api:
        async with cut_off(pipe, replica):
            answer = await api.post(EVENT, headers, **REPLICATED)
            assert (answer.status_code, "not confirmed" in answer.json()["detail"]) == (503, True)
            again = await api.post(EVENT, headers, **REPLICATED)
            assert again.status_code == 503, "that it was stored before does not mean that a replica has it"
        async with asyncio.timeout(30):
            while (done := await api.post(EVENT, headers, **REPLICATED)).status_code == 503:
                pass
        assert done.status_code == 202
        assert len(await api.stored()) == 1
        assert (await api.post(EVENT, headers)).status_code == 422, "less was asked for: that is another request"


async def test_the_settings_may_ask_for_all(
    pipe: Pipe, master: EmbeddedRedis, replica: EmbeddedRedis, keys: Keys
) -> None:
    async with replicating(pipe, master.url, keys, durability=Durability.REPLICATED) as api, cut_off(pipe, replica):
        assert (await api.post(EVENT)).status_code == 503
        assert (await api.post(EVENT, params={"durability": "stored"})).status_code == 202


@pytest.mark.parametrize("query", ["durability=", "durability=best", "durability=stored&durability=replicated"])
async def test_an_unknown_durability_is_refused(pipe: Pipe, master: EmbeddedRedis, keys: Keys, query: str) -> None:
    async with replicating(pipe, master.url, keys) as api:
        assert (await api.client.post(f"/v1/events?{query}", headers={"x-api-key": "x"})).status_code == 401
        answer = await api.post(EVENT, params=query)
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (400, "bad-request")
        assert await api.stored() == []


async def test_a_node_that_cannot_replicate_says_so(master: EmbeddedRedis, keys: Keys) -> None:
    async with open_api(master.url, keys) as api:
        assert (await api.post(EVENT, **REPLICATED)).status_code == 503
        assert await api.stored() == []


def test_the_setting() -> None:
    assert durability_in("replicated") is Durability.REPLICATED
    with pytest.raises(BadSetting, match="durability must be stored or replicated"):
        durability_in("fsync")
