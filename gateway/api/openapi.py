"""The machine-readable description of the HTTP API (OpenAPI 3.1), and of the messages on the bus and on the wire
(AsyncAPI 3.0)."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.api import (
    callbacks_document,
    cloudevents,
    control_document,
    dead_document,
    described,
    me_document,
    people_document,
    schemas,
    tracking,
)
from gateway.api.idempotency import HEADER, MAX_KEY
from gateway.api.problem import Kind
from gateway.api.schemas import Json, ref
from gateway.api.submission import DURABILITY, MAX_BATCH, NATIVE
from gateway.ingest import Durability
from gateway.settings import GatewaySettings
from gateway.tickets import TTL as TICKET_TTL

OPENAPI: Final = "3.1.0"
ASYNCAPI: Final = "3.0.0"


def _post_events(settings: GatewaySettings) -> Json:
    batch = {"type": "array", "minItems": 1, "maxItems": MAX_BATCH}
    native_batch = {
        "type": "object",
        "required": ["events"],
        "additionalProperties": False,
        "properties": {"events": batch | {"items": ref("Event")}},
    }
    bodies = described.content({"oneOf": [ref("Event"), native_batch]})
    bodies |= described.content(ref("CloudEvent"), cloudevents.STRUCTURED)
    bodies |= described.content(batch | {"items": ref("CloudEvent")}, cloudevents.BATCHED)
    header = {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$"}
    taken = {"oneOf": [ref("Accepted"), ref("Results")]}
    return {
        "operationId": "acceptEvents",
        "summary": "Accept events",
        "security": [{"bearer": []}, {"apiKey": []}],
        "parameters": [
            {"name": HEADER, "in": "header", "schema": header},
            {"name": DURABILITY, "in": "query", "schema": {"type": "string", "enum": [d.value for d in Durability]}},
        ],
        "requestBody": {
            "required": True,
            "description": f"At most {settings.body_bytes} bytes. CloudEvents in binary mode are taken too.",
            "content": bodies,
        },
        "responses": {
            "202": {
                "description": "Accepted: Redis has it; so do replicas, if asked for.",
                "content": described.content(taken),
            },
            "207": {"description": "Some accepted, some not.", "content": described.content(ref("Results"))},
            **described.problems(
                Kind.BAD_REQUEST,
                Kind.INVALID_EVENT,
                Kind.UNAUTHENTICATED,
                Kind.FORBIDDEN,
                Kind.TIMEOUT,
                Kind.IN_PROGRESS,
                Kind.TOO_LARGE,
                Kind.UNSUPPORTED_TYPE,
                Kind.OTHER_BODY,
                Kind.TOO_MANY_REQUESTS,
                Kind.UNAVAILABLE,
            ),
        },
    }


def _post_ticket() -> Json:
    ticket = {
        "type": "object",
        "required": ["ticket", "expires_in"],
        "properties": {"ticket": {"type": "string"}, "expires_in": {"const": TICKET_TTL}},
    }
    return {
        "operationId": "makeTicket",
        "summary": "A single-use ticket for a URL that cannot carry a header",
        "security": [{"token": []}],
        "responses": {
            "200": {"description": "The ticket.", "content": described.content(ticket)},
            **described.problems(Kind.UNAUTHENTICATED, Kind.FORBIDDEN, Kind.UNAVAILABLE),
        },
    }


def _about_event(summary: str, answer: str, *parameters: Json, operation: str, unknown: bool = True) -> Json:
    """One question about one event; `unknown`: whether it may be one that nobody knows."""
    named = [{"name": "id", "in": "path", "required": True, "schema": schemas.name()}]
    source = {"name": "source", "in": "query", "schema": schemas.name(description="Absent: the name of the API key.")}
    problems = [Kind.BAD_REQUEST, Kind.UNAUTHENTICATED, Kind.FORBIDDEN, Kind.TOO_MANY_REQUESTS, Kind.UNAVAILABLE]
    return {
        "operationId": operation,
        "summary": summary,
        "security": [{"bearer": []}, {"apiKey": []}],
        "parameters": [*named, source, *parameters],
        "responses": {
            "200": {"description": summary, "content": described.content(ref(answer))},
            **described.problems(*problems, *((Kind.NOT_FOUND,) if unknown else ())),
        },
    }


def _event_paths() -> Json:
    user: Json = {"name": "user", "in": "query", "schema": schemas.name()}
    track = "What became of an event; with a user, also of that person's"
    withdraw = "Withdraw an event: nothing of it is appended or sent any more"
    why = "Why a person did or did not get an event"
    return {
        tracking.PATH: {
            "get": _about_event(track, "Tracked", user, operation="trackEvent"),
            "delete": _about_event(withdraw, "Withdrawn", operation="withdrawEvent", unknown=False)
            | {"description": "One that is not known may be on its way: it is refused when it comes."},
        },
        tracking.EXPLAIN: {
            "get": _about_event(why, "Explanation", user | {"required": True}, operation="explainEvent"),
        },
    }


def _get(summary: str, *problems: Kind) -> Json:
    return {"get": {"summary": summary, "responses": {"200": {"description": "OK"}, **described.problems(*problems)}}}


def openapi(settings: GatewaySettings) -> Json:
    """The OpenAPI document."""
    return {
        "openapi": OPENAPI,
        "info": {"title": "Tocsin", "version": version("tocsin")},
        "paths": {
            "/v1/events": {"post": _post_events(settings)},
            **_event_paths(),
            **people_document.paths(),
            **callbacks_document.paths(),
            **dead_document.paths(),
            **control_document.paths(),
            "/v1/ticket": {"post": _post_ticket()},
            **me_document.paths(),
            "/healthz": _get("Alive"),
            "/readyz": _get("Ready", Kind.UNAVAILABLE),
            "/metrics": _get("Counters for Prometheus"),
            "/openapi.json": _get("This document"),
            "/asyncapi.json": _get("The messages on the bus and on the wire"),
        },
        "components": {
            "schemas": {
                "Event": schemas.event(),
                "CloudEvent": schemas.cloud_event(),
                "Accepted": schemas.accepted(),
                "Results": schemas.results(),
                "Tracked": schemas.tracked(),
                "Recipient": schemas.recipient(),
                "Trace": schemas.trace(),
                "Explanation": schemas.explanation(),
                "Withdrawn": schemas.withdrawn(),
                "Problem": schemas.problem(),
                **people_document.schemas(),
                **dead_document.schemas(),
                **control_document.schemas(),
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A user's token."},
            },
        },
    }


def asyncapi(settings: GatewaySettings) -> Json:
    """The AsyncAPI document."""
    channels = {
        "ingest": ("{prefix}:{tag}:events", "Redis Streams: XADD with the event as JSON in field e.", "event"),
        "websocket": ("/connection/websocket", "WebSocket: Centrifuge client protocol v2, JSON.", "notification"),
        "events": ("/sse", "Server-Sent Events: plain EventSource.", "notification"),
    }
    return {
        "asyncapi": ASYNCAPI,
        "info": {"title": "Tocsin", "version": version("tocsin")},
        "defaultContentType": NATIVE,
        "channels": {
            channel: {
                "address": address,
                "description": description,
                "messages": {message: {"$ref": f"#/components/messages/{message}"}},
                **({"parameters": {"prefix": {"default": settings.prefix}, "tag": {}}} if "{" in address else {}),
            }
            for channel, (address, description, message) in channels.items()
        },
        "operations": {
            channel: {
                "action": "receive" if channel == "ingest" else "send",
                "channel": {"$ref": f"#/channels/{channel}"},
            }
            for channel in channels
        },
        "components": {
            "messages": {
                "event": {"payload": ref("Event")},
                "notification": {"payload": ref("Notification")},
            },
            "schemas": {"Event": schemas.event(), "Notification": schemas.notification()},
        },
    }


class Documents:
    """The endpoints that show both."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._openapi = orjson.dumps(openapi(settings))
        self._asyncapi = orjson.dumps(asyncapi(settings))

    async def openapi(self, request: Request) -> Response:
        """OpenAPI 3.1 as JSON."""
        return Response(self._openapi, media_type="application/json")

    async def asyncapi(self, request: Request) -> Response:
        """AsyncAPI 3.0 as JSON."""
        return Response(self._asyncapi, media_type="application/json")
