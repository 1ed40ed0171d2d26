"""`GET /sse?topics=a,b`: a plain event stream of the user's inbox and some topics, for EventSource, curl and scripts.

It only listens. Its state is the `id:` of its events, so a client that comes back with it, to any node, goes on where
it was (`Last-Event-ID`; `?last_event_id=` where a page loads anew). gateway/wire/narrator.py has what it says.

A token never goes into the URL, where logs would keep it: it comes in `Authorization`, or is exchanged for a ticket,
good once (`?ticket=`), since a browser's EventSource cannot send a header.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bus.cursor import Cursor
from bus.keys import inbox_of
from bus.naming import topic_fault
from gateway.api.claims import claims_of
from gateway.api.keys import bearer, unauthenticated
from gateway.api.problem import Kind, Refusal
from gateway.effects import Claims, Joined
from gateway.endpoint import Backend, Endpoint
from gateway.handover import HandOver
from gateway.rights import Standing, subscribe_error
from gateway.streamed import head, refusal, remote_of
from gateway.tickets import is_ticket
from gateway.transport import Carrier, SocketConnection
from gateway.wire.codes import CloseInfo
from gateway.wire.eventsource import HEARTBEAT, resume
from gateway.wire.framing import LAST_CHUNK, Wire, chunk
from gateway.wire.narrator import Narrator, farewell
from gateway.wire.replies import INBOX_CHANNEL, channel_of, topic_of

MAX_TOPICS: Final = 32
"""Each event repeats the position in every topic of its stream, and a client sends it back in a header: 33 of them
stay below 2 KB."""
LOST: Final = Cursor("lost", 0)
"""A cursor of no log, for a client that was somewhere but cannot say where: it is told that it missed something."""


class EventsConnection(SocketConnection):
    """One stream. Its events have ids of their own, so nothing of it is shared with others. `begin` is called with it
    once it can be written to."""

    __slots__ = ("_begin", "_narrator")

    wire: Wire = Wire.EVENTS

    def __init__(
        self, carrier: Carrier, remote: str, narrator: Narrator, begin: Callable[[EventsConnection], None]
    ) -> None:
        super().__init__(carrier, remote)
        self._narrator = narrator
        self._begin: Callable[[EventsConnection], None] | None = begin

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._say(HEARTBEAT)  # lets the client know at once that it is connected, through any proxy
        begin, self._begin = self._begin, None
        if begin is not None:
            begin(self)

    def _say(self, said: bytes) -> None:
        if said:
            self.write(chunk(said))

    def joined(self, topic: str, answer: Joined, resumed: bool) -> None:
        at = Cursor(answer.epoch, answer.offset)
        self._say(self._narrator.joined(channel_of(topic), at, answer.recovered, answer.publications))

    def offer(self, topic: str, offset: int, publication: bytes) -> None:
        self._say(self._narrator.publication(channel_of(topic), offset, publication))

    def heartbeat(self) -> None:
        self._say(HEARTBEAT)

    def farewell(self, why: CloseInfo) -> bytes:
        return chunk(farewell(why)) + LAST_CHUNK


def routes(service: Backend) -> list[Route]:
    """The one route."""
    return [Route("/sse", Endpoint(service, {"GET": _Opener(service).open}))]


class _Opener:
    """Decides about requests for a stream. What can be refused is refused before the ticket is used up."""

    def __init__(self, service: Backend) -> None:
        self._service = service
        self._carrier = Carrier(service)

    async def open(self, request: Request) -> Response | Refusal:
        if refused := refusal(request, self._service):
            return refused
        topics = topics_of(request, min(MAX_TOPICS, self._service.settings.subscriptions - 1))
        if isinstance(topics, Refusal):
            return topics
        token = token_of(request)
        claims = token if isinstance(token, Refusal) else await claims_of(token, self._service.authenticate)
        if isinstance(claims, Refusal):
            return claims
        standing = Standing(inbox_of(claims.user), claims.topics, ())
        if any(subscribe_error(self._service.namespaces, standing, topic) for topic in topics):
            return Refusal(Kind.FORBIDDEN, "the user may not subscribe to one of these topics")
        return self._hand_over(request, claims, topics)

    def _hand_over(self, request: Request, claims: Claims, topics: tuple[str, ...]) -> Response:
        service, remote = self._service, remote_of(request, self._service)
        cursors = cursors_of(request, topics)
        narrator = Narrator((INBOX_CHANNEL, *topics), cursors)
        by_topic = {topic_of(channel, claims.user): cursor for channel, cursor in cursors.items()}
        return HandOver(
            head(service, "text/event-stream; charset=utf-8"),
            lambda _: EventsConnection(
                self._carrier, remote, narrator, lambda opened: service.open_events(opened, claims, topics, by_topic)
            ),
        )


# Reading the request -----------------------------------------------------------------------------------------------


def topics_of(request: Request, limit: int) -> tuple[str, ...] | Refusal:
    """The topics asked for, without the inbox, which every stream has. `topics` are split at commas; a name that has
    a comma goes by `topic`."""
    given = request.query_params.getlist("topic")
    given += [name for names in request.query_params.getlist("topics") for name in names.split(",") if name]
    topics = tuple(dict.fromkeys(topic for topic in given if topic != INBOX_CHANNEL))
    if len(topics) > limit:
        return Refusal(Kind.BAD_REQUEST, f"a stream has at most {limit} topics")
    for number, topic in enumerate(topics, 1):
        if fault := topic_fault(topic):
            return Refusal(Kind.BAD_REQUEST, f"topic {number} {fault}")
    return topics


def token_of(request: Request) -> str | Refusal:
    """The token or ticket that a request carries, in the one place it may."""
    token, tickets = bearer(request.headers), request.query_params.getlist("ticket")
    if token and not tickets:
        return token
    if not token and len(tickets) == 1 and is_ticket(tickets[0]):
        return tickets[0]
    return unauthenticated("give a token as Authorization: Bearer, or a ticket (POST /v1/ticket) as ?ticket=, not both")


def cursors_of(request: Request, topics: tuple[str, ...]) -> dict[str, Cursor]:
    """Where the client says it stands, by channel. The header is newer than the query, which a browser repeats."""
    channels = (INBOX_CHANNEL, *topics)
    id = request.headers.get("last-event-id") or request.query_params.get("last_event_id")
    cursors = resume(id, channels) if id else {}
    return dict.fromkeys(channels, LOST) if cursors is None else cursors
