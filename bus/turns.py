"""Whose turn it is where places are few: who has the fewest goes first, and among equals who had none for
longest. Pure.

That is fair in what matters, the places themselves: a producer with a million jobs has no more of them than one with
twenty, as long as both have some waiting; and nobody's place stays empty for another's sake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

MOST: Final = 4_096
"""Sources of which the last turn is remembered."""


class Turns:
    """Who holds how many places, and who had the last turns."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._last: dict[str, int] = {}
        self._number = 0

    def held(self, source: str) -> int:
        """Places that a source has."""
        return self._held[source]

    def choose(self, wants: Sequence[Mapping[str, int]]) -> tuple[int, str, bool] | None:
        """Which of those who ask is served, for which source, and whether others want a turn too; each asks for some
        sources. None when nobody wants anything."""
        sources = {source for want in wants for source in want}
        if not sources:
            return None
        source = min(sources, key=lambda one: (self._held[one], self._last.get(one, 0), one))
        place = next(place for place, want in enumerate(wants) if source in want)
        return place, source, len(sources) > 1

    def begin(self, source: str, places: int) -> None:
        """A turn: the source has so many places more."""
        self._held[source] += places
        if len(self._last) >= MOST:
            self._last.clear()
        self._number += 1
        self._last[source] = self._number

    def end(self, source: str, places: int) -> None:
        """So many are given back."""
        self._held[source] -= places
        if self._held[source] <= 0:
            del self._held[source]

    def move(self, source: str, other: str, places: int) -> None:
        """Places that were taken for one turn out to be another's."""
        if source != other and places:
            self.end(source, places)
            self._held[other] += places
