"""Errors of the bus: one tree, and whether waiting may cure what Redis refused."""

from __future__ import annotations

import pytest

from bus.errors import PASSING, BusDown, BusError, Overloaded, Refused, Unfit


@pytest.mark.parametrize("error", [BusDown("x"), Overloaded("x"), Refused("ERR x"), Unfit("x")])
def test_all_are_of_one_tree(error: BusError) -> None:
    assert isinstance(error, BusError)
    assert str(error)


@pytest.mark.parametrize("code", sorted(PASSING))
def test_what_passes(code: str) -> None:
    refused = Refused(f"{code} something about it")
    assert refused.code == code
    assert refused.passing


@pytest.mark.parametrize(
    "message",
    [
        "ERR Error running script (call to f_8ad): @user_script:16: @user_script: 16: -OOM command not allowed",
        "@user_script: 29: -OOM command not allowed",
        "OOM command not allowed",
    ],
)
def test_an_error_inside_a_script_is_the_same_on_every_redis(message: str) -> None:
    refused = Refused(message)
    assert refused.code == "OOM"
    assert str(refused) == "OOM command not allowed"


@pytest.mark.parametrize("message", ["WRONGTYPE Operation", "NOPERM x", "ERR unknown command", "OOMPH x", ""])
def test_what_does_not(message: str) -> None:
    assert not Refused(message).passing
