"""What a session asks for, and what it is told: the whole vocabulary between pure protocol and the I/O around it.

An effect is something to do; some effects are questions, and each question gets exactly one answer, by
`Session.answer`. A session asks one question at a time, so an answer needs no number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bus.cursor import Cursor
from gateway.wire.codes import Disconnect, Error


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a revocation knows a token by."""

    jti: str = ""
    """Its id; empty where it has none."""
    issued_at: float = 0.0
    """Unix time (`iat`); one that does not say is older than all others."""


UNSTAMPED: Final = Stamp()


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token (or ticket) grants."""

    user: str
    expires_at: float
    """Unix time in seconds."""
    topics: tuple[str, ...] = ()
    """Topics the user may subscribe to in namespaces that ask for a token."""
    info: bytes = b""
    """JSON shown to others in presence and beside publications; empty for none."""
    topic: str | None = None
    """The one topic of a subscription token; None in a connection token."""
    stamp: Stamp = UNSTAMPED
    begins: float = field(default=0.0, compare=False)
    """Unix time before which the token is not good, for whoever judges it again."""


# Effects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Write one JSON object, encoded for the connection's wire."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection. Always the last effect; nothing is asked or sent after it."""

    disconnect: Disconnect


@dataclass(frozen=True, slots=True)
class Verify:
    """Question: what does this token grant? `topic` None: connect or refresh; else a subscription token for it.
    Answer: `Verified`, `Denied` or `Failed`."""

    token: str
    topic: str | None


@dataclass(frozen=True, slots=True)
class Admit:
    """Question: may this user hold one more connection here? Answer: `Done`, `Denied` or `Failed`."""

    user: str


@dataclass(frozen=True, slots=True)
class Join:
    """Question: make the connection a member of the topic; where does it stand, and what was missed since `recover`?
    Publications that come meanwhile are held until the answer's effects are done. Answer: `Joined` or `Failed`."""

    topic: str
    recover: Cursor | None


@dataclass(frozen=True, slots=True)
class Leave:
    """End the membership. Harmless where there is none."""

    topic: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Question: accept this as a client's publication; `data` is JSON, `info` the publisher's ClientInfo as JSON.
    Answer: `Done` or `Failed`."""

    topic: str
    data: bytes
    info: bytes


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Question: publications of a topic, at most `limit` (0: only the position), after `since` (before it, newest
    first, when `reverse`). Answer: `Page` or `Failed`."""

    topic: str
    limit: int
    since: Cursor | None
    reverse: bool


@dataclass(frozen=True, slots=True)
class ReadPresence:
    """Question: who is in a topic? `stats`: only the counts are wanted. Answer: `Present` or `Failed`."""

    topic: str
    stats: bool


@dataclass(frozen=True, slots=True)
class Call:
    """Question: a remote procedure call; `data` is JSON or empty. Answer: `Returned` or `Failed`."""

    method: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Receive:
    """A message of the client that wants no answer; `data` is JSON."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Acked:
    """The client has these notifications of its inbox: offsets `first` to `to`."""

    first: int
    to: int


Question = Verify | Admit | Join | Publish | ReadHistory | ReadPresence | Call
Effect = Send | Close | Leave | Receive | Acked | Question


# Answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verified:
    """The token is good."""

    claims: Claims


@dataclass(frozen=True, slots=True)
class Denied:
    """It is not, or the user may not: an `Error` answers the command, a `Disconnect` ends the connection."""

    error: Error | Disconnect


@dataclass(frozen=True, slots=True)
class Joined:
    """The connection is a member.

    `offset` is where the client will stand after `publications`, which are (offset, inside of a JSON object) without
    a hole from the client's own offset on; empty bytes stand for a publication that was withdrawn. `recovered` is all
    or nothing: when False, `publications` is empty.
    """

    epoch: str
    offset: int
    recovered: bool
    publications: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of history and the topic's position at that moment."""

    epoch: str
    offset: int
    publications: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Present:
    """Who is there: (client id, ClientInfo as JSON)."""

    clients: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Returned:
    """Result of a call, as JSON; empty for none."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """It is done; there is nothing to tell."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be done; the client gets this error, and `detail` behind its message."""

    error: Error
    detail: str = ""


Answer = Verified | Denied | Joined | Page | Present | Returned | Done | Failed
OnAnswer = Callable[[Answer], None]
