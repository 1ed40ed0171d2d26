"""The outbox: whole chunks in order, and an age that a dripping peer cannot make young."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.outbox import Outbox


def test_it_counts_bytes_and_gives_them_back_in_order() -> None:
    outbox = Outbox(10.0)
    assert outbox.blocked
    assert (outbox.size, outbox.since) == (0, 10.0)
    for number, chunk in enumerate((b"a", b"bb", b"ccc", b"dddd")):
        outbox.put(chunk, 11.0 + number)
    assert (outbox.size, outbox.since) == (10, 11.0)
    assert outbox.take(3, 20.0) == [b"a", b"bb"]
    assert (outbox.size, outbox.since) == (7, 13.0)
    assert outbox.take(1, 21.0) == [b"ccc"]
    assert outbox.take(100, 22.0) == [b"dddd"]
    assert outbox.take(100, 23.0) == []
    assert (outbox.size, outbox.since) == (0, 23.0)


def test_without_chunks_it_is_as_old_as_the_last_time_the_transport_took_any() -> None:
    outbox = Outbox(10.0)
    assert outbox.since == 10.0
    outbox.take(1, 12.0)
    assert outbox.since == 12.0


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=50), st.integers(1, 100))))
def test_nothing_is_lost_torn_or_turned_around(steps: list[bytes | int]) -> None:
    outbox, put, taken = Outbox(0.0), [], []
    for now, step in enumerate(steps):
        if isinstance(step, bytes):
            outbox.put(step, now)
            put.append(step)
        else:
            taken += outbox.take(step, now)
        assert outbox.size == sum(map(len, put)) - sum(map(len, taken))
        assert outbox.since <= now
    assert taken == put[: len(taken)]
