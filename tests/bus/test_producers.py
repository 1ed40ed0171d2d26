"""The tables of producers: who has which bucket, and what is no table."""

from __future__ import annotations

from typing import Any

import pytest

from bus.allowance import Limit
from bus.producers import Producers
from bus.settings import BadSetting


def test_each_has_its_own_bucket_and_the_others_share_one() -> None:
    producers = Producers(
        {"shop": {"rate": 10, "burst": 30, "channels": {"sms": 0.5}}, "*": {"rate": 5, "channels": {"email": 2}}}
    )
    assert producers.own("shop") == Limit(10.0, 30.0)
    assert producers.own("other") is None
    assert producers.own("*") is None
    assert producers.writes("shop") == ("shop", Limit(10.0, 30.0))
    assert producers.writes("other") == producers.writes("another") == ("*", Limit(5.0, 5.0))
    assert producers.sends("shop", "sms") == ("sms shop", Limit(0.5, 1.0))
    assert producers.sends("shop", "email") is None
    assert producers.sends("other", "email") == ("email *", Limit(2.0, 2.0))


def test_without_tables_nothing_is_limited() -> None:
    producers = Producers({})
    assert producers.own("shop") is None
    assert producers.writes("shop") is None
    assert producers.sends("shop", "sms") is None


def test_a_table_may_limit_channels_alone() -> None:
    producers = Producers({"shop": {"channels": {"push": 3}}})
    assert producers.own("shop") is None
    assert producers.writes("shop") is None
    assert producers.sends("shop", "push") == ("push shop", Limit(3.0, 3.0))


@pytest.mark.parametrize(
    "table",
    [
        {"": {"rate": 1}},
        {"shop": 5},
        {"shop": {"speed": 1}},
        {"shop": {"rate": 0}},
        {"shop": {"rate": "fast"}},
        {"shop": {"rate": True}},
        {"shop": {"burst": 5}},
        {"shop": {"rate": 5, "burst": -1}},
        {"shop": {"channels": 5}},
        {"shop": {"channels": {"live": 1}}},
        {"shop": {"channels": {"sms": None}}},
    ],
)
def test_what_is_no_table_is_told(table: dict[str, Any]) -> None:
    with pytest.raises(BadSetting, match="producers"):
        Producers(table)
