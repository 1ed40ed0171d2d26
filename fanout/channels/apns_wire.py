"""What an APNs request says and what its answer means. Pure.

Sources: Apple's "Sending notification requests to APNs" and "Handling notification responses from APNs".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import orjson

from bus.outcome import Done, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled
from fanout.channels.delivery import Delivery, Push
from fanout.channels.push import THROTTLE, shortened, tag_of, told
from fanout.channels.retry_after import retry_after

MAX_PAYLOAD: Final = 4_096
MAX_TTL: Final = 30 * 86_400
"""Seconds: APNs keeps a notification for 30 days at most."""
TOO_MANY_TOKENS: Final = 20 * 60.0
"""Seconds to be silent when Apple has seen too many provider tokens."""
EXPIRED_TOKEN: Final = "ExpiredProviderToken"
MAX_TOKEN: Final = 200
"""Characters of a device token; Apple says no length, and may change it."""

_PRIORITIES: Final = {"low": "5", "normal": "10", "high": "10"}
_HEX: Final = frozenset("0123456789abcdefABCDEF")


# The request -----------------------------------------------------------------------------------------------------


def path(token: str) -> str | None:
    """Where a request for a device goes; None where the token, which comes from outside, is none."""
    return f"/3/device/{token}" if 0 < len(token) <= MAX_TOKEN and _HEX.issuperset(token) else None


def headers(delivery: Delivery, message: Push, topic: str, authorization: str, now: float) -> dict[str, str]:
    """Of a request. `topic`: the app's bundle id; `now`: Unix time in seconds."""
    return {
        "authorization": authorization,
        "apns-topic": topic,
        "apns-push-type": "background" if message.withdrawn else "alert",
        # Apple: a background push must have 5.
        "apns-priority": "5" if message.withdrawn else _PRIORITIES[delivery.event.priority],
        "apns-expiration": str(int(now) + delivery.lifetime(now, MAX_TTL)),
        "apns-collapse-id": tag_of(delivery.collapse),
        "apns-id": str(UUID(hex=delivery.id)),
        "content-type": "application/json",
    }


def payload(delivery: Delivery, message: Push) -> bytes:
    """Body of a request: an alert with the app's own data beside it, or the withdrawal of one, which shows nothing."""
    said = told(delivery, message)
    if message.withdrawn:
        return orjson.dumps({"aps": {"content-available": 1}, **said})
    quiet = delivery.event.priority == "low"
    full = _alert(said, quiet)
    return full if len(full) <= MAX_PAYLOAD else _alert(shortened(said), quiet)


def _alert(said: Mapping[str, Any], quiet: bool) -> bytes:
    aps: dict[str, Any] = {"alert": {"title": said["title"], "body": said["body"]}}
    if not quiet:
        aps["sound"] = "default"
    own = {name: value for name, value in said.items() if name not in ("title", "body")}
    return orjson.dumps({"aps": aps, **own})


# The answer ------------------------------------------------------------------------------------------------------


def reason_of(body: bytes) -> tuple[str, float | None]:
    """Apple's reason, and since when a token is invalid (Unix time in seconds)."""
    try:
        found = orjson.loads(body)
        reason, stamp = str(found.get("reason", "")), found.get("timestamp")
    except (orjson.JSONDecodeError, AttributeError):
        return "", None
    return reason, stamp / 1000 if type(stamp) in (int, float) else None


def verdict(
    status: int, found: Mapping[str, str], body: bytes, now: float, *, registered_at: float, ordinary: bool
) -> Outcome:
    """What an answer means.

    `found`: the answer's headers; `now` and `registered_at` (when the device last gave us its token): Unix time in
    seconds. `ordinary`: it went to the environment that the settings name, not to one that the device brought.
    """
    if status == 200:
        return Done()
    reason, since = reason_of(body)
    if status == 410:
        return _gone(reason, since, registered_at)
    if reason == "BadEnvironmentKeyIdInToken" and not ordinary:
        return Rejected("APNs says BadEnvironmentKeyIdInToken: the device is of an environment that our key is not for")
    if status == 429:
        return _throttled(reason, retry_after(found.get("retry-after"), now))
    if outcome := _REASONS.get(reason):
        return outcome
    said = reason if reason in _KNOWN else f"{status}"
    if status == 403:
        return Misconfigured(f"APNs does not accept our provider token ({said})")
    if status == 408 or status >= 500:
        return Retry(f"APNs has trouble ({said})", retry_after(found.get("retry-after"), now))
    return Rejected(f"APNs does not accept the request ({said})")


def _gone(reason: str, since: float | None, registered_at: float) -> Outcome:
    # Apple tells since when; an app that was installed again has registered after that, and lives.
    if since is not None and registered_at > since:
        return Retry("APNs says 410 of the time before the device registered again")
    return Gone(f"APNs says {reason if reason in ('Unregistered', 'ExpiredToken') else 410}")


def _throttled(reason: str, after: float | None) -> Outcome:
    if reason == "TooManyProviderTokenUpdates":
        return Throttled(TOO_MANY_TOKENS if after is None else after, Scope.CHANNEL)
    return Throttled(THROTTLE if after is None else after, Scope.TARGET)


_REASONS: Final[Mapping[str, Outcome]] = {
    # Of the device. BadDeviceToken may as well mean that a token of the sandbox was sent to production.
    "BadDeviceToken": Rejected("APNs says BadDeviceToken: none, or of the other environment"),
    "DeviceTokenNotForTopic": Rejected("APNs says DeviceTokenNotForTopic: the token is of another app"),
    # Of ours
    "BadTopic": Misconfigured("APNs says BadTopic"),
    "MissingTopic": Misconfigured("APNs says MissingTopic"),
    "TopicDisallowed": Misconfigured("APNs says TopicDisallowed"),
    "IdleTimeout": Retry("APNs says IdleTimeout"),
}
_KNOWN: Final = frozenset(
    (
        *("BadCertificate", "BadCertificateEnvironment", "BadCollapseId", "BadEnvironmentKeyIdInToken"),
        *("BadExpirationDate", "BadMessageId", "BadPath", "BadPriority", "DuplicateHeaders", "ExpiredProviderToken"),
        *("Forbidden", "InternalServerError", "InvalidProviderToken", "InvalidPushType", "MethodNotAllowed"),
        *("MissingDeviceToken", "MissingProviderToken", "PayloadEmpty", "PayloadTooLarge", "ServiceUnavailable"),
        *("Shutdown", "UnrelatedKeyIdInToken"),
    )
)
"""Reasons that Apple documents and that may be repeated; any other text of a server stays out of ours."""
