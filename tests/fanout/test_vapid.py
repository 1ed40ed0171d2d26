"""VAPID: tokens that any push service takes, and none signed oftener than needed."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from hypothesis import given
from hypothesis import strategies as st

from bus.ece import from_text
from fanout.channels.vapid import KEPT, LIFETIME, RENEWAL, Vapid, generate, origin_of

NOW = 1_800_000_000.0
SERVICE = "https://push.example"


def made() -> Vapid:
    vapid = Vapid.of(generate()[0], "mailto:ops@shop.example")
    assert isinstance(vapid, Vapid)
    return vapid


def claims(header: str, origin: str) -> dict[str, Any]:
    """As a push service reads them: the key that signed is the one named beside (RFC 8292 §3)."""
    scheme, _, rest = header.partition(" ")
    parts = dict(part.split("=", 1) for part in rest.split(", "))
    assert scheme == "vapid"
    assert set(parts) == {"t", "k"}
    point = from_text(parts["k"])
    assert point is not None
    key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
    options: Any = {"verify_exp": False}
    return dict(jwt.decode(parts["t"], key, algorithms=["ES256"], audience=origin, options=options))


def test_a_token_says_for_whom_until_when_and_whom_to_ask() -> None:
    said = claims(made().authorization(SERVICE, NOW), SERVICE)
    assert said == {"aud": SERVICE, "exp": int(NOW + LIFETIME), "sub": "mailto:ops@shop.example"}
    assert LIFETIME <= 24 * 3600


def test_it_is_signed_once_per_service_until_it_grows_old() -> None:
    vapid = made()
    first = vapid.authorization(SERVICE, NOW)
    assert vapid.authorization(SERVICE, NOW + LIFETIME - RENEWAL - 1) == first
    assert vapid.authorization("https://other.example", NOW) != first
    later = NOW + LIFETIME - RENEWAL
    renewed = vapid.authorization(SERVICE, later)
    assert renewed != first
    assert claims(renewed, SERVICE)["exp"] == int(later + LIFETIME)


def test_a_service_that_took_a_token_is_remembered() -> None:
    vapid = made()
    vapid.prove(SERVICE)
    assert not vapid.proven(SERVICE)  # nothing was signed for it yet
    vapid.authorization(SERVICE, NOW)
    assert not vapid.proven(SERVICE)
    vapid.prove(SERVICE)
    assert vapid.proven(SERVICE)
    vapid.authorization(SERVICE, NOW + LIFETIME)
    assert vapid.proven(SERVICE)
    assert not vapid.proven("https://other.example")


def test_what_is_kept_is_bounded_and_the_busy_ones_stay() -> None:
    vapid = made()
    kept = vapid.authorization(SERVICE, NOW)
    first = vapid.authorization("https://s0.example", NOW)
    for n in range(1, KEPT):
        vapid.authorization(f"https://s{n}.example", NOW)
        vapid.authorization(SERVICE, NOW)
    assert vapid.authorization(SERVICE, NOW + 1) == kept
    assert vapid.authorization("https://s0.example", NOW) != first


def test_keys_of_settings() -> None:
    private, public = generate()
    vapid = Vapid.of(private, "https://shop.example/contact")
    assert isinstance(vapid, Vapid)
    assert vapid.public == public
    assert generate()[0] != private


@pytest.mark.parametrize(
    ("private", "subject", "about"),
    [
        ("", "mailto:a@b.example", "32 bytes"),
        ("not base64!", "mailto:a@b.example", "32 bytes"),
        ("A" * 42, "mailto:a@b.example", "32 bytes"),
        ("A" * 43, "mailto:a@b.example", "no private key"),
        ("_" * 42 + "8", "mailto:a@b.example", "no private key"),
        (None, "", "subject"),
        (None, "mailto:", "subject"),
        (None, "https://", "subject"),
        (None, "a@b.example", "subject"),
    ],
)
def test_settings_that_are_wrong(private: str | None, subject: str, about: str) -> None:
    if private is None:
        private = generate()[0]
    fault = Vapid.of(private, subject)
    assert isinstance(fault, str)
    assert about in fault
    assert not private or private not in fault


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://fcm.googleapis.com/fcm/send/abc", "https://fcm.googleapis.com"),
        ("https://Push.Example:443/x?y#z", "https://push.example"),
        ("https://push.example:8443/x", "https://push.example:8443"),
        ("http://127.0.0.1:80/", "http://127.0.0.1"),
        ("http://127.0.0.1:443", "http://127.0.0.1:443"),
        ("http://[::1]:9000/x", "http://[::1]:9000"),
    ],
)
def test_origins(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@given(st.floats(0, 4e9), st.lists(st.floats(0, 1e5), max_size=8))
def test_what_is_handed_out_is_always_good_for_an_hour(start: float, waits: list[float]) -> None:
    vapid, now = made(), start
    for wait in (0.0, *waits):
        now += wait
        left = claims(vapid.authorization(SERVICE, now), SERVICE)["exp"] - now
        assert RENEWAL - 1 <= left <= 24 * 3600
