"""POST /v1/events: who may, in which forms, what comes back, and what a bad body is told."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bus.codec import decode_entry
from bus.event import MAX_EVENT_BYTES, Event
from tests.gateway.api.conftest import OpenApi
from tests.gateway.api.harness import EVENT, KEY, OPS_KEY, Api, api_keys

PROBLEM = "application/problem+json"
CLOUD = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "order.shipped", "tousers": "alice"}


def slug(response: Any) -> str:
    return str(response.json()["type"].rpartition(":")[2])


# One event -------------------------------------------------------------------------------------------------------


async def test_an_event_is_in_the_stream_of_its_partition_when_202_comes(open_api: OpenApi) -> None:
    async with open_api() as api:
        response = await api.post(EVENT)
        assert response.status_code == 202
        answer = response.json()
        (stored,) = await api.stored()
        assert (stored["id"], stored["partition"], stored["position"]) == (
            answer["id"],
            answer["partition"],
            answer["position"],
        )
        assert stored["partition"] == api.keys.partition("alice")
        assert stored["source"] == stored["p"] == "shop"
        assert stored["data"] == {"n": 1}


async def test_the_worker_reads_what_was_accepted(open_api: OpenApi) -> None:
    async with open_api() as api:
        position = (await api.post(EVENT | {"id": "e-7", "colour": "blue"})).json()
        ((_, fields),) = await api.pipe.ask("XRANGE", api.keys.events(position["partition"]), "-", "+")
        event = decode_entry("0-0", dict(zip(fields[::2], fields[1::2], strict=True)), 0.0)
        assert isinstance(event, Event)
        assert (event.id, event.source, event.users) == ("e-7", "shop", ("alice",))
        assert event.extra == {"colour": "blue"}


@pytest.mark.parametrize(
    "recipients", [["a\r\nBcc: b"], ["a\n"], [""], ["\x00"], [7], [None], "alice", {}, ["x" * 129]]
)
async def test_odd_recipients_are_refused_with_their_place(open_api: OpenApi, recipients: Any) -> None:
    async with open_api() as api:
        response = await api.post({"type": "t", "to": {"users": recipients}})
        assert response.status_code == 400
        assert slug(response) == "invalid-event"
        assert response.json()["errors"][0]["pointer"].startswith("/to/users")
        assert await api.stored() == []


@pytest.mark.parametrize(
    ("topic", "fault"),
    [("news", "namespace:name"), ("@alice", "namespace:name"), ("@a:b", "must not begin with @"), ("a:*", "must not")],
)
async def test_topics_follow_their_own_rule(open_api: OpenApi, topic: str, fault: str) -> None:
    async with open_api() as api:
        (error,) = (await api.post({"type": "t", "to": {"topics": [topic]}})).json()["errors"]
        assert error["pointer"] == "/to/topics/0"
        assert fault in error["message"]


@pytest.mark.parametrize(
    ("event", "pointer"),
    [
        ({"to": {"users": ["a"]}}, "/type"),
        ({"type": "tocsin.message", "to": {"users": ["a"]}}, "/type"),
        ({"type": "t"}, "/to"),
        ({"type": "t", "to": {}}, "/to"),
        ({"type": "t", "to": {"users": ["a"] * 10_001}}, "/to/users"),
        ({"type": "t\r\nid: 9", "to": {"users": ["a"]}}, "/type"),
        ({"id": "data:\n\nevent: x", "type": "t", "to": {"users": ["a"]}}, "/id"),
        (EVENT | {"ttl": 1e9}, "/ttl"),
        (EVENT | {"at": "tomorrow"}, "/at"),
        (EVENT | {"time": "0001-01-01T00:00:00+23:00"}, "/time"),
        (EVENT | {"ladder": []}, "/ladder"),
        (EVENT | {"ladder": [{"via": "pigeon"}]}, "/ladder/0/via"),
        ([], ""),
        ("event", ""),
        (None, ""),
    ],
)
async def test_each_fault_has_its_place(open_api: OpenApi, event: Any, pointer: str) -> None:
    async with open_api() as api:
        response = await api.post(event)
        assert response.status_code == 400
        assert response.headers["content-type"] == PROBLEM
        assert pointer in [error["pointer"] for error in response.json()["errors"]]
        assert await api.stored() == []


async def test_text_that_means_something_elsewhere_is_only_text(open_api: OpenApi) -> None:
    async with open_api() as api:
        hostile = {
            "title": "{{7*7}} {{ ''.__class__ }}",
            "body": "data:\n\nevent: x\r\nBcc: b",
            "data": {"__proto__": 1},
        }
        assert (await api.post(EVENT | hostile)).status_code == 202
        (stored,) = await api.stored()
        assert {name: stored[name] for name in hostile} == hostile


# Bytes that are not JSON, or too much of it -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"type":"\xc3\x28"}',
        b'{"type":"\\ud800"}',
        b"\xef\xbb\xbf{}",
        b'{"a":1e400}',
        b'{"a":NaN}',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 200_000,
        bytes(range(256)),
    ],
    ids=lambda body: repr(body[:12]),
)
async def test_what_is_not_json_is_a_bad_request(open_api: OpenApi, body: bytes) -> None:
    async with open_api() as api:
        response = await api.post(body)
        assert response.status_code == 400
        assert slug(response) == "bad-request"
        assert response.json()["errors"][0]["pointer"] == ""


async def test_depth_is_bounded_by_the_validator_before_the_parser(open_api: OpenApi) -> None:
    async with open_api() as api:
        deep = orjson.loads(b'{"a":' * 31 + b"1" + b"}" * 31)
        assert (await api.post(EVENT | {"data": deep})).status_code == 202
        response = await api.post(EVENT | {"data": {"a": deep}})
        assert response.json()["errors"] == [{"pointer": "", "message": "must not nest deeper than 32 levels"}]


@pytest.mark.parametrize("number", [b"18446744073709551616", b"-9223372036854775809", b"1" + b"0" * 300])
async def test_a_whole_number_beyond_64_bits_is_refused_and_not_rounded(open_api: OpenApi, number: bytes) -> None:
    async with open_api() as api:
        body = b'{"type":"t","to":{"users":["a"]},"data":{"x/y":[0,%b]}}' % number
        response = await api.post(body)
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == "/data/x~1y/1"


async def test_numbers_within_64_bits_arrive_as_they_were(open_api: OpenApi) -> None:
    numbers = [2**64 - 1, -(2**63), 6.02214076e23, 2**53 + 1, 0.1]
    async with open_api() as api:
        assert (await api.post(EVENT | {"data": numbers})).status_code == 202
        assert (await api.stored())[0]["data"] == numbers


async def test_an_event_has_at_most_64_kib(open_api: OpenApi) -> None:
    async with open_api() as api:
        response = await api.post(EVENT | {"data": "x" * MAX_EVENT_BYTES})
        assert response.status_code == 413
        assert slug(response) == "too-large"
        assert await api.stored() == []
        assert (await api.post(EVENT | {"data": "x" * (MAX_EVENT_BYTES - 400)})).status_code == 202


async def test_a_body_over_the_limit_is_refused_before_it_is_read(open_api: OpenApi) -> None:
    async with open_api(body_bytes=1_000) as api:
        assert (await api.post(b"x" * 1_001)).status_code == 413

        async def endless() -> Any:
            for _ in range(1_000):
                yield b"[" * 100
            pytest.fail("the body was read to its end")

        headers = {"x-api-key": KEY, "content-type": "application/json"}
        response = await api.client.post("/v1/events", content=endless(), headers=headers)
        assert response.status_code == 413
        assert (await api.client.post("/v1/events", headers=headers | {"content-length": "9" * 30})).status_code == 413


async def test_a_client_that_goes_while_it_sends_leaves_nothing_behind(open_api: OpenApi) -> None:
    async with open_api() as api:
        sent: list[Any] = []
        messages = [{"type": "http.request", "body": b'{"type":', "more_body": True}, {"type": "http.disconnect"}]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/events",
            "raw_path": b"/v1/events",
            "query_string": b"",
            "headers": [(b"x-api-key", KEY.encode()), (b"content-type", b"application/json")],
        }

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        await api.app(scope, receive, send)
        assert sent[0]["status"] == 400
        assert await api.stored() == []


# Who -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": f"Bearer {KEY}"}, 202),
        ({"authorization": f"bearer  {KEY}"}, 202),
        ({"x-api-key": KEY}, 202),
        ({"authorization": "Basic eA==", "x-api-key": KEY}, 202),
        ({}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Bearer wrong", "x-api-key": KEY}, 401),
        ({"x-api-key": KEY + " x"}, 401),
        ({"x-api-key": "k" * 100_000}, 401),
        ({"x-api-key": "schlüssel"}, 401),
        ({"x-api-key": OPS_KEY}, 403),
    ],
)
async def test_a_key_is_needed_and_must_reach_events(open_api: OpenApi, headers: dict[str, str], status: int) -> None:
    async with open_api() as api:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        raw.append((b"content-type", b"application/json"))
        response = await api.client.post("/v1/events", content=orjson.dumps(EVENT), headers=raw)
        assert response.status_code == status
        assert ("www-authenticate" in response.headers) == (status == 401)
        assert KEY not in response.text
        assert "wrong" not in response.text
        assert len(await api.stored()) == (status == 202)


async def test_a_stranger_is_turned_away_before_the_body_is_read(open_api: OpenApi) -> None:
    async def body() -> Any:
        pytest.fail("the body was read")
        yield b""

    async with open_api() as api:
        response = await api.client.post("/v1/events", content=body(), headers={"content-type": "application/json"})
        assert response.status_code == 401


async def test_a_key_has_a_rate(open_api: OpenApi) -> None:
    async with open_api(api_keys=api_keys(rate=0.01)) as api:
        began = api.parts.clock.monotonic()
        first = await api.post({"events": [EVENT] * 1_000})
        assert first.status_code == 202
        assert first.headers["ratelimit-policy"] == '"events";q=1000;w=100000'
        refused = await api.post(EVENT)
        assert refused.status_code == 429
        assert slug(refused) == "too-many-requests"
        assert 100 - (api.parts.clock.monotonic() - began) <= int(refused.headers["retry-after"]) <= 100
        assert refused.headers["ratelimit"].startswith('"events";r=0;t=')
        assert len(await api.stored()) == 1_000


async def test_a_batch_beyond_the_rest_of_the_rate_is_refused_whole(open_api: OpenApi) -> None:
    async with open_api(api_keys=api_keys(rate=0.5)) as api:
        assert (await api.post({"events": [EVENT] * 600})).status_code == 202
        refused = await api.post({"events": [EVENT] * 600})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 300
        assert len(await api.stored()) == 600


# Forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": ""},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/cloudevents+avro"},
        {"content-type": "application/cloudevents+avro", "ce-specversion": "1.0"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-encoding": "gzip"},
    ],
)
async def test_a_body_of_another_type_is_refused(open_api: OpenApi, headers: dict[str, str]) -> None:
    async with open_api() as api:
        response = await api.post(EVENT, headers)
        assert response.status_code == 415
        assert slug(response) == "unsupported-type"


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=UTF-8", "APPLICATION/JSON", 'application/json;charset="utf-8"']
)
async def test_json_may_say_that_it_is_utf8(open_api: OpenApi, content_type: str) -> None:
    async with open_api() as api:
        assert (await api.post(EVENT, {"content-type": content_type})).status_code == 202


async def test_a_batch_has_a_result_per_event(open_api: OpenApi) -> None:
    async with open_api() as api:
        response = await api.post({"events": [EVENT, EVENT | {"id": "x"}, EVENT]})
        assert response.status_code == 202
        results = response.json()["events"]
        assert results[1]["id"] == "x"
        assert [r["position"] for r in results] == [e["position"] for e in await api.stored()]


async def test_a_batch_accepts_what_is_good_and_says_what_is_not(open_api: OpenApi) -> None:
    async with open_api() as api:
        large = EVENT | {"data": "x" * MAX_EVENT_BYTES}
        response = await api.post({"events": [EVENT, {"type": "t", "to": {"users": [7]}}, large, EVENT]})
        assert response.status_code == 207
        first, second, third, fourth = response.json()["events"]
        assert set(first) == set(fourth) == {"id", "partition", "position"}
        assert second["problem"]["status"] == 400
        assert second["problem"]["errors"] == [{"pointer": "/events/1/to/users/0", "message": "must be a string"}]
        assert third["problem"]["status"] == 413
        assert len(await api.stored()) == 2
        assert api.parts.api_stats.refused == {"invalid-event": 1, "too-large": 1}


async def test_a_batch_of_which_nothing_is_accepted_is_a_problem(open_api: OpenApi) -> None:
    async with open_api() as api:
        response = await api.post({"events": [{}, 7]})
        assert response.status_code == 400
        assert response.headers["content-type"] == PROBLEM
        assert [e["problem"]["status"] for e in response.json()["events"]] == [400, 400]


@pytest.mark.parametrize("events", [[], [EVENT] * 1_001, {}, "x", None])
async def test_a_batch_has_1_to_1000_events(open_api: OpenApi, events: Any) -> None:
    async with open_api() as api:
        response = await api.post({"events": events})
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == "/events"


async def test_a_batch_has_no_other_member(open_api: OpenApi) -> None:
    async with open_api() as api:
        assert (await api.post({"events": [EVENT], "type": "t"})).status_code == 400


async def test_1000_events_keep_their_order(open_api: OpenApi) -> None:
    async with open_api() as api:
        batch = [EVENT | {"data": i} for i in range(1_000)]
        assert (await api.post({"events": batch})).status_code == 202
        assert [event["data"] for event in await api.stored()] == list(range(1_000))


# CloudEvents -----------------------------------------------------------------------------------------------------


async def stored_one(api: Api) -> dict[str, Any]:
    (stored,) = await api.stored()
    return stored


async def test_a_structured_cloud_event(open_api: OpenApi) -> None:
    async with open_api() as api:
        sent = CLOUD | {"totopics": "news:a, news:b", "time": "2026-01-02T03:04:05Z", "data": [1], "partitionkey": "k"}
        response = await api.post(
            sent | {"subject": "s", "traceparent": "00-1"}, {"content-type": "application/cloudevents+json"}
        )
        assert response.status_code == 202
        stored = await stored_one(api)
        assert (stored["id"], stored["source"], stored["type"], stored["key"]) == ("e-1", "/shop", "order.shipped", "k")
        assert stored["to"] == {"users": ["alice"], "topics": ["news:a", "news:b"]}
        assert stored["time"] == "2026-01-02T03:04:05.000Z"
        assert stored["data"] == [1]
        assert (stored["subject"], stored["traceparent"]) == ("s", "00-1")


async def test_a_binary_cloud_event(open_api: OpenApi) -> None:
    async with open_api() as api:
        headers = {f"ce-{name}": value for name, value in CLOUD.items()}
        headers |= {"ce-ttl": "60", "ce-ephemeral": "true", "ce-title": "Caf%C3%A9 %22x%22"}
        assert (await api.post({"n": 1}, headers)).status_code == 202
        stored = await stored_one(api)
        assert (stored["ttl"], stored["ephemeral"], stored["title"], stored["data"]) == (60, True, 'Café "x"', {"n": 1})


async def test_binary_data_may_be_text_or_absent_but_nothing_else(open_api: OpenApi) -> None:
    async with open_api() as api:
        headers = {f"ce-{name}": value for name, value in CLOUD.items()}
        assert (await api.post("hällo".encode(), headers | {"content-type": "text/plain"})).status_code == 202
        assert (await api.post(b"", headers | {"content-type": ""})).status_code == 202
        assert (await api.post(b"\x89PNG", headers | {"content-type": "image/png"})).status_code == 415
        assert (await api.post(b"\xff", headers | {"content-type": "text/plain"})).status_code == 400
        first, second = await api.stored()
        assert first["data"] == "hällo"
        assert "data" not in second


async def test_a_batch_of_cloud_events(open_api: OpenApi) -> None:
    async with open_api() as api:
        batch = [
            CLOUD,
            {key: CLOUD[key] for key in ("specversion", "id", "source", "type")},
            CLOUD | {"tousers": "a,,b"},
        ]
        response = await api.post(batch, {"content-type": "application/cloudevents-batch+json"})
        assert response.status_code == 207
        pointers = [
            [error["pointer"] for error in result.get("problem", {}).get("errors", [])]
            for result in response.json()["events"]
        ]
        assert pointers == [[], ["/1/tousers"], ["/2/tousers"]]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"specversion": "0.3"}, "/specversion"),
        ({"specversion": None}, "/specversion"),
        ({"id": ""}, "/id"),
        ({"source": None}, "/source"),
        ({"type": "tocsin.x"}, "/type"),
        ({"to": "alice"}, "/to"),
        ({"ladder": "live"}, "/ladder"),
        ({"Title": "x"}, ""),
        ({"tousers": ["alice"]}, "/tousers"),
        ({"ttl": "soon"}, "/ttl"),
        ({"partitionkey": "\n"}, "/partitionkey"),
        ({"totopics": "nope"}, "/totopics"),
        ({"data": 1, "data_base64": "MQ=="}, "/data_base64"),
        ({"data_base64": "?"}, "/data_base64"),
        ({"data_base64": "ew=="}, "/data_base64"),
    ],
)
async def test_faults_of_a_cloud_event_are_named_as_they_were_sent(
    open_api: OpenApi, change: dict[str, Any], pointer: str
) -> None:
    async with open_api() as api:
        response = await api.post(CLOUD | change, {"content-type": "application/cloudevents+json"})
        assert response.status_code == 400
        assert pointer in [error["pointer"] for error in response.json()["errors"]]
        assert await api.stored() == []


async def test_a_key_with_sources_sends_for_no_others(open_api: OpenApi) -> None:
    async with open_api(api_keys=api_keys(sources=["/shop"])) as api:
        assert (await api.post(EVENT)).status_code == 202
        assert (await api.post(CLOUD, {"content-type": "application/cloudevents+json"})).status_code == 202
        for raw, media in (
            (EVENT | {"source": "crm"}, "application/json"),
            (CLOUD | {"source": "crm"}, "application/cloudevents+json"),
        ):
            refused = await api.post(raw, {"content-type": media})
            assert refused.status_code == 400
            assert refused.json()["errors"] == [
                {"pointer": "/source", "message": "is not among the sources of this API key"}
            ]
