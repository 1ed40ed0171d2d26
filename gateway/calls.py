"""Remote procedure calls: what a client may ask for by name over its connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from bus.cursor import MAX_OFFSET
from bus.keys import inbox_of
from gateway.connection import Connection
from gateway.effects import Failed, Page, Returned
from gateway.history import History
from gateway.wire.codes import Error
from gateway.wire.replies import publications

OnReturned = Callable[[Returned | Failed], None]
Procedure = Callable[[Connection, bytes, OnReturned], None]

PAGE = 100


class Calls:
    """The procedures of this release by name."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._procedures: Mapping[str, Procedure] = {"inbox.list": self._inbox_list, "inbox.count": self._inbox_count}

    def call(self, connection: Connection, method: str, data: bytes, on_returned: OnReturned) -> None:
        """Run a procedure; an unknown name fails with 104."""
        procedure = self._procedures.get(method)
        if procedure is None:
            on_returned(Failed(Error.METHOD_NOT_FOUND))
        else:
            procedure(connection, data, on_returned)

    def _inbox_list(self, connection: Connection, data: bytes, on_returned: OnReturned) -> None:
        """`{"before": offset, "limit": n}`, both optional: notifications, newest first, with the inbox's position."""
        window = _window(orjson.loads(data) if data else {})
        if window is None:
            on_returned(Failed(Error.BAD_REQUEST))
            return
        before, limit = window

        def answered(page: Page | Failed) -> None:
            if isinstance(page, Failed):
                on_returned(page)
                return
            shown = {"epoch": page.epoch, "offset": page.offset, "publications": publications(page.publications)}
            on_returned(Returned(orjson.dumps(shown)))

        self._history.read(inbox_of(connection.session.user), limit, before, True, answered)

    def _inbox_count(self, connection: Connection, data: bytes, on_returned: OnReturned) -> None:
        """How many notifications the inbox holds."""

        def answered(count: int | Failed) -> None:
            on_returned(count if isinstance(count, Failed) else Returned(orjson.dumps({"total": count})))

        self._history.count(inbox_of(connection.session.user), answered)


def _window(asked: object) -> tuple[int | None, int] | None:
    """`before` and `limit` of a request for a page; None when they are not whole numbers within bounds."""
    if not isinstance(asked, dict):
        return None
    before, limit = asked.get("before"), asked.get("limit", PAGE)
    if type(limit) is not int or not 1 <= limit <= PAGE:
        return None
    if before is not None and (type(before) is not int or not 1 <= before <= MAX_OFFSET):
        return None
    return before, limit
