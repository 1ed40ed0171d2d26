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
from bus.people.settings import PeopleSettings
from bus.settings import PREFIX, BusSettings
from fanout.settings import FanoutSettings
from gateway.settings import GatewaySettings
from gateway.states import as_markdown
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


def _namespaces() -> str:
    notes = notes_of(Namespace)
    rows = ((f"`{f.name}`", default_of(f), notes.get(f.name, "")) for f in fields(Namespace))
    return table(("rule", "default", "meaning"), rows)


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
}
_SKIP: Final = ("partition", "tagged", "body_prefix", "counts_prefix", "listening", "pattern", "named")


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
    "settings_cli": _settings(CliSettings, BusSettings),
    "namespaces": _namespaces,
    "keys": _keys,
    "errors": _errors,
    "disconnects": lambda: _closes(Disconnect, lambda code: code < 3500),
    "states": lambda: as_markdown() + "\n",
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
