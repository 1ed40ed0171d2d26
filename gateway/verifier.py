"""Who is behind a token or a ticket. Most tokens are checked on the spot; a ticket costs one call to Redis, and a key
that is new to us one look at what the issuer publishes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from secrets import token_bytes

from bus.clock import Clock
from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Pipe, Reply
from bus.settings import BadSetting
from gateway import tickets
from gateway.auth import EXPIRED, INVALID, Rules, UnknownKey, in_time, verify
from gateway.effects import Claims, Denied, Failed, Verified
from gateway.jwks import PublishedKeys
from gateway.keyring import BadKey, Key, KeyRing, public_key, secret_key
from gateway.revocation import REFUSALS, Revocations
from gateway.settings import GatewaySettings
from gateway.verified import VerifiedTokens
from gateway.wire.codes import Error

OnVerified = Callable[[Verified | Denied | Failed], None]


class Verifier:
    """Checks tokens by the keys of the settings, tickets by Redis, and both by what was revoked: every way in leads
    through here."""

    def __init__(
        self, settings: GatewaySettings, clock: Clock, pipe: Pipe, keys: Keys, revocations: Revocations
    ) -> None:
        """By the settings. Raises `BadSetting` when a key cannot be used."""
        self._clock, self._pipe, self._keys, self._revocations = clock, pipe, keys, revocations
        self._rules = Rules(
            settings.token_issuer, settings.token_audience, settings.token_leeway, settings.token_lifetime
        )
        own = _own_keys(settings)
        self._ring = KeyRing(own)
        self._verified = VerifiedTokens(token_bytes(32))
        self.published: PublishedKeys | None = None
        """The issuer's keys, where it publishes them; whoever composes the node runs their `run`."""
        if settings.token_jwks_url:
            try:
                self.published = PublishedKeys(settings.token_jwks_url, own, clock)
            except BadKey as error:
                raise BadSetting(f"token_jwks_url: {error}") from error

    def verify(self, token: str, topic: str | None, later: OnVerified) -> Verified | Denied | None:
        """The answer at once, or None and `later` is called with it."""
        if topic is None and tickets.is_ticket(token):
            self._redeem(token, later)
            return None
        found = self._check(token, topic)
        if not isinstance(found, UnknownKey):
            return found
        published = self.published
        assert published is not None  # our own ring never grows
        if not published.want(lambda: later(self._known(token, topic, published))):
            return published.missing
        return None

    def _check(self, token: str, topic: str | None) -> Verified | Denied | UnknownKey:
        found = self._look(token, topic, self._clock.wall())
        return self._unless_revoked(found) if isinstance(found, Claims) else found

    def _look(self, token: str, topic: str | None, now: float) -> Claims | Denied | UnknownKey:
        """What the token grants. One that was verified before is only judged again."""
        ring = self._ring if self.published is None else self.published.ring
        self._verified.under(ring)
        known = self._verified.find(token, now)
        if known is not None:
            return in_time(known, self._rules, now) if known.topic == topic else INVALID
        found = verify(token, ring, self._rules, now, topic)
        if isinstance(found, Claims):
            self._verified.keep(token, found)
        return found

    def _unless_revoked(self, claims: Claims) -> Verified | Denied:
        verdict = self._revocations.judge(claims.user, claims.stamp)
        return Verified(claims) if verdict is None else Denied(REFUSALS[verdict])

    def _known(self, token: str, topic: str | None, published: PublishedKeys) -> Verified | Denied:
        """After the issuer's set was fetched: a key that is still unknown will stay so for a while."""
        found = self._check(token, topic)
        return published.missing if isinstance(found, UnknownKey) else found

    def _redeem(self, ticket: str, later: OnVerified) -> None:
        """A ticket is taken out as it is read, so it is good once however many try."""

        def answered(reply: Reply) -> None:
            if isinstance(reply, BusError):
                later(Failed(Error.INTERNAL))
            elif reply is None:
                later(EXPIRED)
            else:
                later(self._unless_revoked(tickets.unpack(reply)))

        self._pipe.post(("GETDEL", self._keys.ticket(tickets.digest(ticket))), answered)


def _own_keys(settings: GatewaySettings) -> list[Key]:
    keys: list[Key] = []
    try:
        if settings.token_secret:
            keys.append(secret_key(settings.token_secret.encode()))
        if settings.token_public_key:
            keys.append(public_key(Path(settings.token_public_key).read_bytes()))
    except BadKey as error:
        raise BadSetting(f"token_secret or token_public_key: {error}") from error
    except OSError as error:
        raise BadSetting(f"token_public_key: {error.strerror}") from error
    return keys
