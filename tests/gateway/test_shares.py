"""Shares of a limit: all nodes together never have more, and few ask at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.shares import FREE, Shares


class Pool:
    """What borrow.lua does."""

    def __init__(self) -> None:
        self.lent: dict[tuple[str, int], int] = {}

    def borrow(self, key: str, node: int, wanted: int, least: int, most: int) -> int:
        others = sum(count for (name, other), count in self.lent.items() if name == key and other != node)
        given = max(0, min(wanted, most - others))
        if given < least:
            given = min(self.lent.get((key, node), 0), given)
        self.lent[key, node] = given
        return given


def test_the_first_few_ask_nobody_and_no_limit_asks_never() -> None:
    shares = Shares(64)
    assert shares.allows("a", 63)  # nobody else is there
    assert not shares.allows("a", 64)
    assert shares.pool == 0
    assert shares.resize(2)
    assert (shares.owes("a", 1), shares.owes("a", FREE + 5)) == (0, 5)
    assert [shares.allows("a", count) for count in range(4)] == [True] * FREE + [False] * 2
    assert shares.wanted(FREE) == (1, 1)
    shares.has("a", 1)
    assert shares.allows("a", FREE)
    assert not shares.allows("a", FREE + 1)
    unlimited = Shares(0)
    assert unlimited.allows("a", 1_000_000)
    assert not unlimited.owes("a", 1_000_000)


def test_many_nodes_have_nothing_free() -> None:
    shares = Shares(8)
    shares.resize(2)
    assert shares.pool == 8 - 2 * FREE
    shares.resize(100)
    assert not shares.allows("a", 0)
    assert shares.pool == 8
    assert not shares.resize(0)
    assert shares.allows("a", 0)


def test_what_is_clearly_too_much_goes_back() -> None:
    shares = Shares(64)
    shares.resize(2)
    assert shares.spare("a", 5) is None
    shares.has("a", 10)
    assert shares.spare("a", 12) is None
    assert shares.spare("a", FREE + 3) == 3
    assert shares.spare("a", FREE) == 0
    shares.has("a", 0)
    assert list(shares.borrowed()) == []


@given(
    limit=st.integers(1, 20),
    nodes=st.integers(1, 4),
    moves=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=150),
)
def test_all_nodes_together_keep_the_limit(limit: int, nodes: int, moves: list[tuple[int, bool]]) -> None:
    pool, counts = Pool(), [0] * nodes
    shares = [Shares(limit) for _ in range(nodes)]
    for each in shares:
        each.resize(nodes)
    for move, comes in moves:
        n = move % nodes
        mine = shares[n]
        if comes:
            if not mine.allows("a", counts[n]):
                mine.has("a", pool.borrow("a", n, *mine.wanted(counts[n]), mine.pool))
            counts[n] += mine.allows("a", counts[n])
        elif counts[n]:
            counts[n] -= 1
            if (kept := mine.spare("a", counts[n])) is not None:
                mine.has("a", pool.borrow("a", n, kept, 0, mine.pool))
        assert sum(counts) <= limit
