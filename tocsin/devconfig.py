"""What `tocsin dev` changes in the settings: rules open enough to play with, and a key that everybody knows.

Pure. What your own `tocsin.toml` says stands; only what it leaves open is filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any, Final

from bus.namespaces import Namespace

DEV_KEY: Final = "dev-key"
SCOPES: Final = ("events", "admin", "contacts")
OPEN: Final = Namespace(
    subscribe="user",
    publish="user",
    presence="user",
    join_leave=True,
    history="user",
    history_size=200,
    history_ttl=3600,
)
CLOSED: Final = Namespace()

NAMESPACES: Final[Mapping[str, Mapping[str, Any]]] = {"*": asdict(OPEN), "private": asdict(CLOSED)}
"""Everything is open to whoever has a token, except `private:…`, which shows what a production rule feels like."""
LADDER: Final = (
    {"via": "live"},
    {"via": "push", "after": 5, "unless": "acked"},
    {"via": "email", "after": 10, "unless": "acked"},
)
"""Waits that one can sit out at the demo page: after 15 seconds everything has been tried."""
CATEGORIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "orders": {"title": "Orders and deliveries"},
    "security": {
        "title": "Your account",
        "required": True,
        "ignore_quiet_hours": True,
        "ladder": [
            {"via": "live"},
            {"via": "push", "after": 5, "unless": "read"},
            {"via": "email", "after": 10, "unless": "read"},
        ],
    },
    "news": {"title": "News", "digest": {"email": {"window": 30, "max": 20}}, "off": ["sms"]},
}
"""One as usual, one that nobody can turn off and that must be read, one whose e-mail is gathered."""
SUBJECT: Final = "mailto:dev@localhost.invalid"
"""Whom the operator of a push service would ask about what a development system sends."""
MAILBOX_HOST: Final = "127.0.0.1"
ROLES: Final = ("gateway", "fanout", "deliver")


def dev_file(
    file: Mapping[str, Any],
    page: str = "",
    mailbox: int = 0,
    templates: str = "",
    keys: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The settings file of a development system, made from the user's own.

    `page`: where it will be reached; `mailbox`: port of the development mailbox, 0 for none; `templates`: a folder;
    `keys`: as `tocsin keys --json` prints them.
    """
    own = dict(file)
    tables = {role: dict(own.pop(role, {})) for role in ROLES}
    rules: dict[str, Any] = {**NAMESPACES, **own.pop("namespaces", {})}
    for table in tables.values():
        rules |= table.pop("namespaces", {})
    if not tables["gateway"].get("api_keys") and not own.get("api_keys"):
        tables["gateway"]["api_keys"] = {
            "dev": {"sha256": sha256(DEV_KEY.encode()).hexdigest(), "scopes": list(SCOPES)}
        }
    # What is delivered to stays on this machine: the mailbox, the pretend phone, somebody's webhook at the next port.
    _leave(own, tables["deliver"], "allow_private_addresses", True)
    _leave(own, tables["deliver"], "public_url", page.rstrip("/"))
    _leave(own, tables["deliver"], "templates", templates)
    post = {"host": MAILBOX_HOST, "port": mailbox, "tls": "none", "from": "Tocsin <tocsin@localhost>"}
    _leave(own, tables["deliver"], "email", {"mailbox": post} if mailbox else "")
    people = {"categories": {name: dict(category) for name, category in CATEGORIES.items()}, "ladder": list(LADDER)}
    if keys is not None:
        people |= {"directory_keys": [keys["directory_key"]], "directory_index_key": keys["directory_index_key"]}
        _add_push(own, tables, keys)
    return {**people, **own, "namespaces": rules, **tables}


def _add_push(own: Mapping[str, Any], tables: Mapping[str, dict[str, Any]], keys: Mapping[str, str]) -> None:
    """Both halves of the key, or none: browsers subscribe with the one and are written to with the other."""
    if not any("webpush" in table or "webpush_public_key" in table for table in (own, *tables.values())):
        tables["gateway"]["webpush_public_key"] = keys["webpush_public_key"]
        tables["deliver"]["webpush"] = {"dev": {"vapid_key": keys["vapid_key"], "subject": SUBJECT}}


def _leave(own: Mapping[str, Any], table: dict[str, Any], name: str, value: Any) -> None:
    """Set what the file leaves open, at its top and in the role's table."""
    if name not in own and value != "":
        table.setdefault(name, value)
