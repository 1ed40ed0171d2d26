"""Webhooks, signed as Standard Webhooks asks: a person's events, POSTed to an address of theirs.

The URL comes from outside, so where it leads is checked as the connection is made, and no redirect is followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

import orjson

from bus.clock import Clock
from bus.outcome import Done, Expired, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled
from bus.settings import BadSetting
from fanout.channels.delivery import Delivery, Hook, HookTarget
from fanout.channels.http import Answer, Broken, Forbidden, Http, Result, Unreached, url_fault
from fanout.channels.retry_after import retry_after
from fanout.channels.signature import secret_fault, signed

TIMEOUT: Final = 20.0
"""Seconds; the specification asks for 15 to 30."""
CONNECTIONS: Final = 256
"""Unless the settings say otherwise: more than there are webhooks under way in a worker, for one that waited here for a
connection would be late, and its endpoint not to blame."""
THROTTLE: Final = 60.0
"""Seconds to leave an endpoint alone that says 429 and no time."""
KNOWN: Final = ("secret", "timeout", "https_only", "connections")


class Webhook:
    """`secret` signs for endpoints that have none of their own."""

    def __init__(self, name: str, http: Http, clock: Clock, secret: str, *, https_only: bool) -> None:
        self.name = name
        self._http, self._clock, self._secret, self._https_only = http, clock, secret, https_only

    @classmethod
    def from_settings(cls, name: str, table: Mapping[str, Any], clock: Clock, *, allow_private: bool) -> Self:
        """From `[deliver.webhook.NAME]`. Raises `BadSetting`."""
        where = f"deliver.webhook.{name}"
        if unknown := set(table) - set(KNOWN):
            raise BadSetting(f"{where} has no {min(unknown)}; it has: {', '.join(KNOWN)}")
        secret = table.get("secret", "")
        if not isinstance(secret, str) or (secret and (fault := secret_fault(secret))):
            raise BadSetting(f"{where}.secret {fault if isinstance(secret, str) else 'must be a string'}")
        timeout, connections = table.get("timeout", TIMEOUT), table.get("connections", CONNECTIONS)
        if type(timeout) not in (int, float) or not 0 < timeout <= 60:
            raise BadSetting(f"{where}.timeout must be seconds, above 0 and at most 60")
        if type(connections) is not int or not 1 <= connections <= 1_000:
            raise BadSetting(f"{where}.connections must be a whole number from 1 to 1000")
        https_only = table.get("https_only", not allow_private)
        if type(https_only) is not bool:
            raise BadSetting(f"{where}.https_only must be true or false")
        http = Http(allow_private=allow_private, timeout=timeout, connections=connections)
        return cls(name, http, clock, secret, https_only=https_only)

    async def send(self, delivery: Delivery) -> Outcome:
        """See `Sender`. The id of the delivery is the webhook's id, the same at every attempt."""
        target, message = delivery.target, delivery.message
        if not isinstance(target, HookTarget) or not isinstance(message, Hook):
            return Rejected("this is no webhook")
        now = self._clock.wall()
        if delivery.expires_at is not None and now >= delivery.expires_at:
            return Expired()
        secret = target.secret or self._secret
        if not secret:
            return Misconfigured("no secret to sign with: neither the endpoint nor this provider has one")
        if fault := secret_fault(secret):
            return Rejected(f"the endpoint's secret {fault}")
        if self._https_only and not target.url.startswith("https:"):
            return Rejected(url_fault(target.url, https_only=True) or "the URL must begin with https://")
        headers = {"Content-Type": message.content_type, **signed(secret, delivery.id, int(now), message.body)}
        result = await self._http.post(target.url, headers=headers, body=message.body)
        return outcome(result, self._clock.wall())

    async def close(self) -> None:
        """See `Sender`."""
        await self._http.close()


def outcome(result: Result, now: float) -> Outcome:
    """What an answer means (Standard Webhooks, "deliverability and reliability"): 2xx is success and nothing else is;
    410 ends it; 429 asks for less; all else may pass, and is tried again. `now`: Unix time in seconds."""
    match result:
        case Answer(status, _, _) if 200 <= status < 300:
            return Done()
        case Answer(410, _, _):
            return Gone("the endpoint says that it is gone (410)")
        case Answer(429, headers, _):
            after = retry_after(headers.get("retry-after"), now)
            return Throttled(THROTTLE if after is None else after, Scope.ENDPOINT)
        case Answer(status, headers, _):
            return Retry(f"the endpoint answered {status}", retry_after(headers.get("retry-after"), now))
        case Forbidden(reason):
            return Rejected(f"not sent: {reason}")
        case Unreached(reason):
            # Not `Unavailable`: the endpoint is this person's alone, so its absence is held against this delivery.
            return Retry(f"the endpoint was not reached: {reason}")
        case Broken(reason):
            return Retry(f"the endpoint did not answer: {reason}")


def payload(delivery_type: str, created_at: str, data: Mapping[str, Any]) -> bytes:
    """The body that the specification recommends: `type`, `timestamp`, `data`."""
    return orjson.dumps({"type": delivery_type, "timestamp": created_at, "data": data})
