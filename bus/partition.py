"""Partitions: which one a name belongs to, and the hash tag that keeps a partition's keys in one cluster slot."""

from __future__ import annotations

from functools import lru_cache
from zlib import crc32

SLOTS = 16384
DEFAULT_PARTITIONS = 64
MAX_PARTITIONS = 1024


def partition_of(name: str, partitions: int) -> int:
    """The partition of a user or topic name: crc32 of its UTF-8 bytes, modulo the count; easy in any language."""
    return crc32(name.encode()) % partitions


def crc16(data: bytes) -> int:
    """CRC-16/XMODEM, the checksum by which Redis Cluster assigns slots (Redis Cluster specification, appendix A)."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc


@lru_cache(maxsize=8)
def balanced_tags(partitions: int) -> tuple[str, ...]:
    """One hash tag per partition, such that the slots lie evenly: partition p has the p-th share of the 16384.

    The tag of a partition is the smallest number whose slot falls into its share. Plain `{0}`, `{1}` … would put
    several partitions on one master and none on another.
    """
    if not 1 <= partitions <= MAX_PARTITIONS:
        raise ValueError(f"partitions must be 1 to {MAX_PARTITIONS}, not {partitions}")
    tags: dict[int, str] = {}
    number = 0
    while len(tags) < partitions:
        share = crc16(str(number).encode()) % SLOTS * partitions // SLOTS
        tags.setdefault(share, str(number))
        number += 1
    return tuple(tags[share] for share in range(partitions))
