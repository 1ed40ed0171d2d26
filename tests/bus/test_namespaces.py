"""Namespaces: closed unless opened; a rule that nobody knows is an error that names it."""

from __future__ import annotations

from typing import Any

import pytest

from bus.namespaces import CLOSED, DEFAULT, Namespace, Namespaces, name_fault
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


def test_rules_made_at_run_time_stand_in_place_of_the_files() -> None:
    spaces = Namespaces({"*": {"publish": "user"}, "news": {"subscribe": "user"}, "team": {"history_size": 7}})
    spaces.override({"news": {"history_size": 5}, "new": {"subscribe": "user"}})
    assert spaces.of("news:a") == Namespace(publish="user", history_size=5)  # all of them, not one by one
    assert spaces.of("new:a") == Namespace(publish="user", subscribe="user")
    assert spaces.of("team:a") == Namespace(publish="user", history_size=7)
    assert spaces.listed() == {
        "*": (Namespace(publish="user"), False),
        "new": (Namespace(publish="user", subscribe="user"), True),
        "news": (Namespace(publish="user", history_size=5), True),
        "team": (Namespace(publish="user", history_size=7), False),
    }
    spaces.override({})
    assert spaces.of("news:a") == Namespace(publish="user", subscribe="user")
    assert spaces.of("new:a") == Namespace(publish="user")


def test_a_new_star_is_beneath_all_others() -> None:
    spaces = Namespaces({"*": {"publish": "user"}, "news": {"subscribe": "user"}})
    spaces.override({"*": {"history_size": 0}})
    assert spaces.of("news:a") == Namespace(subscribe="user", history_size=0)
    assert spaces.of("other:a") == Namespace(history_size=0)
    assert Namespaces({}).listed() == {"*": (DEFAULT, False)}


def test_rules_that_cannot_be_read_close_and_newer_ones_are_passed_over() -> None:
    spaces = Namespaces({"news": {"subscribe": "user"}, "open": {"subscribe": "user"}})
    spaces.override({"news": {"subscribe": "everyone"}, "odd": None, "open": {"subscribe": "user", "colour": "red"}})
    assert spaces.of("news:a") == spaces.of("odd:a") == CLOSED
    assert (CLOSED.subscribe, CLOSED.publish, CLOSED.presence, CLOSED.history) == ("nobody",) * 4
    assert spaces.of("open:a") == Namespace(subscribe="user")


def test_rules_are_checked_as_those_of_the_file() -> None:
    spaces = Namespaces({})
    spaces.check("news", {"subscribe": "user"})
    for wrong in ({"colour": 1}, [], {"subscribe": "subscriber"}):
        with pytest.raises(BadSetting):
            spaces.check("news", wrong)


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        ("news", True),
        ("*", True),
        ("a b", True),
        ("a:b", False),
        ("", False),
        ("@a", False),
        ("a*", False),
        ("{a}", False),
    ],
)
def test_a_namespace_is_named_as_topics_can_name_it(name: str, fine: bool) -> None:
    assert (name_fault(name) is None) == fine
