"""Webhook signatures, judged by the official library."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from bus.clock import SystemClock
from fanout.channels.signature import secret_fault, signed

IDS = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)
KEYS = st.binary(min_size=24, max_size=64)


def secret_of(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def test_the_example_of_the_specification() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = signed(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(KEYS, IDS, st.text(st.characters(codec="utf-8"), max_size=200))
def test_the_official_library_accepts_every_signature(key: bytes, message: str, text: str) -> None:
    body = ("{" + text).encode()
    headers = dict(signed(secret_of(key), message, int(SystemClock().wall()), body))
    try:
        Webhook(secret_of(key)).verify(body, headers)
    except WebhookVerificationError:
        raise
    except ValueError:
        pass  # it was verified; what it then reads is not JSON


@given(KEYS, KEYS)
def test_a_receiver_may_know_either_of_two_secrets(old: bytes, new: bytes) -> None:
    headers = dict(signed(f"{secret_of(old)} {secret_of(new)}", "m", int(SystemClock().wall()), b"{}"))
    for key in (old, new):
        Webhook(secret_of(key)).verify(b"{}", headers)


def test_another_body_is_not_accepted() -> None:
    key = b"k" * 32
    headers = dict(signed(secret_of(key), "m", int(SystemClock().wall()), b'{"a":1}'))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(key)).verify(b'{"a":2}', headers)


@pytest.mark.parametrize("with_public", [False, True])
def test_an_asymmetric_secret_signs_so_that_its_public_key_verifies(with_public: bool) -> None:
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    raw = private.private_bytes_raw() + (public.public_bytes_raw() if with_public else b"")
    secret = "whsk_" + base64.b64encode(raw).decode()
    assert secret_fault(secret) is None
    version, _, signature = signed(secret, "m", 7, b"{}")["webhook-signature"].partition(",")
    assert version == "v1a"
    public.verify(base64.b64decode(signature), b"m.7.{}")


@pytest.mark.parametrize("key", [b"x" * 24, b"x" * 64])
def test_good_secrets(key: bytes) -> None:
    assert secret_fault(secret_of(key)) is None
    assert secret_fault(f"{secret_of(key)} {secret_of(b'y' * 32)}") is None


@pytest.mark.parametrize(
    "secret",
    [
        "",
        " ",
        "plain",
        "whsec_",
        "whsec_???",
        secret_of(b"x" * 23),
        secret_of(b"x" * 65),
        "whsk_" + base64.b64encode(b"x" * 31).decode(),
        secret_of(b"x" * 32) + " whsec_short",
    ],
)
def test_bad_secrets_are_told_without_quoting_them(secret: str) -> None:
    fault = secret_fault(secret)
    assert fault is not None
    assert "x" * 20 not in fault
    assert "???" not in fault
