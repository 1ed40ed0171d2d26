"""When a flush runs: at once for a few, after a short wait for thousands, and never two at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bus.cursor import Cursor
from gateway.flusher import Flusher
from gateway.hub import SLICE, Hub
from tests.gateway.test_hub import Client, body


class Signalling(Client):
    """A listener that says when it has been written to."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = asyncio.Event()

    def write(self, data: bytes) -> None:
        super().write(data)
        self.arrived.set()


def crowd(hub: Hub, topic: str, size: int) -> list[Signalling]:
    clients = [Signalling() for _ in range(size)]
    for client in clients:
        hub.begin(topic)
        hub.finish(topic, client, None, Cursor("e", 0), ())
    return clients


class Later:
    """The event loop, but that what is to be done later waits until the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def call_soon(self, callback: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_soon(callback)

    def call_later(self, delay: float, callback: Callable[[], object]) -> None:
        assert 0 < delay < 0.1
        self.waiting.append(callback)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_one_listener_is_written_to_in_the_next_turn() -> None:
    hub = Hub()
    [client] = crowd(hub, "news:a", 1)
    flusher = Flusher(hub, asyncio.get_running_loop(), lambda: None)
    flusher.wake()
    hub.publish("news:a", "e", 1, body(1))
    flusher.wake()
    flusher.wake()
    assert client.written == []
    await turns(1)
    assert client.offsets == [1]


async def test_what_comes_while_a_crowd_waits_shares_the_write() -> None:
    hub = Hub()
    clients = crowd(hub, "news:a", 2 * SLICE)
    later = Later()
    flusher = Flusher(hub, later, lambda: None)  # type: ignore[arg-type]
    for n in range(1, 11):
        hub.publish("news:a", "e", n, body(n))
        flusher.wake()
        await turns(1)
    assert not any(client.written for client in clients)
    [flush] = later.waiting
    flush()
    async with asyncio.timeout(30):
        await clients[-1].arrived.wait()
    assert all(len(client.written) == 1 for client in clients)
    assert clients[-1].offsets == list(range(1, 11))


async def test_what_comes_during_a_flush_goes_out_after_it() -> None:
    hub = Hub()
    clients = crowd(hub, "news:a", 2 * SLICE)
    loop = asyncio.get_running_loop()
    flusher = Flusher(hub, loop, lambda: None)
    hub.publish("news:a", "e", 1, body(1))
    flusher.wake()
    async with asyncio.timeout(30):
        await clients[0].arrived.wait()
        assert not clients[-1].written
        hub.publish("news:a", "e", 2, body(2))
        flusher.wake()
        await clients[-1].arrived.wait()
        clients[-1].arrived.clear()
        await clients[-1].arrived.wait()
    assert all(client.offsets == [1, 2] for client in clients)


async def test_a_bug_in_a_flush_does_not_end_all_flushes() -> None:
    hub = Hub()
    [broken, sound] = crowd(hub, "news:a", 1) + crowd(hub, "news:b", 1)
    broken.write = _raise  # type: ignore[method-assign]
    loop = asyncio.get_running_loop()
    seen: list[object] = []
    loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
    flusher = Flusher(hub, loop, lambda: None)
    hub.publish("news:a", "e", 1, body(1))
    flusher.wake()
    await turns(2)
    assert len(seen) == 1
    hub.publish("news:b", "e", 1, body(1))
    flusher.wake()
    await turns(2)
    assert sound.offsets == [1]


def _raise(data: bytes) -> None:
    raise ValueError("a bug")
