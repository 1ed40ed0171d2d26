"""Keys and tokens for tests: made once, for making an RSA key takes a while."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import get_default_algorithms

NOW = 1_800_000_000.0
SECRET = b"0123456789abcdef0123456789abcdef"
CLAIMS = {"sub": "alice", "iss": "tocsin", "aud": "tocsin", "exp": NOW + 60}


@cache
def private(kind: str) -> Any:
    """A private key: RS256, RSA1024, ES256, ES384, ES256K, EdDSA or Ed448."""
    match kind:
        case "RS256":
            return rsa.generate_private_key(65_537, 2_048)
        case "RSA1024":
            return rsa.generate_private_key(65_537, 1_024)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
        case "ES256K":
            return ec.generate_private_key(ec.SECP256K1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case "Ed448":
            return ed448.Ed448PrivateKey.generate()
    raise ValueError(kind)


def public_pem(kind: str) -> bytes:
    pem: bytes = private(kind).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def private_pem(kind: str) -> bytes:
    pem: bytes = private(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def published(kind: str, **members: Any) -> dict[str, Any]:
    """The public key as a member of a key set."""
    name = {"RSA1024": "RS256", "Ed448": "EdDSA"}.get(kind, kind)
    jwk = get_default_algorithms()[name].to_jwk(private(kind).public_key(), as_dict=True)
    return {**jwk, **members}


def token(kind: str = "HS256", header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token with the usual claims, some changed; a claim that is ... is left out."""
    payload = {name: value for name, value in (CLAIMS | claims).items() if value is not ...}
    key = SECRET if kind == "HS256" else private(kind)
    return jwt.encode(payload, key, kind, headers=header)


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(header: Any, payload: Any, algorithm: str = "HS256", key: bytes = SECRET) -> str:
    """A token whose parts are whatever one likes, signed all the same."""
    signed = f"{encoded(header)}.{encoded(payload)}"
    signature = get_default_algorithms()[algorithm].sign(signed.encode(), key)
    return f"{signed}.{encoded(signature)}"
