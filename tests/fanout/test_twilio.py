"""Twilio's form and its codes."""

from __future__ import annotations

from urllib.parse import parse_qsl

import orjson
import pytest

from bus.outcome import Done, Gone, Misconfigured, Rejected, Retry, Scope, Throttled
from fanout.channels.http import Answer
from fanout.channels.twilio import LONGEST, THROTTLE, Account, form, outcome


def answer(status: int, code: object = None, **headers: str) -> Answer:
    return Answer(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, orjson.dumps({"code": code})
    )


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (201, None, Done),
        (400, 21610, Gone),
        (400, 21211, Gone),
        (400, 21614, Gone),
        (400, 21608, Rejected),
        (400, 21408, Rejected),
        (400, "21610", Rejected),  # a code is a number
        (400, True, Rejected),
        (400, 30003, Retry),
        (400, 21606, Misconfigured),
        (401, 20003, Misconfigured),
        (401, None, Misconfigured),
        (404, 20404, Misconfigured),
        (408, None, Retry),
        (500, 20500, Retry),
        (503, None, Retry),
        (429, None, Throttled),
        (400, 20429, Throttled),
    ],
)
def test_codes_decide(status: int, code: object, kind: type) -> None:
    assert type(outcome(answer(status, code), 0.0)) is kind


def test_reasons_and_waits() -> None:
    assert outcome(answer(400, 21614), 0.0) == Gone("Twilio answered 400 with 21614")
    assert outcome(answer(503, None, retry_after="9"), 0.0) == Retry("Twilio answered 503", 9.0)
    assert outcome(answer(429, None, retry_after="9"), 0.0) == Throttled(9.0, Scope.ENDPOINT, "Twilio answered 429")
    assert outcome(answer(429), 0.0) == Throttled(THROTTLE, Scope.ENDPOINT, "Twilio answered 429")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"'])
def test_an_answer_of_another_form_is_read_by_its_status(body: bytes) -> None:
    assert outcome(Answer(400, {}, body), 0.0) == Rejected("Twilio answered 400")


def test_the_form() -> None:
    account = Account("AC1/x", "AC1/x", "secret", "+15005550006")
    assert account.url == "https://api.twilio.com/2010-04-01/Accounts/AC1%2Fx/Messages.json"
    assert "secret" not in repr(account)
    fields = dict(parse_qsl(form(account, "+41791234567", "a&b", 0, "https://x.example/t").decode()))
    assert fields == {
        "To": "+41791234567",
        "From": "+15005550006",
        "Body": "a&b",
        "ValidityPeriod": "1",
        "StatusCallback": "https://x.example/t",
    }
    service = dict(parse_qsl(form(Account("A", "A", "p", "MG1"), "+4179", "x", 10**6, None).decode()))
    assert service == {"To": "+4179", "MessagingServiceSid": "MG1", "Body": "x", "ValidityPeriod": str(LONGEST)}
