"""What holds for every route: problems, security headers, no redirects; and the endpoints of operation."""

from __future__ import annotations

import ast
import asyncio
import inspect
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import gateway.stats
from gateway.api import ops
from gateway.api.app import SECURITY_HEADERS, application, routes
from gateway.api.problem import TYPE_PREFIX, Kind
from gateway.health import Readiness
from gateway.ingest import IngestStats
from gateway.metrics import GAUGES, ApiStats, StatsCollector, render
from gateway.stats import Stats
from tests.gateway.api.conftest import OpenApi
from tests.gateway.api.harness import EVENT, Api


async def ask(api: Api, method: str, path: str, **more: Any) -> Any:
    return await api.client.request(method, path, **more)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/events/", 404),
        ("POST", "//v1/events", 404),
        ("POST", "/V1/EVENTS", 404),
        ("GET", "/v1/events", 405),
        ("DELETE", "/v1/events", 405),
        ("POST", "/healthz", 405),
        ("BREW", "/v1/events", 405),
        ("POST", "/v1/events", 401),
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
    ],
)
async def test_every_answer_is_guarded_and_every_error_a_problem(
    open_api: OpenApi, method: str, path: str, status: int
) -> None:
    async with open_api() as api:
        response = await ask(api, method, path)
        assert response.status_code == status
        for name, value in SECURITY_HEADERS.items():
            assert response.headers[name] == value
        assert api.parts.api_stats.requests == {status: 1}
        if status >= 400:
            assert response.headers["content-type"] == "application/problem+json"
            body = response.json()
            assert body["status"] == status
            assert body["type"].startswith(TYPE_PREFIX)
            assert path not in response.text
        if status == 405:
            assert response.headers["allow"] == ("POST" if path == "/v1/events" else "GET, HEAD")


@pytest.mark.parametrize("host", ["evil.example/x?", "a b", "", "[::1", "evil.example"])
async def test_the_host_header_decides_nothing(open_api: OpenApi, host: str) -> None:
    async with open_api() as api:
        assert (await api.post(EVENT, {"host": host})).status_code == 202
        missing = await ask(api, "GET", "/healthz/", headers={"host": host})
        assert missing.status_code == 404
        assert "location" not in missing.headers


async def test_a_bug_is_a_problem_that_tells_nothing(open_api: OpenApi) -> None:
    async def bug(request: Request) -> Response:
        raise KeyError("the secret of alice")

    async def teapot(request: Request) -> Response:
        raise HTTPException(418, "short and stout")

    async def own(request: Request) -> Response:
        return Response(headers={"cache-control": "max-age=60"})

    async with open_api() as api:
        more = [Route("/bug", bug), Route("/teapot", teapot), Route("/own", own)]
        api.client._transport.app = application([*routes(api.parts), *more], ApiStats())  # type: ignore[attr-defined]
        response = await ask(api, "GET", "/bug")
        assert response.status_code == 500
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.json()["type"] == TYPE_PREFIX + "internal"
        assert "alice" not in response.text
        response = await ask(api, "GET", "/teapot")
        assert response.status_code == 400
        assert response.json()["type"] == TYPE_PREFIX + "bad-request"
        assert "stout" not in response.text
        assert (await ask(api, "GET", "/own")).headers["cache-control"] == "max-age=60"


def test_other_scopes_pass_the_guard() -> None:
    seen = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    guard = application([], ApiStats())
    guard._app = inner  # type: ignore[attr-defined]
    asyncio.run(guard({"type": "websocket"}, None, None))  # type: ignore[arg-type,func-returns-value]
    assert seen == ["websocket"]


def test_every_kind_has_its_own_type_and_a_status_of_an_error() -> None:
    assert len({kind.value.slug for kind in Kind}) == len(Kind)
    assert all(400 <= kind.value.status < 600 for kind in Kind)


# Operation -------------------------------------------------------------------------------------------------------


async def test_readiness_is_the_probe(open_api: OpenApi, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_api() as api:
        probe: Any = api.parts.probe
        assert (await ask(api, "GET", "/readyz")).json() == {"status": "ready", "state": "healthy", "seconds": 0.2}
        probe.ready = False
        response = await ask(api, "GET", "/readyz")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert (response.json()["state"], response.json()["seconds"]) == ("stale", 0.2)
        assert (await ask(api, "GET", "/healthz")).status_code == 200


async def test_a_probe_that_does_not_come_back_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> Readiness:
        await asyncio.Event().wait()
        return Readiness(True, "healthy", 0.0)

    monkeypatch.setattr(ops, "PROBE_TIMEOUT", 0.01)
    endpoint = ops.Ops(never, Stats(), IngestStats(), ApiStats())
    async with asyncio.timeout(30):
        response = await endpoint.readyz(Request({"type": "http"}))
    assert response.status_code == 503


async def test_metrics_are_what_prometheus_reads(open_api: OpenApi) -> None:
    async with open_api() as api:
        api.parts.stats.connections = 7
        api.parts.stats.closed[3001] = 2
        api.parts.stats.loop_blocked_seconds_max = 0.25
        await api.post(EVENT)
        await api.post({})
        response = await ask(api, "GET", "/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=")
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        }
        assert samples["tocsin_gateway_connections",] == 7
        assert samples["tocsin_gateway_closed_total", "3001"] == 2
        assert samples["tocsin_gateway_loop_blocked_seconds_max",] == 0.25
        assert samples["tocsin_ingest_accepted_total", "shop"] == 1
        assert samples["tocsin_http_requests_total", "202"] == 1
        assert samples["tocsin_http_refused_total", "invalid-event"] == 1
        assert api.parts.stats.loop_blocked_seconds_max == 0.0
        assert "alice" not in response.text


def test_a_gauge_is_what_its_docstring_calls_one() -> None:
    (body,) = [node.body for node in ast.parse(inspect.getsource(gateway.stats)).body if isinstance(node, ast.ClassDef)]
    documented = {
        before.target.id
        for before, after in pairwise(body)
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and str(after.value.value).startswith("Gauge")
    }
    assert documented == GAUGES


def test_a_field_that_is_no_number_is_a_bug() -> None:
    @dataclass
    class Odd:
        name: str = "x"

    with pytest.raises(TypeError, match="odd_name"):
        render(StatsCollector(("odd", Odd())))
