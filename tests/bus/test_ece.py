"""The encryption of push messages: the RFC's own example byte for byte, and what other implementations read of ours."""

from __future__ import annotations

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from hypothesis import given
from hypothesis import strategies as st

from bus import ece
from bus.ece import MAX_BODY, MAX_PLAINTEXT, Receiver, Unreadable, decrypt, encrypt, from_text, point_of, receiver

# RFC 8291 appendix A.
PLAINTEXT = b"When I grow up, I want to be a watermelon"
SENDER_PRIVATE = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
SENDER_PUBLIC = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
RECEIVER_PRIVATE = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
RECEIVER_PUBLIC = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
    "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def raw(text: str) -> bytes:
    found = from_text(text)
    assert found is not None
    return found


def private(text: str) -> ece.EllipticCurvePrivateKey:
    return derive_private_key(int.from_bytes(raw(text), "big"), SECP256R1())


SENDER, BROWSER = private(SENDER_PRIVATE), private(RECEIVER_PRIVATE)
TO = Receiver(raw(RECEIVER_PUBLIC), raw(AUTH))


def sealed(plaintext: bytes, salt: bytes = b"s" * 16) -> bytes:
    body = encrypt(plaintext, TO, key=SENDER, salt=salt)
    assert isinstance(body, bytes)
    return body


def test_the_example_of_the_rfc_byte_for_byte() -> None:
    assert point_of(SENDER) == raw(SENDER_PUBLIC)
    assert sealed(PLAINTEXT, raw(SALT)) == raw(BODY)
    assert decrypt(raw(BODY), BROWSER, raw(AUTH)) == PLAINTEXT


@given(st.binary(max_size=MAX_PLAINTEXT), st.binary(min_size=16, max_size=16))
def test_what_is_encrypted_is_read_again_here_and_elsewhere(plaintext: bytes, salt: bytes) -> None:
    body = sealed(plaintext, salt)
    assert len(body) == len(plaintext) + 103 <= MAX_BODY
    assert decrypt(body, BROWSER, TO.auth) == plaintext
    assert http_ece.decrypt(body, private_key=BROWSER, auth_secret=TO.auth, version="aes128gcm") == plaintext


def test_the_largest_message_fills_the_body() -> None:
    assert len(sealed(b"x" * MAX_PLAINTEXT)) == MAX_BODY
    with pytest.raises(AssertionError):
        sealed(b"x" * (MAX_PLAINTEXT + 1))


@given(st.binary(min_size=1, max_size=300))  # of nothing, that library makes no record at all
def test_what_another_implementation_encrypts_is_read(plaintext: bytes) -> None:
    body = http_ece.encrypt(
        plaintext, salt=b"t" * 16, private_key=SENDER, dh=TO.public, auth_secret=TO.auth, version="aes128gcm"
    )
    assert decrypt(body, BROWSER, TO.auth) == plaintext


def test_padding_is_taken_off_and_zeros_of_the_message_stay() -> None:
    assert decrypt(sealed(b"end\0\0"), BROWSER, TO.auth) == b"end\0\0"
    # What `encrypt` appends is the delimiter; a message that ends as padding does shows how it is found.
    assert decrypt(sealed(b"padded\x02\0\0"), BROWSER, TO.auth) == b"padded\x02\0\0"


@given(st.integers(0, 143), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place: int, change: int) -> None:
    body = bytearray(raw(BODY))
    body[place] ^= change
    found = decrypt(bytes(body), BROWSER, TO.auth)
    # The record size is no part of what is sealed (RFC 8188 §2.1): a larger one changes nothing.
    assert isinstance(found, Unreadable) or (16 <= place < 20 and found == PLAINTEXT)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no header with a P-256 point"),
        (raw(BODY)[:102], "no header with a P-256 point"),
        (raw(BODY)[:20] + b"\0" + raw(BODY)[21:], "no header with a P-256 point"),
        (raw(BODY)[:16] + b"\0\0\0\x12" + raw(BODY)[20:], "more than one record"),
        (raw(BODY)[:22] + b"\xff" * 64 + raw(BODY)[86:], "its point is not on P-256"),
        (raw(BODY)[:-1], "not encrypted for this key"),
    ],
)
def test_a_body_that_is_none(body: bytes, reason: str) -> None:
    assert decrypt(body, BROWSER, TO.auth) == Unreadable(reason)


@pytest.mark.parametrize("delimiter", [b"\x01", b"\0"])
def test_a_record_that_does_not_end(delimiter: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ece, "_LAST", delimiter[0])
    body = sealed(b"")
    monkeypatch.undo()
    assert decrypt(body, BROWSER, TO.auth) == Unreadable("no end of the last record")


def test_a_message_is_for_one_browser() -> None:
    assert isinstance(decrypt(raw(BODY), SENDER, TO.auth), Unreadable)
    assert isinstance(decrypt(raw(BODY), BROWSER, b"x" * 16), Unreadable)


def test_keys_as_browsers_give_them() -> None:
    assert receiver(RECEIVER_PUBLIC, AUTH) == TO
    assert receiver(RECEIVER_PUBLIC + "=", AUTH + "==") == TO
    assert receiver(RECEIVER_PUBLIC.replace("-", "+").replace("_", "/"), AUTH.replace("_", "/")) == TO


@pytest.mark.parametrize(
    ("p256dh", "auth", "about"),
    [
        ("", AUTH, "p256dh"),
        ("!" * 87, AUTH, "p256dh"),
        ("é" * 87, AUTH, "p256dh"),
        (RECEIVER_PUBLIC[:-1], AUTH, "p256dh"),
        (RECEIVER_PUBLIC + "AA", AUTH, "p256dh"),
        ("B" + "A" * 86, AUTH, "p256dh"),  # of the right length, and not on the curve
        ("A" + RECEIVER_PUBLIC[1:44], AUTH, "p256dh"),  # compressed
        (RECEIVER_PUBLIC, "", "auth"),
        (RECEIVER_PUBLIC, AUTH[:-2], "auth"),
        (RECEIVER_PUBLIC, AUTH + "A", "auth"),
    ],
)
def test_keys_that_are_none(p256dh: str, auth: str, about: str) -> None:
    found = receiver(p256dh, auth)
    assert isinstance(found, Unreadable)
    assert found.reason.startswith(about)


def test_a_point_off_the_curve_is_a_value_when_encrypting_too() -> None:
    to = Receiver(b"\x04" + b"\xff" * 64, TO.auth)
    assert isinstance(encrypt(b"x", to, key=SENDER, salt=b"s" * 16), Unreadable)


@given(st.binary(max_size=50))
def test_text_stands_for_the_same_bytes(data: bytes) -> None:
    assert from_text(ece.to_text(data)) == (data if data else None)
