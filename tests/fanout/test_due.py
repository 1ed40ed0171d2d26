"""What due.lua tells, as values."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import CONDITIONS, Step
from bus.people.categories import DEFAULT_LADDER
from bus.people.devices import Device, State
from bus.people.preferences import Preferences
from fanout.ladder.due import (
    Broken,
    Due,
    DueDigest,
    DueStep,
    Gathered,
    Mark,
    Person,
    digest_timer,
    read,
    step_timer,
)
from fanout.ladder.rungs import encode_ladder

LADDER = encode_ladder(DEFAULT_LADDER)
NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)


def told(item: list[Any], wait: int = -1) -> Due:
    return read([wait, 1_500, item])


def step(timer: str, *, ladder: bytes = LADDER, targets: tuple[bytes, ...] = (), over: bytes = b"0") -> list[Any]:
    return [b"step", timer.encode(), ladder, b"orders", over, 0, 7, 1, 0, b"", b"", list(targets)]


def test_nothing_is_due() -> None:
    assert read([-1, 1_500]) == Due(None, 1.5, ())
    assert read([250, 1_500]).wait == 0.25
    assert read([0, 1_500]).wait == 0.0


def test_a_step_comes_with_all_that_decides() -> None:
    timer = step_timer("4.shop/1:2", "al:ice", 2)
    doc = orjson.dumps({"channels": {"push": False}})
    raw = [b"step", timer.encode(), LADDER, b"orders", b"9500", 1, 7, 0, 1, doc, b"Europe/Berlin", [b"1"]]
    assert told(raw).items == (
        DueStep(
            timer.encode(),
            "4.shop/1:2",
            2,
            DEFAULT_LADDER,
            "orders",
            Person("al:ice", Preferences(channels={"push": False}), "Europe/Berlin", ("",)),
            Mark(7, False, True, True, 9.5),
        ),
    )


@given(NAMES, NAMES, st.integers(0, 2))
def test_names_survive_a_timer(ref: str, user: str, index: int) -> None:
    (found,) = told(step(step_timer(ref, user, index))).items
    assert isinstance(found, DueStep)
    assert (found.ref, found.person.name, found.index) == (ref, user, index)
    assert found.step == DEFAULT_LADDER[index]


def test_a_push_goes_to_every_device_that_is_not_gone() -> None:
    devices = [
        Device("a", "fcm", "t"),
        Device("b", "fcm", "t", state=State.GONE),
        Device("c", "fcm", "t", state=State.SUSPECT),
    ]
    flat = [part for device in devices for part in (device.id.encode(), device.to_json())]
    flat += [b"d", b"{", b"e", b"[]", b"f", b"{}", b"g", b'{"state":"lost"}']
    (found,) = told(step(step_timer("r", "u", 1), targets=tuple(flat))).items
    assert isinstance(found, DueStep)
    assert found.person.targets == ("a", "c")


@pytest.mark.parametrize(("targets", "found"), [((), ()), ((b"1",), ("",))])
def test_an_address_is_there_or_not(targets: tuple[bytes, ...], found: tuple[str, ...]) -> None:
    (item,) = told(step(step_timer("r", "u", 2), targets=targets)).items
    assert isinstance(item, DueStep)
    assert item.person.targets == found


@pytest.mark.parametrize(("ladder", "index"), [(b"", 1), (LADDER, 3), (b"{", 0)])
def test_a_ladder_may_be_gone(ladder: bytes, index: int) -> None:
    (item,) = told(step(step_timer("r", "u", index), ladder=ladder)).items
    assert isinstance(item, DueStep)
    assert item.step is None


@given(NAMES, st.integers(0, 2**53), st.integers(0, 9), st.sampled_from([None, *CONDITIONS]), NAMES, NAMES)
def test_a_digest_gives_back_what_was_put_into_it(
    ref: str, offset: int, index: int, unless: str | None, user: str, category: str
) -> None:
    put = Gathered(ref, index, unless, Mark(offset))
    timer = digest_timer(user, "email", category).encode()
    raw = [
        b"digest",
        timer,
        b"",
        b"UTC",
        [b"1"],
        [put.entry().encode(), b"0", 0, 0, 0],
        [put.entry().encode(), b"1", 1, 1, 1],
    ]
    person = Person(user, Preferences(), "UTC", ("",))
    after = Gathered(ref, index, unless, Mark(offset, True, True, True, 0.001))
    assert told(raw).items == (DueDigest(timer, "email", category, person, (put, after)),)


@pytest.mark.parametrize(("unless", "condition"), [(None, "read"), ("read", "read"), ("acked", "acked")])
def test_who_has_read_it_needs_no_digest(unless: str | None, condition: str) -> None:
    assert Gathered("r", 1, unless, Mark()).condition == condition


def test_what_is_broken_says_why() -> None:
    assert told([b"broken", b"odd", b"why"]).items == (Broken(b"odd", "why"),)
    for raw in (
        [b"step", b"step\n\xff\nu\n1", *step("x")[2:]],
        [b"digest", b"digest\nu\nemail\nc", b"", b"", [], [b"r\nmany\n1\n", b"0", 0, 0, 0]],
        [b"digest", b"digest\nu\nemail\nc", b"", b"", [], [b"r", b"0", 0, 0, 0]],
    ):
        (item,) = told(raw).items
        assert item == Broken(raw[1], "no timer of a known form")


def test_a_ladder_of_one() -> None:
    (item,) = told(step(step_timer("r", "u", 0), ladder=encode_ladder([Step("sms", 5)]))).items
    assert isinstance(item, DueStep)
    assert item.step == Step("sms", 5)
