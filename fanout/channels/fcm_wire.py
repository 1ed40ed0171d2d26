"""What an FCM request says and what its answer means (HTTP v1), decided by structured codes and never by words. Pure.

Sources: Firebase's "FCM Error Codes" and the reference of `projects.messages`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from bus.outcome import Done, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled
from fanout.channels.delivery import Delivery, Push
from fanout.channels.push import THROTTLE, shortened, told
from fanout.channels.retry_after import retry_after

MAX_PAYLOAD: Final = 4_096
"""Bytes of notification and data together."""
MAX_TTL: Final = 28 * 86_400
"""Seconds: four weeks."""
SLOW: Final = 10.0
"""Seconds: the least to wait before a message that failed inside Google is sent again."""

_FCM_ERROR: Final = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"


# The request -----------------------------------------------------------------------------------------------------


def request(delivery: Delivery, token: str, message: Push, now: float) -> bytes:
    """Body of `messages:send`. `now`: Unix time in seconds.

    The notification is shown by the system, the data is for the app; a withdrawal is data alone, and the app acts on
    it. Android keeps what has one collapse key as one message, and shows what has one tag as one notification.
    """
    said = told(delivery, message)
    if _size(said) > MAX_PAYLOAD:
        said = shortened(said)
    tag = said["tag"]
    android: dict[str, Any] = {
        "collapse_key": tag,
        "priority": "high" if delivery.event.priority == "high" else "normal",
        "ttl": f"{delivery.lifetime(now, MAX_TTL)}s",
    }
    built: dict[str, Any] = {"token": token, "data": _strings(said), "android": android}
    if not message.withdrawn:
        built["notification"] = {"title": said["title"], "body": said["body"]}
        android["notification"] = {"tag": tag}
    return orjson.dumps({"message": built})


def _strings(said: Mapping[str, Any]) -> dict[str, str]:
    """FCM takes strings alone; what is shown is not sent twice."""
    words = {name: value for name, value in said.items() if name not in ("title", "body")}
    return {name: value if isinstance(value, str) else orjson.dumps(value).decode() for name, value in words.items()}


def _size(said: Mapping[str, Any]) -> int:
    # As a string inside JSON, data is escaped once more.
    return len(orjson.dumps(_strings(said))) + len(orjson.dumps({n: said[n] for n in ("title", "body") if n in said}))


# The answer ------------------------------------------------------------------------------------------------------


def verdict(status: int, headers: Mapping[str, str], body: bytes, now: float) -> Outcome:
    """What an answer means. `now`: Unix time in seconds.

    Only a code of FCM's own (`FcmError`) says something of a token; a `BadRequest` about another field than the token
    is a fault of what we sent.
    """
    if 200 <= status < 300:
        return Done()
    after = retry_after(headers.get("retry-after"), now)
    found = _details(body)
    code = _code(found)
    if code == "INVALID_ARGUMENT" and _violated(found) - {"message.token"}:
        return Rejected("FCM says INVALID_ARGUMENT: of the message, not of the token")
    if judge := _JUDGES.get(code):
        return judge(after)
    return _by_status(status, after)


def wants_new_token(status: int, body: bytes) -> bool:
    """Whether it is our access token that was refused; another 401 is about FCM's own key for APNs."""
    return status == 401 and not _code(_details(body))


def _code(details: list[Mapping[str, Any]]) -> str:
    return next((str(one.get("errorCode")) for one in details if one.get("@type") == _FCM_ERROR), "")


def _details(body: bytes) -> list[Mapping[str, Any]]:
    """What Google's error model (google.rpc.Status) has for machines; empty where the body is none of it."""
    try:
        found = orjson.loads(body)["error"]["details"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _violated(details: list[Mapping[str, Any]]) -> set[str]:
    """The fields that a `BadRequest` complains of."""
    lists = [one.get("fieldViolations") for one in details if one.get("@type") == _BAD_REQUEST]
    return {
        str(one.get("field")) for found in lists if isinstance(found, list) for one in found if isinstance(one, dict)
    }


def _by_status(status: int, after: float | None) -> Outcome:
    if status in (401, 403):
        return Misconfigured(f"FCM does not accept our credentials ({status})")
    if status == 404:
        return Misconfigured("FCM knows no such project (404)")
    if status == 429:
        return _throttled(after)
    if status == 408 or status >= 500:
        return Retry(f"FCM has trouble ({status})", _slow(after))
    return Rejected(f"FCM does not accept the message ({status})")


def _throttled(after: float | None) -> Outcome:
    return Throttled(THROTTLE if after is None else after, Scope.CHANNEL)


def _slow(after: float | None) -> float:
    return SLOW if after is None else max(SLOW, after)


Judge = Callable[[float | None], Outcome]

_JUDGES: Final[Mapping[str, Judge]] = {
    "UNREGISTERED": lambda _: Gone("FCM says UNREGISTERED"),
    "SENDER_ID_MISMATCH": lambda _: Gone("FCM says SENDER_ID_MISMATCH: the token belongs to another project"),
    "INVALID_ARGUMENT": lambda _: Gone("FCM says INVALID_ARGUMENT: the token is none"),
    "THIRD_PARTY_AUTH_ERROR": lambda _: Misconfigured("FCM says THIRD_PARTY_AUTH_ERROR: its key for APNs is wrong"),
    "QUOTA_EXCEEDED": _throttled,
    "UNAVAILABLE": lambda after: Retry("FCM says UNAVAILABLE", after),
    "INTERNAL": lambda after: Retry("FCM says INTERNAL", _slow(after)),
}
