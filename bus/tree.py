"""Decoded JSON as a tree: how deep it is, and whether it can be written again exactly. Nothing here recurses, for a
producer decides how deep it goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

MAX_DEPTH: Final = 32
MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**64 - 1
"""Whole numbers outside this range cannot be carried exactly; no JSON library of the system writes them."""


def depth_of(value: object, limit: int = MAX_DEPTH) -> int:
    """How deep lists and objects nest, counted without recursion, given up at `limit + 1`."""
    level, layer = 0, [value]
    while layer and level <= limit:
        below: list[object] = []
        for item in layer:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        nested = any(isinstance(item, dict | list) for item in layer)
        level += nested
        layer = below
    return level


def unfit_number(value: object) -> str | None:
    """JSON pointer of a number that JSON cannot carry exactly (infinite, or whole and beyond 64 bits), or None."""
    if all(_fits(node) for node in _nodes(value)):
        return None
    return next(pointer for pointer, node in _placed(value) if not _fits(node))


def _fits(node: object) -> bool:
    if isinstance(node, float):
        return math.isfinite(node)
    return not isinstance(node, int) or MIN_INTEGER <= node <= MAX_INTEGER


def _nodes(value: object) -> Iterator[object]:
    waiting = [value]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, dict):
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _placed(value: object) -> Iterator[tuple[str, object]]:
    """The same with JSON pointers, which cost much more to make."""
    waiting = [("", value)]
    while waiting:
        pointer, node = waiting.pop()
        yield pointer, node
        if isinstance(node, dict):
            waiting.extend((f"{pointer}/{_pointer_part(name)}", below) for name, below in node.items())
        elif isinstance(node, list):
            waiting.extend((f"{pointer}/{i}", below) for i, below in enumerate(node))


def _pointer_part(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
