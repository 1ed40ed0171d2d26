"""loadtest.tokens: what it signs, others verify."""

from __future__ import annotations

import jwt
import pytest

from loadtest.tokens import user_token

SECRET = "a-secret-of-thirty-two-bytes-or-more"


def test_a_token_is_one_that_a_library_accepts() -> None:
    token = user_token("alice", SECRET, expires_at=4_000_000_000, topics=("news:sport",))
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="tocsin", issuer="tocsin")
    assert claims == {
        "sub": "alice",
        "iss": "tocsin",
        "aud": "tocsin",
        "exp": 4_000_000_000,
        "topics": ["news:sport"],
    }


def test_another_secret_does_not_verify() -> None:
    token = user_token("alice", SECRET, expires_at=4_000_000_000)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, SECRET + "x", algorithms=["HS256"], audience="tocsin")
