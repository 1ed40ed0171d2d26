"""What was revoked: tokens by their id, all of a user that were made before a moment, and people sent away once. Pure.

The set is bounded and forgets what is over; a name of one kind never meets one of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from heapq import heapify, heappop, heappush
from typing import Final

from gateway.effects import Stamp
from gateway.wire.codes import Disconnect, Error

MOST: Final = 100_000
SAME: Final = 1.0
"""A token says when it was made in whole seconds: of one made in the second of a revocation nobody knows which came
first."""


@dataclass(frozen=True, slots=True)
class Token:
    """The tokens with this `jti`."""

    jti: str


@dataclass(frozen=True, slots=True)
class User:
    """All tokens of a user that were made before Unix time `before`."""

    user: str
    before: float


@dataclass(frozen=True, slots=True)
class Dismissal:
    """All connections that a user has now are ended, once; `id` tells one such order from the next."""

    id: str
    user: str
    code: int


Order = Token | User | Dismissal


@dataclass(frozen=True, slots=True)
class Kept:
    """An order and how long it is kept, in Unix ms."""

    order: Order
    until: int


class Verdict(Enum):
    """What a revocation means for a token."""

    REVOKED = "revoked"
    AMBIGUOUS = "made in the second of the revocation"


REFUSALS: Final[Mapping[Verdict, Error | Disconnect]] = {
    Verdict.REVOKED: Disconnect.INVALID_TOKEN,
    Verdict.AMBIGUOUS: Error.TOKEN_EXPIRED,
}
"""How such a token is refused: one that may have been made afterwards is only not good enough, clients get another."""
CLOSINGS: Final = {Verdict.REVOKED: Disconnect.INVALID_TOKEN, Verdict.AMBIGUOUS: Disconnect.EXPIRED}
"""How a connection ends that rests on such a token."""


# As Redis keeps them ---------------------------------------------------------------------------------------------


def pack(order: Order) -> tuple[str, str]:
    """Name and value (`until` apart): no two orders that differ in what they revoke have the same name."""
    if isinstance(order, Token):
        return f"t:{order.jti}", ""
    if isinstance(order, User):
        return f"u:{order.user}", repr(order.before)
    return f"d:{order.id}", f"{order.code} {order.user}"


def unpack(name: str, value: str) -> Kept | None:
    """What `pack` packed, `until` and a space in front of the value; None for what a newer release may have put."""
    until, _, rest = value.partition(" ")
    kind, _, named = name.partition(":")
    try:
        match kind:
            case "t":
                return Kept(Token(named), int(until))
            case "u":
                return Kept(User(named, float(rest)), int(until))
            case "d":
                code, _, user = rest.partition(" ")
                return Kept(Dismissal(named, user, int(code)), int(until))
            case _:
                return None
    except ValueError:
        return None


# As a node knows them --------------------------------------------------------------------------------------------


class Revocations:
    """Those in force, at most `most`: beyond that, those that end first are given up."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: dict[str, Kept] = {}
        self._ends: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Kept]:
        return iter(tuple(self._kept.values()))

    def take(self, kept: Kept, now: float) -> bool:
        """Take one in at Unix time `now`; whether it says anything new. The later of two moments holds, and nothing
        that holds is shortened."""
        self.forget(now)
        name, _ = pack(kept.order)
        before = self._kept.get(name)
        wanted = kept if before is None else _joined(before, kept)
        if wanted == before or wanted.until <= now * 1000:
            return False
        self._kept[name] = wanted
        heappush(self._ends, (wanted.until, name))
        self._shrink()
        return before is None or before.order != wanted.order

    def forget(self, now: float) -> None:
        """Let go of what is over at Unix time `now`."""
        while self._ends and self._ends[0][0] <= now * 1000:
            self._drop_first()

    def judge(self, user: str, stamp: Stamp) -> Verdict | None:
        """Whether a user's token is revoked."""
        if not self._kept:
            return None
        if stamp.jti and f"t:{stamp.jti}" in self._kept:
            return Verdict.REVOKED
        found = self._kept.get(f"u:{user}")
        if found is None or not isinstance(found.order, User) or stamp.issued_at >= found.order.before:
            return None
        ambiguous = stamp.issued_at.is_integer() and found.order.before < stamp.issued_at + SAME
        return Verdict.AMBIGUOUS if ambiguous else Verdict.REVOKED

    def _shrink(self) -> None:
        while len(self._kept) > self._most:
            self._drop_first()
        if len(self._ends) > 2 * len(self._kept) + 16:
            self._ends = [(kept.until, name) for name, kept in self._kept.items()]
            heapify(self._ends)

    def _drop_first(self) -> None:
        until, name = heappop(self._ends)
        kept = self._kept.get(name)
        if kept is not None and kept.until == until:  # else it was prolonged
            del self._kept[name]


def _joined(old: Kept, new: Kept) -> Kept:
    order = new.order
    if isinstance(order, User) and isinstance(old.order, User) and old.order.before > order.before:
        order = old.order
    return Kept(order, max(old.until, new.until))
