"""Whether a step may be taken now."""

from __future__ import annotations

from dataclasses import replace
from datetime import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import CONDITIONS, VIAS
from bus.people.categories import Category
from bus.people.preferences import Preferences
from bus.people.quiet_hours import QuietHours
from fanout.ladder.gate import Cancel, Defer, Go, Skip, Standing, Verdict, gate

NOON = 1_800_014_400.0 - 1_800_014_400 % 86_400 + 12 * 3_600
"""Some day, 12:00 in UTC."""
NIGHT = QuietHours(time(11), time(13))
PLAIN = Standing(Category("orders"), Preferences(), "UTC", True)
NO_PUSH = Preferences(channels={"push": False})
NO_ORDERS = Preferences(categories={"orders": False})
QUIET = Preferences(quiet_hours=NIGHT)

TABLE: list[tuple[str, dict[str, Any], str, str | None, Verdict]] = [
    ("nothing is known", {}, "push", "acked", Go()),
    ("acked", {"acked": True}, "push", "acked", Cancel("acked")),
    ("acked is not read", {"acked": True}, "push", "read", Go()),
    ("acked, taken anyway", {"acked": True}, "push", None, Go()),
    ("read", {"read": True}, "push", "read", Cancel("read")),
    ("read is acked too", {"read": True}, "push", "acked", Cancel("read")),
    ("read, taken anyway", {"read": True, "acked": True}, "push", None, Go()),
    ("withdrawn", {"withdrawn": True}, "push", None, Cancel("withdrawn")),
    ("withdrawn and read", {"withdrawn": True, "read": True}, "push", "read", Cancel("withdrawn")),
    ("its time is over", {"expires_at": NOON}, "push", None, Cancel("expired")),
    ("its time is not over", {"expires_at": NOON + 1}, "push", None, Go()),
    ("no push", {"preferences": NO_PUSH}, "push", "acked", Skip("channel off")),
    ("no push, but mail", {"preferences": NO_PUSH}, "email", "acked", Go()),
    ("none of these", {"preferences": NO_ORDERS}, "push", "acked", Skip("category off")),
    ("none of these, but read", {"preferences": NO_ORDERS, "read": True}, "push", "acked", Cancel("read")),
    ("it is required", {"preferences": NO_ORDERS, "category": Category("orders", required=True)}, "push", None, Go()),
    ("off by default", {"category": Category("orders", off=("sms",))}, "sms", None, Skip("off by default")),
    ("nowhere to send it", {"has_target": False}, "push", "acked", Skip("no target")),
    ("nowhere, at night", {"has_target": False, "preferences": QUIET}, "push", None, Skip("no target")),
    ("at night", {"preferences": QUIET}, "push", "acked", Defer(NOON + 3_600, "quiet hours")),
    ("at night, but read", {"preferences": QUIET, "read": True}, "push", "acked", Cancel("read")),
    ("mail at night", {"preferences": QUIET}, "email", "acked", Go()),
    (
        "it may come at night",
        {"preferences": QUIET, "category": Category("orders", ignore_quiet_hours=True)},
        "push",
        None,
        Go(),
    ),
    ("night elsewhere", {"preferences": QUIET, "zone": "Asia/Tokyo"}, "push", None, Go()),
]


@pytest.mark.parametrize(("known", "via", "unless", "verdict"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_the_table(known: dict[str, Any], via: str, unless: str | None, verdict: Verdict) -> None:
    assert gate(replace(PLAIN, **known), via, unless, NOON) == verdict


@pytest.mark.parametrize(
    ("reason", "ends"), [("withdrawn", True), ("expired", True), ("acked", False), ("read", False)]
)
def test_what_ends_the_whole_ladder(reason: str, ends: bool) -> None:
    assert Cancel(reason).ends_ladder is ends


STANDINGS = st.builds(
    Standing,
    category=st.builds(Category, st.just("orders"), required=st.booleans(), ignore_quiet_hours=st.booleans()),
    preferences=st.sampled_from([Preferences(), NO_PUSH, NO_ORDERS, QUIET]),
    zone=st.sampled_from(["UTC", "Asia/Tokyo", "nowhere"]),
    has_target=st.booleans(),
    acked=st.booleans(),
    read=st.booleans(),
    withdrawn=st.booleans(),
    expires_at=st.none() | st.floats(NOON - 10, NOON + 90_000),
)


@given(STANDINGS, st.sampled_from(VIAS), st.none() | st.sampled_from(CONDITIONS), st.floats(NOON, NOON + 86_400))
def test_what_holds_always(standing: Standing, via: str, unless: str | None, now: float) -> None:
    verdict = gate(standing, via, unless, now)
    over = standing.withdrawn or (standing.expires_at is not None and standing.expires_at <= now)
    assert (isinstance(verdict, Cancel) and verdict.ends_ladder) == over
    if isinstance(verdict, Go):
        assert standing.has_target
        assert not (standing.read and unless)
    if isinstance(verdict, Defer):
        assert verdict.until > now
        later = gate(standing, via, unless, verdict.until)
        assert not isinstance(later, Defer)  # to put off is to come back, not to drop: then it is decided anew
