"""Whose jobs wait in one stream, as far as it was looked at: so that one may be taken past a million of another. Pure.

Of each source the next few ids are kept, and of one that has more, the place from which to look for them again: what
is kept stays small however long the stream is, and its end is seen soon.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

KEPT: Final = 64
"""Ids kept of one source."""
SOURCES: Final = 256
"""Sources told apart in one stream; all others count as one."""
OTHERS: Final = ""
"""The source of what names none."""

Seen = tuple[str, str]
"""The id of a job and its source."""


@dataclass(frozen=True, slots=True)
class Look:
    """To look behind this id: for jobs of one source, or, with None, for all of them."""

    after: str
    source: str | None


class Sight:
    """`after`: the id behind which nothing was taken yet; empty where only Redis knows."""

    def __init__(self, after: str = "") -> None:
        self.at = after
        """The id up to which all was looked at."""
        self.ended = False
        """Whether there was nothing behind it."""
        self._waiting: dict[str, deque[str]] = {}
        self._more: dict[str, str] = {}
        """Sources of which more was seen than is kept, and the id behind which to look for it."""
        self._told_apart: set[str] = set()
        """Sources that go by their own name. One of which jobs wait must not change between that and being one of the
        others: those jobs would be looked for under a name that they do not have."""

    @property
    def wants(self) -> Mapping[str, int]:
        """How many are known to wait, by source; one of which only the place is known wants one."""
        return {source: len(ids) for source, ids in self._waiting.items()} | {
            source: 1 for source in self._more if source not in self._waiting
        }

    @property
    def empty(self) -> bool:
        """Whether all that was there has been taken."""
        return self.ended and not self._waiting and not self._more

    def lacks(self, source: str) -> Look | None:
        """Where to look for more of a source of which none is kept, though there is more."""
        named = self._named(source)
        return None if named in self._waiting or named not in self._more else Look(self._more[named], named)

    def ahead(self) -> Look:
        """Where to look for what was not seen yet."""
        return Look(self.at, None)

    def saw(self, look: Look, found: Sequence[Seen], upto: str, ended: bool) -> None:
        """What was found: the jobs in their order, the id up to which was looked, whether that is the end."""
        if look.source is None:
            if OTHERS not in self._waiting and OTHERS not in self._more:
                self._told_apart = {*self._waiting, *self._more}
            for job, source in found:
                self._see(job, self._named(source))
            self.at, self.ended = upto, ended
            return
        del self._more[look.source]
        for job, source in found:
            if self._named(source) == look.source and not _behind(job, self.at):
                self._see(job, look.source)
        if look.source not in self._more and not ended and _behind(self.at, upto):
            self._more[look.source] = upto

    def take(self, source: str, most: int) -> list[str]:
        """The next ids of a source, in order."""
        ids = self._waiting.get(source)
        if ids is None:
            return []
        taken = [ids.popleft() for _ in range(min(most, len(ids)))]
        if not ids:
            del self._waiting[source]
        return taken

    def _see(self, job: str, source: str) -> None:
        if source in self._more:
            return
        ids = self._waiting.setdefault(source, deque())
        if len(ids) < KEPT:
            ids.append(job)
        else:
            self._more[source] = ids[-1]

    def _named(self, source: str) -> str:
        if source in self._told_apart:
            return source
        if source == OTHERS or len(self._told_apart) >= SOURCES:
            return OTHERS
        self._told_apart.add(source)
        return source


def _behind(job: str, other: str) -> bool:
    """Whether an id comes after another."""
    return _parts(job) > _parts(other)


def _parts(job: str) -> tuple[int, int]:
    high, _, low = (job or "0-0").partition("-")
    return int(high), int(low)
