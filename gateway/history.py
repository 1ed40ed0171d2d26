"""Reading the log of a topic or inbox."""

from __future__ import annotations

from collections.abc import Callable

from bus.cursor import Cursor, carried
from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Pipe, Reply
from gateway.effects import Failed, Page
from gateway.joins import META_TTL, MOST_BYTES, read
from gateway.names import Names
from gateway.wire.codes import Error


class History:
    """Pages of a log."""

    def __init__(self, pipe: Pipe, keys: Keys, names: Names) -> None:
        self._pipe, self._keys, self._names = pipe, keys, names

    def read(
        self, topic: str, limit: int, since: Cursor | None, reverse: bool, on_page: Callable[[Page | Failed], None]
    ) -> None:
        """At most `limit` publications after `since`, or before it and newest first; None is the very end. Fewer when
        they are large: a page is one reply, and no reply is to be more than a slow phone can read.

        A cursor without an epoch is of whichever there is; one of an epoch of which nothing is known is refused.
        """

        def answered(reply: Reply) -> None:
            if isinstance(reply, BusError):
                on_page(Failed(Error.INTERNAL))
                return
            cursor, survived, found = read(reply)
            if since is not None and since.epoch and carried(since, cursor.epoch, survived) is None:
                on_page(Failed(Error.UNRECOVERABLE_POSITION))
                return
            on_page(Page(cursor.epoch, cursor.offset, tuple(found)))

        log, meta, _, bodies = self._keys.listening(topic)
        start = _from(None if since is None else since.offset, reverse)
        arguments = (self._names.next(), start, "1" if reverse else "0", limit, bodies, META_TTL, MOST_BYTES)
        self._pipe.post_script("history", (log, meta), arguments, answered)


def _from(since: int | None, reverse: bool) -> str:
    if since is None:
        return "+" if reverse else "-"
    return str(max(0, since - 1) if reverse else since + 1)
