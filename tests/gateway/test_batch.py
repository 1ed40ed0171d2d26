"""A batch alone: the same bytes for everyone on a wire, and pings behind what goes to an inbox."""

from __future__ import annotations

import pytest

from bus.keys import inbox_of
from gateway.batch import PINGS, Batch, in_several, write_all, write_joined, write_with_pings
from gateway.wire.framing import Wire
from tests.gateway.listener import Listener

INBOX = inbox_of("alice")
TWO = ((4, b'"data":1'), (5, b'"data":2'))


def test_it_is_encoded_once_for_each_wire() -> None:
    those = [Listener(wire) for wire in (Wire.WEBSOCKET, Wire.WEBSOCKET, Wire.STREAM, Wire.SSE, Wire.EVENTS)]
    batch = Batch("news:a", "e", TWO, [b'{"push":{}}'], those)
    write_all(batch, those)
    first, second, stream, sse, events = those
    assert first.written[0] is second.written[0]
    assert len({first.written[0], stream.written[0], sse.written[0]}) == 3
    assert all(one.written[0].count(b'"offset":') == 2 for one in (first, stream, sse))
    assert first.written[0].endswith(b'{"push":{}}'), "what has no place in history goes last"
    assert events.offered == [("news:a", 4, b'"data":1'), ("news:a", 5, b'"data":2')]
    assert batch.receipt == 0, "none is wanted for what is not an inbox"


@pytest.mark.parametrize("wire", [Wire.WEBSOCKET, Wire.STREAM, Wire.SSE])
def test_behind_what_goes_to_an_inbox_goes_one_ping_at_a_time(wire: Wire) -> None:
    one, plain = Listener(wire), Listener(Wire.EVENTS)
    batch = Batch(INBOX, "e", TWO, (), [one, plain])
    assert batch.receipt == 5
    write_with_pings(batch, [one, plain])
    write_with_pings(batch, [one])
    assert one.written == [batch.encoded(wire) + PINGS[wire], batch.encoded(wire)]
    assert len(plain.offered) == 2


def test_who_listens_to_several_gets_them_in_one_write() -> None:
    both, one, plain = Listener(), Listener(), Listener(Wire.EVENTS)
    inbox, news = Batch(INBOX, "e", TWO, (), [both, plain]), Batch("news:a", "e", TWO, (), [both, one, plain])
    assert in_several([inbox]) == set()
    assert in_several([inbox, news]) == {both, plain}
    write_joined(both, [inbox, news])
    write_joined(both, [inbox, news])
    write_joined(both, [news])
    joined = inbox.encoded(Wire.WEBSOCKET) + news.encoded(Wire.WEBSOCKET)
    assert both.written == [joined + PINGS[Wire.WEBSOCKET], joined, news.encoded(Wire.WEBSOCKET)]
    write_joined(plain, [inbox, news])
    assert [topic for topic, *_ in plain.offered] == [INBOX, INBOX, "news:a", "news:a"]
