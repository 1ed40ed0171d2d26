"""GOAWAY frames are taken out, whole or in pieces, and everything else goes on as it came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fanout.channels.goaway import MOST, GoAway, Splitter


def frame(kind: int, payload: bytes, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, 0)) + stream.to_bytes(4, "big") + payload


def goaway(last: int, code: int, debug: bytes = b"") -> bytes:
    return frame(7, last.to_bytes(4, "big") + code.to_bytes(4, "big") + debug)


FRAMES = st.one_of(
    st.builds(frame, st.sampled_from([0, 1, 3, 4, 6, 8, 9, 200]), st.binary(max_size=40), st.integers(0, 9)),
    st.builds(goaway, st.integers(0, 2**31 - 1), st.integers(0, 13), st.binary(max_size=20)),
)


@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(1, 30), max_size=40))
def test_however_it_is_cut(frames: list[bytes], cuts: list[int]) -> None:
    splitter, data, passed, found = Splitter(), b"".join(frames), b"", []
    for cut in (*cuts, len(data)):
        on, farewells = splitter.feed(data[:cut])
        data, passed = data[cut:], passed + on
        found += farewells
    on, farewells = splitter.feed(data)
    passed, found = passed + on, found + farewells
    assert passed == b"".join(one for one in frames if one[3] != 7)
    assert found == [
        GoAway(int.from_bytes(one[9:13], "big"), int.from_bytes(one[13:17], "big")) for one in frames if one[3] == 7
    ]


def test_the_reserved_bit_is_no_part_of_the_number() -> None:
    assert Splitter().feed(goaway(0x80000005, 0)) == (b"", [GoAway(5, 0)])


def test_a_goaway_that_is_too_short_is_for_others_to_refuse() -> None:
    short = frame(7, b"1234567")
    assert Splitter().feed(short) == (short, [])


def test_a_frame_that_is_too_long_is_not_waited_for() -> None:
    head = frame(0, b"x" * (MOST + 1))[:20]
    assert Splitter().feed(head) == (head, [])
    begun = frame(0, b"x" * MOST)[:20]
    assert Splitter().feed(begun) == (b"", [])
