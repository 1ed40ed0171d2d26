"""What the OpenAPI document says of people: users, their preferences, devices and topics, and unsubscribing. Pure."""

from __future__ import annotations

from typing import Final

from bus.event import VIAS
from bus.naming import MAX_TOPIC
from bus.people.categories import DIGESTED, MAX_DIGEST, MAX_WINDOW
from bus.people.devices import ENVIRONMENTS, PROVIDERS, State
from bus.people.profile import CONTACTS, MAX_NAME, MAX_URL
from bus.people.quiet_hours import HOLDABLE
from gateway.api import topics, unsubscribe, users
from gateway.api.described import content, problems
from gateway.api.problem import Kind
from gateway.api.schemas import Json, name, ref, topic

_ONE: Final = f"{users.PATH}/{{user}}"
_KEY: Final[list[Json]] = [{"bearer": []}, {"apiKey": []}]
_LOCALE: Final[Json] = {"type": "string", "pattern": "^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,4}$"}
_ZONE: Final[Json] = {"type": "string", "description": "Of the IANA time zone database, such as Europe/Berlin."}
_SWITCHES: Final[Json] = {"type": "object", "properties": {via: {"type": "boolean"} for via in VIAS}}
_CLOCK: Final[Json] = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}
_TEXT: Final[Json] = {"type": "string"}


def _object(properties: Json, *required: str) -> Json:
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def schemas() -> Json:
    """By name."""
    return {
        "Profile": _profile(shown=False),
        "User": _profile(shown=True),
        "Preferences": _preferences(),
        "Choices": _choices(),
        "Registration": _registration(),
        "Device": _device(),
    }


def _profile(*, shown: bool) -> Json:
    hook: Json = {"url": {"type": "string", "format": "uri", "maxLength": MAX_URL}}
    hook["secret"] = {"type": "string", "description": "whsec_…; shown once, where it was made for this request."}
    profile = _object(
        {
            "locale": _LOCALE,
            "timezone": _ZONE,
            "name": {"type": "string", "minLength": 1, "maxLength": MAX_NAME},
            "data": {"type": "object", "description": "For templates."},
            "email": _TEXT,
            "phone": {"type": "string", "description": "E.164."},
            "webhook": _object(hook, "url"),
        }
    )
    if shown:
        profile["required"] = ["id"]
        kinds: Json = _list({"enum": list(CONTACTS)})
        profile["properties"] |= {"id": name(), "unreadable": kinds, "gone": kinds}
        profile["description"] = "Contacts are masked, unless asked for with contacts=plain and the scope contacts."
    return profile


def _preferences() -> Json:
    digest = _object(
        {
            "window": {"type": "integer", "minimum": 1, "maximum": MAX_WINDOW, "description": "Seconds."},
            "max": {"type": "integer", "minimum": 2, "maximum": MAX_DIGEST},
        },
        "window",
    )
    by_channel = {"type": "object", "properties": {via: {"oneOf": [{"const": "off"}, digest]} for via in DIGESTED}}
    quiet = _object(
        {
            "from": _CLOCK,
            "to": _CLOCK,
            "channels": _list({"enum": list(HOLDABLE)}),
            "days": _list({"type": "integer", "minimum": 0, "maximum": 6, "description": "0 is Monday."}),
        },
        "from",
        "to",
    )
    return _object(
        {
            "locale": _LOCALE,
            "timezone": _ZONE,
            "channels": _SWITCHES,
            "categories": {"type": "object", "additionalProperties": {"oneOf": [{"type": "boolean"}, _SWITCHES]}},
            "quiet_hours": quiet,
            "digest": {"type": "object", "additionalProperties": by_channel},
        }
    )


def _choices() -> Json:
    switch = _object({"on": {"type": "boolean"}, "locked": {"type": "boolean"}}, "on", "locked")
    category = _object(
        {
            "name": name(),
            "title": _TEXT,
            "required": {"type": "boolean"},
            "channels": {"type": "object", "properties": {via: switch for via in VIAS}},
        },
        "name",
        "title",
        "required",
        "channels",
    )
    shown: Json = {
        "preferences": ref("Preferences"),
        "categories": _list(category),
        "channels": _list({"enum": list(VIAS)}),
    }
    return _object(shown, *shown)


def _registration() -> Json:
    keys = _object({"p256dh": _TEXT, "auth": _TEXT}, "p256dh", "auth")
    return _object(
        {
            "provider": {"enum": list(PROVIDERS)},
            "target": {"type": "string", "description": "Endpoint (webpush) or token."},
            "keys": keys | {"description": "webpush, as PushSubscription.toJSON() gives them."},
            "app": _TEXT,
            "environment": {"enum": list(ENVIRONMENTS)},
            "locale": _LOCALE,
            "timezone": _ZONE,
        },
        "provider",
        "target",
    )


def _device() -> Json:
    moment: Json = {"type": "number", "description": "Unix time in seconds."}
    return _object(
        {
            "id": _TEXT,
            "provider": {"enum": list(PROVIDERS)},
            "app": _TEXT,
            "environment": _TEXT,
            "locale": _LOCALE,
            "timezone": _ZONE,
            "created_at": moment,
            "last_registered_at": moment,
            "last_success_at": moment,
            "failures": {"type": "integer", "minimum": 0, "description": "In a row."},
            "state": {"enum": [state.value for state in State]},
            "gone_reason": _TEXT,
            "gone_at": moment,
        },
        "id",
        "provider",
        "state",
    )


