"""Twilio's Messages resource: what is asked, and what its answers mean (twilio.com/docs/messaging/api,
twilio.com/docs/api/errors). Pure.

Its codes decide, never its words. An answer's body is Twilio's own and may quote the number, so nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from bus.outcome import Done, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled
from fanout.channels.http import Answer
from fanout.channels.retry_after import retry_after

THROTTLE: Final = 10.0
"""Seconds to leave it alone when it says 429 and no time."""
LONGEST: Final = 14_400
"""Seconds that Twilio keeps a message in its queue at most (`ValidityPeriod`)."""
OPTED_OUT: Final = 21610
NO_PHONE: Final = frozenset((21211, 21217, 21614))
"""`To` is no valid number, or one that cannot get text messages."""
NOT_NOW: Final = 30003
"""The handset is off or out of reach."""
TOO_MANY: Final = 20429
OURS: Final = frozenset((20003, 20005, 20404, 21212, 21603, 21606, 21607, 21659, 21660, 21701, 21703))
"""Credentials, the account, or the sender (`From`, `MessagingServiceSid`)."""


@dataclass(frozen=True, slots=True)
class Account:
    """`user` and `password` are the account's SID and token, or an API key's; `sender` is a number or `MG…`."""

    sid: str
    user: str
    password: str = field(repr=False)
    sender: str = ""
    base_url: str = "https://api.twilio.com"

    @property
    def url(self) -> str:
        """Where messages are made."""
        return f"{self.base_url}/2010-04-01/Accounts/{quote(self.sid, safe='')}/Messages.json"


def form(account: Account, to: str, text: str, lifetime: int, callback: str | None) -> bytes:
    """The body of the request. `lifetime`: seconds for which anybody wants it; `callback`: where its fate is told."""
    by = "MessagingServiceSid" if account.sender.startswith("MG") else "From"
    fields = {"To": to, by: account.sender, "Body": text, "ValidityPeriod": str(min(max(lifetime, 1), LONGEST))}
    return urlencode(fields | ({"StatusCallback": callback} if callback else {})).encode()


def outcome(answer: Answer, now: float) -> Outcome:
    """What an answer means. `now`: Unix time in seconds."""
    if 200 <= answer.status < 300:
        return Done()
    code = _code(answer.body)
    said = f"Twilio answered {answer.status}{f' with {code}' if code else ''}"
    if code == OPTED_OUT:
        return Gone(f"the person opted out ({OPTED_OUT})")
    if code in NO_PHONE:
        return Gone(said)
    after = retry_after(answer.headers.get("retry-after"), now)
    if answer.status == 429 or code == TOO_MANY:
        return Throttled(THROTTLE if after is None else after, Scope.ENDPOINT, said)
    if code in OURS or answer.status in (401, 403, 404):
        return Misconfigured(said)
    if answer.status >= 500 or answer.status == 408 or code == NOT_NOW:
        return Retry(said, after)
    return Rejected(said)


def _code(body: bytes) -> int | None:
    try:
        found: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    code = found.get("code") if isinstance(found, Mapping) else None
    return code if type(code) is int else None
