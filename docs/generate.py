"""Writes the tables of docs/ that say what the code says: `python docs/generate.py`, or `--check` to compare only.

A table stands between `<!-- generated: NAME -->` and `<!-- end -->`; everything around it is written by hand.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Final

from bus.keys import Keys
from bus.namespaces import Namespace
from bus.people.categories import Category
from bus.people.settings import PeopleSettings
from bus.policy import SENDERS
from bus.settings import PREFIX, BusSettings
from fanout.channels import apns, email, fcm, sms, webhook, webpush
from fanout.deliver.settings import BURST, RATE, DeliverSettings
from fanout.settings import FanoutSettings
from gateway import health, states
from gateway.settings import GatewaySettings
from gateway.wire.codes import Disconnect, Error, Unsubscribed
from tocsin.settings import CliSettings

DOCS: Final = Path(__file__).parent
_MARKED: Final = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


# Settings --------------------------------------------------------------------------------------------------------


def notes_of(kind: type[Any]) -> dict[str, str]:
    """The text under each field of a dataclass, which Python itself throws away."""
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    notes: dict[str, str] = {}
    name = ""
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            notes[name] = " ".join(str(node.value.value).split())
    return notes


def default_of(field: Field[Any]) -> str:
    """A field's default as it would stand in the file."""
    if field.default is MISSING:
        return "none"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def settings_rows(kind: type[Any], base: type[Any] | None = None) -> Iterator[tuple[str, ...]]:
    """One row per setting that `base` has not."""
    known = {field.name for field in fields(base)} if base else set[str]()
    notes = notes_of(kind)
    for field in fields(kind):
        if field.name not in known:
            by_variable = f"`{PREFIX}{field.name.upper()}`" if "Mapping" not in str(field.type) else "–"
            secret = " Shown masked." if field.metadata.get("secret") else ""
            yield f"`{field.name}`", by_variable, default_of(field), (notes.get(field.name, "") + secret).strip()


def _settings(kind: type[Any], base: type[Any] | None = None) -> Callable[[], str]:
    return lambda: table(("in tocsin.toml", "variable", "default", "meaning"), settings_rows(kind, base))


def _rules(kind: type[Any]) -> Callable[[], str]:
    """One row per field of what a table of the settings is made into; its name is the table's and no rule."""
    notes = notes_of(kind)
    rows = [(f"`{f.name}`", default_of(f), notes.get(f.name, "")) for f in fields(kind) if f.name != "name"]
    return lambda: table(("rule", "default", "meaning"), iter(rows))


# Providers -------------------------------------------------------------------------------------------------------


def _pool(sender: Any) -> dict[str, str]:
    """What senders over HTTP have in common."""
    return {
        "timeout": f"`{sender.TIMEOUT:g}`: seconds for a call",
        "connections": f"`{sender.CONNECTIONS}`: most connections at once",
    }


PROVIDERS: Final[dict[str, tuple[tuple[str, ...], dict[str, str]]]] = {
    "email": (
        email.KNOWN,
        {
            "host": "needed: the SMTP server",
            "port": "465, 587 or 25, as `tls` says",
            "tls": "`starttls` (demanded), `implicit` or `none`; `none` with a login only on this machine",
            "ca": "file of certificates to trust in place of the system's",
            "username": "login; with `password`",
            "password": "its secret",
            "from": 'needed: `"Shop <shop@example.com>"`, or the address alone',
            "reply_to": "address for answers",
            "bounces": "sender of the envelope, where complaints go; else the address in `from`",
            "helo": "the name to greet with; else the domain of `from`",
            "connections": "`8`: most connections at once",
            "mails": "`100`: mails on a connection before it is left",
            "idle": "`30`: seconds for which an unused connection is kept",
            "timeout": "`20`: seconds for each reply of the server",
        },
    ),
    "webpush": (
        webpush.KNOWN,
        {
            "vapid_key": "needed: the private half; the public one is `webpush_public_key` of `[gateway]`",
            "subject": "needed: `mailto:` or `https://`, where the push services can reach you",
            "hosts": "where endpoints may lead; else the services of Chrome, Edge, Firefox and Safari",
            **_pool(webpush),
        },
    ),
    "fcm": (
        fcm.KNOWN,
        {
            "service_account_file": "path of the key file that Firebase gives; this or the next is needed",
            "service_account": "its JSON",
            "project": "another project than the key file names",
            "base_url": "another address than Google's, such as a proxy's",
            "token_uri": "another address for access tokens",
            **_pool(fcm),
        },
    ),
    "apns": (
        apns.KNOWN,
        {
            "key_file": "path of the signing key (`.p8`); this or the next is needed",
            "key": "its text",
            "key_id": "needed: the id of the key",
            "team_id": "needed: the id of the team",
            "topic": "needed: the app's bundle id, for devices that name none in `app`",
            "topics": "further apps that this key sends to",
            "environment": "`prod` or `sandbox`, for devices that name none",
            "url": "another address than Apple's",
            "sandbox_url": "the same for the sandbox",
            "ca_file": "file of certificates to trust in place of the system's",
            "timeout": f"`{apns.TIMEOUT:g}`: seconds for a call",
        },
    ),
    "sms": (
        (*sms.COMMON, *(key for key in sms.TWILIO if key != "from"), *sms.SERVICE),
        {
            "kind": "`twilio`, or `http` for any service with an HTTP API",
            "from": "Twilio, needed: a number, short code, name, or messaging service; `http`: what `{from}` is",
            "segments": "`4`: most parts of one message, 1 to 10; a longer text is cut",
            "countries": 'beginnings of numbers that may be sent to, such as `["+41", "+49"]`; none: all',
            "timeout": "`20`: seconds for a call",
            "connections": "`50`: most connections at once",
            "account_sid": "Twilio, needed: the account",
            "auth_token": "Twilio: needed, unless there is an API key and no `callbacks`",
            "api_key": "Twilio: SID of an API key; with `api_secret`",
            "api_secret": "Twilio: its secret",
            "callbacks": "Twilio: where the gateway is, for its word on what became of a message; see below",
            "base_url": "Twilio: another address",
            "url": "`http`, needed: where to POST",
            "body": "`http`, needed: table of what to send, with `{to}`, `{digits}`, `{text}`, `{from}`, `{id}`",
            "format": "`http`: `json` or `form`",
            "headers": "`http`: a table of further headers, such as Authorization",
            "code": "`http`: where in a JSON answer the reason stands, such as `error.code`",
            "gone": "`http`: reasons that mean that the number is not one to send to",
        },
    ),
    "webhook": (
        webhook.KNOWN,
        {
            "secret": "`whsec_…`, for webhooks that have none of their own; several, with spaces between, all sign",
            "https_only": "`true`, unless `allow_private_addresses` is set",
            **_pool(webhook),
        },
    ),
}
"""By the kind of table: the keys that the code knows, and what each means."""


