"""`/v1/dead`: what was buried, by whatever selects it, and to drop it or send it again. For API keys of scope admin.

A letter is shown with its reason and names, never with what the entry held: `tocsin dead show` does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.routing import Route

from bus.codec import iso
from bus.dead import Found, Graveyard
from bus.letters import DeadLetter, Selection, select
from gateway.api.admin import Answer, Asked, Handler, Object, answer, refused, resource, taking
from gateway.api.keys import ApiKeys
from gateway.api.problem import Kind, Refusal, bad_request

PATH: Final = "/v1/dead"
REPLAY: Final = "/v1/dead/replay"
LIMIT: Final = 100
MOST: Final = 10_000
"""Letters in one request."""
WHICH: Final = "say which: a filter that excludes nothing needs all=true"


class Dead:
    """The endpoints."""

    def __init__(self, graveyard: Graveyard, keys: ApiKeys) -> None:
        self._graveyard, self._keys = graveyard, keys

    def routes(self) -> list[Route]:
        """All of them."""
        table: dict[str, dict[str, Handler]] = {
            PATH: {"GET": self._list, "DELETE": self._drop},
            REPLAY: {"POST": taking(self._replay)},
        }
        return [resource(self._keys, path, handlers) for path, handlers in table.items()]

    async def _list(self, asked: Asked) -> Answer:
        """The newest that are meant."""
        query = dict(asked.query)
        meant = _meant(query, query.pop("limit", None), LIMIT, asked.query.getlist("names"))
        if isinstance(meant, Refusal):
            return meant
        found = await self._graveyard.find(meant.selection, meant.limit)
        return answer({"letters": [shown(letter) for letter in found.letters], "more": found.more})

    async def _drop(self, asked: Asked) -> Answer:
        """Delete what is meant."""
        query = dict(asked.query)
        everything, dry_run = query.pop("all", "") == "true", query.pop("dry_run", "") == "true"
        meant = _meant(query, query.pop("limit", None), MOST, asked.query.getlist("names"))
        if isinstance(meant, Refusal):
            return meant
        if meant.selection.everything and not everything:
            return Refusal(Kind.BAD_REQUEST, WHICH)
        found = await self._graveyard.find(meant.selection, meant.limit)
        return self._said(found, "dropped", None if dry_run else await self._graveyard.drop_all(found.letters))

    async def _replay(self, asked: Asked, raw: Object) -> Answer:
        """Send what is meant again."""
        if fault := _replay_fault(raw):
            return bad_request(fault)
        meant = _meant(raw.get("filter", {}), raw.get("limit"), MOST)
        if isinstance(meant, Refusal):
            return meant.beneath("/filter")
        if meant.selection.everything and raw.get("all") is not True:
            return bad_request(WHICH, "/filter")
        found = await self._graveyard.find(meant.selection, meant.limit)
        return self._said(
            found, "replayed", None if raw.get("dry_run") else await self._graveyard.replay_all(found.letters)
        )

    @staticmethod
    def _said(found: Found, what: str, done: Sequence[str] | None) -> Answer:
        """How many were meant, and which it was done to; None: it was only asked."""
        names = [one.name for one in found.letters] if done is None else list(done)
        return answer({"matched": len(found.letters), what: len(done or ()), "letters": names, "more": found.more})


def shown(letter: DeadLetter) -> dict[str, Any]:
    """A letter without what the entry held."""
    return {
        "name": letter.name,
        "buried_at": iso(letter.buried_at),
        "queue": letter.queue,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "entry": letter.entry,
        **letter.about,
    }


def _replay_fault(raw: Mapping[str, Any]) -> str:
    if not raw.keys() <= {"filter", "dry_run", "limit", "all"}:
        return "has no members but filter, dry_run, limit, all"
    if not isinstance(raw.get("filter", {}), dict):
        return "must have an object as filter"
    flags = all(isinstance(raw.get(name, False), bool) for name in ("dry_run", "all"))
    return "" if flags else "must have true or false as dry_run and all"


@dataclass(frozen=True, slots=True)
class _Meant:
    """Which letters, and how many of them."""

    selection: Selection
    limit: int


def _meant(raw: Mapping[str, Any], limit: object, default: int, names: Sequence[str] = ()) -> _Meant | Refusal:
    """From a query or the filter of a body. A limit is a number, or in a query a text."""
    if isinstance(limit, str) and limit.isascii() and limit.isdigit() and len(limit) <= 5:
        limit = int(limit)
    number = default if limit is None else limit
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MOST:
        return Refusal(Kind.BAD_REQUEST, f"limit must be a whole number from 1 to {MOST}")
    chosen = select({**raw, **({"names": list(names)} if names else {})})
    return _Meant(chosen, number) if isinstance(chosen, Selection) else refused(chosen)
