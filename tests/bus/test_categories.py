"""Categories: what the settings do not name has no rules, and what they say wrongly is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from bus.event import Step
from bus.people.categories import DEFAULT_LADDER, Categories, Category, Digest, read_digest, read_ladder
from bus.settings import BadSetting


def test_what_is_not_named_has_no_rules() -> None:
    categories = Categories({"promo": {}})
    assert categories.of("news") == Category("news", "news")
    assert categories.of(None) == categories.of("") == Category("", "")
    assert categories.named == (Category("promo", "promo"),)


def test_all_rules() -> None:
    table = {
        "title": "Security",
        "required": True,
        "ladder": [{"via": "live"}, {"via": "sms", "after": 5, "unless": "acked"}],
        "digest": {"email": {"window": 60}, "push": {"window": 3600, "max": 5}},
        "ignore_quiet_hours": True,
        "off": ["sms", "webhook", "sms"],
    }
    assert Categories({"security": table}).of("security") == Category(
        "security",
        title="Security",
        required=True,
        ladder=(Step("live"), Step("sms", 5, "acked")),
        digest={"email": Digest(60, 100), "push": Digest(3600, 5)},
        ignore_quiet_hours=True,
        off=("sms", "webhook"),
    )


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"a": 1}, "categories.a must be a table"),
        ({"": {}}, "the name of a category must not be empty"),
        ({"a": {"titel": "x"}}, "categories.a has no rule titel; it has: title, required"),
        ({"a": {"title": 1}}, "categories.a.title must be of type str"),
        ({"a": {"required": "yes"}}, "categories.a.required must be of type bool"),
        ({"a": {"ignore_quiet_hours": 1}}, "categories.a.ignore_quiet_hours must be of type bool"),
        ({"a": {"ladder": []}}, "categories.a.ladder must be a list of steps"),
        ({"a": {"ladder": "live"}}, "categories.a.ladder must be a list of steps"),
        ({"a": {"ladder": [{"via": "fax"}]}}, "categories.a.ladder[0].via must be one of live"),
        ({"a": {"off": ["fax"]}}, "categories.a.off must be a list of: live"),
        ({"a": {"off": "push"}}, "categories.a.off must be a list of"),
        ({"a": {"digest": []}}, "categories.a.digest must be a table of: push"),
        ({"a": {"digest": {"live": {"window": 60}}}}, "categories.a.digest must be a table of: push"),
        ({"a": {"digest": {"push": {"window": 0}}}}, "categories.a.digest.push must have a window of whole seconds"),
    ],
)
def test_a_wrong_table_is_named(table: Any, says: str) -> None:
    with pytest.raises(BadSetting) as caught:
        Categories(table)
    assert says in str(caught.value)


def test_the_ladder_of_those_without_one() -> None:
    assert read_ladder(()) == DEFAULT_LADDER
    assert read_ladder([{"via": "live"}]) == (Step("live"),)
    steps = [{"via": "push"}, {"via": "email", "after": 600, "unless": "read"}]
    assert read_ladder(steps) == (Step("push"), Step("email", 600, "read"))


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        (["live"], "ladder[0] must be a table"),
        ([{"via": "live"}, {"way": "push"}], "ladder[1] has no rule way"),
        ([{"via": "push", "after": -1}], "ladder[0].after must be seconds"),
        ([{"via": "push", "after": True}], "ladder[0].after must be seconds"),
        ([{"via": "push", "after": 30 * 86_400 + 1}], "ladder[0].after must be seconds"),
        ([{"via": "push", "unless": "seen"}], "ladder[0].unless must be one of acked, read"),
        ([{"via": "push"}] * 11, "ladder must have at most 10 steps"),
    ],
)
def test_a_wrong_step_is_named(steps: Any, says: str) -> None:
    with pytest.raises(BadSetting) as caught:
        read_ladder(steps)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        {"max": 5},
        {"window": 60, "every": 1},
        {"window": 60.0},
        {"window": True},
        {"window": 7 * 86_400 + 1},
        {"window": 60, "max": 1},
        {"window": 60, "max": 101},
        {"window": 60, "max": "5"},
    ],
)
def test_a_wrong_digest_is_told(raw: Any) -> None:
    assert isinstance(read_digest(raw), str)
