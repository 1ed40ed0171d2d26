"""Which ladder an event climbs, and rung after rung."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import CONDITIONS, MAX_TTL, MESSAGE, VIAS, Event, Step
from bus.people.categories import DEFAULT_LADDER, Categories
from fanout.ladder.rungs import Rung, decode_ladder, encode_ladder, first_rung, next_rung, resolve

MAIL = (Step("live"), Step("email"))
CATEGORIES = Categories({"orders": {"ladder": [{"via": "sms"}]}, "news": {"title": "News"}})
STEPS = st.builds(Step, st.sampled_from(VIAS), st.integers(0, MAX_TTL), st.sampled_from([None, *CONDITIONS]))


def event(**more: Any) -> Event:
    return Event(**{"id": "1", "source": "shop", "type": "x", "created_at": 0.0} | more)


@pytest.mark.parametrize(
    ("given", "ladder"),
    [
        ({}, DEFAULT_LADDER),
        ({"category": "news"}, DEFAULT_LADDER),
        ({"category": "unheard of"}, DEFAULT_LADDER),
        ({"category": "orders"}, (Step("sms"),)),
        ({"category": "orders", "ladder": MAIL}, MAIL),
        ({"ladder": MAIL}, MAIL),
        ({"ladder": MAIL, "ttl": 0}, ()),
        ({"ladder": MAIL, "ephemeral": True}, ()),
        ({"type": MESSAGE}, ()),
        ({"type": "tocsin.state"}, ()),
    ],
)
def test_the_table(given: dict[str, Any], ladder: tuple[Step, ...]) -> None:
    assert resolve(event(**given), CATEGORIES, DEFAULT_LADDER) == ladder


@pytest.mark.parametrize(
    ("ladder", "rungs"),
    [
        ((), []),
        ((Step("live"),), []),
        (DEFAULT_LADDER, [Rung(1, 30), Rung(2, 600)]),
        ((Step("email"),), [Rung(0, 0)]),
        ((Step("live", 5), Step("live", 7), Step("push", 30), Step("live"), Step("sms", 1)), [Rung(2, 42), Rung(4, 1)]),
        ((Step("push", 1), Step("live", 9)), [Rung(0, 1)]),
    ],
)
def test_live_steps_cost_no_rung(ladder: tuple[Step, ...], rungs: list[Rung]) -> None:
    found = []
    rung = first_rung(ladder)
    while rung is not None:
        found.append(rung)
        rung = next_rung(ladder, rung.index)
    assert found == rungs


@given(st.lists(STEPS, max_size=10).map(tuple))
def test_every_other_step_has_its_rung_and_no_wait_is_lost(ladder: tuple[Step, ...]) -> None:
    found = []
    rung = first_rung(ladder)
    while rung is not None:
        found.append(rung)
        rung = next_rung(ladder, rung.index)
    assert [ladder[rung.index] for rung in found] == [step for step in ladder if step.via != "live"]
    last = found[-1].index if found else -1
    assert sum(rung.wait for rung in found) == sum(step.after for step in ladder[: last + 1])
    assert decode_ladder(encode_ladder(ladder)) == ladder


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{}",
        b"[1]",
        b'[{"via":"owl","after":1}]',
        b'[{"via":"push"}]',
        b'[{"via":"sms","after":1,"unless":"x"}]',
    ],
)
def test_a_ladder_that_nobody_understands_ends(text: bytes) -> None:
    assert decode_ladder(text) == ()
