"""The trail of a person: what is written is read, and what only a newer release writes is passed over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.trail import MAX_REASON, Kind, Trace, decode, encode

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


def as_redis(fields: tuple[str, ...]) -> list[bytes]:
    return [field.encode() for field in fields]


@given(TEXT, st.sampled_from(Kind), TEXT, TEXT, st.integers(0, 50), st.integers(0, 2**41))
def test_what_is_written_is_read(ref: str, kind: Kind, channel: str, reason: str, attempt: int, at: int) -> None:
    flat = as_redis(encode(ref, kind, channel, reason, attempt))
    assert decode(f"{at}-7".encode(), flat) == Trace(at / 1000, ref, kind, channel, reason, attempt)


def test_fields_may_be_missing() -> None:
    assert decode(b"1700000000000-0", [b"e", b"1.s/a", b"k", b"read"]) == Trace(1.7e9, "1.s/a", Kind.READ)
    assert decode(b"5-0", as_redis(("k", "read", "n", "many"))) == Trace(0.005, "", Kind.READ)


def test_a_kind_of_a_newer_release_is_passed_over() -> None:
    assert decode(b"1-0", as_redis(("e", "1.s/a", "k", "telepathy"))) is None
    assert decode(b"1-0", []) is None


def test_a_long_reason_is_cut() -> None:
    flat = as_redis(encode("1.s/a", Kind.FAILED, "email", "x" * 1000, 3))
    trace = decode(b"1-0", flat)
    assert trace is not None
    assert trace.reason == "x" * MAX_REASON
