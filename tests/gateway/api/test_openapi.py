"""The documents say what the code does: their schemas agree with the validator, their paths with the routes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bus.event import MAX_BODY, MAX_STEPS, MAX_TITLE, MAX_TOPICS, MAX_TTL, MAX_USERS, Event, parse
from bus.naming import MAX_NAME, MAX_TOPIC
from gateway.api import me, schemas
from gateway.api.app import routes
from gateway.api.openapi import asyncapi, openapi
from gateway.api.problem import Kind
from gateway.settings import GatewaySettings
from tests.gateway.api.conftest import OpenApi
from tests.gateway.api.harness import EVENT, KEY

DOCUMENT = openapi(GatewaySettings())


def conforms(value: Any, schema: dict[str, Any], document: dict[str, Any] = DOCUMENT) -> bool:
    """Whether a value is what a schema says: the part of JSON Schema 2020-12 that ours use."""
    if reference := schema.get("$ref"):
        for part in reference.removeprefix("#/").split("/"):
            document = document[part]
        return conforms(value, document)
    return all(RULES[word](value, said) for word, said in schema.items() if word in RULES)


def is_of(value: Any, kind: str) -> bool:
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
    return isinstance(value, kinds[kind]) and not (kind == "integer" and isinstance(value, bool))


RULES: dict[str, Any] = {
    "type": is_of,
    "enum": lambda v, said: v in said,
    "const": lambda v, said: v == said,
    "minLength": lambda v, said: not isinstance(v, str) or len(v) >= said,
    "maxLength": lambda v, said: not isinstance(v, str) or len(v) <= said,
    "pattern": lambda v, said: not isinstance(v, str) or bool(re.search(said, v)),
    "minimum": lambda v, said: not isinstance(v, int) or v >= said,
    "maximum": lambda v, said: not isinstance(v, int) or v <= said,
    "minItems": lambda v, said: not isinstance(v, list) or len(v) >= said,
    "maxItems": lambda v, said: not isinstance(v, list) or len(v) <= said,
    "items": lambda v, said: not isinstance(v, list) or all(conforms(item, said) for item in v),
    "required": lambda v, said: not isinstance(v, dict) or all(name in v for name in said),
    "properties": lambda v, said: (
        not isinstance(v, dict) or all(conforms(v[name], schema) for name, schema in said.items() if name in v)
    ),
    "not": lambda v, said: not conforms(v, said),
    "oneOf": lambda v, said: sum(conforms(v, schema) for schema in said) == 1,
}


def with_users(*users: Any) -> dict[str, Any]:
    return EVENT | {"to": {"users": list(users)}}


def with_topics(*topics: Any) -> dict[str, Any]:
    return EVENT | {"to": {"topics": list(topics)}}


STEP = {"via": "email", "after": 0, "unless": "acked"}


@pytest.mark.parametrize(
    ("event", "good"),
    [
        (EVENT, True),
        ({"to": {"users": ["a"]}}, False),
        ({"type": "t"}, False),
        (EVENT | {"type": ""}, False),
        (EVENT | {"type": "tocsin.message"}, False),
        (EVENT | {"type": "tocsinx"}, True),
        (EVENT | {"type": 7}, False),
        (EVENT | {"id": "x" * MAX_NAME}, True),
        (EVENT | {"id": "x" * (MAX_NAME + 1)}, False),
        (EVENT | {"source": "a\nb"}, False),
        (EVENT | {"key": "\x7f"}, False),
        (EVENT | {"category": ""}, False),
        (EVENT | {"template": "t"}, True),
        (EVENT | {"collapse_key": []}, False),
        (EVENT | {"title": "x" * MAX_TITLE}, True),
        (EVENT | {"title": "x" * (MAX_TITLE + 1)}, False),
        (EVENT | {"body": "x" * MAX_BODY}, True),
        (EVENT | {"body": "x" * (MAX_BODY + 1)}, False),
        (EVENT | {"ttl": 0}, True),
        (EVENT | {"ttl": MAX_TTL}, True),
        (EVENT | {"ttl": MAX_TTL + 1}, False),
        (EVENT | {"ttl": -1}, False),
        (EVENT | {"ttl": True}, False),
        (EVENT | {"priority": "high"}, True),
        (EVENT | {"priority": "urgent"}, False),
        (EVENT | {"ephemeral": True}, True),
        (EVENT | {"ephemeral": 1}, False),
        (EVENT | {"ladder": [STEP]}, True),
        (EVENT | {"ladder": []}, False),
        (EVENT | {"ladder": [STEP] * MAX_STEPS}, True),
        (EVENT | {"ladder": [STEP] * (MAX_STEPS + 1)}, False),
        (EVENT | {"ladder": [{}]}, False),
        (EVENT | {"ladder": [STEP | {"via": "pigeon"}]}, False),
        (EVENT | {"ladder": [STEP | {"after": MAX_TTL + 1}]}, False),
        (EVENT | {"ladder": [STEP | {"unless": "seen"}]}, False),
        (with_users(*map(str, range(MAX_USERS))), True),
        (with_users(*map(str, range(MAX_USERS + 1))), False),
        (with_users(""), False),
        (with_users("x" * (MAX_NAME + 1)), False),
        (with_users("a\x00"), False),
        (with_topics(*(f"a:{i}" for i in range(MAX_TOPICS))), True),
        (with_topics(*(f"a:{i}" for i in range(MAX_TOPICS + 1))), False),
        (with_topics("a:b:c"), True),
        (with_topics("a:" + "x" * (MAX_TOPIC - 2)), True),
        (with_topics("a:" + "x" * (MAX_TOPIC - 1)), False),
        *((with_topics(topic), False) for topic in ("a", ":a", "a:", "@a:b", "a:*", "a:{b", "a:b}", "$a:b", "a:#b", 7)),
        (EVENT | {"to": {"users": "alice"}}, False),
        (EVENT | {"to": []}, False),
        (EVENT | {"something": {"else": [1]}}, True),
        ([], False),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_schema_and_validator_say_the_same(event: Any, good: bool) -> None:
    parsed = parse(event, default_id="d", default_source="d", now=0.0)
    assert isinstance(parsed, Event) == good
    assert conforms(event, schemas.event()) == good


def test_the_schema_knows_every_field_of_an_event() -> None:
    internal = {"users", "topics", "created_at", "extra"}
    assert set(Event.__dataclass_fields__) - internal | {"to", "time"} == set(schemas.event()["properties"])


async def test_the_documents_have_the_paths_of_the_routes(open_api: OpenApi) -> None:
    async with open_api() as api:
        served = {
            (route.path.replace(":path}", "}"), method.lower())  # type: ignore[attr-defined]
            for route in routes(api.parts)
            for method in (route.methods or {"POST"}) - {"HEAD"}  # type: ignore[attr-defined]
        }
        served |= {
            ((me.PREFIX + path).replace(":path}", "}"), method.lower())
            for path, methods in me.PATHS.items()
            for method in methods
        }
        shown = (await api.client.get("/openapi.json")).json()
        assert {(path, method) for path, methods in shown["paths"].items() for method in methods} == served
        assert shown == DOCUMENT
        assert (await api.client.get("/asyncapi.json")).json() == asyncapi(GatewaySettings())


@pytest.mark.parametrize("document", [DOCUMENT, asyncapi(GatewaySettings())], ids=["openapi", "asyncapi"])
def test_every_reference_leads_somewhere(document: Any) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for below in node.values() for found in references(below)]
        return [found for below in node for found in references(below)] if isinstance(node, list) else []

    found = references(document)
    assert found
    for reference in found:
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


async def test_real_answers_are_what_the_document_says(open_api: OpenApi) -> None:
    async with open_api(body_bytes=100_000) as api:
        cloud = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "tousers": "a"}
        answers = [
            await api.post(EVENT),
            await api.post({"events": [EVENT]}),
            await api.post({"events": [EVENT, {}]}),
            await api.post(cloud, {"content-type": "application/cloudevents+json"}),
            await api.post({}),
            await api.post(EVENT, {"x-api-key": "wrong"}),
            await api.post(EVENT, {"content-type": "text/plain"}),
            await api.post(b"x" * 100_001),
        ]
        responses = DOCUMENT["paths"]["/v1/events"]["post"]["responses"]
        for answer in answers:
            ((media, content),) = responses[str(answer.status_code)]["content"].items()
            assert answer.headers["content-type"] == media
            assert conforms(answer.json(), content["schema"])


def test_every_problem_of_ours_is_in_the_document() -> None:
    statuses = {
        status
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
        if int(status) >= 400
    }
    everywhere = {Kind.METHOD_NOT_ALLOWED, Kind.INTERNAL}
    assert statuses == {str(kind.value.status) for kind in set(Kind) - everywhere}


def test_a_key_is_a_credential_and_not_a_part_of_a_document() -> None:
    assert KEY not in repr(DOCUMENT)


def test_a_cloud_event_conforms() -> None:
    cloud = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "tousers": "a", "partitionkey": "k", "ttl": 5}
    assert conforms(cloud, schemas.cloud_event())
    assert not conforms(cloud | {"specversion": "0.3"}, schemas.cloud_event())
    assert not conforms({"specversion": "1.0"}, schemas.cloud_event())
