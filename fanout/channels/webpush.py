"""Web Push: a message encrypted for one browser and handed to that browser's push service, wherever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from secrets import token_bytes
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from bus.clock import Clock
from bus.ece import AUTH_BYTES, SALT_BYTES, Receiver, Unreadable, encrypt, from_text
from bus.outcome import Done, Expired, Outcome, Rejected
from fanout.channels.delivery import Delivery
from fanout.channels.http import Answer
from fanout.channels.http1_client import Http1Client
from fanout.channels.push import parcel, told, unanswered
from fanout.channels.table import Table
from fanout.channels.vapid import Vapid
from fanout.channels.webpush_wire import HOSTS, LOOPBACK, content, headers, service_of, verdict

TIMEOUT: Final = 20.0
CONNECTIONS: Final = 256
"""Unless the settings say otherwise: one for each push that a worker has under way at most."""
KNOWN: Final = ("vapid_key", "subject", "hosts", "timeout", "connections")


class WebPush:
    """One VAPID identity at every push service. `hosts`: where endpoints may lead."""

    def __init__(
        self, name: str, http: Http1Client, clock: Clock, vapid: Vapid, hosts: tuple[str, ...], *, https_only: bool
    ) -> None:
        self.name = name
        self._http, self._clock, self._vapid, self._hosts, self._https_only = http, clock, vapid, hosts, https_only

    @classmethod
    def from_settings(cls, name: str, table: Mapping[str, Any], clock: Clock, *, allow_private: bool) -> Self:
        """From `[deliver.webpush.NAME]`: `vapid_key` and `subject`, and maybe `hosts`. Raises `BadSetting`."""
        given = Table(f"deliver.webpush.{name}", table, KNOWN)
        vapid = Vapid.of(given.text("vapid_key"), given.text("subject"))
        if isinstance(vapid, str):
            raise given.fault("vapid_key", f"or subject: {vapid}")
        http = Http1Client(
            allow_private=allow_private,
            timeout=given.number("timeout", TIMEOUT, 1, 60),
            connections=given.whole("connections", CONNECTIONS, 1, 1_000),
        )
        known = (*HOSTS, *LOOPBACK) if allow_private else HOSTS
        return cls(name, http, clock, vapid, given.texts("hosts", known), https_only=not allow_private)

    async def send(self, delivery: Delivery) -> Outcome:
        """See `Sender`."""
        found = parcel(delivery, "webpush")
        if isinstance(found, Rejected):
            return found
        now = self._clock.wall()
        if delivery.expires_at is not None and now >= delivery.expires_at:
            return Expired()
        endpoint = found.target.target
        origin = service_of(endpoint, self._hosts, https_only=self._https_only)
        if origin is None:
            return Rejected("not sent: the endpoint is at no push service that is known here")
        said = told(delivery, found.message)
        plaintext = content(said)
        # In step with the other pushes of this turn: an encryption between other work finds its code and tables gone
        # from the caches and takes twice as long (1,100 instead of 1,400 pushes per second of CPU, all in all).
        await asyncio.sleep(0)
        body = sealed(plaintext, found.target.keys)
        await asyncio.sleep(0)
        if isinstance(body, Unreadable):
            return Rejected(f"the subscription's keys are unusable: {body.reason}")
        sent = headers(delivery, said["tag"], self._vapid.authorization(origin, now), now)
        answer = await self._http.post(endpoint, headers=sent, body=body)
        if not isinstance(answer, Answer):
            return unanswered(answer)
        outcome = verdict(answer.status, answer.headers, self._clock.wall(), proven=self._vapid.proven(origin))
        if isinstance(outcome, Done):
            self._vapid.prove(origin)
        return outcome

    async def close(self) -> None:
        """See `Sender`."""
        await self._http.close()


def sealed(plaintext: bytes, keys: Mapping[str, str]) -> bytes | Unreadable:
    """Encrypted for the browser whose keys these are, with a key and a salt of its own."""
    public, auth = from_text(keys.get("p256dh", "")), from_text(keys.get("auth", ""))
    if public is None or auth is None or len(auth) != AUTH_BYTES:
        return Unreadable("they are not of their form")
    return encrypt(
        plaintext, Receiver(public, auth), key=generate_private_key(SECP256R1()), salt=token_bytes(SALT_BYTES)
    )
