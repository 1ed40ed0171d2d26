"""Phone numbers that text messages may go to: E.164, not premium, and in countries that the operator allows. Pure.

Who can make us send messages to numbers of theirs earns from premium numbers and from some countries' fees ("SMS
pumping"); the lists here end the plain cases.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
"""At most 15 digits (ITU-T E.164 §6); the shortest subscriber numbers with their country code have 7."""
_COUNTRY: Final = re.compile(r"\+[1-9][0-9]{0,6}", re.ASCII)

PREMIUM: Final = (
    # for the whole world (ITU-T E.164.1): premium rate, shared cost, satellites and networks of no country
    *("+979", "+808", "+870", "+878", "+881", "+882", "+883", "+888"),
    # national premium ranges of countries that text messages go to most
    *("+1900", "+1976", "+4487", "+449", "+49900", "+49137", "+41900", "+41901", "+41906", "+43900", "+43901"),
    *("+43930", "+43931", "+3389", "+34803", "+34806", "+34807", "+34905", "+39892", "+39894", "+39895", "+39899"),
    *("+31900", "+31906", "+31909", "+32900", "+32902", "+32903", "+32904", "+32905", "+32906", "+32907", "+32909"),
    *("+48700", "+61190", "+351760", "+351761", "+351762"),
)


def is_number(number: str) -> bool:
    """Whether it is an E.164 number, with its plus sign and nothing between the digits."""
    return _E164.fullmatch(number) is not None


def is_country(prefix: str) -> bool:
    """Whether it can stand for a country, or a part of one: a plus sign and the first digits of its numbers."""
    return _COUNTRY.fullmatch(prefix) is not None


def fault(number: str, countries: Collection[str]) -> str | None:
    """Why nothing is sent to an E.164 number, or None. `countries`: allowed beginnings; none given: all."""
    if number.startswith(PREMIUM):
        return "a premium number"
    if countries and not number.startswith(tuple(countries)):
        return "a country that the settings do not allow"
    return None
