"""Service accounts: key files, what is signed with them, and what the token endpoint says."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bus.outcome import Misconfigured, Outcome, Unavailable
from fanout.channels.service_account import EARLY, SCOPE, TOKEN_URI, AccessToken, ServiceAccount, granted, refusal

NOW = 1_800_000_000.0


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def key_file(**changes: Any) -> str:
    fields = {
        "project_id": "shop-1234",
        "client_email": "push@shop-1234.iam.gserviceaccount.com",
        "private_key_id": "k1",
        "private_key": pem(rsa_key()),
    }
    return json.dumps(fields | changes)


def read(text: str, token_uri: str = "") -> ServiceAccount:
    account = ServiceAccount.read(text, token_uri=token_uri)
    assert isinstance(account, ServiceAccount)
    return account


def test_what_is_signed_is_what_google_asks_for() -> None:
    said = read(key_file()).assertion(NOW)
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(said, rsa_key().public_key(), algorithms=["RS256"], audience=TOKEN_URI, options=options)
    assert claims == {
        "iss": "push@shop-1234.iam.gserviceaccount.com",
        "scope": SCOPE,
        "aud": TOKEN_URI,
        "iat": int(NOW),
        "exp": int(NOW) + 3600,
    }
    assert jwt.get_unverified_header(said)["kid"] == "k1"


def test_where_tokens_are_had() -> None:
    assert read(key_file(token_uri="https://a.example/t")).token_uri == "https://a.example/t"
    assert read(key_file(token_uri="https://a.example/t"), "https://b.example/t").token_uri == "https://b.example/t"
    assert read(key_file(token_uri=None)).token_uri == TOKEN_URI


def test_the_key_is_not_shown() -> None:
    assert "PRIVATE" not in repr(read(key_file()))
    assert "t0ken" not in repr(AccessToken("t0ken", NOW))


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("", "no key file"),
        ("[]", "no key file"),
        ("7", "no key file"),
        ('{"project_id": "x"}', "no key file"),
        (key_file(project_id=""), "empty field"),
        (key_file(client_email=7), "no string"),
        (key_file(private_key="s3cret"), "cannot be read"),
        (key_file(private_key=pem(ec.generate_private_key(ec.SECP256R1()))), "not RSA"),
        (key_file(token_uri="s3cret"), "no URL"),
        (key_file(token_uri=["s3cret"]), "no URL"),
    ],
)
def test_key_files_that_are_none(text: str, about: str) -> None:
    fault = ServiceAccount.read(text)
    assert isinstance(fault, str)
    assert about in fault
    assert "s3cret" not in fault


@pytest.mark.parametrize(
    ("body", "renew_at"),
    [
        (b'{"access_token":"t","expires_in":3599}', NOW + 3599 - EARLY),
        (b'{"access_token":"t","expires_in":"3600"}', NOW + 3600 - EARLY),
        (b'{"access_token":"t"}', NOW + 3600 - EARLY),
        (b'{"access_token":"t","expires_in":60}', NOW + 30),
    ],
)
def test_a_token_is_replaced_before_its_end(body: bytes, renew_at: float) -> None:
    assert granted(body, NOW) == AccessToken("t", renew_at)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"access_token":7}', b'{"access_token":""}', b'{"access_token":"t","expires_in":"x"}']
)
def test_an_answer_with_no_token(body: bytes) -> None:
    assert isinstance(granted(body, NOW), Misconfigured)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Misconfigured),
        (401, Misconfigured),
        (403, Misconfigured),
        (404, Misconfigured),
        (302, Misconfigured),
        (408, Unavailable),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
def test_why_there_is_no_token(status: int, kind: type[Outcome]) -> None:
    assert isinstance(refusal(status), kind)
