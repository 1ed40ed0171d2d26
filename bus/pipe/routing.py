"""Which slot a command belongs to, what a redirection says, and who has which slot: what a cluster's client must know.

Source: the Redis Cluster specification (redis.io/docs/reference/cluster-spec): keys, hash tags, MOVED and ASK.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

from bus.address import Place
from bus.partition import SLOTS

Arg = bytes | str | int | float

NEVER: Final = b"never"
"""The last part of a key that is never written; see `prepared`."""
HEADS: Final = 8_192
"""So many ways in which keys begin are remembered with their slots: some thousand partitions, all nodes and workers."""

_SCRIPTS: Final = frozenset(("EVALSHA", "EVAL"))
_BEHIND: Final[Mapping[str, int]] = {"XGROUP": 2, "XINFO": 2, "OBJECT": 2, "MEMORY": 2}
"""Commands whose key is not the first argument, by its place; those with STREAMS aside."""
_STREAMS: Final = frozenset(("XREAD", "XREADGROUP"))
KEYLESS: Final = frozenset(
    (
        *("PING", "ECHO", "TIME", "INFO", "CLIENT", "CONFIG", "SCRIPT", "SCAN", "DBSIZE", "ROLE", "WAIT", "CLUSTER"),
        *("ACL", "COMMAND", "DEBUG", "FLUSHALL", "FLUSHDB", "SLOWLOG", "LATENCY", "LASTSAVE", "BGSAVE", "REPLICAOF"),
    )
)
"""Commands about a server, not about a key: they say nothing of where they should go."""


# Keys ------------------------------------------------------------------------------------------------------------


def slot_of(key: bytes) -> int:
    """The slot of a key: CRC-16/XMODEM of its hash tag, of the whole key when there is none, modulo 16384."""
    return _find(key)[0]


def tag_of(key: bytes) -> bytes | None:
    """What stands between the first `{` and the next `}`, unless that is nothing."""
    start = key.find(b"{") + 1
    end = key.find(b"}", start)
    return key[start:end] if start and end > start else None


def prepared(args: Sequence[Arg]) -> tuple[int | None, Sequence[Arg]]:
    """The slot of a command, None when it has no key; and the command as it is to be sent.

    A script with hash-tagged keys is given one key more, `…{tag}:never`, which does not exist. While a slot is being
    moved, Redis then refuses the whole script (TRYAGAIN) because not all keys are on one side; without it, a script
    whose named keys are all here would run, and fail in its middle at a key that it makes up itself and that is gone.
    """
    name = args[0]
    if name == "EVALSHA":  # as nearly all are spelled that we send
        return _script(args)
    name = str(name).upper()
    if name in _SCRIPTS:
        return _script(args)
    place = _place(name, args)
    if place is None or place >= len(args):
        return None, args
    return _found(args[place])[0], args


def _script(args: Sequence[Arg]) -> tuple[int | None, Sequence[Arg]]:
    count = int(args[2])
    if not count:
        return None, args
    slot, never = _found(args[3])
    if never is None:
        return slot, args
    end = 3 + count
    return slot, (args[0], args[1], count + 1, *args[3:end], never, *args[end:])


_Found = tuple[int, bytes | None]
"""A slot, and the key of it that is never written, where there is a tag to make it with."""


def _found(key: Arg) -> _Found:
    if isinstance(key, str) and (known := _headed(key[: key.find("}") + 1])) is not None:
        return known
    return _find(_bytes(key))


@lru_cache(maxsize=HEADS)
def _headed(head: str) -> _Found | None:
    """Of all keys that begin like this, up to the first `}`; None when the tag of such a key is not in there."""
    found = _find(head.encode())
    return None if found[1] is None else found


def _find(key: bytes) -> _Found:
    tag = tag_of(key)
    if tag is None:
        return crc_hqx(key, 0) % SLOTS, None
    return crc_hqx(tag, 0) % SLOTS, key[: key.index(b"{") + 1] + tag + b"}:" + NEVER


def _place(name: str, args: Sequence[Arg]) -> int | None:
    if name in KEYLESS:
        return None
    if name in _STREAMS:
        words = (str(word).upper() for word in args)
        return next((at + 1 for at, word in enumerate(words) if word == "STREAMS"), None)
    return _BEHIND.get(name, 1)


def _bytes(arg: Arg) -> bytes:
    return arg if isinstance(arg, bytes) else str(arg).encode()


# Redirections ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moved:
    """The slot is another master's now. The command was not executed."""

    slot: int
    place: Place