def _operation(
    operation: str,
    summary: str,
    *parameters: Json,
    answer: Json | None = None,
    body: Json | None = None,
    status: str = "200",
    also: tuple[Kind, ...] = (),
) -> Json:
    done: Json = {"description": summary}
    if answer is not None:
        done["content"] = content(answer)
    kinds = (Kind.BAD_REQUEST, Kind.UNAUTHENTICATED, Kind.FORBIDDEN, Kind.UNAVAILABLE)
    with_body = (Kind.TIMEOUT, Kind.TOO_LARGE) if body is not None else ()
    out: Json = {
        "operationId": operation,
        "summary": summary,
        "security": _KEY,
        "parameters": list(parameters),
        "responses": {("204" if answer is None else status): done, **problems(*kinds, *with_body, *also)},
    }
    return out | {"requestBody": {"required": True, "content": content(body)}} if body is not None else out


def _in_path(what: str, schema: Json) -> Json:
    return {"name": what, "in": "path", "required": True, "schema": schema}


def _query(what: str, schema: Json) -> Json:
    return {"name": what, "in": "query", "schema": schema}


def paths() -> Json:
    """By path."""
    return _user_paths() | _member_paths() | _unsubscribe_path()


def _user_paths() -> Json:
    user, keyless, nobody = _in_path("user", name()), (Kind.NOT_CONFIGURED,), (Kind.NOT_FOUND,)
    plain = _query("contacts", {"const": "plain"})
    found = _object({"users": _list(name())}, "users")
    listed = _object({"topics": _list(topic())}, "topics")
    some, one = _object({"devices": _list(ref("Device"))}, "devices"), _object({"device": ref("Device")}, "device")
    address = (_query("email", _TEXT), _query("phone", _TEXT))
    whole, chosen = ref("Profile"), ref("Preferences")
    return {
        users.PATH: {"get": _operation("findUsers", "Who has an address", *address, answer=found, also=keyless)},
        _ONE: {
            "get": _operation("getUser", "A person's profile", user, plain, answer=ref("User"), also=nobody),
            "put": _operation("putUser", "Store a profile", user, answer=ref("User"), body=whole, also=keyless),
            "patch": _operation("patchUser", "Change a profile", user, answer=ref("User"), body=whole, also=keyless),
            "delete": _operation("eraseUser", "Erase a person completely", user),
        },
        f"{_ONE}/preferences": {
            "get": _operation("getPreferences", "What a person chose", user, answer=ref("Choices")),
            "put": _operation("putPreferences", "Choose for a person", user, answer=ref("Choices"), body=chosen),
            "patch": _operation("patchPreferences", "Change a choice", user, answer=ref("Choices"), body=chosen),
        },
        f"{_ONE}/devices": {
            "get": _operation("getDevices", "A person's devices", user, answer=some),
            "post": _operation(
                "addDevice", "Register a device", user, answer=one, body=ref("Registration"), status="201", also=keyless
            ),
        },
        f"{_ONE}/devices/{{device}}": {
            "delete": _operation("removeDevice", "Forget a device", user, _in_path("device", _TEXT), also=nobody),
        },
        f"{_ONE}/topics": {
            "get": _operation("getTopics", "What a person follows", user, answer=listed),
            "put": _operation(
                "putTopics", "Have a person follow these, and no others", user, answer=listed, body=listed
            ),
        },
    }


def _member_paths() -> Json:
    where, user = _in_path("topic", name(MAX_TOPIC)), _in_path("user", name())
    count: Json = {"type": "integer", "minimum": 0}
    page = _object({"members": _list(name()), "next": {}, "total": count}, "members", "next", "total")
    many: Json = {"type": "array", "maxItems": topics.MAX_BULK, "items": name()}
    results: Json = dict.fromkeys(("added", "already", "removed", "absent"), count)
    limit: Json = {"type": "integer", "minimum": 1, "maximum": topics.PAGE, "default": topics.PAGE}
    return {
        topics.PATH: {
            "get": _operation(
                "getMembers", "Who follows a topic", where, _query("cursor", _TEXT), _query("limit", limit), answer=page
            ),
            "post": _operation(
                "changeMembers",
                "Have many follow a topic, or no more",
                where,
                answer=_object(results, *results),
                body=_object({"add": many, "remove": many}),
            ),
        },
        f"{topics.PATH}/{{user}}": {
            "put": _operation("addMember", "Have a person follow a topic", where, user),
            "delete": _operation("removeMember", "Have a person follow a topic no more", where, user),
        },
    }


def _unsubscribe_path() -> Json:
    token, page = _in_path("token", _TEXT), {"text/html": {"schema": _TEXT}}
    form = {"schema": _object({"List-Unsubscribe": {"const": "One-Click"}}, "List-Unsubscribe")}
    answers: Json = {
        "200": {"description": "A page that says what happens, or happened", "content": page},
        "404": {"description": "The link is not valid", "content": page},
    }
    failed: Json = {"description": "It did not work; try again", "content": page}
    return {
        unsubscribe.PATH: {
            "get": {"operationId": "askUnsubscribe", "summary": "A page with a button", "parameters": [token]}
            | {"responses": answers},
            "post": {
                "operationId": "unsubscribe",
                "summary": "Unsubscribe with one click (RFC 8058)",
                "parameters": [token],
                "requestBody": {
                    "content": {
                        "application/x-www-form-urlencoded": {"schema": form},
                        "multipart/form-data": {"schema": form},
                    }
                },
                "responses": answers
                | {"400": {"description": "Not what RFC 8058 has", "content": page}, "503": failed},
            },
        }
    }
