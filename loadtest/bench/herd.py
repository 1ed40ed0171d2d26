"""A reconnect herd: everybody is cut off at once, misses some events, and comes back at once.

Each client does what an SDK does: connect with its token, subscribe from where it was; sent away, it comes again after
what Retry-After says. Measured are the seconds until all are back with all that they missed, what that cost Redis per
client, how long someone who was not cut off had to wait for an answer meanwhile (in a process of its own: see
`loadtest.bench.stays`), and the longest time for which the gateway did nothing but serve the herd.

Alone: `python -m loadtest.bench.herd [clients]`; among the others: `python -m loadtest.bench --only herd`.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.process import Failed, wait_until
from loadtest.bench.servers import LOAD_CORE, START_TIMEOUT, TOPIC, Tocsin
from loadtest.bench.stays import noted, waits
from loadtest.figures import percentile
from loadtest.frames import Opcode, encode, upgrade_request, upgraded
from loadtest.tokens import user_token

PATIENCE = 80.0
"""Seconds that all of it may take."""
MISSED = 20
"""Events that everybody missed."""
TOGETHER = 500
"""Clients that first come at a time, before there is a herd."""
SETTLED = 1.0
"""Seconds from when all were cut off until they come back."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many there are."""

    clients: int = 10_000


SMALL = Size(1_000)


class Herded(Tocsin):
    """A gateway whose topic has a history."""

    def environment(self) -> dict[str, str]:
        """As ever, with a history."""
        env = super().environment()
        path = Path(env["TOCSIN_CONFIG"])
        path.write_text(path.read_text().replace('subscribe = "user"\n', 'subscribe = "user"\nhistory_size = 100\n'))
        return env

    def until_worked(self, top: int) -> None:
        """Wait until the topic has so many events: who comes back before has nothing to be given yet."""

        def worked() -> bool:
            metas = self.redis.scan_iter("tocsin:*topic:bench%3Aall:meta", count=1000)
            return any(int(self.redis.hget(meta, "top") or 0) >= top for meta in metas)

        wait_until(worked, PATIENCE, "not all that was missed was worked")


class Member(asyncio.Protocol):
    """One client; `done` holds the answer to its subscription, or the seconds after which to come again."""

    def __init__(self, hello: bytes, port: int) -> None:
        self._hello, self._port = hello, port
        self._seen = b""
        self._open = False
        self.done: asyncio.Future[bytes | float] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who we are, all in one write as a browser would in two."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(upgrade_request("127.0.0.1", self._port, "/connection/websocket"))
        transport.write(encode(Opcode.TEXT, self._hello))

    def data_received(self, data: bytes) -> None:
        """Wait for the subscription's answer; nothing afterwards is of interest."""
        if self.done.done():
            return
        self._seen += data
        if not self._open and b"\r\n\r\n" in self._seen:
            head, _, self._seen = self._seen.partition(b"\r\n\r\n")
            self._open = upgraded(head + b"\r\n\r\n")
            if not self._open:
                found = re.search(rb"(?i)retry-after: (\d+)", head)
                self._end(float(found[1]) if found else 1.0)
        if self._open and b'"id":2' in self._seen:
            self._end(self._seen)

    def connection_lost(self, error: Exception | None) -> None:
        """Before the answer: come again soon."""
        self._end(1.0)

    def _end(self, what: bytes | float) -> None:
        if not self.done.done():
            self.done.set_result(what)


