"""What an SMTP server's refusal means, from the stage, the reply code (RFC 5321 §4.2) and, where there is one, the
enhanced status code (RFC 3463), which is more exact and wins. Pure.

The reply's text is for people and often quotes the address: of it only the enhanced code is read, and nothing is kept.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from bus.outcome import Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled, Unavailable

THROTTLE: Final = 60.0
"""Seconds to leave a server alone that says that it is too much."""
CLOSING: Final = 421
"""The server ends the connection (RFC 5321 §3.8)."""


class Stage(Enum):
    """Where in a connection the reply came; the value completes "the server answered …"."""

    GREETING = "at the greeting"
    HELLO = "to EHLO"
    TLS = "to STARTTLS"
    LOGIN = "to AUTH"
    SENDER = "to MAIL"
    RECIPIENT = "to RCPT"
    CONTENT = "to DATA"


BEFORE: Final = frozenset((Stage.GREETING, Stage.HELLO, Stage.TLS, Stage.LOGIN))
"""Nothing of a mail was said yet."""

_ENHANCED: Final = re.compile(r"([45])\.(\d{1,3})\.(\d{1,3})(?=\s|$)", re.ASCII)

TOO_MUCH: Final = frozenset(((3, 2), (4, 5), (7, 28)))
"""X.3.2 system not accepting messages, X.4.5 congestion (RFC 3463 §3.4, §3.5), X.7.28 mail flood (IANA registry)."""
FULL: Final = (2, 2)
"""X.2.2: it passes once somebody empties the mailbox, whatever the class says."""
DISABLED: Final = (2, 1)
OUR_ADDRESS: Final = frozenset(((1, 7), (1, 8)))
"""X.1.7 and X.1.8 are about the sender's address (RFC 3463 §3.2)."""
OUR_LOGIN: Final = frozenset(((7, 8), (7, 9), (7, 11), (7, 12), (7, 13)))
"""Credentials wrong, too weak, without encryption, to be changed, of a disabled account (RFC 4954 §6, RFC 5248)."""
LOGIN_FIRST: Final = frozenset((530, 534, 535, 538))
"""The same as basic codes (RFC 4954 §6)."""
NO_MAILBOX: Final = frozenset((550, 551, 553, 556))
"""To RCPT: no such mailbox, not here, no such name, or a domain that takes no mail (RFC 5321 §4.2.3, RFC 7504)."""
NO_SPACE: Final = 552


def classify(stage: Stage, code: int, text: str) -> Outcome:
    """What a reply that is no success means."""
    enhanced = _ENHANCED.match(text)
    status = (int(enhanced[2]), int(enhanced[3])) if enhanced else None
    lasting = enhanced[1] == "5" if enhanced else code // 100 == 5
    said = f"the server answered {code}{f' {enhanced[0]}' if enhanced else ''} {stage.value}"
    if stage in BEFORE:
        return Misconfigured(said) if lasting else Unavailable(said)
    if not lasting:
        return Throttled(THROTTLE, Scope.ENDPOINT, said) if status in TOO_MUCH else Retry(said)
    return _by_code(stage, code, said) if status is None else _by_status(stage, code, status, said)


def _by_status(stage: Stage, code: int, status: tuple[int, int], said: str) -> Outcome:
    subject = status[0]
    ours = status in OUR_ADDRESS or status in OUR_LOGIN or (code in LOGIN_FIRST and subject == 7)
    if ours or (stage is Stage.SENDER and subject in (1, 7)):
        return Misconfigured(said)
    if status == FULL:
        return Retry(said)
    return Gone(said) if subject == 1 or status == DISABLED else Rejected(said)


def _by_code(stage: Stage, code: int, said: str) -> Outcome:
    if code == NO_SPACE:
        return Retry(said)
    if code in LOGIN_FIRST or stage is Stage.SENDER:
        return Misconfigured(said)
    return Gone(said) if stage is Stage.RECIPIENT and code in NO_MAILBOX else Rejected(said)
