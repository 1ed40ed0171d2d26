"""Tokens made for development: what they claim, and that the ordinary rules of JWT accept them."""

from __future__ import annotations

import jwt
from hypothesis import given
from hypothesis import strategies as st

from gateway.mint import mint

SECRET = "s" * 32
NOW = 1_700_000_000.9


def claims(token: str) -> dict[str, object]:
    return jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_aud": False})


def test_names_its_user_issuer_audience_and_times() -> None:
    token = mint(SECRET, user="alice", issuer="i", audience="a", now=NOW, ttl=60)
    assert claims(token) == {"sub": "alice", "iss": "i", "aud": "a", "iat": 1_700_000_000, "exp": 1_700_000_060}


def test_carries_topics_and_info_only_when_given() -> None:
    token = mint(
        SECRET, user="a", issuer="i", audience="a", now=NOW, ttl=1, topics=["private:x"], info={"name": "Alice"}
    )
    assert claims(token)["topics"] == ["private:x"]
    assert claims(token)["info"] == {"name": "Alice"}
    assert "jti" not in claims(token)
    named = mint(SECRET, user="a", issuer="i", audience="a", now=NOW, ttl=1, jti="j1")
    assert claims(named)["jti"] == "j1"


@given(st.text(min_size=1).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_carries_any_name(user: str) -> None:
    assert claims(mint(SECRET, user=user, issuer="i", audience="a", now=NOW, ttl=1))["sub"] == user
