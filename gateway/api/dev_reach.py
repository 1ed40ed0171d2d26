"""What the demo page asks about people: an address for each, what became of what was sent to them, and its withdrawal.

For development gateways alone, guarded as all of `/dev/…` is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from bus.clock import Clock
from bus.keys import Keys
from bus.naming import name_fault
from bus.people.directory import Directory, Known, NoKeys
from bus.people.profile import Profile
from bus.people.vault import vault_of
from bus.pipe import Pipe
from gateway.api.dev import PRODUCER, Handler, guard
from gateway.api.explain import explain
from gateway.api.paths import ExactRoute
from gateway.api.problem import Kind, Refusal, bad_request
from gateway.settings import GatewaySettings
from gateway.tracking import Tracking

DOMAIN: Final = "demo.test"
"""Where everybody on the demo page has a mailbox. No such domain can exist (RFC 2606 §2)."""
MAX_LOCAL: Final = 40
NO_STORE: Final = {"cache-control": "no-store"}


@dataclass(frozen=True, slots=True)
class ReachParts:
    """What these endpoints work with."""

    settings: GatewaySettings
    clock: Clock
    directory: Directory
    tracking: Tracking


def parts(settings: GatewaySettings, clock: Clock, pipe: Pipe, keys: Keys) -> ReachParts:
    """Raises `BadSetting` for directory keys that are none."""
    vault = vault_of(settings.directory_keys, settings.directory_index_key)
    directory = Directory(pipe, keys, vault, clock)
    return ReachParts(settings, clock, directory, Tracking(pipe, keys, clock, settings.withdrawn_ttl))


def routes(parts: ReachParts) -> list[BaseRoute]:
    """To be mounted with `settings.dev` only."""
    reach = _Reach(parts)
    handlers: list[tuple[str, str, Handler]] = [
        ("/dev/people/{user}", "POST", reach.meet),
        ("/dev/events/{id}", "GET", reach.follow),
        ("/dev/events/{id}", "DELETE", reach.withdraw),
    ]
    return [ExactRoute(path, guard(handler, parts.settings), methods=[method]) for path, method, handler in handlers]


def address_of(user: str) -> str:
    """The address of somebody on the demo page: their name, and where that is no part of an address, a digest too."""
    plain = re.sub(r"[^a-z0-9]+", "-", user.lower()).strip("-")[:MAX_LOCAL]
    if plain != user:
        plain = f"{plain}-{sha256(user.encode()).hexdigest()[:8]}".lstrip("-")
    return f"{plain}@{DOMAIN}"


class _Reach:
    def __init__(self, parts: ReachParts) -> None:
        self._parts = parts

    async def meet(self, request: Request) -> Response:
        """See to it that somebody has an e-mail address: their own, or one that is made up."""
        user = request.path_params["user"]
        if fault := name_fault(user):
            return bad_request(f"the user in the path {fault}").response()

        def introduced(known: Known | None) -> Profile:
            profile = known.profile if known else Profile(name=user)
            email = profile.contacts.email or address_of(user)
            return replace(profile, contacts=replace(profile.contacts, email=email))

        found = await self._parts.directory.change(user, introduced)
        if not isinstance(found, Known):
            reason = found.reason if isinstance(found, NoKeys) else "the profile is at fault"
            return Refusal(Kind.FORBIDDEN, reason).response()
        return JSONResponse({"user": user, "email": found.profile.contacts.email}, headers=NO_STORE)

    async def follow(self, request: Request) -> Response:
        """`?user=`: what became of an event of the page's, with why in words. What is not known yet was accepted."""
        id, user = request.path_params["id"], request.query_params.get("user", "")
        if fault := name_fault(id) or name_fault(user):
            return bad_request(f"the id and the parameter user: {fault}").response()
        tracking = self._parts.tracking
        event = await tracking.whole(PRODUCER, id)
        shown: dict[str, Any] = event.shown() | {"recipient": None, "summary": ""}
        if event.known:
            person = await tracking.person(PRODUCER, id, user)
            shown["summary"] = explain(event, person, self._parts.clock.wall()).summary
            shown["recipient"] = person.shown() if person.given else None
        else:
            shown["state"] = "accepted"  # it is on its way: the page asks only about what it has just sent
        return JSONResponse(shown, headers=NO_STORE)

    async def withdraw(self, request: Request) -> Response:
        """Take an event of the page's back."""
        id = request.path_params["id"]
        if fault := name_fault(id):
            return bad_request(f"the id in the path {fault}").response()
        recipients = await self._parts.tracking.withdraw(PRODUCER, id)
        return JSONResponse({"id": id, "withdrawn": True, "recipients": recipients}, headers=NO_STORE)
