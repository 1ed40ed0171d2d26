"""What SMTP replies mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.outcome import Gone, Misconfigured, Rejected, Retry, Scope, Throttled, Unavailable
from fanout.channels.smtp_codes import THROTTLE, Stage, classify

S = Stage


@pytest.mark.parametrize(
    ("stage", "code", "text", "kind"),
    [
        # nothing of the mail was said yet
        (S.GREETING, 421, "4.3.2 too busy", Unavailable),
        (S.GREETING, 554, "no service for you", Misconfigured),
        (S.HELLO, 504, "", Misconfigured),
        (S.TLS, 454, "TLS not available", Unavailable),
        (S.LOGIN, 535, "5.7.8 bad credentials", Misconfigured),
        (S.LOGIN, 454, "4.7.0 try later", Unavailable),
        # it passes
        (S.SENDER, 421, "closing", Retry),
        (S.RECIPIENT, 450, "greylisted", Retry),
        (S.RECIPIENT, 451, "4.7.1 greylisted", Retry),
        (S.RECIPIENT, 452, "4.2.2 full", Retry),
        (S.CONTENT, 451, "4.3.0 try again", Retry),
        (S.CONTENT, 552, "no space", Retry),
        (S.RECIPIENT, 552, "5.2.2 mailbox full", Retry),
        (S.RECIPIENT, 550, "5.2.2 mailbox full", Retry),
        # the enhanced code wins over the basic one
        (S.RECIPIENT, 550, "4.1.1 maybe later", Retry),
        (S.RECIPIENT, 450, "5.1.1 no such user", Gone),
        (S.RECIPIENT, 550, "2.0.0 odd", Gone),
        (S.CONTENT, 552, "5.3.4 too big", Rejected),
        (S.RECIPIENT, 550, "5.7.1 policy", Rejected),
        # the address is no more
        (S.RECIPIENT, 550, "5.1.1 unknown", Gone),
        (S.RECIPIENT, 550, "5.1.2 unknown host", Gone),
        (S.RECIPIENT, 556, "5.1.10 null MX", Gone),
        (S.CONTENT, 550, "5.1.1 unknown", Gone),
        (S.RECIPIENT, 550, "5.2.1 disabled", Gone),
        (S.RECIPIENT, 550, "no such user", Gone),
        (S.RECIPIENT, 553, "", Gone),
        # the mail will not do
        (S.CONTENT, 550, "spam", Rejected),
        (S.CONTENT, 554, "5.6.0 what is that", Rejected),
        (S.RECIPIENT, 554, "", Rejected),
        (S.SENDER, 552, "5.3.4 too big", Rejected),
        (S.RECIPIENT, 550, "5.1.1x is no code", Gone),
        # our own fault
        (S.SENDER, 530, "5.7.0 authenticate first", Misconfigured),
        (S.SENDER, 550, "5.7.60 may not send as this", Misconfigured),
        (S.SENDER, 553, "not your address", Misconfigured),
        (S.RECIPIENT, 550, "5.1.8 bad sender", Misconfigured),
        (S.RECIPIENT, 530, "5.7.57 not authenticated", Misconfigured),
        (S.CONTENT, 535, "", Misconfigured),
    ],
)
def test_what_a_reply_means(stage: Stage, code: int, text: str, kind: type) -> None:
    assert type(classify(stage, code, text)) is kind


@pytest.mark.parametrize("text", ["4.7.28 unusual rate", "4.4.5 congestion", "4.3.2 not now"])
def test_too_much_is_no_failure(text: str) -> None:
    code = text.split()[0]
    expected = Throttled(THROTTLE, Scope.ENDPOINT, f"the server answered 450 {code} to MAIL")
    assert classify(S.SENDER, 450, text) == expected


def test_a_reason_names_codes_and_nothing_else() -> None:
    assert classify(S.RECIPIENT, 550, "5.1.1 <alice@example.org> unknown") == Gone(
        "the server answered 550 5.1.1 to RCPT"
    )
    assert classify(S.CONTENT, 451, "alice@example.org") == Retry("the server answered 451 to DATA")


@given(st.sampled_from(Stage), st.integers(-1, 999), st.text(max_size=40))
def test_every_reply_means_something_and_quotes_nothing(stage: Stage, code: int, text: str) -> None:
    said = classify(stage, code, "5.1.1 " + text)
    if text.strip() and not any(c in "0123456789." for c in text) and len(text) > 12:
        assert text not in repr(said)
