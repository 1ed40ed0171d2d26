"""RFC 6455, case by case: Autobahn's suite, run by kosoku against our protocol with an echo behind it.

Every case passes or stands in a table here with the reason why not.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kosoku import FailureError, run_fuzzingclient

from tests.gateway.echo import GENEROUS, Echo, EchoConnection, serving

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.slow,
    # the suite leaves its own data files to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

INFORMATIONAL = {
    "7.1.6": "what becomes of a large echo that a close overtakes is not specified: we close at once",
    "7.13.1": "close code 5000 is outside of every range: refused with 1002",
    "7.13.2": "so is the next one",
}
"""Cases whose outcome the RFC leaves open; the suite notes it and passes."""

COUNTS = {"1.*": 16, "2.*": 11, "3.*": 7, "4.*": 10, "5.*": 20, "6.*": 145, "7.*": 37, "9.*": 54, "10.*": 1}
"""How many cases each group has, so that none is left out unnoticed."""

UNIMPLEMENTED = {
    "12.*": "permessage-deflate is not accepted when offered: compression is off",
    "13.*": "permessage-deflate is not accepted when offered: compression is off",
}
"""Cases that we cannot pass."""


LIMIT = 600.0
"""Seconds for a group of cases: a bound, and no promise."""


async def run(*cases: str) -> tuple[list[Any], list[Any]]:
    """All results if all passed, and the failed ones if not."""
    async with serving(Echo(), connection=EchoConnection, rules=GENEROUS) as served, asyncio.timeout(LIMIT):
        try:
            return await run_fuzzingclient(f"ws://127.0.0.1:{served.port}/connection/websocket", cases), []
        except FailureError as failure:
            return [], failure.results


@pytest.mark.parametrize(("group", "count"), list(COUNTS.items()))
async def test_cases_that_pass(group: str, count: int) -> None:
    results, failed = await run(group)
    assert [(result.case_id, result.result, result.result_close) for result in failed] == []
    assert len(results) == count
    open_ended = {result.case_id for result in results if result.behavior.value != "OK"}
    assert open_ended == {case for case in INFORMATIONAL if case.split(".")[0] == group.split(".")[0]}


@pytest.mark.parametrize(("group", "count"), [("12.*", 90), ("13.*", 126)])
async def test_cases_of_what_is_left_out(group: str, count: int) -> None:
    assert group in UNIMPLEMENTED
    _, failed = await run(group)
    assert len(failed) == count
    assert {result.behavior.value for result in failed} == {"UNIMPLEMENTED"}
