"""How long a text message is: in the alphabet of phones (GSM 03.38, 7 bits) or in UCS-2, and in how many segments.

Pure. Every segment is paid for, so a message has a cap; what is longer is cut, and says so.
"""

from __future__ import annotations

from typing import Final

BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""One septet each (3GPP TS 23.038 §6.2.1)."""
EXTENDED: Final = frozenset("^{}\\[~]|€\f")
"""Two septets each: an escape and a character (§6.2.1.1)."""
SINGLE_7, PART_7 = 160, 153
SINGLE_16, PART_16 = 70, 67
"""Units of a message of one segment, and of each segment of a longer one, whose header takes the rest."""
CUT: Final = "..."
"""The end of a message that was cut; in both alphabets."""


def units(text: str) -> list[int]:
    """What each character takes: septets where all fit into the 7-bit alphabet, else UTF-16 units."""
    if is_gsm(text):
        return [2 if c in EXTENDED else 1 for c in text]
    return [2 if ord(c) > 0xFFFF else 1 for c in text]


def is_gsm(text: str) -> bool:
    """Whether the 7-bit alphabet can write it."""
    return all(c in BASIC or c in EXTENDED for c in text)


def segments(text: str) -> int:
    """How many messages a phone network makes of it; an empty one is one too.

    No character is torn apart: one of two units that does not fit any more begins the next segment.
    """
    sizes, (single, part) = units(text), _limits(text)
    if sum(sizes) <= single:
        return 1
    count, used = 1, 0
    for size in sizes:
        if used + size > part:
            count, used = count + 1, 0
        used += size
    return count


def _limits(text: str) -> tuple[int, int]:
    return (SINGLE_7, PART_7) if is_gsm(text) else (SINGLE_16, PART_16)


def fit(text: str, most: int) -> str:
    """The text in at most so many segments (at least 1), cut where it must be."""
    if segments(text) <= most:
        return text
    low, high = 0, len(text)  # the shorter, the fewer segments: searched by halves
    while low < high:
        middle = (low + high + 1) // 2
        if segments(text[:middle].rstrip() + CUT) <= most:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + CUT
