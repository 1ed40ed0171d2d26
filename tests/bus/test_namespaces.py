"""Namespaces: closed unless opened; a rule that nobody knows is an error that names it."""

from __future__ import annotations

from typing import Any

import pytest

from bus.namespaces import DEFAULT, Namespace, Namespaces
from bus.settings import BadSetting


def test_what_is_not_named_is_closed() -> None:
    rules = Namespaces({}).of("news:sport")
    assert rules == DEFAULT == Namespace()
    assert (rules.subscribe, rules.publish, rules.presence) == ("token", "nobody", "nobody")
    assert rules.recoverable


def test_a_namespace_builds_on_the_star() -> None:
    spaces = Namespaces({"*": {"history_size": 0, "publish": "user"}, "news": {"subscribe": "user"}})
    assert spaces.of("news:a") == Namespace(subscribe="user", publish="user", history_size=0)
    assert spaces.of("other:a") == Namespace(publish="user", history_size=0)
    assert not spaces.of("news:a").recoverable
    assert spaces.of("news:a:b") == spaces.of("news")


def test_the_star_is_not_a_namespace_that_a_topic_could_name() -> None:
    assert Namespaces({"*": {"publish": "user"}}).of("*:a") == Namespace(publish="user")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"news": []}, "namespaces.news must be a table"),
        ({"*": 1}, "namespaces.* must be a table"),
        ({"news": {"colour": "red"}}, "namespaces.news has no rule colour; it has: subscribe"),
        ({"news": {"subscribe": True}}, "namespaces.news.subscribe must be of type str"),
        ({"news": {"join_leave": 1}}, "namespaces.news.join_leave must be of type bool"),
        ({"news": {"history_size": True}}, "namespaces.news.history_size must be of type int"),
        ({"news": {"history_size": -1}}, "namespaces.news.history_size must not be negative"),
        ({"news": {"publish": "everyone"}}, "namespaces.news.publish must be one of nobody, subscriber, user, token"),
        ({"news": {"subscribe": "subscriber"}}, "namespaces.news.subscribe must not be subscriber"),
    ],
)
def test_a_wrong_rule_is_named(table: dict[str, Any], says: str) -> None:
    with pytest.raises(BadSetting) as caught:
        Namespaces(table)
    assert says in str(caught.value)
