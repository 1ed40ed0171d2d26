"""What a token grants: JSON Web Tokens (RFC 7519) in compact form (RFC 7515 §7.1), checked as RFC 8725 asks.

Pure: the time is an argument, and a key that is not here yet is an answer (`UnknownKey`), not a fetch. The signature is
checked before anything else in the token is believed.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Final

import orjson

from bus.naming import name_fault, topic_fault
from bus.tree import MAX_DEPTH, depth_of
from gateway.effects import UNSTAMPED, Claims, Denied, Stamp
from gateway.keyring import ASYMMETRIC, Key, KeyRing
from gateway.wire.codes import Disconnect, Error

MAX_TOKEN: Final = 8_192
"""Longest token, in bytes."""
MAX_KEY_NAME: Final = 256
MAX_ID: Final = 256
"""Longest `jti`, in characters."""
MAX_TIME: Final = 253_402_300_800.0
"""Unix time of the year 10000: what lies beyond is no date."""
TYPES: Final = ("jwt", "at+jwt", "application/jwt", "application/at+jwt")

_COMPACT: Final = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """The token names a key that is not in the ring, but may be in the issuer's set by now."""

    id: str | None


@dataclass(frozen=True, slots=True)
class Rules:
    """What every token must say. Times in seconds."""

    issuer: str
    audience: str
    leeway: float = 10.0
    """By how much clocks may differ."""
    longest: float = inf
    """How long a token may still be good: a revocation is not kept for longer."""


@dataclass(frozen=True, slots=True)
class _Token:
    header: Mapping[str, Any]
    payload: bytes
    signed: bytes
    signature: bytes


INVALID: Final = Denied(Disconnect.INVALID_TOKEN)
EXPIRED: Final = Denied(Error.TOKEN_EXPIRED)


def verify(
    token: str, ring: KeyRing, rules: Rules, now: float, topic: str | None = None
) -> Claims | Denied | UnknownKey:
    """What `token` grants at Unix time `now`.

    `topic` None: a connection token, which names no channel. Else a subscription token, whose claim `channel` is
    exactly this topic. A token whose only fault is its age is `Denied(Error.TOKEN_EXPIRED)`, so that clients fetch
    another.
    """
    parsed = _split(token)
    if parsed is None:
        return INVALID
    keys = _keys(parsed.header, ring)
    if not isinstance(keys, tuple):
        return keys
    if not any(key.verifies(parsed.signed, parsed.signature) for key in keys):
        return INVALID
    try:
        payload = orjson.loads(parsed.payload)
    except orjson.JSONDecodeError:
        return INVALID
    claims = _claims(payload, rules, topic) if type(payload) is dict else None
    return INVALID if claims is None else in_time(claims, rules, now)


def in_time(claims: Claims, rules: Rules, now: float) -> Claims | Denied:
    """The claims of a token whose signature and form are in order, if they hold at Unix time `now`."""
    if claims.begins > now + rules.leeway or claims.expires_at > now + rules.longest + rules.leeway:
        return INVALID
    return claims if now < claims.expires_at + rules.leeway else EXPIRED


# The envelope ----------------------------------------------------------------------------------------------------


def _split(token: str) -> _Token | None:
    if len(token) > MAX_TOKEN or (parts := _COMPACT.fullmatch(token)) is None:
        return None
    try:
        header = orjson.loads(_decode(parts[1]))
        payload, signature = _decode(parts[2]), _decode(parts[3])
    except (binascii.Error, orjson.JSONDecodeError):
        return None
    if type(header) is not dict:
        return None
    return _Token(header, payload, token[: parts.end(2)].encode(), signature)


def _decode(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _keys(header: Mapping[str, Any], ring: KeyRing) -> tuple[Key, ...] | Denied | UnknownKey:
    # We understand no extension, so a token that has critical ones is refused (RFC 7515 §4.1.11, RFC 7797 §6).
    if "crit" in header or "b64" in header:
        return INVALID
    kind = header.get("typ", "JWT")
    if type(kind) is not str or kind.lower() not in TYPES:
        return INVALID
    algorithm, id = header.get("alg"), header.get("kid")
    if type(algorithm) is not str or not (id is None or (type(id) is str and len(id) <= MAX_KEY_NAME)):
        return INVALID
    if keys := ring.find(algorithm, id):
        return keys
    return UnknownKey(id) if ring.growing and algorithm in ASYMMETRIC else INVALID


# The claims ------------------------------------------------------------------------------------------------------


def _claims(payload: Mapping[str, Any], rules: Rules, topic: str | None) -> Claims | None:
    user, expires_at, begins = payload.get("sub"), _time(payload.get("exp")), _begins(payload)
    if not isinstance(user, str) or name_fault(user) or expires_at is None or begins is None:
        return None
    topics, info, stamp = payload.get("topics", []), payload.get("info"), _stamp(payload)
    if not _is_meant_for_us(payload, rules) or not _are_topics(topics) or stamp is None:
        return None
    if payload.get("channel") != topic or depth_of(info) > MAX_DEPTH:
        return None
    said = b"" if info is None else orjson.dumps(info)
    return Claims(user, expires_at, tuple(topics), said, topic, stamp, begins)


def _stamp(payload: Mapping[str, Any]) -> Stamp | None:
    """Its id and age; `iat` is a date here, for `_begins` said so."""
    jti, issued_at = payload.get("jti", ""), payload.get("iat", 0)
    if not isinstance(jti, str) or len(jti) > MAX_ID:
        return None
    return Stamp(jti, float(issued_at)) if jti or issued_at else UNSTAMPED


def _is_meant_for_us(payload: Mapping[str, Any], rules: Rules) -> bool:
    """Issuer and audience are compared whole: a part of a name is another name."""
    audience = payload.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    return payload.get("iss") == rules.issuer and rules.audience in audiences


def _begins(payload: Mapping[str, Any]) -> float | None:
    """The later of `nbf` and `iat`, 0.0 where it has neither; None where one is no date."""
    moments = [_time(payload[name]) for name in ("nbf", "iat") if name in payload]
    return None if None in moments else max([moment for moment in moments if moment is not None], default=0.0)


def _are_topics(topics: object) -> bool:
    return isinstance(topics, list) and not any(topic_fault(topic) for topic in topics)


def _time(value: object) -> float | None:
    """A NumericDate (RFC 7519 §2), or None when it is no date."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if isfinite(value) and 0 <= value < MAX_TIME else None
