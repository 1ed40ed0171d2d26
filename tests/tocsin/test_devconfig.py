"""What `tocsin dev` makes of the user's settings file, and that it is TOML."""

from __future__ import annotations

import tomllib
from hashlib import sha256
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bus.namespaces import DEFAULT, Namespaces
from tocsin.devconfig import DEV_KEY, dev_file, to_toml

NAMES = st.text(st.characters(codec="utf-8"), max_size=8)
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | NAMES
TABLES = st.recursive(
    st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=3), max_size=3),
    lambda inner: st.dictionaries(NAMES, inner | SCALARS, max_size=3),
    max_leaves=8,
)


@given(TABLES)
def test_toml_reads_back_as_it_was(table: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(table)) == table


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
