"""A job and its fields in a stream."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.job import Job, Kind, delivery_id, digest_id, from_fields

JOB = Job(delivery_id("4.shop/1", "alice", "push", "d1"), "4.shop/1", "alice", 7, 1, "acked", "d1", category="orders")


def stored(job: Job) -> dict[bytes, bytes]:
    flat = [part.encode() for part in job.fields()]
    return dict(zip(flat[::2], flat[1::2], strict=True))


JOBS = st.builds(
    Job,
    id=st.text("0123456789abcdef", min_size=32, max_size=32),
    ref=st.text(),
    user=st.text(),
    offset=st.integers(0, 2**53),
    step=st.integers(0, 9),
    unless=st.sampled_from([None, "acked", "read"]),
    target=st.text(),
    attempts=st.integers(0, 99),
    kind=st.sampled_from(Kind),
    refs=st.lists(st.text(), max_size=3).map(tuple),
    category=st.text(),
    expires_at=st.none() | st.integers(1, 2**42).map(lambda ms: ms / 1000),
)


@given(JOBS)
def test_a_job_survives_its_stream(job: Job) -> None:
    assert from_fields(stored(job)) == job


def test_a_job_holds_what_others_agreed_on() -> None:
    assert stored(replace(JOB, expires_at=12.5)) == {
        b"id": JOB.id.encode(),
        b"e": b"4.shop/1",
        b"u": b"alice",
        b"o": b"7",
        b"i": b"1",
        b"x": b"acked",
        b"t": b"d1",
        b"n": b"0",
        b"k": b"send",
        b"g": b"orders",
        b"x2": b"12500",
    }
    assert stored(replace(JOB, kind=Kind.DIGEST, refs=("a", "b")))[b"r"] == b'["a","b"]'


@pytest.mark.parametrize(
    "broken",
    [
        {b"id": None},
        {b"o": b"many"},
        {b"x": b"bored"},
        {b"k": b"forget"},
        {b"u": b"\xff"},
        {b"r": b"{"},
        {b"r": b'"x"'},
        {b"r": b"[1]"},
        {b"x2": b"9" * 400},
        {b"x2": b"9" * 5_000},
    ],
)
def test_what_is_no_job_is_none(broken: dict[bytes, bytes | None]) -> None:
    fields = stored(JOB) | broken
    assert from_fields({name: value for name, value in fields.items() if value is not None}) is None


@given(st.tuples(st.text("ab"), st.text("ab"), st.text("ab"), st.text("ab")), st.sampled_from(Kind))
def test_an_id_is_stable_and_no_others(parts: tuple[str, str, str, str], kind: Kind) -> None:
    assert delivery_id(*parts, kind) == delivery_id(*parts, kind)
    assert len(delivery_id(*parts, kind)) == 32
    ref, user, channel, target = parts
    for other in ((ref + "a", user, channel, target), (ref, user, channel, target + "a"), (user + "x", *parts[1:])):
        assert delivery_id(*other, kind) != delivery_id(*parts, kind)


def test_a_second_step_by_the_same_channel_is_no_repeat() -> None:
    ids = [delivery_id("r", "alice", "email", step=step) for step in range(4)]
    assert len({*ids, delivery_id("r", "alice", "email", "1")}) == 5


def test_a_digest_and_a_withdrawal_are_deliveries_of_their_own() -> None:
    ids = {delivery_id("r", "alice", "push", "d1", kind) for kind in Kind}
    assert len({*ids, digest_id(("r", "s"), "alice", "push", "d1")}) == 4
    assert digest_id(("r",), "alice", "push") == delivery_id("r", "alice", "push", kind=Kind.DIGEST)
    # As `printf 'r\0u\0email\0' | b2sum -l 128` has it: the parts with a zero byte between them, the last one empty.
    assert delivery_id("r", "u", "email") == "77c387e7b9d1f6f0e04f5136cbe1d2b6"
