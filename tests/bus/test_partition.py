"""Partitions: the same everywhere, and evenly spread over the slots of a cluster."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.partition import DEFAULT_PARTITIONS, MAX_PARTITIONS, SLOTS, balanced_tags, crc16, partition_of


@pytest.mark.parametrize(("name", "partition"), [("alice", 7), ("news:sport", 37), ("ü", 21), ("", 0)])
def test_partitions_are_what_any_language_computes(name: str, partition: int) -> None:
    assert partition_of(name, 64) == partition


@given(st.text(), st.integers(1, MAX_PARTITIONS))
def test_every_name_has_a_partition(name: str, partitions: int) -> None:
    assert 0 <= partition_of(name, partitions) < partitions


def test_crc16_is_that_of_the_cluster_specification() -> None:
    assert crc16(b"123456789") == 0x31C3
    assert crc16(b"") == 0
    assert crc16(b"foo") % SLOTS == 12_182, "CLUSTER KEYSLOT foo"


@pytest.mark.parametrize("partitions", [1, 2, 3, 7, 8, DEFAULT_PARTITIONS, 100, 1_000, MAX_PARTITIONS])
def test_tags_are_balanced(partitions: int) -> None:
    tags = balanced_tags(partitions)
    slots = [crc16(tag.encode()) % SLOTS for tag in tags]
    assert len(set(tags)) == partitions
    assert slots == sorted(slots)
    assert [slot * partitions // SLOTS for slot in slots] == list(range(partitions))


@pytest.mark.parametrize("masters", [2, 3, 5, 8])
def test_every_master_of_a_cluster_gets_its_share(masters: int) -> None:
    held = Counter(crc16(tag.encode()) % SLOTS * masters // SLOTS for tag in balanced_tags(64))
    assert max(held.values()) - min(held.values()) <= 2


@pytest.mark.parametrize("partitions", [0, -1, MAX_PARTITIONS + 1])
def test_numbers_of_partitions_that_cannot_be(partitions: int) -> None:
    with pytest.raises(ValueError, match="partitions must be 1 to 1024"):
        balanced_tags(partitions)
