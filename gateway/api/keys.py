"""API keys of producers and operators: known by their SHA-256 alone, each with the scopes it reaches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from starlette.datastructures import Headers

from bus.naming import name_fault
from bus.settings import BadSetting
from gateway.api.problem import Kind, Refusal
from gateway.ingest import CLIENT

DEFAULT_RATE: Final = 5_000.0
"""Events per second that a key may send to one node, unless its `rate` says otherwise."""
MAX_KEY: Final = 512
"""Longest key looked at, in characters; a longer one cannot be known."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Scope(Enum):
    """What a key may do."""

    EVENTS = "events"
    ADMIN = "admin"
    CONTACTS = "contacts"
    """Beside `admin`: people's addresses in the clear."""


@dataclass(frozen=True, slots=True)
class Producer:
    """Who a key belongs to. `rate` is events per second."""

    name: str
    scopes: frozenset[Scope]
    rate: float
    sources: frozenset[str] = frozenset()
    """Whose events these are beside those of its own name; empty: it was not said."""

    def may_send(self, source: str) -> bool:
        """Whether events of that source may come from it."""
        return not self.sources or self._owns(source)

    def may_ask(self, source: str) -> bool:
        """Whether it may see what became of events of that source, and withdraw them. What was not said is closed:
        with many keys, none may look at or take back the events of another."""
        return Scope.ADMIN in self.scopes or self._owns(source)

    def _owns(self, source: str) -> bool:
        return source == self.name or source in self.sources


class ApiKeys:
    """All keys of an installation, from `[gateway.api_keys.NAME]`. Raises `BadSetting`."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._known = tuple(_read(name, entry) for name, entry in table.items())

    def identify(self, headers: Headers, scope: Scope) -> Producer | Refusal:
        """Whose key a request carries, in `Authorization: Bearer` or `X-API-Key`, if it reaches `scope`."""
        presented = presented_key(headers)
        producer = self._find(presented) if presented else None
        if producer is None:
            return unauthenticated("give a known API key as Authorization: Bearer, or as X-API-Key")
        if scope not in producer.scopes:
            return Refusal(Kind.FORBIDDEN, f"this API key has not the scope {scope.value}")
        return producer

    def _find(self, presented: str) -> Producer | None:
        hashed = sha256(presented.encode("latin-1")).hexdigest()
        found = None
        for known, producer in self._known:
            # No early end: how long this takes must not tell how much of a hash was right, or whose.
            if compare_digest(known, hashed):
                found = producer
        return found


def presented_key(headers: Headers) -> str | None:
    """The credential of a request, its bytes as Latin-1, or None; `Authorization` goes first."""
    key = bearer(headers) or headers.get("x-api-key", "").strip()
    return key if key and len(key) <= MAX_KEY else None


def bearer(headers: Headers) -> str | None:
    """The token of `Authorization: Bearer …` (RFC 6750 §2.1), or None."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def unauthenticated(detail: str) -> Refusal:
    """401 with the challenge that RFC 9110 §11.6.1 asks for."""
    return Refusal(Kind.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": 'Bearer realm="tocsin"'})


def _read(name: str, entry: object) -> tuple[str, Producer]:
    where = f"gateway.api_keys.{name}"
    if name_fault(name) or name == CLIENT:
        raise BadSetting(f"{where}: a key may not have this name")
    if not isinstance(entry, Mapping):
        raise BadSetting(f"{where} must be a table with sha256 and scopes")
    if unknown := set(entry) - {"sha256", "scopes", "rate", "sources"}:
        raise BadSetting(f"{where} has no {min(unknown)}; it has: sha256, scopes, rate, sources")
    hashed = entry.get("sha256")
    if not isinstance(hashed, str) or not _SHA256.fullmatch(hashed):
        raise BadSetting(f"{where}.sha256 must be the SHA-256 of the key as 64 lower-case hex digits")
    scopes, rate = _scopes(where, entry.get("scopes")), _rate(where, entry.get("rate", DEFAULT_RATE))
    return hashed, Producer(name, scopes, rate, _sources(where, entry.get("sources", ())))


def _scopes(where: str, scopes: object) -> frozenset[Scope]:
    known = {scope.value: scope for scope in Scope}
    if not isinstance(scopes, list | tuple) or not scopes or not all(scope in known for scope in scopes):
        raise BadSetting(f"{where}.scopes must be a list of: {', '.join(known)}")
    return frozenset(known[scope] for scope in scopes)


def _sources(where: str, sources: object) -> frozenset[str]:
    if not isinstance(sources, list | tuple) or any(name_fault(source) for source in sources):
        raise BadSetting(f"{where}.sources must be a list of names of sources")
    return frozenset(sources)


def _rate(where: str, rate: object) -> float:
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not rate > 0:
        raise BadSetting(f"{where}.rate must be a number of events per second above 0")
    return float(rate)
