"""What the OpenAPI document says of revoking, sending away, and rules at run time. Pure."""

from __future__ import annotations

from typing import Final

from bus.namespaces import WHO
from gateway.api import control
from gateway.api.described import content, problems
from gateway.api.problem import Kind
from gateway.api.schemas import Json, name, ref
from gateway.auth import MAX_ID

_MOMENT: Final[Json] = {"type": "string", "format": "date-time"}
_SECONDS: Final[Json] = {"type": "number", "description": "Unix time in seconds."}
_FLAG: Final[Json] = {"type": "boolean"}
_JTI: Final[Json] = {"type": "string", "minLength": 1, "maxLength": MAX_ID}
_WHO: Final[Json] = {"enum": list(WHO)}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_RULES: Final[dict[str, Json]] = {
    "subscribe": {"enum": [who for who in WHO if who != "subscriber"]},
    "publish": _WHO,
    "presence": _WHO,
    "join_leave": _FLAG,
    "history": _WHO,
    "history_size": _COUNT,
    "history_ttl": _COUNT,
}


def schemas() -> Json:
    """By name."""
    token: Json = {"jti": _JTI, "until": _MOMENT}
    user: Json = {"user": name(), "issued_before": _SECONDS, "until": _MOMENT}
    return {
        "Rules": {"type": "object", "properties": _RULES, "additionalProperties": False},
        "Revocation": {"oneOf": [_object(token), _object(user)]},
        "NamedRules": _object({"name": {"type": "string"}, "stored": _FLAG, "rules": ref("Rules")}),
    }


def paths() -> Json:
    """By path."""
    by_user = _object({"user": name(), "issued_before": _SECONDS}, "user") | {"additionalProperties": False}
    by_token = _object({"jti": _JTI}) | {"additionalProperties": False}
    codes: Json = {"code": {"enum": list(control.CODES)}, "reconnect": _FLAG}
    query = [_query("user", name()), _query("jti", _JTI)]
    query.append(_query("limit", {"type": "integer", "minimum": 1, "maximum": control.MOST}))
    found = _object({"revoked": _list(ref("Revocation")), "more": _FLAG})
    user, namespace = _path("user", name()), _path("namespace", {"type": "string", "minLength": 1})
    rules = ref("NamedRules")
    return {
        control.REVOKE: {
            "post": _operation(
                "revokeTokens", "Revoke a token, or all that a user has", _object({"revoked": ref("Revocation")})
            )
            | _body({"oneOf": [by_token, by_user]})
        },
        control.REVOKED: {"get": _operation("listRevoked", "What is revoked", found, *query)},
        control.DISCONNECT: {
            "post": _operation(
                "disconnectUser",
                "End all connections of a user",
                _object({"user": name(), "code": codes["code"]}),
                user,
            )
            | _body(_object(codes, needed=()) | {"additionalProperties": False})
        },
        control.NAMESPACES: {
            "get": _operation("listNamespaces", "The rules of all namespaces", _object({"namespaces": _list(rules)}))
        },
        control.NAMESPACE: {
            "get": _operation("getRules", "The rules of a namespace", rules, namespace),
            "put": _operation("setRules", "Change the rules of a namespace at run time", rules, namespace)
            | _body(ref("Rules")),
            "delete": _operation("deleteRules", "Go back to the rules of the settings", None, namespace),
        },
    }


def _object(properties: Json, *required: str, needed: tuple[str, ...] | None = None) -> Json:
    wanted = list(required or (properties if needed is None else needed))
    return {"type": "object", "required": wanted, "properties": properties}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _query(what: str, schema: Json) -> Json:
    return {"name": what, "in": "query", "schema": schema}


def _path(what: str, schema: Json) -> Json:
    return {"name": what, "in": "path", "required": True, "schema": schema}


def _body(schema: Json) -> Json:
    return {"requestBody": {"required": True, "content": content(schema)}}


def _operation(operation: str, summary: str, found: Json | None, *parameters: Json) -> Json:
    kinds = [Kind.BAD_REQUEST, Kind.UNAUTHENTICATED, Kind.FORBIDDEN, Kind.TIMEOUT, Kind.TOO_LARGE, Kind.UNAVAILABLE]
    done: Json = {"204": {"description": "Done."}, **problems(Kind.NOT_FOUND)}
    return {
        "operationId": operation,
        "summary": summary,
        "security": [{"bearer": []}, {"apiKey": []}],
        "parameters": list(parameters),
        "responses": {
            **({"200": {"description": summary, "content": content(found)}} if found is not None else done),
            **problems(*kinds),
        },
    }
