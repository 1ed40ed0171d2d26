"""What `tocsin dev` makes of the user's settings file."""

from __future__ import annotations

from hashlib import sha256

from bus.namespaces import DEFAULT, Namespaces
from bus.people.categories import Categories, read_ladder
from tocsin.devconfig import DEV_KEY, dev_file


def test_opens_everything_but_private() -> None:
    rules = Namespaces(dev_file({})["namespaces"])
    assert rules.of("room:lobby").subscribe == "user"
    assert rules.of("room:lobby").publish == "user"
    assert rules.of("private:deal") == DEFAULT


def test_the_users_own_rules_stand() -> None:
    own = {"namespaces": {"room": {"publish": "nobody"}}, "gateway": {"namespaces": {"news": {"history_size": 7}}}}
    rules = Namespaces(dev_file(own)["namespaces"])
    assert rules.of("room:lobby").publish == "nobody"
    assert rules.of("news:sport").history_size == 7


def test_the_key_everybody_knows_is_there_only_when_there_is_no_other() -> None:
    (known,) = dev_file({})["gateway"]["api_keys"].values()
    assert known["sha256"] == sha256(DEV_KEY.encode()).hexdigest()
    own = {"shop": {"sha256": "0" * 64, "scopes": ["events"]}}
    assert dev_file({"gateway": {"api_keys": own}})["gateway"]["api_keys"] == own
    assert "api_keys" not in dev_file({"api_keys": own})["gateway"]


def test_the_rest_of_the_file_is_kept() -> None:
    out = dev_file({"partitions": 8, "gateway": {"ping_interval": 5.0}, "fanout": {"batch": 7}, "cli": {"url": "x"}})
    assert out["partitions"] == 8
    assert out["gateway"]["ping_interval"] == 5.0
    assert out["fanout"] == {"batch": 7}
    assert out["cli"] == {"url": "x"}


def test_what_is_delivered_may_stay_on_this_machine() -> None:
    made = dev_file({}, "http://127.0.0.1:8000/")["deliver"]
    assert made == {"allow_private_addresses": True, "public_url": "http://127.0.0.1:8000"}
    own = dev_file({"public_url": "https://x.example", "deliver": {"allow_private_addresses": False}}, "http://a/")
    assert own["deliver"] == {"allow_private_addresses": False}
    assert own["public_url"] == "https://x.example"


def test_waits_are_short_and_there_are_kinds_of_notifications_to_choose_from() -> None:
    made = dev_file({})
    assert sum(step.after for step in read_ladder(made["ladder"])) <= 15
    categories = Categories(made["categories"]).named
    assert [(category.name, category.required) for category in categories] == [
        ("orders", False),
        ("security", True),
        ("news", False),
    ]
    own = {"categories": {"mine": {"title": "Mine"}}, "ladder": [{"via": "live"}]}
    assert dev_file(own).items() >= own.items()


def test_mail_goes_to_the_mailbox_of_this_machine_unless_the_file_says_otherwise() -> None:
    made = dev_file({}, mailbox=4025, templates="/somewhere")["deliver"]
    assert made["email"] == {
        "mailbox": {"host": "127.0.0.1", "port": 4025, "tls": "none", "from": "Tocsin <tocsin@localhost>"}
    }
    assert made["templates"] == "/somewhere"
    own = {"email": {"main": {"host": "smtp.example", "from": "a@b.example"}}, "templates": "mine"}
    assert dev_file({"deliver": own}, mailbox=4025, templates="/somewhere")["deliver"]["email"] == own["email"]
    assert dev_file({"deliver": own}, mailbox=4025, templates="/somewhere")["deliver"]["templates"] == "mine"
    assert "email" not in dev_file({})["deliver"]


KEYS = {"directory_key": "k:d", "directory_index_key": "i", "vapid_key": "private", "webpush_public_key": "public"}


def test_keys_are_for_every_role_and_push_has_both_halves() -> None:
    made = dev_file({}, keys=KEYS)
    assert (made["directory_keys"], made["directory_index_key"]) == (["k:d"], "i")
    assert made["gateway"]["webpush_public_key"] == "public"
    assert made["deliver"]["webpush"]["dev"]["vapid_key"] == "private"
    assert "directory_keys" not in dev_file({})


def test_own_keys_stand() -> None:
    made = dev_file({"directory_keys": ["own:d"], "gateway": {"webpush_public_key": "own"}}, keys=KEYS)
    assert (made["directory_keys"], made["gateway"]["webpush_public_key"]) == (["own:d"], "own")
    assert "webpush" not in made["deliver"]
