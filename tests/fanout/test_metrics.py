"""/metrics, /healthz and /readyz of a worker."""

from __future__ import annotations

import asyncio

from bus.clock import SystemClock
from bus.keys import Keys
from fanout.metrics import COUNTED, read_backlog
from tests.conftest import open_pipe
from tests.fanout.stand import Node, running_worker, send, settings_for
from tests.ports import free_port
from tests.servers import RedisSite


async def ask(port: int, request: str) -> str:
    """The answer of a server that may still be starting."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.write(request.encode())
        answer = await reader.read()
        writer.close()
        return answer.decode()


async def test_a_worker_shows_its_figures(redis_server: RedisSite, keys: Keys) -> None:
    port = free_port()
    async with open_pipe(redis_server.url) as pipe:
        node = Node(pipe, keys)
        await node.listen("news:a")
        async with running_worker(settings_for(redis_server.url, keys, metrics_port=port)):
            await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}})
            await node.entries()
            shown = [
                "tocsin_fanout_relayed_total 1.0",  # the node may have it before its worker is told so
                f"tocsin_fanout_leases {keys.partitions}.0",
                f"tocsin_fanout_leases_taken_total {keys.partitions}.0",
            ]
            text = ""
            while not all(line in text for line in shown):
                text = await ask(port, "GET /metrics HTTP/1.1\r\n\r\n")
                assert text.startswith("HTTP/1.1 200 OK\r\n")
            assert (await ask(port, "GET /healthz HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 200 OK")
            while not (ready := await ask(port, "GET /readyz HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 200 OK"):
                assert '"state":"stale"' in ready  # its first round trip is under way
            assert '"state":"healthy"' in ready
            assert (await ask(port, "GET /other HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 404")
            for nonsense in ("nonsense\r\n\r\n", "x" * 70_000):
                assert not (await ask(port, nonsense)).startswith("HTTP/1.1 200")


async def test_the_backlog_is_what_nobody_has_finished(any_server: RedisSite, keys: Keys) -> None:
    clock = SystemClock()
    async with asyncio.timeout(60), open_pipe(any_server.url) as pipe:
        assert (await read_backlog(pipe, keys, range(8), clock)).waiting == 0
        for _ in range(5):
            await pipe.ask("XADD", keys.events(1), "*", "e", "x")
        await pipe.ask("XGROUP", "CREATE", keys.events(1), "fanout", "0")
        await pipe.ask("XGROUP", "CREATE", keys.events(1), "other", "0")
        backlog = await read_backlog(pipe, keys, range(8), clock)
        assert backlog.waiting == 5
        assert 0 <= backlog.oldest < 20
        assert backlog.partitions == {1: (5, backlog.oldest)}
        shown = [sample for metric in backlog.collect() for sample in metric.samples]
        assert [(sample.labels, sample.value) for sample in shown] == [
            ({"partition": "1"}, 5),
            ({"partition": "1"}, backlog.oldest),
        ]
        await pipe.ask("XREADGROUP", "GROUP", "fanout", "c", "COUNT", 2, "STREAMS", keys.events(1), ">")
        assert (await read_backlog(pipe, keys, range(8), clock)).waiting == 5
        last = (await pipe.ask("XREVRANGE", keys.events(1), "+", "-"))[0][0]
        await pipe.ask("HSET", keys.head(1), "acked", last)
        assert (await read_backlog(pipe, keys, range(8), clock)).waiting == 0
        assert COUNTED >= 5
