"""`tocsin revoke`, `disconnect` and `namespaces`: what an operator changes while everything runs."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from bus.clock import Clock
from bus.namespaces import Namespace
from tocsin.asking import ask
from tocsin.trouble import USAGE, Trouble

_AGO: Final = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Show = Callable[[Any, Sequence[str]], int]


def revoke(a: argparse.Namespace, url: str, key: str, clock: Clock, show: Show) -> int:
    """Revoke what `--jti` or a user names; with neither, list what is revoked. Raises `Trouble`."""
    if a.jti is None and a.user is None:
        found = ask(url, key, "GET", "/v1/tokens/revoked?limit=1000")
        lines = [_revoked(one) for one in found["revoked"]] or ["nothing is revoked"]
        return show(found, [*lines, *(["… and more"] if found["more"] else [])])
    if a.jti is not None and (a.user is not None or a.issued_before is not None):
        raise Trouble("give --jti alone, or a user and perhaps --issued-before", USAGE)
    body: dict[str, Any] = {"jti": a.jti} if a.jti is not None else {"user": a.user}
    if a.issued_before is not None:
        body["issued_before"] = _moment(a.issued_before, clock)
    answer = ask(url, key, "POST", "/v1/tokens/revoke", body)
    return show(answer, [_revoked(answer["revoked"])])


def _revoked(one: dict[str, Any]) -> str:
    if "jti" in one:
        return f"token {one['jti']} is revoked, kept until {one['until']}"
    before = datetime.fromtimestamp(one["issued_before"], UTC).isoformat(timespec="milliseconds")
    return f"all tokens of {one['user']} from before {before} are revoked, kept until {one['until']}"


def _moment(text: str, clock: Clock) -> float:
    if ago := _AGO.fullmatch(text):
        return clock.wall() - int(ago[1]) * _UNITS[ago[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Trouble(f"--issued-before {text}: give 2h, 7d, or a time such as 2026-11-23T08:00:00Z", USAGE) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def disconnect(a: argparse.Namespace, url: str, key: str, show: Show) -> int:
    """End all connections of a user. Raises `Trouble`."""
    body: dict[str, Any] = {"reconnect": True} if a.reconnect else {}
    if a.code is not None:
        body["code"] = a.code
    answer = ask(url, key, "POST", f"/v1/users/{quote(a.user, safe='')}/disconnect", body)
    return show(answer, [f"the connections of {answer['user']} end with {answer['code']}"])


def namespaces(a: argparse.Namespace, url: str, key: str, show: Show) -> int:
    """ls, show, set or reset. Raises `Trouble`."""
    if a.action == "ls":
        found = ask(url, key, "GET", "/v1/namespaces")
        return show(found, [_line(one) for one in found["namespaces"]])
    if a.name is None:
        raise Trouble("which? Give the part of a topic before the colon, or * for all that are not named", USAGE)
    path = f"/v1/namespaces/{quote(a.name, safe='')}"
    if a.action == "reset":
        ask(url, key, "DELETE", path)
        return show({"name": a.name}, [f"{a.name} has the rules of the settings again"])
    body = _rules(a.rules) if a.action == "set" else None
    answer = ask(url, key, "GET" if body is None else "PUT", path, body)
    return show(answer, [_line(answer)])


def _line(one: dict[str, Any]) -> str:
    rules = " ".join(f"{name}={json.dumps(value).strip(chr(34))}" for name, value in one["rules"].items())
    return f"{one['name']:<16} {'changed ' if one['stored'] else 'settings'}  {rules}"


def _rules(given: Sequence[str]) -> dict[str, Any]:
    """`name=value` each. Raises `Trouble`; whether a rule and its value are known is for the gateway to say."""
    kinds = {name: type(value) for name, value in ((n, getattr(Namespace(), n)) for n in Namespace.__slots__)}
    rules: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals:
            raise Trouble(f"{one}: give rules as name=value, such as subscribe=user", USAGE)
        rules[name] = _value(text, kinds.get(name, str))
    return rules


def _value(text: str, kind: type[Any]) -> Any:
    if kind is bool and text in ("true", "false"):
        return text == "true"
    return int(text) if kind is int and text.isascii() and text.isdigit() else text
