"""loadtest.listener against a scripted WebSocket server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from loadtest.listener import INBOX, Gone, Listener, Refused
from tests.loadtest.answering import answering

Commands = list[dict[str, Any]]


def publication(number: int) -> dict[str, Any]:
    return {"data": {"id": "x", "type": "load", "data": {"lane": "t:x", "number": number}}, "offset": number}


def push(channel: str, number: int) -> str:
    return json.dumps({"push": {"channel": channel, "pub": publication(number)}})


def granted(commands: Commands, **subscribed: Any) -> str:
    first, second = commands
    place = {"recoverable": True, "epoch": "e", "offset": 4}
    return "\n".join(
        json.dumps(reply)
        for reply in (
            {"id": first["id"], "connect": {"client": "c", "subs": {INBOX: place}}},
            {"id": second["id"], "subscribe": place | subscribed},
        )
    )


class Client:
    """A listener with what it was told."""

    def __init__(self, port: int) -> None:
        self.began: dict[str, int] = {}
        self.numbers: list[int] = []
        self.listener = Listener(
            ("127.0.0.1", port),
            "token",
            ["t:x"],
            lambda channel, offset: self.began.update({channel: offset}),
            lambda data: self.numbers.append(data["number"]),
        )

    async def connect(self) -> None:
        await asyncio.to_thread(self.listener.connect)

    async def pump_until(self, number: int) -> None:
        while number not in self.numbers:
            await asyncio.to_thread(self.listener.pump, 0.05)


@asynccontextmanager
async def scripted(script: Callable[[ServerConnection, Commands], Awaitable[None]]) -> AsyncIterator[Client]:
    """A server that runs `script` with the first message of each connection."""

    async def handle(connection: ServerConnection) -> None:
        said = await connection.recv()
        assert isinstance(said, str)
        await script(connection, [json.loads(line) for line in said.split("\n")])

    async with asyncio.timeout(60), serve(handle, "127.0.0.1", 0) as server:
        client = Client(next(iter(server.sockets)).getsockname()[1])
        try:
            yield client
        finally:
            client.listener.drop()


async def test_it_connects_takes_publications_and_answers_pings() -> None:
    answered = asyncio.Event()

    async def script(connection: ServerConnection, commands: Commands) -> None:
        assert commands[0]["connect"] == {"token": "token", "subs": {}}
        assert commands[1]["subscribe"] == {"channel": "t:x"}
        await connection.send(granted(commands) + "\n" + push("t:x", 5))
        await connection.send("{}\n" + push(INBOX, 6))
        assert await connection.recv() == "{}"
        answered.set()
        await connection.wait_closed()

    async with scripted(script) as client:
        await client.connect()
        assert client.began == {INBOX: 4, "t:x": 4}
        await client.pump_until(6)
        assert client.numbers == [5, 6]
        await answered.wait()


async def test_it_comes_back_with_its_place_and_takes_what_it_missed() -> None:
    connections: list[Commands] = []

    async def script(connection: ServerConnection, commands: Commands) -> None:
        connections.append(commands)
        if len(connections) == 1:
            await connection.send(granted(commands) + "\n" + push("t:x", 5))
        else:
            missed = [publication(6), publication(7)]
            await connection.send(granted(commands, offset=5, recovered=True, publications=missed))
        await connection.wait_closed()

    async with scripted(script) as client:
        await client.connect()
        await client.pump_until(5)
        client.listener.drop()
        await client.connect()
        again = connections[1]
        assert again[0]["connect"]["subs"] == {INBOX: {"recover": True, "epoch": "e", "offset": 4}}
        assert again[1]["subscribe"] == {"channel": "t:x", "recover": True, "epoch": "e", "offset": 5}
        assert client.numbers == [5, 6, 7]
        assert client.listener.unrecovered == 1  # the inbox, of which the script says nothing


async def test_it_resubscribes_when_told_that_its_state_is_insufficient() -> None:
    async def script(connection: ServerConnection, commands: Commands) -> None:
        await connection.send(granted(commands))
        await connection.send(json.dumps({"push": {"channel": "t:x", "unsubscribe": {"code": 2500}}}))
        command = json.loads(await connection.recv())
        assert command["subscribe"] == {"channel": "t:x", "recover": True, "epoch": "e", "offset": 4}
        result = {"epoch": "e", "offset": 4, "recovered": True, "publications": [publication(5)]}
        await connection.send(json.dumps({"id": command["id"], "subscribe": result}))
        await connection.wait_closed()

    async with scripted(script) as client:
        await client.connect()
        await client.pump_until(5)
        assert client.began == {INBOX: 4, "t:x": 4}


async def test_a_close_code_is_told_after_what_came_before_it() -> None:
    async def script(connection: ServerConnection, commands: Commands) -> None:
        await connection.send(granted(commands) + "\n" + push("t:x", 5))
        await connection.close(3001, "shutdown")

    async with scripted(script) as client:
        await client.connect()
        with pytest.raises(Gone, match="3001 shutdown") as gone:
            await asyncio.to_thread(client.listener.pump, 30)
        assert gone.value.code == 3001
        assert client.numbers == [5]


@pytest.mark.parametrize(
    "answer",
    [
        '{"id":1,"error":{"code":101,"message":"unauthorized"}}',
        '{"push":{"channel":"t:x","unsubscribe":{"code":2000}}}',
    ],
)
async def test_a_refusal_is_told(answer: str) -> None:
    async def script(connection: ServerConnection, commands: Commands) -> None:
        await connection.send(answer)
        await connection.wait_closed()

    async with scripted(script) as client:
        with pytest.raises(Refused, match=r"101 unauthorized|unsubscribed from t:x"):
            await client.connect()


async def test_no_upgrade_is_a_refusal() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")

    async with answering(refuse) as (_, port):
        with pytest.raises(Refused, match="503"):
            await Client(port).connect()
