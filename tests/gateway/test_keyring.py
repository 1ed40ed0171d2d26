"""Keys: each with one algorithm, none too weak, none of a kind that anybody could sign with."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.keyring import (
    ASYMMETRIC,
    MAX_TRIES,
    BadKey,
    Key,
    KeyRing,
    public_key,
    published_key,
    published_keys,
    secret_key,
)
from tests.gateway.signing import SECRET, private, private_pem, public_pem, published


def test_a_secret() -> None:
    assert secret_key(SECRET) == Key("HS256", SECRET)
    assert secret_key(SECRET * 2, "HS512", "k1").id == "k1"


@pytest.mark.parametrize("secret", [b"", SECRET[:31]])
def test_a_secret_too_short(secret: bytes) -> None:
    with pytest.raises(BadKey):
        secret_key(secret)
    with pytest.raises(BadKey):
        secret_key(SECRET, "HS384")


def test_a_public_key_is_no_secret() -> None:
    with pytest.raises(BadKey, match="asymmetric"):
        secret_key(public_pem("RS256"))
    with pytest.raises(BadKey, match="one of"):
        secret_key(SECRET, "RS256")


@pytest.mark.parametrize("kind", ["RS256", "ES256", "ES384", "EdDSA"])
def test_the_kind_of_a_public_key_decides_its_algorithm(kind: str) -> None:
    assert public_key(public_pem(kind)).algorithm == kind


@pytest.mark.parametrize("pem", [b"", b"hello", SECRET])
def test_no_public_key(pem: bytes) -> None:
    with pytest.raises(BadKey, match="in PEM"):
        public_key(pem)


def test_keys_that_will_not_do() -> None:
    with pytest.raises(BadKey, match="in PEM"):
        public_key(private_pem("ES256"))
    with pytest.raises(BadKey, match="too short"):
        public_key(public_pem("RSA1024"))
    for kind in ("Ed448", "ES256K"):
        with pytest.raises(BadKey, match="must be an RSA"):
            public_key(public_pem(kind))


def test_a_key_is_never_shown() -> None:
    assert repr(secret_key(SECRET, id="k1")) == "Key(HS256, id='k1')"


@pytest.mark.parametrize("kind", ["RS256", "ES256", "ES384", "EdDSA"])
def test_a_published_key(kind: str) -> None:
    key = published_key(published(kind, kid="k1", use="sig"))
    assert key is not None
    assert (key.algorithm, key.id) == (kind, "k1")


def test_the_algorithm_a_published_key_names() -> None:
    key = published_key(published("RS256", alg="PS256"))
    assert key is not None
    assert (key.algorithm, key.id) == ("PS256", None)


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "oct", "k": "AAAA", "alg": "HS256"},
        {"kty": "RSA", "n": "AQ", "e": "AQAB", "alg": "HS256"},
        {"kty": "RSA", "n": "AQ"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "RSA", "n": 1, "e": 2},
    ],
)
def test_no_published_key(jwk: dict[str, Any]) -> None:
    assert published_key(jwk) is None


def test_published_keys_that_will_not_do() -> None:
    assert published_key(published("RS256", use="enc")) is None
    assert published_key(published("RS256", alg="none")) is None
    assert published_key(published("RSA1024")) is None
    assert published_key(published("ES256K")) is None
    secret = published("EdDSA") | {"d": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
    assert published_key(secret) is None


@given(
    st.sampled_from(["RSA", "EC", "OKP"]),
    st.dictionaries(
        st.sampled_from(["alg", "crv", "n", "e", "x", "y", "d", "kid", "use", "p", "q"]),
        st.sampled_from(["RS256", "ES256", "EdDSA", "P-256", "Ed25519", "AQAB", "AA", "", "sig"])
        | st.integers()
        | st.none()
        | st.lists(st.text(max_size=3), max_size=2),
    ),
)
def test_no_published_key_raises(kty: str, members: dict[str, Any]) -> None:
    key = published_key({"kty": kty, **members})
    assert key is None or key.algorithm in ASYMMETRIC


def test_a_set() -> None:
    document = orjson.dumps({"keys": [published("ES256", kid="a"), 7, {"kty": "oct"}, published("EdDSA", kid=5)]})
    keys = published_keys(document)
    assert keys is not None
    assert [(key.algorithm, key.id) for key in keys] == [("ES256", "a"), ("EdDSA", None)]


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys":{}}', b"<html>"])
def test_no_set(document: bytes) -> None:
    assert published_keys(document) is None


def test_finding() -> None:
    shared, first, second = Key("HS256", b"s"), Key("RS256", 1, "a"), Key("RS256", 2, "b")
    ring = KeyRing([shared, first, second])
    assert ring.find("RS256", "a") == (first,)
    assert ring.find("RS256", None) == (first, second)
    assert ring.find("RS256", "c") == ()
    assert ring.find("HS256", "a") == (shared,), "a key without a name fits every name"
    assert ring.find("none", None) == ()
    assert ring.find("HS256", None) == (shared,)


def test_a_name_does_not_change_the_algorithm() -> None:
    ring = KeyRing([Key("RS256", 1, "a")])
    assert ring.find("HS256", "a") == ()


def test_few_keys_are_tried() -> None:
    ring = KeyRing([Key("RS256", i, str(i)) for i in range(50)])
    assert len(ring.find("RS256", None)) == MAX_TRIES


@pytest.mark.parametrize("kind", ["RS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("signature", [b"", b"x", b"x" * 64, b"\xff" * 256])
def test_a_signature_that_is_none_is_no_error(kind: str, signature: bytes) -> None:
    assert not public_key(public_pem(kind)).verifies(b"signed", signature)
    assert private(kind)