class Herd:
    """All who ever came to a port, so that whatever happens none is left connected."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._members: list[Member] = []

    async def come(self, hello: bytes) -> tuple[Member, bytes, int]:
        """Connect until it works: the member, its answer, how often it was sent away."""
        away = 0
        while True:
            try:
                member = await self._connect(hello)
                answer: bytes | float = await member.done
            except OSError:
                answer = 1.0
            if isinstance(answer, bytes):
                return member, answer, away
            away += 1
            await asyncio.sleep(answer * random.uniform(0.5, 1.0))

    async def _connect(self, hello: bytes) -> Member:
        def made() -> Member:
            self._members.append(Member(hello, self._port))
            return self._members[-1]

        _, member = await asyncio.get_running_loop().create_connection(made, "127.0.0.1", self._port)
        return member

    async def all_in(self, hellos: list[bytes], together: int) -> list[tuple[Member, bytes, int]]:
        """Each of them, so many at a time."""
        turns = asyncio.Semaphore(together)

        async def one(hello: bytes) -> tuple[Member, bytes, int]:
            async with turns:
                return await self.come(hello)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(hello)) for hello in hellos]
        return [task.result() for task in tasks]

    async def leave(self) -> None:
        """Nobody is connected any more."""
        for member in self._members:
            if member.transport is not None:
                member.transport.abort()
        await asyncio.sleep(0)  # a transport is closed by its loop's next turn


def _hello(token: str, position: Mapping[str, object] | None) -> bytes:
    subscribe: dict[str, object] = {"channel": TOPIC}
    if position is not None:
        subscribe |= {"recover": True, **position}
    commands = ({"id": 1, "connect": {"token": token}}, {"id": 2, "subscribe": subscribe})
    return "\n".join(json.dumps(command) for command in commands).encode()


async def run(server: Herded, size: Size) -> dict[str, float]:
    """The readings. Raises `Failed` when somebody came back without all that they missed, or not in time."""
    herd = Herd(server.port)
    try:
        async with asyncio.timeout(PATIENCE):
            return await _run(server, size, herd)
    except TimeoutError:
        raise Failed(f"not everybody was back after {PATIENCE:g} s") from None
    finally:
        await herd.leave()


async def _run(server: Herded, size: Size, everybody: Herd) -> dict[str, float]:
    ends = time.time() + 3600
    tokens = [user_token(f"user-{n}", server.secret, expires_at=ends) for n in range(size.clients)]
    herd = await everybody.all_in([_hello(token, None) for token in tokens], TOGETHER)
    found = re.search(rb'"epoch":"([^"]+)"(?:,"offset":(\d+))?', herd[0][1].partition(b'"id":2')[2])
    if found is None:
        raise Failed("the topic has no position")
    top = int(found[2] or 0)
    stays = Stays(server, user_token("stays", server.secret, expires_at=ends))
    for member, *_ in herd:
        assert member.transport is not None
        member.transport.abort()
    server.broadcast(MISSED)
    await asyncio.sleep(SETTLED)
    server.until_worked(top + MISSED)
    # Not all of them were at the same place.
    places = [max(0, top - n % 3) for n in range(size.clients)]
    hellos = [
        _hello(token, {"epoch": found[1].decode(), "offset": at}) for token, at in zip(tokens, places, strict=True)
    ]
    server.loop_blocked()
    commands, began = int(server.redis.info("stats")["total_commands_processed"]), time.monotonic()
    back = await everybody.all_in(hellos, size.clients)
    ended = time.monotonic()
    blocked = server.loop_blocked() or 0.0
    spent = int(server.redis.info("stats")["total_commands_processed"]) - commands
    for (_, answer, _), at in zip(back, places, strict=True):
        if answer.count(b'"offset":') < top + MISSED - at or b'"recovered":true' not in answer:
            raise Failed("somebody came back without all that they missed")
    return {
        "herd_seconds": ended - began,
        "herd_commands": spent / size.clients,
        "herd_away": sum(away for *_, away in back) / size.clients,
        "herd_p99": 1000 * percentile(stays.waits(began, ended), 99),
        "herd_blocked": 1000 * blocked,
    }


class Stays:
    """Someone who is not cut off, from when this is made."""

    def __init__(self, server: Tocsin, token: str) -> None:
        self._notes = server.folder / "stays.notes"
        command = [sys.executable, "-m", "loadtest.bench.stays", str(server.port), token, str(self._notes)]
        self._process = server.launch("stays", command, LOAD_CORE)
        self._wait_for(0.0)

    def waits(self, since: float, to: float) -> Sequence[float]:
        """How long each answer took, in seconds, to what was asked between two monotonic times."""
        self._wait_for(to)
        return waits(noted(self._notes), since, to)

    def _wait_for(self, when: float) -> None:
        def noted_later() -> bool:
            notes = noted(self._notes)
            return bool(notes) and notes[-1][0] > when

        wait_until(noted_later, START_TIMEOUT, "nobody stays", self._process)


def measure(folder: Path, size: Size) -> dict[str, float]:
    """Start a system, drive the herd, and end it."""
    with Herded(folder) as server:
        return asyncio.run(run(server, size))


def main() -> None:
    """Print the readings."""
    size = Size(int(sys.argv[1])) if len(sys.argv) > 1 else Size()
    with tempfile.TemporaryDirectory() as folder:
        for name, value in measure(Path(folder), size).items():
            print(f"{name:15} {value:10.2f}")


if __name__ == "__main__":
    main()
