"""Reads out of Redis what the ledger of a run needs: queues, ends of steps, dead letters, scripts that took long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from bus.keys import Keys, unescape
from bus.letters import letter
from bus.scripts import all_scripts
from bus.trail import Kind, decode
from tests.faults.ledger import Buried, Ended, Held, Ledger, Queue
from tests.servers import RedisSite

FANOUT: Final = "fanout"
SENT_BY: Final = "webhook"
ENDS: Final = frozenset({Kind.SENT, Kind.CANCELLED, Kind.SKIPPED, Kind.FAILED, Kind.GONE, Kind.EXPIRED})
CAUSES: Final = ("acked", "read")


class Books:
    """Of one installation. Blocks; may be used from any thread, one at a time."""

    def __init__(self, site: RedisSite, keys: Keys) -> None:
        self._redis: Any = site.client()
        self._site, self._keys = site, keys

    def close(self) -> None:
        self._redis.close()

    def queues(self) -> list[Queue]:
        """How far each ingest stream is worked, each seen in one step."""
        looks = []
        for p in range(self._keys.partitions):
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.hget(self._keys.head(p), "acked")
                pipe.xpending_range(self._keys.events(p), FANOUT, "-", "+", 100)
                acked, pending = pipe.execute(raise_on_error=False)
            if isinstance(pending, list):  # before the first event there is no group
                looks.append(Queue(f"events {p}", place(acked), tuple(map(_entry, pending))))
        return looks

    def waiting(self) -> dict[str, int]:
        """How many entries, timers and jobs wait or are under way, by what they are."""
        found: Counter[str] = Counter()
        for p in range(self._keys.partitions):
            newest = self._redis.xrevrange(self._keys.events(p), count=1)
            acked = self._redis.hget(self._keys.head(p), "acked")
            found["events"] += bool(newest) and place(newest[0][0]) > place(acked)
            found["timers"] += self._redis.zcard(self._keys.timers(p))
            found["jobs"] += self._redis.xlen(self._keys.jobs(p, SENT_BY))
            found["later"] += self._redis.zcard(self._keys.later(p, SENT_BY))
        return {name: count for name, count in found.items() if count}

    def leases(self) -> list[int]:
        """For each partition, how many leases were given for its jobs."""
        heads = (self._keys.jobs_head(p, SENT_BY) for p in range(self._keys.partitions))
        return [int(self._redis.hget(head, "fence") or 0) for head in heads]

    def ends_of(self, channels: Iterable[str]) -> dict[str, int]:
        """The newest offset in each log and inbox; those that are empty are left out."""
        newest = {channel: self._redis.xrevrange(self._keys.log(channel), count=1) for channel in channels}
        return {channel: place(entries[0][0])[0] for channel, entries in newest.items() if entries}

    def gather(self, ledger: Ledger, users: Sequence[str]) -> None:
        """Write down how all ended, for these users and for every partition."""
        ledger.left = self.queues()
        ledger.ends = [end for user in users for end in self._ends(user)]
        names = {accepted.event for accepted in ledger.accepted}
        ledger.buried = [buried for buried in self._buried() if buried.event in names or not buried.event]
        ledger.held = list(self._held())

    def _ends(self, user: str) -> Iterable[Ended]:
        for entry, fields in self._redis.xrange(self._keys.trail(user)):
            trace = decode(entry, [part for pair in fields.items() for part in pair])
            if trace is not None and trace.kind in ENDS:
                event = unescape(trace.ref).rpartition("/")[2]
                yield Ended(event, user, trace.channel, trace.reason in CAUSES)

    def _buried(self) -> Iterable[Buried]:
        for p in range(self._keys.partitions):
            for entry, fields in self._redis.xrange(self._keys.dead(p)):
                found = letter(p, entry, fields)
                if found.channel:
                    event, channel = found.about.get("event", ""), f"@{found.about.get('user', '')}"
                    yield Buried(unescape(event).rpartition("/")[2], channel, found.channel, found.reason)
                else:
                    yield Buried(_event_of(found.fields), "", "", f"{found.queue}: {found.reason}")

    def _held(self) -> Iterable[Held]:
        names = {script.sha.encode(): script.name for script in all_scripts()}
        for node in self._site.masters():
            with node.client() as redis:
                for slow in redis.slowlog_get(128):
                    command, _, rest = slow["command"].partition(b" ")
                    if command.upper() == b"EVALSHA":
                        script = names.get(rest.split(b" ")[0], rest[:40].decode(errors="replace"))
                        yield Held(script, slow["duration"] / 1e6)
                redis.slowlog_reset()  # what is told once is of this run


def place(entry: bytes | None) -> tuple[int, int]:
    """An entry's id as numbers, which have an order."""
    time, _, number = (entry or b"0-0").partition(b"-")
    return int(time), int(number or 0)


def _entry(row: Any) -> tuple[int, int]:
    """The id in a row of XPENDING, which redis-py leaves as it is in a transaction of a cluster."""
    return place(row["message_id"] if isinstance(row, dict) else row[0])


def _event_of(fields: dict[bytes, bytes]) -> str:
    try:
        return str(orjson.loads(fields[b"e"])["id"])
    except (KeyError, TypeError, ValueError):
        return ""
