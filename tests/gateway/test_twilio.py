"""Twilio's signature and statuses."""

from __future__ import annotations

import pytest

from bus.trail import Kind
from gateway.twilio import fate, is_signed, signature

URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
FIELDS = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}


def test_the_example_of_the_documentation() -> None:
    assert signature("12345", URL, FIELDS) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_a_signature_covers_everything() -> None:
    given = signature("12345", URL, FIELDS)
    assert is_signed("12345", URL, FIELDS, given)
    assert not is_signed("1234", URL, FIELDS, given)
    assert not is_signed("12345", URL + "x", FIELDS, given)
    assert not is_signed("12345", URL, FIELDS | {"Digits": "1235"}, given)
    assert not is_signed("12345", URL, FIELDS, "")
    assert not is_signed("12345", URL, FIELDS, "é")


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"MessageStatus": "delivered"}, (Kind.DELIVERED, "")),
        ({"MessageStatus": "undelivered", "ErrorCode": "30003"}, (Kind.FAILED, "Twilio says undelivered (30003)")),
        ({"MessageStatus": "failed"}, (Kind.FAILED, "Twilio says failed")),
        ({"MessageStatus": "failed", "ErrorCode": "+41791234567"}, (Kind.FAILED, "Twilio says failed")),
        ({"MessageStatus": "sent"}, None),
        ({"MessageStatus": "queued"}, None),
        ({}, None),
    ],
)
def test_fates(fields: dict[str, str], found: tuple[Kind, str] | None) -> None:
    assert fate(fields) == found
