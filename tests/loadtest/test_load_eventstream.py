"""loadtest.eventstream: chunks, events, and resuming."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.eventstream import Dechunker, Event, EventStream, Parser
from loadtest.listener import Gone, Refused
from tests.loadtest.answering import answering


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(number: int) -> bytes:
    said = {"topic": "t:x", "data": {"id": "x", "type": "load", "data": {"number": number}}}
    return b": hello\n\nid: at-%d\ndata: %b\n\n" % (number, json.dumps(said).encode())


READY = b'event: tocsin.ready\nretry: 1000\ndata: {"topics":["t:x"]}\n\n'
RESYNC = b'event: tocsin.resync\ndata: {"topic":"t:x"}\n\n'


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.integers(1, 20))
def test_chunks_come_apart_however_they_are_cut(contents: list[bytes], size: int) -> None:
    data = b"".join(map(chunk, contents))
    dechunker = Dechunker()
    got = b"".join(dechunker.feed(data[at : at + size]) for at in range(0, len(data), size))
    assert got == b"".join(contents)


def test_the_last_chunk_is_the_end() -> None:
    dechunker = Dechunker()
    assert dechunker.feed(chunk(b"a") + b"0\r\n\r\n") == b"a"
    assert dechunker.ended


def test_events_have_id_name_and_joined_data() -> None:
    parser = Parser()
    assert parser.feed(b": comment\n\nid: 1\nevent: e\ndata: a\ndata:b") == []
    assert parser.feed(b"\n\nid: 2\r\n\r\nretry: 5\n\n") == [Event("1", "e", "a\nb"), Event("2", "message", "")]


async def test_a_stream_is_read_and_resumed() -> None:
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(RESYNC + event(len(heads)) + READY)
        )
        await reader.read()
        writer.close()

    numbers: list[int] = []
    async with answering(serve) as address:
        stream = EventStream(address, "token", ["t:x", "t:y"], lambda data: numbers.append(data["number"]))
        for _ in range(2):
            await asyncio.to_thread(stream.connect)
        stream.drop()
    assert numbers == [1, 2]
    assert stream.unrecovered == 2
    assert heads[0].startswith("GET /sse?topics=t%3Ax%2Ct%3Ay HTTP/1.1\r\n")
    assert "Authorization: Bearer token\r\n" in heads[0]
    assert "Last-Event-ID" not in heads[0]
    assert "Last-Event-ID: at-1\r\n" in heads[1]


async def test_the_end_is_told_after_what_came_before_it() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + READY + event(5))  # not chunked, as through some proxies

    numbers: list[int] = []
    async with answering(serve) as address:
        stream = EventStream(address, "token", ["t:x"], lambda data: numbers.append(data["number"]))
        await asyncio.to_thread(stream.connect)
        with pytest.raises(Gone):
            await asyncio.to_thread(stream.pump, 5)
        stream.drop()
    assert numbers == [5]


async def test_a_refusal_is_told() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\n\r\n")

    async with answering(serve) as address:
        stream = EventStream(address, "t", [], lambda data: None)
        with pytest.raises(Refused, match="401"):
            await asyncio.to_thread(stream.connect)
        stream.drop()
