"""What is remembered of tokens that were verified: little, for as long as it may be, and under no other keys."""

from __future__ import annotations

import tracemalloc

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.effects import Claims, Stamp
from gateway.verified import LONGEST, MOST, VerifiedTokens

SECRET = b"s" * 32
NOW = 1_800_000_000.0
ALICE = Claims("alice", NOW + 60, ("news:sport",), b"{}", stamp=Stamp("j1", NOW), begins=NOW)


def test_who_was_verified_is_found_by_the_whole_token_alone() -> None:
    tokens = VerifiedTokens(SECRET)
    assert tokens.find("a.b.c", NOW) is None
    tokens.keep("a.b.c", ALICE)
    assert tokens.find("a.b.c", NOW) is ALICE
    for other in ("a.b.d", "a.b.", "a.b.c ", "A.b.c", "", "\ud800", "a.b.c\0"):
        assert tokens.find(other, NOW) is None
    assert tokens.find("a.b.c", NOW + 59) is ALICE
    assert not any(b"a.b.c" in digest for digest in tokens._claims)


def test_what_has_ended_is_forgotten() -> None:
    tokens = VerifiedTokens(SECRET)
    tokens.keep("a.b.c", ALICE)
    assert tokens.find("a.b.c", NOW + 60) is None
    assert len(tokens) == 0


def test_other_keys_forget_it() -> None:
    tokens, old, new = VerifiedTokens(SECRET), object(), object()
    tokens.under(old)
    tokens.keep("a.b.c", ALICE)
    tokens.under(old)
    assert tokens.find("a.b.c", NOW) is ALICE
    tokens.under(new)
    assert tokens.find("a.b.c", NOW) is None
    tokens.under(old)
    assert tokens.find("a.b.c", NOW) is None


def test_a_long_one_is_not_kept() -> None:
    tokens = VerifiedTokens(SECRET)
    tokens.keep("x" * (LONGEST + 1), ALICE)
    assert len(tokens) == 0
    assert tokens.find("x" * (LONGEST + 1), NOW) is None
    tokens.keep("x" * LONGEST, ALICE)
    assert tokens.find("x" * LONGEST, NOW) is ALICE


@example([(True, 2), (True, 0), (True, 2), (True, 1), (False, 0)], 2)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), max_size=60), st.integers(1, 5))
def test_of_more_than_there_is_room_for_those_used_last_are_kept(uses: list[tuple[bool, int]], most: int) -> None:
    tokens, model = VerifiedTokens(SECRET, most), list[int]()
    for keeping, number in uses:
        if keeping:
            tokens.keep(str(number), Claims(str(number), NOW + 60))
        else:
            found = tokens.find(str(number), NOW)
            assert (found is not None) == (number in model)
            assert found is None or found.user == str(number)
        if keeping or number in model:
            model = [*(n for n in model if n != number), number][-most:]
        assert len(tokens) == len(model) <= most


def test_it_takes_as_little_as_is_said() -> None:
    tokens = VerifiedTokens(SECRET)
    users = [f"user-{number}" for number in range(MOST + 10)]
    tracemalloc.start()
    try:
        for number, user in enumerate(users):
            tokens.keep(user, Claims(user, NOW + number))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(tokens) == MOST
    assert taken < 350 * MOST
