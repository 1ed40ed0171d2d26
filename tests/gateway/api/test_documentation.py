"""docs/http-api.md says what the code does: its problems, its limits, its members."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bus.event import DEFAULT_TTL, MAX_BODY, MAX_EVENT_BYTES, MAX_STEPS, MAX_TITLE, MAX_TTL, MAX_USERS
from bus.naming import MAX_NAME
from bus.tree import MAX_DEPTH
from gateway.api import body, cloudevents, idempotency, keys, schemas
from gateway.api.problem import Kind
from gateway.api.submission import MAX_BATCH
from gateway.ingest import LEASE, REMEMBERED
from gateway.settings import GatewaySettings
from gateway.tickets import TTL

TEXT = (Path(__file__).parents[3] / "docs" / "http-api.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The rows of the first table behind a heading or line that begins so."""
    lines = TEXT[TEXT.index(heading) :].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| ---")) + 1
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:end]]


def test_every_problem_is_there() -> None:
    expected = [[str(kind.value.status), f"`{kind.value.slug}`", kind.value.title] for kind in Kind]
    assert rows("## Errors") == sorted(expected, key=lambda row: row[0])


def test_every_member_of_an_event_is_there() -> None:
    assert {row[0].strip("`") for row in rows("202 means")} == set(schemas.event()["properties"])


def test_every_attribute_of_a_cloud_event_is_there() -> None:
    shown = {name for row in rows("### CloudEvents") for name in re.findall(r"`(\w+)`", row[0])}
    known = {*cloudevents.SAME, *cloudevents.RENAMED, *cloudevents.RECIPIENTS, *cloudevents.WHOLE, *cloudevents.FLAGS}
    assert known <= shown


@pytest.mark.parametrize(
    "said",
    [
        f"at most {MAX_USERS:,} users",
        f"1 to {MAX_NAME} characters",
        f"up to {MAX_TITLE:,} characters",
        f"up to {MAX_BODY:,} characters",
        f"1 to {MAX_STEPS} steps",
        f"0 to {MAX_TTL:,} seconds",
        f"absent: {DEFAULT_TTL:,}",
        f"{MAX_EVENT_BYTES:,} bytes",
        f"at most {MAX_DEPTH} levels",
        f"1 to {MAX_BATCH:,}",
        f"{GatewaySettings().body_bytes:,} bytes",
        f"{body.DEADLINE:g} s;",
        f"1 to {idempotency.MAX_KEY} visible ASCII",
        f"{REMEMBERED // 3600} hours",
        f"rate = {keys.DEFAULT_RATE:g}",
        f'"expires_in": {TTL}',
    ],
)
def test_limits_are_those_of_the_code(said: str) -> None:
    assert said in TEXT


def test_the_lease_is_what_the_text_calls_it() -> None:
    assert LEASE == 10
    assert "within ten seconds" in TEXT
