"""`/v1/topics/{topic}/members`: who follows a topic durably, one by one and in bulk. For API keys of scope admin."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.routing import Route

from bus.event import Problem
from bus.naming import name_fault
from bus.people.followers import Followers
from gateway.api.admin import Answer, Asked, Object, answer, nothing, refused, resource, taking
from gateway.api.keys import ApiKeys
from gateway.api.problem import Kind, Refusal, bad_request

PATH: Final = "/v1/topics/{topic}/members"
MAX_BULK: Final = 50_000
"""Users in one request."""
MAX_BODY: Final = 8 * 1024 * 1024
PAGE: Final = 1_000
MOST_FAULTS: Final = 10
SLICE: Final = 5_000
"""Names checked at once: connections wait meanwhile."""


class Members:
    """The endpoints."""

    def __init__(self, followers: Followers, keys: ApiKeys) -> None:
        self._followers, self._keys = followers, keys

    def routes(self) -> list[Route]:
        """Both of them."""
        one = {"PUT": self._follow, "DELETE": self._unfollow}
        return [
            resource(self._keys, PATH, {"GET": self._page, "POST": taking(self._bulk, MAX_BODY)}),
            resource(self._keys, f"{PATH}/{{user}}", one),
        ]

    async def _follow(self, asked: Asked) -> Answer:
        await self._followers.follow(asked.topic, [asked.user])
        return nothing()

    async def _unfollow(self, asked: Asked) -> Answer:
        await self._followers.unfollow(asked.topic, [asked.user])
        return nothing()

    async def _bulk(self, asked: Asked, raw: Object) -> Answer:
        """`{"add": […], "remove": […]}`; how many were new and how many left. All names are checked before any is
        taken; what was done when Redis went away stays done, and the request can be repeated."""
        if not raw or not raw.keys() <= {"add", "remove"}:
            return bad_request("must be an object with add, remove or both")
        add, remove = raw.get("add", []), raw.get("remove", [])
        if sum(len(users) for users in (add, remove) if isinstance(users, list)) > MAX_BULK:
            return bad_request(f"must have at most {MAX_BULK} users")
        if faults := await _faults("add", add) + await _faults("remove", remove):
            return refused(faults[:MOST_FAULTS])
        if both := len(set(add) & set(remove)):
            return bad_request(f"has {both} users in add and remove alike")
        added = await self._followers.follow(asked.topic, add) if add else 0
        removed = await self._followers.unfollow(asked.topic, remove) if remove else 0
        already, absent = len(set(add)) - added, len(set(remove)) - removed
        return answer({"added": added, "already": already, "removed": removed, "absent": absent})

    async def _page(self, asked: Asked) -> Answer:
        """`?cursor=…&limit=…`: followers, and the cursor of the next page."""
        limit = asked.query.get("limit", str(PAGE))
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= PAGE:
            return Refusal(Kind.BAD_REQUEST, f"limit must be a whole number from 1 to {PAGE}")
        page = await self._followers.page(asked.topic, asked.query.get("cursor"), int(limit))
        if page is None:
            return Refusal(Kind.BAD_REQUEST, "the cursor is none that this resource gave")
        total = await self._followers.count(asked.topic)
        return answer({"members": list(page.users), "next": page.cursor, "total": total})


async def _faults(member: str, users: object) -> list[Problem]:
    if not isinstance(users, list):
        return [Problem(f"/{member}", "must be a list")]
    found: list[Problem] = []
    for start in range(0, len(users), SLICE):
        some = enumerate(users[start : start + SLICE], start)
        found += [Problem(f"/{member}/{i}", fault) for i, user in some if (fault := name_fault(user))]
        await asyncio.sleep(0)
    return found
