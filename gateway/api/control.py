"""What operators decide at run time: revoke tokens, send a user away, change the rules of a namespace. For API keys of
scope admin; each change reaches the live connections of every node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from secrets import token_hex
from typing import Any, Final

from starlette.routing import Route

from bus.codec import iso
from bus.namespaces import Namespace, Namespaces
from bus.namespaces import name_fault as namespace_fault
from bus.naming import name_fault
from bus.settings import BadSetting
from gateway.api.admin import Answer, Asked, Handler, Object, answer, nothing, resource, taking
from gateway.api.keys import ApiKeys
from gateway.api.problem import Kind, Refusal, bad_request, unavailable
from gateway.auth import MAX_ID
from gateway.control import Control
from gateway.revocation import Dismissal, Kept, Token, User, pack
from gateway.wire.codes import Disconnect

REVOKE: Final = "/v1/tokens/revoke"
REVOKED: Final = "/v1/tokens/revoked"
DISCONNECT: Final = "/v1/users/{user}/disconnect"
NAMESPACES: Final = "/v1/namespaces"
NAMESPACE: Final = "/v1/namespaces/{namespace}"
LIMIT: Final = 100
MOST: Final = 1_000
"""Revocations in one answer."""
CODES: Final = tuple(each.value.code for each in Disconnect)
FULL: Final = "as many are revoked as the setting revocations lets be; the oldest run out by themselves"


class Operations:
    """The endpoints."""

    def __init__(self, control: Control, keys: ApiKeys) -> None:
        self._control, self._keys = control, keys

    def routes(self) -> list[Route]:
        """All of them."""
        table: dict[str, dict[str, Handler]] = {
            REVOKE: {"POST": taking(self._revoke)},
            REVOKED: {"GET": self._revoked},
            DISCONNECT: {"POST": taking(self._disconnect)},
            NAMESPACES: {"GET": self._namespaces},
            NAMESPACE: {"GET": self._rules, "PUT": taking(self._set_rules), "DELETE": self._delete_rules},
        }
        return [resource(self._keys, path, handlers) for path, handlers in table.items()]

    # Tokens and people -------------------------------------------------------------------------------------------

    async def _revoke(self, asked: Asked, raw: Object) -> Answer:
        """`{"jti"}`, or `{"user", "issued_before"?}`."""
        order = _order(raw, self._control.now)
        if isinstance(order, Refusal):
            return order
        kept = await self._control.revoke(order)
        return unavailable(FULL, 60) if kept is None else answer({"revoked": _shown(kept)})

    async def _revoked(self, asked: Asked) -> Answer:
        """What is revoked now: all, or what `?user=` or `?jti=` names."""
        query = dict(asked.query)
        limit = query.pop("limit", str(LIMIT))
        if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MOST):
            return Refusal(Kind.BAD_REQUEST, f"limit must be a whole number from 1 to {MOST}")
        named = [f"{kind}:{query.pop(word)}" for word, kind in (("jti", "t"), ("user", "u")) if word in query]
        if query:
            return Refusal(Kind.BAD_REQUEST, "the query may have jti, user and limit")
        found, total = (await self._control.named(named), 0) if named else await self._control.newest(int(limit))
        shown = [_shown(kept) for kept in found if not isinstance(kept.order, Dismissal)]
        return answer({"revoked": shown, "more": total > len(found)})

    async def _disconnect(self, asked: Asked, raw: Object) -> Answer:
        """`{"code"?, "reconnect"?}`: end all connections that the user has now."""
        code = _code(raw)
        if isinstance(code, Refusal):
            return code
        kept = await self._control.revoke(Dismissal(token_hex(8), asked.user, code))
        return unavailable(FULL, 60) if kept is None else answer({"user": asked.user, "code": code})

    # Namespaces --------------------------------------------------------------------------------------------------

    @property
    def _known(self) -> Namespaces:
        return self._control.rules.namespaces

    async def _namespaces(self, asked: Asked) -> Answer:
        await self._control.look()
        listed = self._known.listed()
        return answer({"namespaces": [_named(name, rules, stored) for name, (rules, stored) in listed.items()]})

    async def _rules(self, asked: Asked) -> Answer:
        name = _name(asked)
        if isinstance(name, Refusal):
            return name
        await self._control.look()
        rules, stored = self._known.listed().get(name, (self._known.of(name), False))
        return answer(_named(name, rules, stored))

    async def _set_rules(self, asked: Asked, raw: Object) -> Answer:
        """The rules of a namespace in place of the file's; what is left out is as `*` has it."""
        name = _name(asked)
        if isinstance(name, Refusal):
            return name
        try:
            self._known.check(name, raw)
        except BadSetting as error:
            return bad_request(str(error))
        if not await self._control.set_rules(name, raw):
            return unavailable("as many namespaces have rules of their own as can be kept", 60)
        return await self._rules(asked)

    async def _delete_rules(self, asked: Asked) -> Answer:
        """Go back to the rules of the file."""
        name = _name(asked)
        if isinstance(name, Refusal):
            return name
        if await self._control.set_rules(name, None):
            return nothing()
        return Refusal(Kind.NOT_FOUND, "this namespace has no rules beside those of the settings")


# Requests and answers --------------------------------------------------------------------------------------------


def _order(raw: Mapping[str, Any], now: float) -> Token | User | Refusal:
    match raw:
        case {"jti": str(jti)} if len(raw) == 1:
            return Token(jti) if 0 < len(jti) <= MAX_ID else bad_request(f"must have 1 to {MAX_ID} characters", "/jti")
        case {"user": user} if raw.keys() <= {"user", "issued_before"}:
            if fault := name_fault(user):
                return bad_request(fault, "/user")
            before = raw.get("issued_before", now)
            if isinstance(before, bool) or not isinstance(before, int | float) or not isfinite(before):
                return bad_request("must be a Unix time in seconds", "/issued_before")
            # Tokens of the future cannot be meant, and would keep the user out for so long.
            return (
                User(user, float(before))
                if 0 < before <= now + 1
                else bad_request("must not lie ahead", "/issued_before")
            )
        case _:
            return bad_request("must be an object with jti, a text, or with user and perhaps issued_before")


def _code(raw: Mapping[str, Any]) -> int | Refusal:
    reconnect = raw.get("reconnect", False)
    usual = Disconnect.FORCE_RECONNECT if reconnect else Disconnect.FORCE_NO_RECONNECT
    code = raw.get("code", usual.value.code)
    if not raw.keys() <= {"code", "reconnect"} or not isinstance(reconnect, bool):
        return bad_request("may have code, a number, and reconnect, true or false")
    if isinstance(code, bool) or code not in CODES:
        return bad_request(f"must be one of {', '.join(map(str, CODES))}", "/code")
    if "reconnect" in raw and reconnect != (code < Disconnect.INVALID_TOKEN.value.code):
        return bad_request("says otherwise than reconnect: clients come back after codes below 3500", "/code")
    return int(code)


def _shown(kept: Kept) -> dict[str, Any]:
    until = {"until": iso(kept.until / 1000)}
    match kept.order:
        case Token(jti):
            return {"jti": jti, **until}
        case User(user, before):
            return {"user": user, "issued_before": before, **until}
        case _:
            return {"name": pack(kept.order)[0], **until}


def _name(asked: Asked) -> str | Refusal:
    name = str(asked.request.path_params["namespace"])
    fault = namespace_fault(name)
    return Refusal(Kind.BAD_REQUEST, f"the namespace in the path {fault}") if fault else name


def _named(name: str, rules: Namespace, stored: bool) -> dict[str, Any]:
    return {"name": name, "stored": stored, "rules": asdict(rules)}
