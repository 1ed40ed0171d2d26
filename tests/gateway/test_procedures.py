"""The registry of procedures: bounds, deadlines, and what an outage or a bug becomes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bus.errors import BusDown
from bus.event import Problem
from gateway.procedures import Answer, Caller, Fault, Params, Procedures, Wrong, bad

ALICE = Caller("alice")


async def echo(caller: Caller, params: Params) -> Answer:
    return {"user": caller.user, **params}


async def test_a_procedure_is_called_by_its_name() -> None:
    procedures = Procedures()
    procedures.add({"echo": echo})
    assert "echo" in procedures
    assert await procedures.call(ALICE, "echo", {"n": 1}) == {"user": "alice", "n": 1}


async def test_an_unknown_name_is_a_fault() -> None:
    answer = await Procedures().call(ALICE, "none", {})
    assert isinstance(answer, Fault)
    assert answer.kind is Wrong.UNKNOWN


def test_a_name_is_given_once() -> None:
    procedures = Procedures()
    procedures.add({"echo": echo})
    with pytest.raises(ValueError, match="echo"):
        procedures.add({"echo": echo})


async def test_more_at_once_than_the_bound_are_refused_and_later_ones_are_not() -> None:
    procedures = Procedures(most=2)
    gate = asyncio.Event()

    async def wait(caller: Caller, params: Params) -> Answer:
        await gate.wait()
        return {}

    procedures.add({"wait": wait})
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        tasks = [group.create_task(procedures.call(ALICE, "wait", {})) for _ in range(3)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        refused = tasks[2].result()
        assert isinstance(refused, Fault)
        assert refused.kind is Wrong.BUSY
        gate.set()
    assert tasks[0].result() == tasks[1].result() == {}
    assert await procedures.call(ALICE, "wait", {}) == {}


async def test_one_person_cannot_take_the_place_of_all_others() -> None:
    procedures = Procedures(most=5, of_one=2)
    gate = asyncio.Event()

    async def wait(caller: Caller, params: Params) -> Answer:
        await gate.wait()
        return {}

    procedures.add({"wait": wait, "echo": echo})
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        tasks = [group.create_task(procedures.call(ALICE, "wait", {})) for _ in range(3)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        refused = tasks[2].result()
        assert isinstance(refused, Fault)
        assert refused.kind is Wrong.BUSY
        assert await procedures.call(Caller("bob"), "echo", {}) == {"user": "bob"}
        gate.set()
    assert tasks[0].result() == tasks[1].result() == {}
    assert await procedures.call(ALICE, "echo", {}) == {"user": "alice"}


async def test_an_outage_and_a_deadline_are_faults_and_a_bug_is_raised() -> None:
    async def away(caller: Caller, params: Params) -> Answer:
        raise BusDown("no connection to Redis")

    async def hang(caller: Caller, params: Params) -> Answer:
        await asyncio.Event().wait()
        return {}

    async def bug(caller: Caller, params: Params) -> Answer:
        raise KeyError("x")

    procedures = Procedures(most=1, seconds=0.01)
    procedures.add({"away": away, "hang": hang, "bug": bug})
    for name in ("away", "hang"):
        answer: Any = await procedures.call(ALICE, name, {})
        assert answer.kind is Wrong.UNAVAILABLE
    with pytest.raises(KeyError):
        await procedures.call(ALICE, "bug", {})
    assert (await procedures.call(ALICE, "away", {})).kind is Wrong.UNAVAILABLE  # type: ignore[union-attr]


def test_a_fault_in_one_line() -> None:
    assert bad("must be a number", "/limit").text == "/limit: must be a number"
    assert Fault(Wrong.BUSY).text == ""
    both = Fault(Wrong.BAD_PARAMS, "no", (Problem("", "must be an object"), Problem("/a", "is unknown")))
    assert both.text == "no; must be an object; /a: is unknown"
