"""Apple Push Notification service: one HTTP/2 connection to each of its two environments, opened when first needed."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from bus.clock import Clock
from bus.outcome import Expired, Outcome, Rejected
from fanout.channels import apns_wire
from fanout.channels.apns_token import ProviderToken
from fanout.channels.apns_wire import EXPIRED_TOKEN, reason_of
from fanout.channels.delivery import Delivery
from fanout.channels.h2_client import HTTPS, H2Client
from fanout.channels.http import Answer, Broken, Unreached
from fanout.channels.push import Parcel, parcel, unanswered
from fanout.channels.table import Table

PROD: Final = "prod"
SANDBOX: Final = "sandbox"
URLS: Final = {PROD: "https://api.push.apple.com", SANDBOX: "https://api.sandbox.push.apple.com"}
TIMEOUT: Final = 20.0
KNOWN: Final = (
    *("key", "key_file", "key_id", "team_id", "topic", "topics", "environment"),
    *("url", "sandbox_url", "ca_file", "timeout"),
)


class Apns:
    """One signing key. `topics`: the apps it sends to, the first one where a device names none."""

    def __init__(
        self,
        name: str,
        clients: Mapping[str, H2Client],
        clock: Clock,
        token: ProviderToken,
        topics: tuple[str, ...],
        environment: str,
    ) -> None:
        self.name = name
        self._clients, self._clock, self._token = clients, clock, token
        self._topics, self._environment = topics, environment

    @classmethod
    def from_settings(cls, name: str, table: Mapping[str, Any], clock: Clock, *, allow_private: bool) -> Self:
        """From `[deliver.apns.NAME]`: `key` or `key_file` (.p8), `key_id`, `team_id`, `topic`; maybe `topics` and
        `environment` (prod or sandbox). `allow_private` changes nothing: the addresses are the operator's own choice.
        Raises `BadSetting`.
        """
        given = Table(f"deliver.apns.{name}", table, KNOWN)
        token = ProviderToken.of(_key(given), given.text("key_id"), given.text("team_id"))
        if isinstance(token, str):
            raise given.fault("key", f"or its ids: {token}")
        environment = given.text("environment", PROD)
        if environment not in URLS:
            raise given.fault("environment", "must be prod or sandbox")
        timeout = given.number("timeout", TIMEOUT, 1, 60)
        tls = _tls(given)
        clients = {
            PROD: _client(given, "url", URLS[PROD], tls, timeout),
            SANDBOX: _client(given, "sandbox_url", URLS[SANDBOX], tls, timeout),
        }
        topics = tuple(dict.fromkeys((given.text("topic"), *given.texts("topics", ()))))
        return cls(name, clients, clock, token, topics, environment)

    async def send(self, delivery: Delivery) -> Outcome:
        """See `Sender`. The id of the delivery is the `apns-id`, the same at every attempt."""
        found = parcel(delivery, "apns")
        if isinstance(found, Rejected):
            return found
        now = self._clock.wall()
        if delivery.expires_at is not None and now >= delivery.expires_at:
            return Expired()
        topic = found.target.app or self._topics[0]
        client = self._clients.get(found.target.environment or self._environment)
        path = apns_wire.path(found.target.target)
        if topic not in self._topics or client is None or path is None:
            return Rejected("not sent: the device's app, environment or token is none that is known here")
        answer = await self._post(client, path, delivery, found, topic)
        if not isinstance(answer, Answer):
            return unanswered(answer)
        return apns_wire.verdict(
            answer.status,
            answer.headers,
            answer.body,
            self._clock.wall(),
            registered_at=found.target.registered_at,
            ordinary=client is self._clients[self._environment],
        )

    async def _post(
        self, client: H2Client, path: str, delivery: Delivery, found: Parcel, topic: str
    ) -> Answer | Unreached | Broken:
        """Send, and once more where Apple finds the provider token too old."""
        now = self._clock.wall()
        body = apns_wire.payload(delivery, found.message)
        token = self._token.text(now)
        sent = apns_wire.headers(delivery, found.message, topic, f"bearer {token}", now)
        answer = await client.post(path, headers=sent, body=body)
        if not isinstance(answer, Answer) or answer.status != 403 or reason_of(answer.body)[0] != EXPIRED_TOKEN:
            return answer
        renewed = self._token.renewed(token, self._clock.wall())
        if renewed is None:
            return answer
        return await client.post(path, headers={**sent, "authorization": f"bearer {renewed}"}, body=body)

    async def close(self) -> None:
        """See `Sender`."""
        for client in self._clients.values():
            await client.close()


# Settings --------------------------------------------------------------------------------------------------------


def _key(given: Table) -> str:
    """The signing key, which is in the settings or in a file that they name. Raises `BadSetting`."""
    text, path = given.text("key", ""), given.text("key_file", "")
    if bool(text) is bool(path):
        raise given.fault("key", "or key_file is required, and not both")
    if text:
        return text
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise given.fault("key_file", "cannot be read") from error


def _tls(given: Table) -> ssl.SSLContext:
    path = given.text("ca_file", "")
    try:
        context = ssl.create_default_context(cafile=path or None)
    except OSError as error:
        raise given.fault("ca_file", "cannot be read") from error
    context.set_alpn_protocols(["h2"])
    return context


def _client(given: Table, key: str, default: str, tls: ssl.SSLContext, timeout: float) -> H2Client:
    url = given.text(key, default)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or not url.startswith("https://"):
        raise given.fault(key, "must be a URL that begins with https://")
    return H2Client(host, port or HTTPS, tls, timeout=timeout)
