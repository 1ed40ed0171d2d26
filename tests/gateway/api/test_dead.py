"""`/v1/dead`: listed, dropped and sent again by whatever selects them, by admins alone."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from tests.gateway.api.conftest import OpenApi
from tests.gateway.api.harness import KEY, OPS_KEY, Api
from tests.gateway.api.test_openapi import DOCUMENT, conforms

OPS = {"x-api-key": OPS_KEY}


async def bury(api: Api, *ids: str, queue: str = "jobs:email", reason: str = "451 try later") -> list[str]:
    """Letters of partition 1; their names."""
    names = []
    user = next(f"al{n}" for n in range(1_000) if api.keys.partition(f"al{n}") == 1)
    for one in ids:
        fields = (
            "queue",
            queue,
            "entry",
            "5-0",
            "reason",
            reason,
            "attempts",
            8,
            "id",
            one,
            "e",
            "4.shop/e",
            "u",
            user,
        )
        names.append(f"1/{(await api.pipe.ask('XADD', api.keys.dead(1), '*', *fields)).decode()}")
    return names


async def replay(api: Api, body: Any) -> httpx.Response:
    return await api.client.post("/v1/dead/replay", content=orjson.dumps(body), headers=OPS)


async def test_they_are_listed_without_what_they_held(open_api: OpenApi) -> None:
    async with open_api() as api:
        names = await bury(api, "d1", "d2")
        (event,) = await bury(api, "secret", queue="events", reason="/type is required")
        answer = await api.client.get("/v1/dead", headers=OPS)
        assert answer.status_code == 200
        said = answer.json()
        assert conforms(
            said["letters"], {"type": "array", "items": {"$ref": "#/components/schemas/DeadLetter"}}, DOCUMENT
        )
        assert [letter["name"] for letter in said["letters"]] == [event, *names[::-1]]
        assert "secret" not in answer.text
        assert said["letters"][1]["delivery"] == "d2"
        one = (await api.client.get("/v1/dead?channel=email&limit=1", headers=OPS)).json()
        assert (len(one["letters"]), one["more"]) == (1, True)
        named = await api.client.get(f"/v1/dead?names={names[0]}&names={event}&reason=451", headers=OPS)
        assert [letter["name"] for letter in named.json()["letters"]] == [names[0]]


async def test_a_selection_is_tried_and_then_sent_again(open_api: OpenApi) -> None:
    async with open_api() as api:
        names = await bury(api, "d1", "d2")
        await bury(api, "e", queue="events")
        wanted = {"filter": {"channel": "email", "since": "2020-01-01T00:00:00Z"}}
        tried = (await replay(api, wanted | {"dry_run": True})).json()
        assert tried == {"matched": 2, "replayed": 0, "letters": names[::-1], "more": False}
        assert (await replay(api, wanted | {"limit": 1})).json()["more"] is True
        assert (await replay(api, wanted)).json() == {"matched": 1, "replayed": 1, "letters": names[:1], "more": False}
        assert await api.pipe.ask("XLEN", api.keys.jobs(1, "email")) == 2
        assert (await replay(api, {"all": True})).json()["replayed"] == 1
        assert await api.pipe.ask("XLEN", api.keys.events(1)) == 1


async def test_a_selection_is_dropped(open_api: OpenApi) -> None:
    async with open_api() as api:
        await bury(api, "d1", "d2")
        await bury(api, "e", queue="events")
        tried = (await api.client.delete("/v1/dead?channel=email&dry_run=true", headers=OPS)).json()
        assert (tried["matched"], tried["dropped"], len(tried["letters"])) == (2, 0, 2)
        assert (await api.client.delete("/v1/dead?channel=email", headers=OPS)).json()["dropped"] == 2
        assert (await api.client.delete("/v1/dead?all=true", headers=OPS)).json()["dropped"] == 1


async def test_all_is_never_meant_by_leaving_something_out(open_api: OpenApi) -> None:
    async with open_api() as api:
        await bury(api, "d1")
        answers = [await api.client.delete("/v1/dead", headers=OPS), await replay(api, {})]
        answers.append(await replay(api, {"filter": {}, "dry_run": True}))
        assert [answer.status_code for answer in answers] == [400] * 3
        assert await api.pipe.ask("XLEN", api.keys.dead(1)) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"filter": {"channel": "pigeon"}},
        {"filter": []},
        {"filter": {}, "dry": True},
        {"filter": {"channel": "email"}, "dry_run": "yes"},
        {"filter": {"channel": "email"}, "limit": 0},
        {"filter": {"channel": "email"}, "limit": True},
        {"filter": {"names": []}},
        [],
    ],
)
async def test_what_is_no_selection_is_refused(open_api: OpenApi, body: Any) -> None:
    async with open_api() as api:
        assert (await replay(api, body)).status_code == 400


@pytest.mark.parametrize("query", ["channel=pigeon", "limit=0", "limit=x", "limit=10001", "since=now", "nonsense=1"])
async def test_a_query_that_is_none_is_refused(open_api: OpenApi, query: str) -> None:
    async with open_api() as api:
        assert (await api.client.get(f"/v1/dead?{query}", headers=OPS)).status_code == 400
        assert (await api.client.delete(f"/v1/dead?{query}", headers=OPS)).status_code == 400


async def test_only_admins_may(open_api: OpenApi) -> None:
    async with open_api() as api:
        shop = {"x-api-key": KEY}
        for headers, status in ((shop, 403), ({}, 401)):
            answers = [
                await api.client.get("/v1/dead", headers=headers),
                await api.client.delete("/v1/dead", headers=headers),
                await api.client.post("/v1/dead/replay", content=b"{}", headers=headers),
            ]
            assert [answer.status_code for answer in answers] == [status] * 3
