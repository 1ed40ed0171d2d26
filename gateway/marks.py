"""What a client says of its inbox, read from the parameters of a procedure. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bus.cursor import MAX_OFFSET
from bus.naming import name_fault
from gateway.procedures import Fault, bad

PAGE: Final = 100
"""Most notifications of a page."""
DEFAULT_PAGE: Final = 30
MOST: Final = 500
"""Most ids or offsets in one request."""
MOST_ACKED: Final = 10_000
"""Most offsets that one acknowledgement without a connection may span."""
STATES: Final = ("current", "all", "unread", "archived")
MAX_EPOCH: Final = 128

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of the inbox: at most `limit` notifications below `before` (`+`: from the newest on)."""

    before: str
    limit: int
    state: str


@dataclass(frozen=True, slots=True)
class Marked:
    """These notifications."""

    offsets: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Upto:
    """All up to an offset."""

    offset: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """`first` to `to` in `epoch`, or these notifications, whose epoch is today's."""

    first: int = 0
    to: int = 0
    epoch: str = ""
    marks: Marked | None = None


def read_page(params: Params) -> Page | Fault:
    """`{before?: offset, limit?: 1–100, state?: current|all|unread|archived}`; current is what is not archived."""
    before, limit, state = params.get("before"), params.get("limit", DEFAULT_PAGE), params.get("state", STATES[0])
    if before is not None and not _is_offset(before):
        return bad("must be an offset", "/before")
    if type(limit) is not int or not 1 <= limit <= PAGE:
        return bad(f"must be a whole number from 1 to {PAGE}", "/limit")
    if state not in STATES:
        return bad(f"must be one of {', '.join(STATES)}", "/state")
    return Page("+" if before is None else str(before), limit, state)


def read_marks(params: Params, *, upto: bool = False) -> Marked | Upto | Fault:
    """`{ids}` or `{offsets}`, or `{upto}` where that is allowed."""
    allowed = ("ids", "offsets", "upto") if upto else ("ids", "offsets")
    given = [name for name in allowed if name in params]
    if len(given) != 1:
        return bad(f"give one of {', '.join(allowed)}")
    match given:
        case ["ids"]:
            ids = _list(params["ids"], _is_id)
            return bad(f"must be a list of at most {MOST} ids", "/ids") if ids is None else Marked(ids=ids)
        case ["offsets"]:
            offsets = _list(params["offsets"], _is_offset)
            return bad(f"must be a list of at most {MOST} offsets", "/offsets") if offsets is None else Marked(offsets)
        case _:
            return read_upto(params)


def read_upto(params: Params) -> Upto | Fault:
    """`{upto: offset}`."""
    upto = params.get("upto")
    return Upto(upto) if isinstance(upto, int) and _is_offset(upto) else bad("must be an offset", "/upto")


def read_ack(params: Params, *, alone: bool) -> Acknowledged | Fault:
    """`{to, from?, epoch}`, `{ids}` or `{offsets}`.

    `alone`: there is no connection that could say where it began, so that without `from` only `to` itself is meant, and
    not all before it.
    """
    if "to" not in params:
        marks = read_marks(params)
        return marks if isinstance(marks, Fault) else Acknowledged(marks=_only_marks(marks))
    to, epoch = params["to"], params.get("epoch")
    first = params.get("from", to if alone else 1)
    if not _is_offset(to):
        return bad("must be an offset", "/to")
    if not _is_offset(first) or first > to:
        return bad("must be an offset not above to", "/from")
    if alone and to - first >= MOST_ACKED:
        return bad(f"must be less than {MOST_ACKED:,} below to", "/from")
    if not isinstance(epoch, str) or not 0 < len(epoch) <= MAX_EPOCH:
        return bad("must be the epoch that the offsets are of", "/epoch")
    return Acknowledged(first, to, epoch)


def _only_marks(marks: Marked | Upto) -> Marked:
    assert isinstance(marks, Marked)
    return marks


def _is_offset(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_OFFSET


def _is_id(value: object) -> bool:
    return name_fault(value) is None


def _list(value: object, fits: Callable[[object], bool]) -> tuple[Any, ...] | None:
    if not isinstance(value, list) or len(value) > MOST or not all(fits(each) for each in value):
        return None
    return tuple(dict.fromkeys(value))
