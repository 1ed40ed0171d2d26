"""The keys that tokens may be signed with, parsed once, each with one fixed algorithm.

A token's header picks among keys that are already here; it never chooses an algorithm, brings a key, or names where to
fetch one (RFC 8725 §3.1, §3.5, §3.10).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK, PyJWTError
from jwt.algorithms import Algorithm, get_default_algorithms

SYMMETRIC: Final = frozenset(("HS256", "HS384", "HS512"))
ASYMMETRIC: Final = frozenset(
    ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
)
MAX_TRIES: Final = 4
"""Most keys a token without a `kid` is tried with."""

MAX_PUBLISHED: Final = 100
"""Most keys taken from a published set."""

_ALGORITHMS: Final[Mapping[str, Algorithm]] = get_default_algorithms()
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class BadKey(ValueError):
    """A key cannot be used; the text says why, and never shows it."""


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """One key with its one algorithm. `id` is what a token calls it by (`kid`), where it has a name."""

    algorithm: str
    material: Any
    id: str | None = None

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Whether this key made this signature."""
        return _ALGORITHMS[self.algorithm].verify(signed, self.material, signature)

    def __repr__(self) -> str:
        return f"Key({self.algorithm}, id={self.id!r})"


def secret_key(secret: bytes, algorithm: str = "HS256", id: str | None = None) -> Key:
    """A shared secret. Raises `BadKey` when it is shorter than its hash (RFC 7518 §3.2), or a public key, which
    everybody has and could sign with."""
    if algorithm not in SYMMETRIC:
        raise BadKey(f"a secret needs one of {', '.join(sorted(SYMMETRIC))}")
    try:
        material = _ALGORITHMS[algorithm].prepare_key(secret)
    except PyJWTError as error:
        raise BadKey("the secret must not be empty or an asymmetric key") from error
    return Key(algorithm, _long_enough(algorithm, material), id)


def public_key(pem: bytes, id: str | None = None) -> Key:
    """A public key in PEM; its kind decides the algorithm: RSA RS256, P-256/384/521 ES256/384/512, Ed25519 EdDSA.
    Raises `BadKey`."""
    try:
        material = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKey("it must be a public key in PEM") from error
    match material:
        case RSAPublicKey():
            return Key("RS256", _long_enough("RS256", material), id)
        case EllipticCurvePublicKey() if material.curve.name in _CURVES:
            return Key(_CURVES[material.curve.name], material, id)
        case Ed25519PublicKey():
            return Key("EdDSA", material, id)
        case _:
            raise BadKey("it must be an RSA, P-256, P-384, P-521 or Ed25519 key")


def published_key(jwk: Mapping[str, Any]) -> Key | None:
    """A member of a published key set (RFC 7517), or None when it is not one that may sign tokens for us."""
    algorithm = jwk.get("alg")
    if jwk.get("use", "sig") != "sig" or jwk.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    if algorithm is not None and not (isinstance(algorithm, str) and algorithm in ASYMMETRIC):
        return None
    try:
        parsed = PyJWK(dict(jwk))
        material = _long_enough(parsed.algorithm_name, parsed.key)
    except (PyJWTError, BadKey):
        return None
    if parsed.algorithm_name not in ASYMMETRIC or hasattr(material, "private_bytes"):
        return None
    id = jwk.get("kid")
    return Key(parsed.algorithm_name, material, id if isinstance(id, str) else None)


def published_keys(document: bytes) -> tuple[Key, ...] | None:
    """The usable keys of a published set (RFC 7517 §5), or None when it is no such set."""
    try:
        raw = orjson.loads(document)
    except orjson.JSONDecodeError:
        return None
    members = raw.get("keys") if isinstance(raw, dict) else None
    if not isinstance(members, list):
        return None
    found = (published_key(member) for member in members[:MAX_PUBLISHED] if isinstance(member, dict))
    return tuple([key for key in found if key is not None])


def _long_enough(algorithm: str, material: Any) -> Any:
    if _ALGORITHMS[algorithm].check_key_length(material) is not None:
        raise BadKey(f"the key is too short for {algorithm}")
    return material


class KeyRing:
    """Keys to look among. `growing`: an unknown name may still turn up, for the set is fetched from an issuer."""

    def __init__(self, keys: Iterable[Key], *, growing: bool = False) -> None:
        self.growing = growing
        self._named: dict[tuple[str, str], Key] = {}
        self._by_algorithm: dict[str, list[Key]] = {}
        for key in keys:
            self._by_algorithm.setdefault(key.algorithm, []).append(key)
            if key.id is not None:
                self._named.setdefault((key.id, key.algorithm), key)

    def find(self, algorithm: str, id: str | None) -> tuple[Key, ...]:
        """The keys a token may be signed with: the one it names; without a name, those of the algorithm it says.
        A key that has no name fits every name."""
        known = self._by_algorithm.get(algorithm, [])
        if id is None:
            return tuple(known[:MAX_TRIES])
        if (named := self._named.get((id, algorithm))) is not None:
            return (named,)
        return tuple([key for key in known if key.id is None][:MAX_TRIES])
