"""What Twilio says of a message later, and the proof that it is Twilio who says it
(twilio.com/docs/messaging/guides/track-outbound-message-status, twilio.com/docs/usage/security). Pure."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Final

from bus.trail import Kind

FATES: Final[Mapping[str, Kind]] = {
    "delivered": Kind.DELIVERED,
    "read": Kind.DELIVERED,
    "undelivered": Kind.FAILED,
    "failed": Kind.FAILED,
}
"""`MessageStatus` of a message whose fate is known; the others are on the way there."""
MAX_CODE: Final = 6


def signature(auth_token: str, url: str, fields: Mapping[str, str]) -> str:
    """`X-Twilio-Signature`: HMAC-SHA1, in base64, of the URL as Twilio was given it and every field in order."""
    signed = url + "".join(f"{name}{fields[name]}" for name in sorted(fields))
    return base64.b64encode(hmac.digest(auth_token.encode(), signed.encode(), "sha1")).decode()


def is_signed(auth_token: str, url: str, fields: Mapping[str, str], given: str) -> bool:
    """Whether a signature is right."""
    return hmac.compare_digest(signature(auth_token, url, fields).encode(), given.encode())


def fate(fields: Mapping[str, str]) -> tuple[Kind, str] | None:
    """What became of the message, and why; None while that is open."""
    status = fields.get("MessageStatus", "")
    kind = FATES.get(status)
    if kind is None:
        return None
    code = fields.get("ErrorCode", "")
    known = code.isascii() and code.isdigit() and len(code) <= MAX_CODE and code != "0"
    return kind, "" if kind is Kind.DELIVERED else f"Twilio says {status}{f' ({code})' if known else ''}"
