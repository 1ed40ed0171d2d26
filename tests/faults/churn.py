"""Connections that come and go: `python -m tests.faults.churn [--connects N] [--at-once N] [--json]`.

A gateway of its own on a real Redis takes them all; every tenth part of them its memory, open files and tasks are
looked at, and at the end they must be what they were after the first part. `make soak` is for faults; this is for what
slowly runs full.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from loadtest.frames import Decoder, Opcode, encode, upgrade_request, upgraded
from tests.system import Gateway, system, token

PARTS: Final = 10
ROOM: Final = 6 * 1_048_576
"""Bytes by which memory may differ: what the allocator keeps, and the caches that fill up."""
SLACK: Final = 4
"""Open files that come and go by themselves."""
ANSWER: Final = 20.0

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Look:
    """The gateway's process when nobody is connected. `resident` in bytes."""

    connects: int
    resident: int
    files: int
    threads: int
    connections: int


class Passer(asyncio.Protocol):
    """Connects, subscribes to a topic, and is gone: in good order, or as a lost network does."""

    def __init__(self, port: int, number: int, word: str) -> None:
        self._port, self._number, self._token = port, number, word
        self._decoder, self._head, self._open = Decoder(), b"", False
        self._replies = 0
        self._transport: asyncio.Transport | None = None
        self.well = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(upgrade_request("127.0.0.1", self._port, "/connection/websocket"))

    def data_received(self, data: bytes) -> None:
        if not self._open:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            if not upgraded(head):
                self._transport.abort()
                return
            self._open = True
            topic = f"room:{self._number % 1_000}"
            said = ({"id": 1, "connect": {"token": self._token}}, {"id": 2, "subscribe": {"channel": topic}})
            self._transport.write(encode(Opcode.TEXT, b"\n".join(map(orjson.dumps, said))))
        for frame in self._decoder.feed(data):
            if frame.opcode is Opcode.TEXT:
                self._replies += sum(b'"id":' in line for line in frame.payload.split(b"\n"))
        if self._replies >= 2 and not self.well:
            self.well = True
            self._go()

    def _go(self) -> None:
        """One in three in good order, one with an end of the stream, and one without a word."""
        match self._number % 3:
            case 0:
                self._transport.write(encode(Opcode.CLOSE, b"\x03\xe8"))
            case 1:
                self._transport.close()
            case _:
                self._transport.abort()

    def leave(self) -> None:
        """Be gone, if it is not already."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def pass_by(port: int, first: int, count: int, at_once: int) -> int:
    """So many connections, of a thousand people; how many were taken."""
    numbers, well = iter(range(first, first + count)), 0
    words = [token(f"user{n}") for n in range(100)]
    loop = asyncio.get_running_loop()

    async def some() -> None:
        nonlocal well
        for number in numbers:
            passer = Passer(port, number, words[number % len(words)])
            try:
                async with asyncio.timeout(ANSWER):
                    await loop.create_connection(lambda passer=passer: passer, "127.0.0.1", port)
                    await passer.over
                    well += passer.well
            except (OSError, TimeoutError):
                pass
            finally:
                passer.leave()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(some())
    return well


async def look(gateway: Gateway, connects: int) -> Look:
    """When the last has gone."""
    async with asyncio.timeout(ANSWER):
        while open_now := await asyncio.to_thread(gateway.metric, "tocsin_gateway_connections"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    folder = Path(f"/proc/{gateway.pid}")
    threads = len(os.listdir(folder / "task"))
    return Look(connects, gateway.resident(), len(os.listdir(folder / "fd")), threads, int(open_now))


async def churn(gateway: Gateway, connects: int, at_once: int, told: Told) -> tuple[list[Look], int]:
    """A look after each part, and how many were not taken."""
    looks, refused, part = [], 0, connects // PARTS
    for number in range(PARTS):
        refused += part - await pass_by(gateway.port, number * part, part, at_once)
        looks.append(await look(gateway, (number + 1) * part))
        told(str(looks[-1]))
    return looks, refused


def complaints(looks: list[Look], refused: int) -> list[str]:
    """What grew. The first parts warm it up."""
    first, last = looks[len(looks) // 3], looks[-1]
    found = [f"{refused} were not taken"] if refused else []
    if last.resident > first.resident + ROOM:
        found.append(f"memory grew from {first.resident} to {last.resident} bytes")
    if last.files > first.files + SLACK:
        found.append(f"open files grew from {first.files} to {last.files}")
    if last.threads > first.threads + 1:
        found.append(f"threads grew from {first.threads} to {last.threads}")
    return found


async def soaked(
    folder: Path, connects: int, at_once: int, told: Callable[[str], None]
) -> tuple[list[Look], list[str]]:
    """All of it, on a system of its own: the looks, and what is wrong."""
    with system(folder, workers=0, handshakes_per_second=0, connections_per_user=100_000) as made:
        looks, refused = await churn(made.gateways[0], connects, at_once, told)
    return looks, complaints(looks, refused)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run it; 1 when something grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.churn", description=__doc__)
    parser.add_argument("--connects", type=int, default=1_000_000, help="connections in all (default 1000000)")
    parser.add_argument("--at-once", type=int, default=64, help="connections at a time (default 64)")
    parser.add_argument("--json", action="store_true", help="print what was seen as JSON")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="churn-") as folder:
        looks, found = asyncio.run(soaked(Path(folder), options.connects, options.at_once, _tell))
    if options.json:
        print(json.dumps({"looks": [asdict(each) for each in looks], "wrong": found}, indent=2))
    else:
        print("\n".join(found) or "all well")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
