"""What all push senders have in common: what a device is told, and what it means that a service gave no answer. Pure.

A device gets the event's id, so that its app can mark it as read, and a tag: two messages of one tag are one thing, and
the later one takes the place of the earlier. A withdrawal is a message of the same tag that names what to take away.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from bus.outcome import Outcome, Rejected, Retry, Unavailable
from fanout.channels.delivery import Delivery, Push, PushTarget
from fanout.channels.http import Broken, Forbidden, Unreached

MAX_TAG: Final = 32
THROTTLE: Final = 60.0
"""Seconds to leave a service alone that asks for less and names no time."""

SHORT_BYTES: Final = 3_800
"""Bytes of what `shortened` leaves, as JSON."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
_SHORT_TITLE: Final = 120
_SHORT_BODY: Final = 250
"""Characters; of six bytes each at worst, as JSON writes a control character."""
_SHORT_URL: Final = 400
"""Bytes; a longer one is left out, for half of it leads nowhere."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery that was found to be a push, for this provider."""

    target: PushTarget
    message: Push


def parcel(delivery: Delivery, provider: str) -> Parcel | Rejected:
    """The parts of a delivery that senders of this provider work with."""
    target, message = delivery.target, delivery.message
    if not isinstance(target, PushTarget) or not isinstance(message, Push) or target.provider != provider:
        return Rejected(f"this is no push for {provider}")
    return Parcel(target, message)


def tag_of(collapse: str) -> str:
    """At most 32 characters of the base64url alphabet, which is what a Topic may have (RFC 8030 §5.4).

    What is of that form stays as it is; anything else is hashed.
    """
    if _PLAIN.fullmatch(collapse):
        return collapse
    return urlsafe_b64encode(blake2b(collapse.encode(), digest_size=24).digest()).decode()


def told(delivery: Delivery, message: Push) -> dict[str, Any]:
    """What a device is told, as JSON has it."""
    tag = tag_of(delivery.collapse)
    if message.withdrawn:
        return {"withdrawn": delivery.event.id, "tag": tag}
    said: dict[str, Any] = {"id": delivery.event.id, "tag": tag, "title": message.title, "body": message.body}
    if message.url:
        said["url"] = message.url
    if message.data:
        said["data"] = dict(message.data)
    return said


def shortened(said: dict[str, Any]) -> dict[str, Any]:
    """The same without its data and with its texts cut, for services whose messages must be small.

    As JSON in UTF-8 it has at most `SHORT_BYTES`, whatever the texts are made of.
    """
    short = {"id": said["id"], "tag": said["tag"], "title": _cut(said["title"], _SHORT_TITLE)}
    short["body"] = _cut(said["body"], _SHORT_BODY)
    if "url" in said and len(said["url"].encode()) <= _SHORT_URL:
        short["url"] = said["url"]
    return short


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def unanswered(result: Unreached | Broken | Forbidden) -> Outcome:
    """What came of a request to a push service that brought no answer."""
    match result:
        case Unreached(reason):
            return Unavailable(reason)
        case Broken(reason):
            return Retry(reason)
        case Forbidden(reason):
            return Rejected(f"not sent: {reason}")
