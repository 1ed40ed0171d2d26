"""Erasing a person: everything under their name, and their name in everything else.

Each step can be repeated and finds what a crash left undone: what leads to other things goes after them. Where nothing
leads to a mention (an index that a crash left behind, the `seen` of an event that the inbox has forgotten), all keys
are gone through once, in small parts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import orjson

from bus import jobs, queue
from bus.errors import BusError
from bus.event import VIAS
from bus.keys import Keys, escape, inbox_of, unescape
from bus.people.directory import Directory
from bus.people.followers import Followers
from bus.people.mentions import alone_in, mentions, timer_without
from bus.pipe import Arg, Call, Pipe

PART: Final = 500
"""Entries looked at in one step."""
NAMES: Final = 5_000
"""Names of keys gone through in one step: about 2 ms of Redis's time."""
LATEST: Final = 50_000
"""Entries of an ingest stream that are looked at. A stream that holds more is a busy one, which within about a minute
drops what it has worked; only one where nothing happens keeps its last entries."""
CHANNELS: Final = tuple(via for via in VIAS if via != "live")


class Eraser:
    """Erases people. `erase` raises `BusError`, and may then be called again."""

    def __init__(self, pipe: Pipe, keys: Keys, directory: Directory, followers: Followers) -> None:
        self._pipe, self._keys = pipe, keys
        self._directory, self._followers = directory, followers

    async def erase(self, user: str) -> None:
        """Leave nothing of a person. Whoever still sends them something begins their story anew."""
        await self._mails(user)
        await self._pending(user)
        await self._letters_and_entries(user)
        await self._events(user)
        for topic in await self._followers.topics(user):
            await self._followers.unfollow(topic, [user])
        await self._directory.erase(user)
        await self._elsewhere(user)
        await self._remains(user)

    async def _mails(self, user: str) -> None:
        """What the development mailbox has for them; there is none in production."""
        known = await self._directory.get(user)
        if known is None or known.profile.contacts.email is None:
            return
        address = known.profile.contacts.email.encode()
        for mail in await self._pipe.ask("LRANGE", self._keys.mailbox, 0, -1):
            if address in mail:
                await self._pipe.ask("LREM", self._keys.mailbox, 0, mail)

    # What is still to be done for them ---------------------------------------------------------------------------

    async def _pending(self, user: str) -> None:
        keys, p = self._keys, self._keys.partition(user)
        named = _literal(escape(user))
        for pattern in (f"step\n*\n{named}\n*", f"digest\n{named}\n*"):
            async for timers in self._scan(keys.timers(p), pattern):
                await self._asks([("ZREM", keys.timers(p), *timers)])
        for channel in CHANNELS:
            start: bytes | str = "-"
            while start:
                args: tuple[Arg, ...] = (user, jobs.GROUP, start, PART)
                last: bytes = await self._pipe.script("erase_jobs", [keys.jobs(p, channel)], args)
                start = b"(" + last if last else ""
            rank = 0
            while rank >= 0:
                rank = await self._pipe.script("erase_later", [keys.later(p, channel)], [user, rank, PART])
        for name in await self._pipe.ask("SMEMBERS", keys.digests(user)):
            channel, _, category = name.decode().partition(" ")
            await self._pipe.ask("DEL", keys.digest(user, unescape(channel), unescape(category)))

    # What names them among others --------------------------------------------------------------------------------

    async def _letters_and_entries(self, user: str) -> None:
        for p in range(self._keys.partitions):
            dead = self._keys.dead(p)
            async for entry, fields in self._entries(dead, None):
                if mentions(fields, user):
                    await self._pipe.ask("XDEL", dead, entry)
            await self._ingest(p, user)
            await self._scheduled(p, user)
            await self._walk(p, user)

    async def _ingest(self, partition: int, user: str) -> None:
        """Entries that were worked, or that are for this person alone. Any other is being worked now."""
        stream = self._keys.events(partition)
        acked = await self._pipe.ask("HGET", self._keys.head(partition), "acked")
        done = _position(acked) if acked else (0, 0)
        async for entry, fields in self._entries(stream, LATEST):
            if not mentions(fields, user):
                continue
            if _position(entry) <= done or alone_in(fields, user):
                await self._pipe.script("erase_entry", [stream], [queue.GROUP, entry])

    async def _scheduled(self, partition: int, user: str) -> None:
        timers = self._keys.timers(partition)
        async for found in self._scan(timers, f"event\n*{_literal(_quoted(user))}*"):
            changed = [(timer, other) for timer in found if (other := timer_without(timer, user)) is not None]
            await self._scripts([("change_timer", [timers], change) for change in changed])

    async def _walk(self, partition: int, user: str) -> None:
        """How far a walk over followers has come is told by a name. Without it, it is walked from the beginning by
        whoever takes it over, and nobody is given anything twice."""
        head = self._keys.bulk_head(partition)
        if await self._pipe.ask("HGET", head, "last") == user.encode():
            await self._pipe.ask("HDEL", head, "walk", "last")

    async def _events(self, user: str) -> None:
        """Inbox and trail, and the content of what nobody else has."""
        keys, inbox, p = self._keys, inbox_of(user), self._keys.partition(user)
        places: dict[str, tuple[list[bytes], list[bytes]]] = defaultdict(lambda: ([], []))
        own: set[str] = set()
        async for entry, fields in self._entries(keys.log(inbox), None):
            ref = unescape(fields[b"b"].decode())
            places[ref][0].append(entry)
            if b"s" in fields:
                own.add(ref)
        async for entry, fields in self._entries(keys.trail(user), None):
            places[unescape(fields[b"e"].decode())][1].append(entry)
        calls = [self._event(p, ref, user, ref in own, *entries) for ref, entries in places.items()]
        for start in range(0, len(calls), PART):
            await self._scripts(calls[start : start + PART])

    def _event(
        self, partition: int, ref: str, user: str, own: bool, given: Sequence[bytes] = (), told: Sequence[bytes] = ()
    ) -> Call:
        keys, inbox = self._keys, inbox_of(user)
        names = [keys.body(partition, ref), keys.seen(partition, ref), keys.counts(partition, ref)]
        names += [keys.log(inbox), keys.trail(user)]
        return "erase_event", names, [inbox, int(own), len(given), *given, *told]

    # What nothing leads to ---------------------------------------------------------------------------------------

    async def _elsewhere(self, user: str) -> None:
        keys, p = self._keys, self._keys.partition(user)
        home = keys.tagged(p, "").encode()
        async for found in self._pipe.scan(keys.pattern("*"), NAMES):
            indexes = [key.decode() for key in found if b"}:index:" in key]
            seen = [key.decode() for key in found if key.startswith(home + b"seen:")]
            people = [key for key in found if key.startswith(home + b"user:")]
            await self._scripts([("disclaim", [key], [user, 0]) for key in await self._having(indexes, user)])
            refs = [keys.named(key.encode())[1] for key in await self._having(seen, inbox_of(user))]
            await self._scripts([self._event(p, ref, user, False) for ref in refs])
            await self._asks([("DEL", key) for key in people if keys.named(key)[1] == user])

    async def _having(self, hashes: Sequence[str], field: str) -> list[str]:
        there = _raised(await self._pipe.asks([("HEXISTS", key, field) for key in hashes])) if hashes else ()
        return [key for key, has in zip(hashes, there, strict=True) if has]

    async def _remains(self, user: str) -> None:
        """What came while we were at it, by name."""
        keys, inbox = self._keys, inbox_of(user)
        listed = [keys.log(inbox), keys.meta(inbox), keys.routes(inbox), keys.presence(inbox)]
        listed += [keys.presence_expiry(inbox), keys.unread(user), keys.archived(user), keys.profile(user)]
        listed += [keys.preferences(user), keys.devices(user), keys.trail(user), keys.follows(user), keys.digests(user)]
        await self._asks([("DEL", *listed), ("DEL", keys.phone(user))])

    # Redis -------------------------------------------------------------------------------------------------------

    async def _entries(self, stream: str, most: int | None) -> AsyncIterator[tuple[bytes, dict[bytes, bytes]]]:
        """A stream's entries, oldest first, at most so many."""
        start, seen = "-", 0
        while most is None or seen < most:
            found = await self._pipe.ask("XRANGE", stream, start, "+", "COUNT", PART)
            for entry, flat in found:
                yield entry, dict(zip(flat[::2], flat[1::2], strict=True))
            if len(found) < PART:
                return
            start, seen = "(" + found[-1][0].decode(), seen + len(found)

    async def _scan(self, key: str, pattern: str) -> AsyncIterator[list[bytes]]:
        """Members of a sorted set that match a glob, some at a time."""
        cursor: bytes | str = b"0"
        while True:
            cursor, found = await self._pipe.ask("ZSCAN", key, cursor, "MATCH", pattern, "COUNT", 2 * PART)
            if found:
                yield found[::2]
            if cursor == b"0":
                return

    async def _asks(self, commands: Sequence[Sequence[Arg]]) -> None:
        _raised(await self._pipe.asks(commands))

    async def _scripts(self, calls: Sequence[Call]) -> None:
        _raised(await self._pipe.scripts(calls))


def _raised(replies: Sequence[Any]) -> Sequence[Any]:
    for reply in replies:
        if isinstance(reply, BusError):
            raise reply
    return replies


def _position(entry: bytes) -> tuple[int, int]:
    time, _, number = entry.partition(b"-")
    return int(time), int(number or 0)


def _literal(text: str) -> str:
    """A text in a glob that stands for itself."""
    return "".join("\\" + c if c in "*?[]\\^-" else c for c in text)


def _quoted(user: str) -> str:
    """As it stands in JSON that orjson wrote, between its quotation marks."""
    return orjson.dumps(user).decode()[1:-1]
