"""Tickets: told from tokens, kept by their hash alone, and the same claims before and after."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway import tickets
from gateway.effects import UNSTAMPED, Claims, Stamp

texts = st.text(st.characters(codec="utf-8"), max_size=40)


def test_a_ticket_is_told_from_a_token() -> None:
    assert tickets.is_ticket("tkt_abc")
    assert not tickets.is_ticket("eyJhbGciOiJIUzI1NiJ9.e30.x")


def test_redis_knows_a_ticket_by_its_hash_alone() -> None:
    assert "secret" not in tickets.digest("tkt_secret")
    assert tickets.digest("tkt_secret") == tickets.digest("tkt_secret") != tickets.digest("tkt_secreu")
    assert len(tickets.digest("tkt_\ud800")) == 64


@given(texts, st.floats(0, 2e9), st.lists(texts, max_size=3), st.builds(Stamp, texts, st.floats(0, 2e9)))
def test_claims_come_back_as_they_went(user: str, expires_at: float, topics: list[str], stamp: Stamp) -> None:
    claims = Claims(user, expires_at, tuple(topics), b'{"name":"x"}', stamp=stamp)
    assert tickets.unpack(tickets.pack(claims)) == claims


def test_one_of_an_earlier_release_counts_as_old() -> None:
    old = b'{"user":"alice","expires_at":5.0,"topics":[],"info":""}'
    assert tickets.unpack(old) == Claims("alice", 5.0, stamp=UNSTAMPED)
