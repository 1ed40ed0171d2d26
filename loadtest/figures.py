"""The few statistics that the figures rest on, each defined once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two in the middle. Raises `ValueError` for no values."""
    if not values:
        raise ValueError("no values to take a median of")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def medians(turns: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each reading, over turns that all have the same ones. Raises `ValueError` for no turns."""
    if not turns:
        raise ValueError("no turns to take medians of")
    return {reading: median([turn[reading] for turn in turns]) for reading in turns[0]}


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank: the smallest value that at least `percent` of them do not exceed; always one that was measured.

    Raises `ValueError` for no values or a percentage outside 0 to 100.
    """
    if not values:
        raise ValueError("no values to take a percentile of")
    if not 0 <= percent <= 100:
        raise ValueError("a percentage is 0 to 100")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
