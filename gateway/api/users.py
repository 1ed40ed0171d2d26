"""`/v1/users/…`: what the backend tells of people and asks about them. For API keys of scope admin.

Addresses are shown masked. With `?contacts=plain` they are shown whole, to keys that have the scope contacts too.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from secrets import token_bytes
from typing import Any, Final, assert_never

from starlette.routing import Route

from bus.event import Problem
from bus.naming import topic_fault
from bus.people import devices
from bus.people.directory import Known, NoKeys
from bus.people.preferences import Faults, Preferences, merged
from bus.people.profile import INDEXED, BadProfile, Profile, address_fault, parse
from gateway.api.admin import Answer, Asked, Handler, Object, answer, nothing, refused, resource, taking
from gateway.api.keys import ApiKeys, Scope
from gateway.api.problem import Kind, Refusal, bad_request
from gateway.choices import patched, replaced, shown
from gateway.forgetting import Forgetting
from gateway.people import People

PATH: Final = "/v1/users"
MAX_TOPICS: Final = 1_000
"""Of one person, in one request."""


class Users:
    """The endpoints."""

    def __init__(self, people: People, forgetting: Forgetting, keys: ApiKeys) -> None:
        self._directory, self._followers = people.directory, people.followers
        self._categories = people.categories
        self._forgetting = forgetting
        self._keys = keys

    def routes(self) -> list[Route]:
        """All of them."""
        one = f"{PATH}/{{user}}"
        table: dict[str, dict[str, Handler]] = {
            PATH: {"GET": self._lookup},
            one: {
                "GET": self._get,
                "PUT": taking(self._put),
                "PATCH": taking(self._patch),
                "DELETE": self._erase,
            },
            f"{one}/preferences": {
                "GET": self._choices,
                "PUT": taking(self._replace_choices),
                "PATCH": taking(self._patch_choices),
            },
            f"{one}/devices": {"GET": self._devices, "POST": taking(self._add_device)},
            f"{one}/devices/{{device}}": {"DELETE": self._remove_device},
            f"{one}/topics": {"GET": self._topics, "PUT": taking(self._put_topics)},
        }
        return [resource(self._keys, path, handlers) for path, handlers in table.items()]

    # Profiles ----------------------------------------------------------------------------------------------------

    async def _lookup(self, asked: Asked) -> Answer:
        """Who has `?email=` or `?phone=`."""
        given = [(kind, asked.query[kind]) for kind in INDEXED if kind in asked.query]
        if len(given) != 1 or len(asked.query) != 1:
            return Refusal(Kind.BAD_REQUEST, "ask with one of ?email= or ?phone=; a plus sign is written %2B")
        ((kind, address),) = given
        if fault := address_fault(kind, address):
            return Refusal(Kind.BAD_REQUEST, f"the {kind} {fault}")
        users = await self._directory.lookup(kind, address)
        return _without_keys(users) if isinstance(users, NoKeys) else answer({"users": list(users)})

    async def _get(self, asked: Asked) -> Answer:
        plain = asked.query.get("contacts") == "plain"
        if plain and isinstance(refusal := self._keys.identify(asked.request.headers, Scope.CONTACTS), Refusal):
            return refusal
        known = await self._directory.get(asked.user)
        if known is None:
            return Refusal(Kind.NOT_FOUND, "nothing is stored of this user")
        return answer(_profile(asked.user, known, masked=not plain))

    async def _put(self, asked: Asked, raw: Object) -> Answer:
        """All that is stored, anew. A webhook that keeps its URL and comes without a secret keeps that too."""
        secret = _new_secret()

        def make(known: Known | None) -> Profile | BadProfile:
            old, hook = known.profile.contacts.webhook if known else None, raw.get("webhook")
            if old is not None and isinstance(hook, dict) and hook.get("url") == old.url:
                return parse(raw, old.secret)
            return parse(raw, secret)

        return _stored(asked.user, await self._directory.change(asked.user, make), secret)

    async def _patch(self, asked: Asked, raw: Object) -> Answer:
        """A merge patch (RFC 7396) of what is stored."""
        secret = _new_secret()

        def make(known: Known | None) -> Profile | BadProfile:
            if known and known.unreadable:
                return BadProfile((Problem("", "has contacts that cannot be opened now: PUT the whole profile"),))
            return parse(merged(known.profile.document() if known else {}, raw), secret)

        return _stored(asked.user, await self._directory.change(asked.user, make), secret)

    async def _erase(self, asked: Asked) -> Answer:
        """Everything about the person; may be repeated."""
        await self._forgetting.forget(asked.user)
        return nothing()

    # Preferences -------------------------------------------------------------------------------------------------

    async def _choices(self, asked: Asked) -> Answer:
        return answer(shown(await self._directory.preferences(asked.user), self._categories))

    async def _replace_choices(self, asked: Asked, raw: Object) -> Answer:
        return await self._choose(asked.user, lambda _: replaced(raw, self._categories))

    async def _patch_choices(self, asked: Asked, raw: Object) -> Answer:
        return await self._choose(asked.user, lambda old: patched(old, raw, self._categories))

    async def _choose(self, user: str, make: Callable[[Preferences], Preferences | Faults]) -> Answer:
        found = await self._directory.change_preferences(user, make)
        return refused(found.faults) if isinstance(found, Faults) else answer(shown(found, self._categories))

    # Devices and topics ------------------------------------------------------------------------------------------

    async def _devices(self, asked: Asked) -> Answer:
        return answer({"devices": [device.shown() for device in await self._directory.devices(asked.user)]})

    async def _add_device(self, asked: Asked, raw: Object) -> Answer:
        registration = devices.parse(raw)
        if isinstance(registration, tuple):
            return refused(registration)
        device = await self._directory.register(asked.user, registration)
        return _without_keys(device) if isinstance(device, NoKeys) else answer({"device": device.shown()}, 201)

    async def _remove_device(self, asked: Asked) -> Answer:
        if await self._directory.remove_device(asked.user, asked.request.path_params["device"]):
            return nothing()
        return Refusal(Kind.NOT_FOUND, "this user has no such device")

    async def _topics(self, asked: Asked) -> Answer:
        return answer({"topics": list(await self._followers.topics(asked.user))})

    async def _put_topics(self, asked: Asked, raw: Object) -> Answer:
        """`{"topics": […]}`: these, and no others."""
        wanted = raw.get("topics")
        if not isinstance(wanted, list) or len(raw) != 1 or len(wanted) > MAX_TOPICS:
            return bad_request(f"must be an object with topics, a list of at most {MAX_TOPICS}")
        faults = [Problem(f"/topics/{i}", fault) for i, topic in enumerate(wanted) if (fault := topic_fault(topic))]
        if faults:
            return refused(faults[:10])
        followed = set(await self._followers.topics(asked.user))
        for topic in sorted(followed - set(wanted)):
            await self._followers.unfollow(topic, [asked.user])
        for topic in sorted(set(wanted) - followed):
            await self._followers.follow(topic, [asked.user])
        return answer({"topics": sorted(set(wanted))})


def _new_secret() -> str:
    """Of a webhook, as Standard Webhooks has it: 32 random bytes."""
    return "whsec_" + b64encode(token_bytes(32)).decode()


def _stored(user: str, found: Known | BadProfile | NoKeys, secret: str) -> Answer:
    match found:
        case BadProfile(problems):
            return refused(problems)
        case NoKeys():
            return _without_keys(found)
        case Known():
            return answer(_profile(user, found, masked=True, secret=secret))
        case _:
            assert_never(found)


def _profile(user: str, known: Known, *, masked: bool, secret: str = "") -> Mapping[str, Any]:
    """As it is shown: `secret`, where it was made for this request, this once."""
    out = {"id": user, **known.profile.to_json(masked=masked)}
    hook = known.profile.contacts.webhook
    if hook and hook.secret == secret:
        out["webhook"]["secret"] = secret
    for what, kinds in (("unreadable", known.unreadable), ("gone", known.gone)):
        if kinds:
            out[what] = list(kinds)
    return out


def _without_keys(why: NoKeys) -> Refusal:
    return Refusal(Kind.NOT_CONFIGURED, why.reason)