def _provider(kind: str) -> Callable[[], str]:
    known, meanings = PROVIDERS[kind]

    def rows() -> Iterator[tuple[str, ...]]:
        if differ := set(known) ^ set(meanings):
            raise LookupError(f"the code and this table differ about the keys {sorted(differ)} of {kind}")
        return ((f"`{key}`", meaning) for key, meaning in meanings.items())

    return lambda: table((f"`[deliver.{kind}.NAME]`", "meaning"), rows())


_ANY: Final = {
    RATE: "most calls a second; none: as fast as it goes",
    BURST: "how many of them at once; else those of a second",
}


def duration(seconds: float) -> str:
    """In the largest unit that leaves no rest."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _retries() -> str:
    rows = (
        (channel, str(len(policy.delays) + 1), ", ".join(map(duration, policy.delays)))
        for channel, policy in SENDERS.items()
    )
    return table(("channel", "attempts", "waits between them, each a fifth longer or shorter at random"), rows)


# Keys ------------------------------------------------------------------------------------------------------------

_EXAMPLES: Final[dict[str, Any]] = {
    "partition": 0,
    "topic": "news:sport",
    "ref": "4.shop/17",
    "node": "n1",
    "digest": "5e88…",
    "channel": "email",
    "user": "alice",
    "category": "news",
    "worker": "w1",
    "ticket": "9f86…",
    "name": "shop",
}
_SKIP: Final = ("partition", "tagged", "body_prefix", "counts_prefix", "listening", "sending", "pattern", "named")


def key_rows() -> Iterator[tuple[str, ...]]:
    """One row per key that `Keys` builds; those of a topic also as they are for an inbox."""
    keys = Keys("tocsin", 64)
    for name, member in vars(Keys).items():
        if name.startswith("_") or name in _SKIP or not (callable(member) or isinstance(member, property)):
            continue
        text = " ".join((inspect.getdoc(member) or "").split())
        if isinstance(member, property):
            yield f"`{getattr(keys, name)}`", text
            continue
        parameters = list(inspect.signature(member).parameters)[1:]
        arguments = [_EXAMPLES[parameter] for parameter in parameters]
        example = f"`{getattr(keys, name)(*arguments)}`"
        if parameters == ["topic"]:
            example += f"<br>`{getattr(keys, name)('@alice')}`"
        yield example, text


def _keys() -> str:
    return table(("key (an example)", "what it is"), key_rows())


# Codes -----------------------------------------------------------------------------------------------------------


def _errors() -> str:
    rows = ((str(e.value.code), e.value.message, "yes" if e.value.temporary else "") for e in Error)
    return table(("code", "message", "temporary: the client tries again"), rows)


def _closes(kinds: type[Disconnect] | type[Unsubscribed], back: Callable[[int], bool]) -> str:
    rows = ((str(k.value.code), k.value.reason, "yes" if back(k.value.code) else "no") for k in kinds)
    return table(("code", "reason", "the client comes back"), rows)


TABLES: Final[dict[str, Callable[[], str]]] = {
    "settings_all": _settings(BusSettings),
    "settings_people": _settings(PeopleSettings, BusSettings),
    "settings_gateway": _settings(GatewaySettings, PeopleSettings),
    "settings_fanout": _settings(FanoutSettings, PeopleSettings),
    "settings_deliver": _settings(DeliverSettings, PeopleSettings),
    "settings_cli": _settings(CliSettings, BusSettings),
    "namespaces": _rules(Namespace),
    "categories": _rules(Category),
    **{f"provider_{kind}": _provider(kind) for kind in PROVIDERS},
    "provider_any": lambda: table(("any of these tables", "meaning"), ((f"`{k}`", v) for k, v in _ANY.items())),
    "retries": _retries,
    "keys": _keys,
    "errors": _errors,
    "disconnects": lambda: _closes(Disconnect, lambda code: code < 3500),
    "states": lambda: states.as_markdown() + "\n",
    "health": health.as_markdown,
    "unsubscribes": lambda: _closes(Unsubscribed, lambda code: code >= 2500),
}


def rendered(text: str) -> str:
    """A page with its tables as the code has them now."""
    return _MARKED.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def main(arguments: list[str]) -> int:
    """Write all pages anew; with --check write nothing, and answer 1 when one of them is not as it should be."""
    stale = [page for page in sorted(DOCS.glob("*.md")) if rendered(page.read_text()) != page.read_text()]
    for page in stale:
        if "--check" in arguments:
            print(f"{page.name} is not what the code says; run: python docs/generate.py")
        else:
            page.write_text(rendered(page.read_text()))
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
