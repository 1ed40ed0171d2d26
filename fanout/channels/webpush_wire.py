"""What a Web Push request says and what its answer means (RFC 8030), apart from the encryption. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from bus.ece import MAX_PLAINTEXT
from bus.outcome import Done, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled
from fanout.channels.delivery import Delivery
from fanout.channels.push import THROTTLE
from fanout.channels.retry_after import retry_after
from fanout.channels.vapid import origin_of

HOSTS: Final = (
    "fcm.googleapis.com",
    "android.googleapis.com",
    "*.push.services.mozilla.com",
    "*.notify.windows.com",
    "*.push.apple.com",
)
"""The push services of Chrome, Firefox, Edge and Safari: where endpoints of real browsers lead."""
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
"""Where the pretend phones of a development gateway are."""
MAX_TTL: Final = 28 * 86_400
"""Seconds; Google's service refuses more."""

_FINAL: Final[Mapping[int, Outcome]] = {
    404: Gone("the push service does not know the subscription (404)"),
    410: Gone("the push service says that the subscription is over (410)"),
    413: Rejected("the push service takes less than 4,096 bytes (413)"),
}


def content(said: Mapping[str, Any]) -> bytes:
    """What is encrypted. Where it does not fit, it goes out thin: the id and the tag, and the app asks for the rest."""
    full = orjson.dumps(said)
    if len(full) <= MAX_PLAINTEXT:
        return full
    return orjson.dumps({"id": said["id"], "tag": said["tag"], "thin": True})


def headers(delivery: Delivery, tag: str, authorization: str, now: float) -> dict[str, str]:
    """Of a push request (RFC 8030 §5). `now`: Unix time in seconds."""
    return {
        "Authorization": authorization,
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": str(delivery.lifetime(now, MAX_TTL)),
        "Urgency": delivery.event.priority,
        "Topic": tag,
    }


def service_of(endpoint: str, hosts: tuple[str, ...], *, https_only: bool) -> str | None:
    """Origin of the push service where an endpoint is, or None where it is at none of these hosts.

    Endpoints come from outside. `*.x` stands for all hosts below x.
    """
    end = endpoint.find("/", len("https://"))
    # All before the path is the same for everyone whose browser is of one maker.
    return _service(endpoint[:end], hosts, https_only) if end > 0 else None


@lru_cache(maxsize=1_024)
def _service(front: str, hosts: tuple[str, ...], https_only: bool) -> str | None:
    try:
        parts = urlsplit(front)
        origin = origin_of(front)
    except ValueError:
        return None
    if parts.scheme not in (("https",) if https_only else ("https", "http")) or "@" in parts.netloc:
        return None
    host = parts.hostname or ""
    known = any(host.endswith(one[1:]) if one.startswith("*.") else host == one for one in hosts)
    return origin if known else None


def verdict(status: int, found: Mapping[str, str], now: float, *, proven: bool) -> Outcome:
    """What an answer means. Only 404 and 410 say that a subscription is over (RFC 8030 §7.3).

    `found`: the answer's headers. `proven`: this service has taken what we signed, so that its 401 or 403 is about one
    subscription, made for another key than ours, and not about us: else anyone who brings such a subscription could
    make us pause for everyone.
    """
    if 200 <= status < 300:
        return Done()
    if status in (401, 403):
        if proven:
            return Rejected(f"the subscription was made for another key than ours ({status})")
        return Misconfigured(f"the push service does not accept our VAPID key ({status})")
    after = retry_after(found.get("retry-after"), now)
    if status == 429:
        return Throttled(THROTTLE if after is None else after, Scope.ENDPOINT)
    if status == 408 or status >= 500:
        return Retry(f"the push service has trouble ({status})", after)
    return _FINAL.get(status) or Rejected(f"the push service does not accept the request ({status})")
