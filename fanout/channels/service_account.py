"""A Google service account: what it signs to get an access token (RFC 7523), and what it gets for that. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bus.outcome import Misconfigured, Outcome, Unavailable

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
TOKEN_URI: Final = "https://oauth2.googleapis.com/token"
LIFETIME: Final = 3600
"""Seconds an assertion is good; Google allows no more."""
EARLY: Final = 300.0
"""Seconds before its end at which a token is replaced."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What the key file of a service account says, as far as it is needed."""

    project: str
    email: str
    key_id: str
    key: RSAPrivateKey = field(repr=False)
    token_uri: str = TOKEN_URI

    @classmethod
    def read(cls, text: str, *, token_uri: str = "") -> Self | str:
        """From the JSON of a key file; a text says what is wrong with it, and quotes nothing.

        `token_uri`: in place of the one in the file.
        """
        try:
            raw = orjson.loads(text)
            fields = {name: raw[name] for name in ("project_id", "client_email", "private_key_id", "private_key")}
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return (
                "is no key file of a service account: it has project_id, client_email, private_key_id and private_key"
            )
        if not all(isinstance(value, str) and value for value in fields.values()):
            return "has an empty field, or one that is no string"
        try:
            key = load_pem_private_key(fields["private_key"].encode(), None)
        except (ValueError, TypeError):
            return "has a private_key that cannot be read"
        if not isinstance(key, RSAPrivateKey):
            return "has a private_key that is not RSA"
        uri = token_uri or raw.get("token_uri") or TOKEN_URI
        if not isinstance(uri, str) or not uri.startswith(("https://", "http://")):
            return "has a token_uri that is no URL"
        return cls(fields["project_id"], fields["client_email"], fields["private_key_id"], key, uri)

    def assertion(self, now: float) -> str:
        """Who we are and what we want, signed. `now`: Unix time in seconds."""
        claims = {
            "iss": self.email,
            "scope": SCOPE,
            "aud": self.token_uri,
            "iat": int(now),
            "exp": int(now) + LIFETIME,
        }
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": self.key_id})


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token, and the Unix time from which on it is not used any more."""

    text: str = field(repr=False)
    renew_at: float


def granted(body: bytes, now: float) -> AccessToken | Outcome:
    """The token in an answer (RFC 6749 §5.1)."""
    try:
        answer: Mapping[str, Any] = orjson.loads(body)
        text, lifetime = answer["access_token"], float(answer.get("expires_in", LIFETIME))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        text, lifetime = None, 0.0
    if not isinstance(text, str) or not text:
        return Misconfigured("the token endpoint answered with no token")
    return AccessToken(text, now + max(lifetime - EARLY, lifetime / 2))


def refusal(status: int) -> Outcome:
    """Why there is no token: 4xx is about our key (RFC 6749 §5.2), all else passes."""
    if status in (408, 429) or status >= 500:
        return Unavailable(f"the token endpoint has trouble ({status})")
    return Misconfigured(f"the token endpoint does not accept our key ({status})")
