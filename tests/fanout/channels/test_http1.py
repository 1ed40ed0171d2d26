"""The quick HTTP/1.1 client against servers that keep to the protocol, and against some that do not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fanout.channels import http1_client
from fanout.channels.http import MAX_ANSWER, Answer, Broken, Forbidden, Result, Unreached
from fanout.channels.http1_client import Http1Client
from tests.ports import free_port
from tests.providers.tls import certificate, server_context

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Serve = Callable[["Server", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """What came: heads and bodies, in order, and how many connections there were."""

    def __init__(self) -> None:
        self.origin = ""
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.open = 0
        self.most = 0
        self.gate = asyncio.Event()

    async def read(self, reader: asyncio.StreamReader) -> bool:
        """One request; False where the client ended."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return False
        size = next(int(line[16:]) for line in head.split("\r\n") if line.lower().startswith("content-length: "))
        self.heads.append(head)
        self.bodies.append(await reader.readexactly(size))
        return True


def answering(*answers: bytes, then_close: bool = False) -> Serve:
    """Each connection's requests get these answers in turn, the last one for good."""

    async def serve(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        while await server.read(reader):
            writer.write(answers[min(number, len(answers) - 1)])
            number += 1
            if then_close:
                break

    return serve


@asynccontextmanager
async def served(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        server.open += 1
        server.most = max(server.most, server.open)
        try:
            await serve(server, reader, writer)
        except ConnectionError:
            pass
        finally:
            server.open -= 1
            writer.close()

    made = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    async with asyncio.timeout(20), made:
        port = made.sockets[0].getsockname()[1]
        server.origin = f"{'https' if context else 'http'}://127.0.0.1:{port}"
        yield server


@asynccontextmanager
async def client(**changes: Any) -> AsyncIterator[Http1Client]:
    made = Http1Client(**{"allow_private": True, "timeout": 5.0, "connections": 10, **changes})
    try:
        yield made
    finally:
        await made.close()


async def post(made: Http1Client, url: str, body: bytes = b"body") -> Result:
    return await made.post(url, headers={"X-One": "1", "X-Two": "2"}, body=body)


async def test_a_request_and_its_answer() -> None:
    async with served(answering(OK)) as server, client() as made:
        found = await post(made, f"{server.origin}/push/x?y=1")
        assert found == Answer(200, {"content-length": "2"}, b"ok")
        host = server.origin.removeprefix("http://")
        assert server.heads == [
            f"POST /push/x?y=1 HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tocsin\r\nAccept-Encoding: identity\r\n"
            "Content-Length: 4\r\nX-One: 1\r\nX-Two: 2\r\n\r\n"
        ]
        assert server.bodies == [b"body"]


async def test_one_connection_serves_for_one_after_another() -> None:
    chunked = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    empty = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with served(answering(OK, chunked, empty)) as server, client() as made:
        found = [await post(made, f"{server.origin}/") for _ in range(4)]
        assert [(one.status, one.body) for one in found if isinstance(one, Answer)] == [
            (200, b"ok"),
            (201, b"abc"),
            (204, b""),
            (204, b""),
        ]
        assert server.connections == 1


async def test_no_more_connections_than_allowed() -> None:
    async with served(answering(OK)) as server, client(connections=3) as made, asyncio.TaskGroup() as group:
        tasks = [group.create_task(post(made, f"{server.origin}/")) for _ in range(40)]
        assert all([isinstance(await task, Answer) for task in tasks])
        assert (server.connections, server.most, len(server.heads)) == (3, 3, 40)


@pytest.mark.parametrize("last", [b"HTTP/1.1 200 OK\r\nConnection: close", b"HTTP/1.0 200 OK", b"HTTP/1.1 410 Gone"])
async def test_an_answer_that_ends_with_its_connection(last: bytes) -> None:
    async with served(answering(last + b"\r\n\r\nall of it", then_close=True)) as server, client() as made:
        for _ in range(2):
            found = await post(made, f"{server.origin}/")
            assert isinstance(found, Answer)
            assert found.body == b"all of it"
        assert server.connections == 2


async def test_a_connection_that_was_closed_at_rest_is_not_used_again() -> None:
    ended = asyncio.Semaphore(0)

    async def once(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(OK)
        writer.write_eof()
        await reader.read()  # until the client has closed its side
        ended.release()

    async with served(once) as server, client() as made:
        for _ in range(3):
            assert isinstance(await post(made, f"{server.origin}/"), Answer)
            await ended.acquire()
        assert server.connections == 3


async def test_a_connection_that_rested_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1_client, "MAX_REST", -1.0)
    async with served(answering(OK)) as server, client() as made:
        for _ in range(3):
            assert isinstance(await post(made, f"{server.origin}/"), Answer)
        assert server.connections == 3


async def test_what_comes_before_the_answer_is_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK
    async with served(answering(early)) as server, client() as made:
        for _ in range(2):
            assert await post(made, f"{server.origin}/") == Answer(200, {"content-length": "2"}, b"ok")
        assert server.connections == 1


async def test_an_endless_answer_is_cut() -> None:
    async def endless(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 10_000)
            await writer.drain()

    async with served(endless) as server, client() as made:
        found = await post(made, f"{server.origin}/")
        assert isinstance(found, Answer)
        assert len(found.body) == MAX_ANSWER


@pytest.mark.parametrize(
    "answer",
    [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Len"],
    ids=["nonsense", "length", "nothing", "half"],
)
async def test_what_is_no_answer(answer: bytes) -> None:
    async with served(answering(answer, then_close=True)) as server, client() as made:
        assert isinstance(await post(made, f"{server.origin}/"), Broken)


async def test_an_answer_that_nobody_asked_for_is_nobodys() -> None:
    async with (
        served(answering(OK + b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", OK)) as server,
        client() as made,
    ):
        for _ in range(3):
            found = await post(made, f"{server.origin}/")
            assert isinstance(found, Answer)
            assert found.status == 200
        # The second answer that came with the first cost the connection, and not the next request.
        assert server.connections == 3


async def test_silence() -> None:
    async def silent(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        await reader.read()

    async with served(silent) as server, client(timeout=0.1) as made:
        assert await post(made, f"{server.origin}/") == Broken("no answer in time")
        assert made.hosts == 0


async def test_who_gives_up_leaves_nothing_behind() -> None:
    arrived = asyncio.Event()

    async def slow(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await server.read(reader):
            arrived.set()
            await server.gate.wait()
            writer.write(OK)

    async with served(slow) as server, client(connections=1) as made, asyncio.TaskGroup() as group:
        task = group.create_task(post(made, f"{server.origin}/", b"first"))
        await arrived.wait()
        task.cancel()
        server.gate.set()
        assert await post(made, f"{server.origin}/", b"second") == Answer(200, {"content-length": "2"}, b"ok")
        assert server.connections == 2


async def test_nobody_there() -> None:
    async with client() as made:
        assert await post(made, f"http://127.0.0.1:{free_port()}/") == Unreached("no connection")
        assert await post(made, "http://no-such-name.invalid/") == Unreached("its name has no address")
        assert made.hosts == 0


async def test_tls_of_whom_we_trust(tmp_path: Path) -> None:
    file = certificate(tmp_path)
    async with served(answering(OK), server_context(file)) as server:
        async with client() as made:
            assert await post(made, f"{server.origin}/") == Unreached("no trustworthy TLS")
        async with client(tls=ssl.create_default_context(cafile=str(file))) as made:
            for _ in range(2):
                assert isinstance(await post(made, f"{server.origin}/"), Answer)
        assert len(server.heads) == 2


@pytest.mark.parametrize("url", ["https://localhost/", "http://127.0.0.1/", "http://[::1]/", "http://2130706433/"])
async def test_private_addresses_are_refused_as_they_are_connected(url: str) -> None:
    async with client(allow_private=False) as made:
        assert await post(made, url) == Forbidden("the address is not public")


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example:8080/",
        "http://user@a.example/",
        "ftp://a.example/",
        "http://a.example/\r\nX: y",
        "",
        "http:///x",
    ],
)
async def test_urls_that_are_refused(url: str) -> None:
    async with client(allow_private=False) as made:
        found = await post(made, url)
        assert isinstance(found, Forbidden)
        assert not url or url not in found.reason


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/ b",
        "http://a.example/\r\nX: y",
        "http://a.example/#x",
        "http://a@b/",
        "http://a:x/",
        "http://a",
        "x",
    ],
)
async def test_no_url_ends_a_line(url: str) -> None:
    async with client() as made:
        assert await post(made, url) == Forbidden("the URL is not of its form")


async def test_no_header_ends_a_line() -> None:
    async with served(answering(OK)) as server, client() as made:
        with pytest.raises(AssertionError):
            await made.post(f"{server.origin}/", headers={"X": "a\r\nY: b"}, body=b"")
        assert server.connections == 0


async def test_closed_twice() -> None:
    async with served(answering(OK)) as server, client() as made:
        assert isinstance(await post(made, f"{server.origin}/"), Answer)
        await made.close()
        await made.close()
