"""A token that comes again: its signature is believed, and nothing else."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bus.keys import Keys
from gateway import verifier as module
from gateway.auth import EXPIRED, INVALID
from gateway.effects import Claims, Denied, Failed, Verified
from gateway.jwks import FetchFailed
from gateway.keyring import Key
from gateway.revocation import Kept, Revocations, Token, User
from gateway.settings import GatewaySettings
from gateway.verifier import Verifier
from gateway.wire.codes import Disconnect, Error
from tests.gateway.signing import NOW, SECRET, published, token


class Hands:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


class Stand:
    """A verifier, and how often it looked at a signature."""

    def __init__(self, **settings: Any) -> None:
        self.clock, self.revocations = Hands(), Revocations()
        fixed: dict[str, Any] = {"token_secret": SECRET.decode(), "token_lifetime": 600.0}
        pipe: Any = None
        self.verifier = Verifier(
            GatewaySettings(**(fixed | settings)), self.clock, pipe, Keys("test", 4), self.revocations
        )

    def look(self, made: str, topic: str | None = None) -> Verified | Denied | None:
        def later(answer: Verified | Denied | Failed) -> None:
            raise AssertionError("known at once")

        return self.verifier.verify(made, topic, later)


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> list[Key]:
    """The keys that signatures were checked with."""
    checked: list[Key] = []
    verifies = Key.verifies

    def counted(key: Key, signed: bytes, signature: bytes) -> bool:
        checked.append(key)
        return verifies(key, signed, signature)

    monkeypatch.setattr(Key, "verifies", counted)
    return checked


def test_a_signature_is_checked_once(signatures: list[Key]) -> None:
    stand, made = Stand(), token(jti="j1", topics=["news:a"], info={"name": "A"})
    first = stand.look(made)
    assert isinstance(first, Verified)
    assert stand.look(made) == first
    assert len(signatures) == 1
    assert isinstance(stand.look(token(sub="bob")), Verified)
    assert len(signatures) == 2


def test_a_token_that_was_tampered_with_is_another(signatures: list[Key]) -> None:
    stand, made = Stand(), token()
    assert isinstance(stand.look(made), Verified)
    header, payload, signature = made.split(".")
    _, other, _ = token(sub="bob").split(".")
    for forged in (f"{header}.{other}.{signature}", f"{header}.{payload}.{signature[:-4]}AAAA", made + "A"):
        assert stand.look(forged) == INVALID
        assert stand.look(forged) == INVALID, "and a refusal is not kept either"
    assert isinstance(stand.look(made), Verified)
    assert len(signatures) > 6


def test_time_is_judged_each_time(signatures: list[Key]) -> None:
    stand, made = Stand(token_lifetime=60.0), token(nbf=NOW)
    assert isinstance(stand.look(made), Verified)
    stand.clock.now = NOW - 11
    assert stand.look(made) == INVALID, "not yet good by a clock that was set back"
    stand.clock.now = NOW + 69
    assert isinstance(stand.look(made), Verified), "within the leeway"
    stand.clock.now = NOW + 70
    assert stand.look(made) == EXPIRED
    assert stand.look(made) == EXPIRED
    stand.clock.now = NOW
    long_lived = token(exp=NOW + 60, sub="bob")
    assert isinstance(stand.look(long_lived), Verified)
    stand.clock.now = NOW - 20
    assert stand.look(long_lived) == INVALID, "longer than any may be"


def test_what_was_revoked_meanwhile_is_refused(signatures: list[Key]) -> None:
    stand, one, two = Stand(), token(jti="j1"), token(sub="bob", iat=NOW - 5)
    assert isinstance(stand.look(one), Verified)
    assert isinstance(stand.look(two), Verified)
    until = int((NOW + 600) * 1000)
    stand.revocations.take(Kept(Token("j1"), until), NOW)
    stand.revocations.take(Kept(User("bob", NOW), until), NOW)
    assert stand.look(one) == Denied(Disconnect.INVALID_TOKEN)
    assert stand.look(two) == Denied(Disconnect.INVALID_TOKEN)
    assert len(signatures) == 2


def test_a_token_for_a_topic_is_for_no_other_and_does_not_connect(signatures: list[Key]) -> None:
    stand, bound, plain = Stand(), token(channel="news:a"), token()
    assert isinstance(stand.look(bound, "news:a"), Verified)
    assert stand.look(bound, "news:b") == INVALID
    assert stand.look(bound) == INVALID
    assert isinstance(stand.look(plain), Verified)
    assert stand.look(plain, "news:a") == INVALID
    assert isinstance(stand.look(bound, "news:a"), Verified)
    assert len(signatures) == 2


async def test_a_key_that_is_no_longer_published_is_believed_no_more(
    signatures: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = Stand(token_jwks_url="https://issuer.example/keys")
    keys, sets = stand.verifier.published, [["RS256"], ["RS256"], [], ["ES256"]]
    assert keys is not None

    def fetch(url: str, clock: object) -> bytes:
        kinds = sets.pop(0)
        if not kinds:
            raise FetchFailed("away")
        return orjson.dumps({"keys": [published(kind, kid=kind) for kind in kinds]})

    monkeypatch.setattr(keys, "_fetch", fetch)
    made, own = token("RS256", {"kid": "RS256"}), token()
    await keys.fetch_once()
    assert isinstance(stand.look(made), Verified)
    assert isinstance(stand.look(own), Verified)
    for _ in range(2):  # the same set, and none
        await keys.fetch_once()
        assert isinstance(stand.look(made), Verified)
    assert len(signatures) == 2
    await keys.fetch_once()
    found = stand.verifier.verify(made, None, lambda answer: None)
    assert found is None or found == INVALID or found == Denied(Error.INTERNAL)
    assert isinstance(stand.look(own), Verified)
    assert len(signatures) == 3, "with the keys there are now"


def test_too_many_are_not_kept(signatures: list[Key], monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand()
    monkeypatch.setattr(stand.verifier, "_verified", module.VerifiedTokens(b"s", 2))
    those = [token(sub=f"user{number}") for number in range(3)]
    for made in those:
        found = stand.look(made)
        assert isinstance(found, Verified)
        assert isinstance(found.claims, Claims)
    assert isinstance(stand.look(those[2]), Verified)
    assert len(signatures) == 3
    assert isinstance(stand.look(those[0]), Verified)
    assert len(signatures) == 4
