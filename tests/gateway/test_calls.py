"""Procedures over a connection: each fault has its code, and a bug costs its call and nothing else."""

from __future__ import annotations

import logging

import pytest

from bus.keys import Keys
from gateway.calls import ERRORS
from gateway.procedures import Answer, Caller, Fault, Params, Wrong, bad
from tests.gateway.stand import Client, running_node
from tests.servers import RedisSite


async def echo(caller: Caller, params: Params) -> Answer:
    return {"user": caller.user, "live": caller.connection is not None, "params": params}


async def wrong(caller: Caller, params: Params) -> Answer:
    return bad("must be a number", "/n")


async def busy(caller: Caller, params: Params) -> Answer:
    return Fault(Wrong.BUSY)


async def bug(caller: Caller, params: Params) -> Answer:
    raise KeyError("x")


async def test_a_call_and_its_faults(redis_server: RedisSite, keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    async with running_node(redis_server.url, keys) as node:
        node.procedures.add({"echo": echo, "wrong": wrong, "busy": busy, "bug": bug})
        alice = Client(node)
        await alice.connect("alice")

        async def call(id: int, method: str, **data: object) -> object:
            return await alice.ask({"id": id, "rpc": {"method": method, **data}})

        assert await call(2, "echo", data={"a": 1}) == {
            "id": 2,
            "rpc": {"data": {"user": "alice", "live": True, "params": {"a": 1}}},
        }
        assert await call(3, "echo") == {"id": 3, "rpc": {"data": {"user": "alice", "live": True, "params": {}}}}
        assert await call(4, "wrong") == {
            "id": 4,
            "error": {"code": 107, "message": "bad request: /n: must be a number"},
        }
        assert await call(5, "busy") == {
            "id": 5,
            "error": {"code": 111, "message": "too many requests", "temporary": True},
        }
        assert await call(6, "none") == {"id": 6, "error": {"code": 104, "message": "method not found"}}
        listed = await call(7, "echo", data=[1])
        assert listed["error"]["code"] == 107  # type: ignore[index]
        with caplog.at_level(logging.ERROR, "gateway.calls"):
            failed = await call(8, "bug")
        assert failed["error"]["code"] == 100  # type: ignore[index]
        assert [record.getMessage() for record in caplog.records] == ["a call failed"]
        assert (await call(9, "echo"))["id"] == 9  # type: ignore[index]


async def test_who_goes_before_the_answer_leaves_no_trace(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        node.procedures.add({"echo": echo})
        alice = Client(node)
        await alice.connect("alice")
        alice.say({"id": 2, "rpc": {"method": "echo"}})
        alice.vanish()
        bob = Client(node)
        await bob.connect("bob")
        assert (await bob.ask({"id": 2, "rpc": {"method": "echo"}}))["rpc"]["data"]["user"] == "bob"


def test_every_fault_has_a_code() -> None:
    assert set(ERRORS) == set(Wrong)
