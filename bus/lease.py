"""Leases: at most one worker has a partition, and its fencing number tells every script whether it still has.

The number grows with every new lease, so a worker that was paused past the end of its lease can neither take an entry
nor acknowledge one, whatever it believes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from bus.errors import BusError, Refused
from bus.keys import Keys
from bus.pipe import OnReply, Pipe, Reply


class Fenced(Exception):
    """The lease is over; whoever worked under it must stop at once."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work a partition, as long as nobody was given a higher fencing number."""

    partition: int
    owner: str
    fence: int


OnLease = Callable[[Lease | BusError | None], None]


class Leases:
    """Takes, keeps and gives back leases for one owner. `ttl` in seconds.

    `channel`: leases of that channel's jobs, which are apart from those of the partitions themselves. `silence`:
    seconds after which a lease that was not kept may be taken from who lives no more; without it, it must run out.
    """

    def __init__(
        self,
        pipe: Pipe,
        keys: Keys,
        owner: str,
        ttl: float,
        channel: str | None = None,
        silence: float | None = None,
    ) -> None:
        self._pipe, self._keys, self._owner, self._ttl = pipe, keys, owner, int(ttl * 1000)
        self._channel = channel
        self._left = None if silence is None else max(0, int((ttl - silence) * 1000))

    def ask(self, partition: int, held: Lease | None, living: Collection[str], on_answer: OnLease) -> None:
        """Take the lease of a partition, or keep `held`, now. `on_answer` is called with the lease, None where another
        has it, or why nobody knows. `living`: whose leases are not to be taken.

        A lease that ran out comes back as it was, unless it was given to another meanwhile.
        """

        if held is None:
            self._take(partition, 0, () if self._left is None else (self._left, *living), on_answer)
            return

        def kept(reply: Reply) -> None:
            if reply == own:
                on_answer(held)
            elif isinstance(reply, BusError) and not isinstance(reply, Refused):
                on_answer(reply)
            else:
                self._take(partition, held.fence, (), on_answer)

        # Most often it is still there, and whoever has it instead is not harmed by having it for longer: a script for
        # each partition and beat would be the dearest thing that idle ones do.
        key, own = self._places(partition)[0], f"{held.owner} {held.fence}".encode()
        self._pipe.post(("GETEX", key, "PX", self._ttl), kept)

    def _take(self, partition: int, fence: int, taking: Sequence[int | str], on_answer: OnLease) -> None:
        def answered(reply: Reply) -> None:
            if isinstance(reply, BusError):
                on_answer(reply)
            else:
                on_answer(Lease(partition, self._owner, reply) if reply else None)

        self._pipe.post_script("lease", self._places(partition), (self._owner, self._ttl, fence, *taking), answered)

    async def hold(self, partitions: Iterable[int]) -> dict[int, Lease | None]:
        """Take or keep the leases of these partitions; None where another has it. Raises `BusError`.

        A lease that ran out before it was kept comes back with a new number: whatever worked under the old one is over.
        """
        wanted = tuple(partitions)
        replies = await self._pipe.scripts(("lease", self._places(p), (self._owner, self._ttl)) for p in wanted)
        held: dict[int, Lease | None] = {}
        for partition, reply in zip(wanted, replies, strict=True):
            if isinstance(reply, BusError):
                raise reply
            held[partition] = Lease(partition, self._owner, reply) if reply else None
        return held

    async def release(self, lease: Lease) -> bool:
        """Give a lease back; False when it was no longer ours. Raises `BusError`."""
        key, _ = self._places(lease.partition)
        return bool(await self._pipe.script("release", (key,), (lease.owner, lease.fence)))

    def drop(self, lease: Lease, on_reply: OnReply) -> None:
        """Give a lease back, now; the reply is 1, 0 when it was no longer ours, or a `BusError`."""
        key, _ = self._places(lease.partition)
        self._pipe.post_script("release", (key,), (lease.owner, lease.fence), on_reply)

    def _places(self, partition: int) -> tuple[str, str]:
        """Keys of a lease and of the hash that counts its fencing numbers."""
        if self._channel is None:
            return self._keys.lease(partition), self._keys.head(partition)
        return self._keys.jobs_lease(partition, self._channel), self._keys.jobs_head(partition, self._channel)
