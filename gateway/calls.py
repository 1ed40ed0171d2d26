"""Remote procedure calls: procedures asked for over a connection. Each runs in a task of the node; a session asks for
one at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

import orjson

from bus.bulkhead import Bug, contained
from gateway.connection import Connection
from gateway.effects import Failed, Returned
from gateway.procedures import Caller, Fault, Params, Procedures, Wrong
from gateway.wire.codes import Error

log = logging.getLogger(__name__)

OnReturned = Callable[[Returned | Failed], None]
Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Runs a coroutine in the node's TaskGroup."""

ERRORS: Final = {
    Wrong.BAD_PARAMS: Error.BAD_REQUEST,
    Wrong.FORBIDDEN: Error.PERMISSION_DENIED,
    Wrong.NOT_FOUND: Error.NOT_AVAILABLE,
    Wrong.LIMIT: Error.LIMIT_EXCEEDED,
    Wrong.BUSY: Error.TOO_MANY_REQUESTS,
    Wrong.NOT_CONFIGURED: Error.NOT_AVAILABLE,
    Wrong.UNAVAILABLE: Error.INTERNAL,
    Wrong.UNKNOWN: Error.METHOD_NOT_FOUND,
}
"""What a fault is on the wire."""


class Calls:
    """The way from a connection to the procedures."""

    def __init__(self, procedures: Procedures, spawn: Spawn) -> None:
        self._procedures, self._spawn = procedures, spawn

    def call(self, connection: Connection, method: str, data: bytes, on_returned: OnReturned) -> None:
        """Run a procedure; `data` is its parameters, a JSON object or nothing. An unknown name fails with
        104 at once, what is known answers later."""
        if method not in self._procedures:
            on_returned(Failed(Error.METHOD_NOT_FOUND))
            return
        params = orjson.loads(data) if data else {}
        if not isinstance(params, dict):
            on_returned(Failed(Error.BAD_REQUEST, "the parameters must be a JSON object"))
            return
        self._spawn(self._run(Caller(connection.session.user, connection), method, params, on_returned))

    async def _run(self, caller: Caller, method: str, params: Params, on_returned: OnReturned) -> None:
        returned = await contained(self._returned(caller, method, params))
        if isinstance(returned, Bug):
            log.error("a call failed", extra={"method": method, "reason": returned.where})
            returned = Failed(Error.INTERNAL)
        # Not called here, in a task of the node's group: what comes of the answer is its connection's affair.
        asyncio.get_running_loop().call_soon(on_returned, returned)

    async def _returned(self, caller: Caller, method: str, params: Params) -> Returned | Failed:
        answer = await self._procedures.call(caller, method, params)
        return failed(answer) if isinstance(answer, Fault) else Returned(orjson.dumps(answer))


def failed(fault: Fault) -> Failed:
    """A fault as the answer to a call."""
    return Failed(ERRORS[fault.kind], fault.text)
