"""Provider tokens: what Apple checks of them, and how seldom they change."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from fanout.channels.apns_token import LEAST, REUSED, ProviderToken

NOW = 1_800_000_000.0
KEY = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def made() -> ProviderToken:
    token = ProviderToken.of(pem(KEY), "ABC123DEFG", "TEAM123456")
    assert isinstance(token, ProviderToken)
    return token


def issued(text: str) -> int:
    options: Any = {"verify_iat": False}
    claims = jwt.decode(text, KEY.public_key(), algorithms=["ES256"], options=options)
    assert set(claims) == {"iss", "iat"}
    assert claims["iss"] == "TEAM123456"
    assert jwt.get_unverified_header(text)["kid"] == "ABC123DEFG"
    return int(claims["iat"])


def test_it_is_signed_anew_after_fifty_minutes() -> None:
    token = made()
    first = token.text(NOW)
    assert issued(first) == int(NOW)
    assert token.text(NOW + REUSED - 1) == first
    assert issued(token.text(NOW + REUSED)) == int(NOW + REUSED)


def test_a_clock_that_was_set_back_makes_a_new_one() -> None:
    token = made()
    token.text(NOW)
    assert issued(token.text(NOW - 100)) == int(NOW - 100)


def test_one_that_was_refused_is_replaced_unless_that_is_punished() -> None:
    token = made()
    first = token.text(NOW)
    assert token.renewed(first, NOW + LEAST - 1) is None
    second = token.renewed(first, NOW + LEAST)
    assert second not in (None, first)
    # Others who were refused with the first one share the second.
    assert token.renewed(first, NOW + LEAST) == second


@given(st.lists(st.floats(0, 7_200), max_size=20))
def test_never_too_old_and_never_too_often(waits: list[float]) -> None:
    token, now, changes, last = made(), NOW, [], ""
    for wait in (0.0, *waits):
        now += wait
        text = token.text(now)
        assert now - issued(text) < 3_600
        if text != last:
            changes.append(now)
        last = text
    assert all(later - earlier >= LEAST for earlier, later in pairwise(changes))


@pytest.mark.parametrize(
    ("key", "key_id", "team_id", "about"),
    [
        (pem(KEY), "short", "TEAM123456", "key_id"),
        (pem(KEY), "ABC123DEFG", "TEAM-12345", "team_id"),
        (pem(KEY), "ÄBC123DEFG", "TEAM123456", "key_id"),
        ("s3cret", "ABC123DEFG", "TEAM123456", "cannot be read"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "ABC123DEFG", "TEAM123456", "not of P-256"),
        (pem(ed25519.Ed25519PrivateKey.generate()), "ABC123DEFG", "TEAM123456", "not of P-256"),
    ],
)
def test_settings_that_are_wrong(key: str, key_id: str, team_id: str, about: str) -> None:
    fault = ProviderToken.of(key, key_id, team_id)
    assert isinstance(fault, str)
    assert about in fault
    assert "s3cret" not in fault
