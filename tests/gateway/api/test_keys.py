"""API keys: settings that are wrong are refused at start, by name; keys are compared by hash."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from starlette.datastructures import Headers

from bus.settings import BadSetting
from gateway.api.keys import DEFAULT_RATE, ApiKeys, Producer, Scope
from gateway.api.problem import Kind, Refusal

GOOD = {"sha256": sha256(b"secret").hexdigest(), "scopes": ["events", "admin"]}


def test_a_key_is_known_by_its_hash() -> None:
    keys = ApiKeys({"shop": GOOD, "other": GOOD | {"sha256": "0" * 64, "rate": 2}})
    expected = Producer("shop", frozenset((Scope.EVENTS, Scope.ADMIN)), DEFAULT_RATE)
    assert keys.identify(Headers({"x-api-key": "secret"}), Scope.ADMIN) == expected
    assert keys.identify(Headers({"authorization": "Bearer secret"}), Scope.EVENTS) == expected


def test_without_keys_nobody_is_known() -> None:
    refused = ApiKeys({}).identify(Headers({"x-api-key": "secret"}), Scope.EVENTS)
    assert isinstance(refused, Refusal)
    assert refused.kind is Kind.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("name", "entry", "says"),
    [
        ("tocsin", GOOD, "may not have this name"),
        ("", GOOD, "may not have this name"),
        ("a\nb", GOOD, "may not have this name"),
        ("shop", "secret", "must be a table"),
        ("shop", GOOD | {"key": "secret"}, "has no key"),
        ("shop", GOOD | {"sha256": "secret"}, "64 lower-case hex digits"),
        ("shop", GOOD | {"sha256": "A" * 64}, "64 lower-case hex digits"),
        ("shop", {"scopes": ["events"]}, "64 lower-case hex digits"),
        ("shop", {"sha256": GOOD["sha256"]}, "must be a list of: events, admin"),
        ("shop", GOOD | {"scopes": []}, "must be a list of"),
        ("shop", GOOD | {"scopes": ["root"]}, "must be a list of"),
        ("shop", GOOD | {"scopes": "events"}, "must be a list of"),
        ("shop", GOOD | {"rate": 0}, "above 0"),
        ("shop", GOOD | {"rate": True}, "above 0"),
        ("shop", GOOD | {"rate": float("nan")}, "above 0"),
        ("shop", GOOD | {"rate": "fast"}, "above 0"),
        ("shop", GOOD | {"sources": "crm"}, "must be a list of names"),
        ("shop", GOOD | {"sources": [""]}, "must be a list of names"),
    ],
)
def test_a_wrong_setting_is_named_and_its_secret_is_not_shown(name: str, entry: Any, says: str) -> None:
    with pytest.raises(BadSetting, match=r"gateway\.api_keys") as caught:
        ApiKeys({name: entry})
    assert says in str(caught.value)
    assert "secret" not in str(caught.value).replace("api_keys", "")