@dataclass(frozen=True, slots=True)
class Ask:
    """This key may be on another master already: ask there, this once, after ASKING. The command was not executed."""

    place: Place


def read_redirection(message: str, asked: Place) -> Moved | Ask | None:
    """What an error says of where to go. No host in it: the one that was `asked`."""
    code, _, rest = message.partition(" ")
    if code not in ("MOVED", "ASK"):
        return None
    slot, _, where = rest.partition(" ")
    host, _, port = where.rpartition(":")
    if not slot.isdecimal() or not port.isdecimal() or int(slot) >= SLOTS:
        return None
    place = Place(_host(host, asked), int(port))
    return Moved(int(slot), place) if code == "MOVED" else Ask(place)


def _host(host: str, asked: Place) -> str:
    """Redis says nothing, or `?`, of a host that it does not know: then it is where we found the one that said so."""
    return asked.host if host in ("", "?") else host.strip("[]")


# Who has which slot ----------------------------------------------------------------------------------------------

_place_of = lru_cache(maxsize=1_024)(Place)
"""One object for each place, in whatever map: so two maps are compared in 0.1 ms where it would take 10."""


@dataclass(frozen=True, slots=True)
class SlotMap:
    """The master of each slot, None where there is none. `epoch`: of the cluster, when it was like this."""

    owners: tuple[Place | None, ...] = (None,) * SLOTS
    epoch: int = 0
    masters: tuple[Place, ...] = field(init=False, repr=False, compare=False)
    """Those that have slots."""
    _held: dict[Place, frozenset[int]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        # Once, for every pipe asks at each look; and by identity first, for to hash 16384 places takes 10 ms.
        different = {id(owner): owner for owner in self.owners if owner is not None}
        object.__setattr__(self, "masters", tuple(sorted(set(different.values()))))

    @property
    def uncovered(self) -> int:
        """How many slots nobody has."""
        return self.owners.count(None)

    def slots_of(self, place: Place) -> frozenset[int]:
        """The slots of a master: the same object whenever one map is asked, for every pipe asks at each look."""
        if not self._held:
            self._held.update(self._shared_out())
        return self._held.get(place, frozenset())

    def _shared_out(self) -> dict[Place, frozenset[int]]:
        held: defaultdict[Place, list[int]] = defaultdict(list)
        start = 0
        for _, same in groupby(self.owners, key=id):
            owner, *others = same
            end = start + 1 + len(others)
            if owner is not None:
                held[owner] += range(start, end)
            start = end
        return {place: frozenset(slots) for place, slots in held.items()}

    def moved(self, slot: int, place: Place) -> SlotMap:
        """The same with one slot at another master."""
        if self.owners[slot] == place:
            return self
        return SlotMap((*self.owners[:slot], place, *self.owners[slot + 1 :]), self.epoch)


def read_slots(reply: Sequence[Any], asked: Place, epoch: int) -> SlotMap:
    """A map from CLUSTER SLOTS: each entry is the first slot, the last, the master as `host, port, …`, replicas."""
    owners: list[Place | None] = [None] * SLOTS
    for first, last, (host, port, *_), *_ in reply:
        place = _place_of(_host((host or b"").decode(), asked), int(port))
        owners[first : last + 1] = [place] * (last - first + 1)
    return SlotMap(tuple(owners), epoch)


@dataclass(frozen=True, slots=True)
class State:
    """What a node says of the cluster (CLUSTER INFO)."""

    fine: bool
    """It takes commands: from where this node stands, enough masters are there, and enough slots have one."""
    epoch: int
    """Grows whenever slots get another master."""


def read_state(info: bytes) -> State:
    """From CLUSTER INFO."""
    told = dict(_pairs(info))
    return State(told.get("cluster_state") == "ok", int(told.get("cluster_current_epoch", "0")))


def _pairs(info: bytes) -> Iterator[tuple[str, str]]:
    for line in info.decode().splitlines():
        name, _, value = line.partition(":")
        yield name, value


def moving(nodes: bytes) -> bool:
    """Whether the node that said this (CLUSTER NODES) is giving or getting a slot just now."""
    for line in nodes.decode().splitlines():
        flags = line.split(" ", 3)[2:3]
        if flags and "myself" in flags[0].split(","):
            return "[" in line.partition(flags[0])[2]
    return False
