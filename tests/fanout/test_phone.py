"""Which numbers text messages may go to."""

from __future__ import annotations

import pytest

from fanout.channels.phone import PREMIUM, fault, is_country, is_number


@pytest.mark.parametrize("number", ["+41791234567", "+14155552671", "+6834000", "+123456789012345"])
def test_numbers(number: str) -> None:
    assert is_number(number)


@pytest.mark.parametrize(
    "number",
    [
        "",
        "+",
        "41791234567",
        "0791234567",
        "+0791234567",
        "+41 79 123 45 67",
        "+4179123456a",
        "+123456",
        "+1234567890123456",
        "112",
        "+41791234567\n",
        "+41791234567&To=+4190",
        "+٤١٧٩١٢٣٤٥٦٧",
        "whatsapp:+41791234567",
    ],
)
def test_no_numbers(number: str) -> None:
    assert not is_number(number)


def test_premium_numbers_and_other_countries_are_refused() -> None:
    assert fault("+41791234567", ()) is None
    assert fault("+41791234567", ("+41", "+49")) is None
    assert fault("+14155552671", ("+41", "+49")) == "a country that the settings do not allow"
    assert fault("+19005550100", ("+1",)) == "a premium number"
    assert fault("+979123456789", ()) == "a premium number"


def test_prefixes_are_what_they_say() -> None:
    assert all(is_country(prefix) for prefix in PREMIUM)
    assert not any(map(is_country, ("41", "", "+", "+0", "+41x", "+12345678")))
