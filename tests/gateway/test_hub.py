"""The hub alone: cursors, holes, joins between history and live, and one write per connection and flush."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.cursor import Cursor
from gateway.batch import PINGS
from gateway.hub import MAX_AHEAD, SLICE, Behind, Hub, Landing, Verdict
from gateway.wire.codes import Disconnect
from gateway.wire.framing import Wire
from tests.gateway.listener import Listener


class Client(Listener):
    """A listener that keeps what it is given."""

    remote = ""

    def close(self, disconnect: Disconnect) -> None: ...
    def overdue(self, now: float) -> bool:
        return False

    @property
    def offsets(self) -> list[int]:
        return [int(found) for found in re.findall(rb'"offset":(\d+)', b"".join(self.written))]


def flush(hub: Hub) -> int:
    return sum(1 for _ in hub.flush())


def body(n: int) -> bytes:
    return b'"data":%d' % n


def joined(hub: Hub, topic: str, client: Client, top: int = 0, epoch: str = "e") -> Landing:
    hub.begin(topic)
    landing = hub.finish(topic, client, None, Cursor(epoch, top), ())
    assert isinstance(landing, Landing)
    return landing


def test_publications_of_one_turn_leave_in_one_write() -> None:
    hub, client = Hub(), Client()
    joined(hub, "news:a", client)
    for n in (1, 2, 3):
        assert hub.publish("news:a", "e", n, body(n)) is Verdict.ACCEPTED
    flush(hub)
    assert len(client.written) == 1
    assert client.offsets == [1, 2, 3]
    assert hub.deliveries == 3


def test_the_bytes_are_the_same_object_for_every_listener() -> None:
    hub, clients = Hub(), [Client() for _ in range(5)]
    for client in clients:
        joined(hub, "news:a", client)
    hub.publish("news:a", "e", 1, body(1))
    flush(hub)
    assert len({id(client.written[0]) for client in clients}) == 1


def test_each_wire_has_its_own_framing() -> None:
    hub = Hub()
    clients = {wire: Client(wire) for wire in Wire}
    for client in clients.values():
        joined(hub, "news:a", client)
    hub.publish("news:a", "e", 1, body(1))
    flush(hub)
    assert clients[Wire.WEBSOCKET].written[0].startswith(b"\x81")
    assert b"data: {" in clients[Wire.SSE].written[0]
    assert clients[Wire.STREAM].written[0].endswith(b"\n\r\n")
    assert clients[Wire.EVENTS].offered == [("news:a", 1, body(1))]


def test_a_connection_with_several_dirty_topics_gets_one_write() -> None:
    hub, both, one, plain = Hub(), Client(), Client(), Client(Wire.EVENTS)
    for topic in ("news:a", "news:b"):
        joined(hub, topic, both)
        joined(hub, topic, plain)
    joined(hub, "news:a", one)
    hub.publish("news:a", "e", 1, body(1))
    hub.publish("news:b", "e", 1, body(2))
    flush(hub)
    assert len(both.written) == 1
    assert both.written[0].count(b'"push"') == 2
    assert len(one.written) == 1
    assert len(plain.offered) == 2
    assert hub.deliveries == 5


def test_a_flush_pauses_and_what_comes_meanwhile_goes_behind_it() -> None:
    hub = Hub()
    clients = [Client() for _ in range(2 * SLICE + 10)]
    for client in clients:
        joined(hub, "news:a", client)
    hub.publish("news:a", "e", 1, body(1))
    running = hub.flush()
    next(running)
    assert sum(bool(client.written) for client in clients) == SLICE
    hub.publish("news:a", "e", 2, body(2))
    late = Client()
    landing = hub.shortcut("news:a", late, None)
    assert landing is not None
    assert landing.offset == 1
    list(running)
    assert all(client.offsets == [1, 2] for client in clients)
    assert late.offsets == [2]


def test_many_small_topics_pause_too() -> None:
    hub = Hub()
    for n in range(3 * SLICE):
        joined(hub, f"@user{n}", Client())
        hub.publish(f"@user{n}", "e", 1, body(1))
    assert flush(hub) >= 3


def test_a_connection_with_many_topics_pauses_too() -> None:
    hub, clients = Hub(), [Client() for _ in range(SLICE + 1)]
    for client in clients:
        joined(hub, "news:a", client)
        joined(hub, "news:b", client)
    hub.publish("news:a", "e", 1, body(1))
    hub.publish("news:b", "e", 1, body(1))
    assert flush(hub) == 1


def test_a_duplicate_is_dropped_and_nobody_hears_of_an_unknown_topic() -> None:
    hub, client = Hub(), Client()
    joined(hub, "news:a", client)
    hub.publish("news:a", "e", 1, body(1))
    assert hub.publish("news:a", "e", 1, body(1)) is Verdict.DUPLICATE
    assert hub.publish("news:z", "e", 1, body(1)) is Verdict.NOBODY
    assert hub.publish("news:a", "other", 2, body(2)) is Verdict.OTHER_EPOCH
    flush(hub)
    assert client.offsets == [1]


def test_what_comes_early_waits_for_the_hole_before_it() -> None:
    hub, client = Hub(), Client()
    joined(hub, "news:a", client)
    assert hub.publish("news:a", "e", 3, body(3)) is Verdict.AHEAD
    assert hub.publish("news:a", "e", 2, body(2)) is Verdict.AHEAD
    assert hub.gaps == {"news:a"}
    flush(hub)
    assert client.written == []
    hub.publish("news:a", "e", 1, body(1))
    assert hub.gaps == set()
    flush(hub)
    assert client.offsets == [1, 2, 3]


def test_what_is_held_is_bounded() -> None:
    hub, client = Hub(), Client()
    joined(hub, "news:a", client)
    for n in range(2, MAX_AHEAD + 100):
        hub.publish("news:a", "e", n, body(n))
    assert len(hub.topics["news:a"].ahead or {}) == MAX_AHEAD


def test_a_hole_is_filled_from_history() -> None:
    hub, client = Hub(), Client()
    joined(hub, "news:a", client)
    hub.publish("news:a", "e", 4, body(4))
    assert hub.catch_up("news:a", Cursor("e", 4), [(1, body(1)), (2, body(2)), (3, body(3)), (4, body(4))])
    flush(hub)
    assert client.offsets == [1, 2, 3, 4]
    assert hub.gaps == set()


def test_a_hole_that_history_no_longer_has_is_not_papered_over() -> None:
    hub, client = Hub(), Client()
    joined(hub, "news:a", client)
    hub.publish("news:a", "e", 9, body(9))
    hub.publish("news:a", "", 0, b'"data":"ephemeral"')
    assert not hub.catch_up("news:a", Cursor("e", 9), [(8, body(8)), (9, body(9))])
    assert hub.topics["news:a"].offset == 9
    assert hub.gaps == set()
    flush(hub)
    assert client.offsets == []
    assert b"ephemeral" in client.written[0]


def test_a_long_hole_is_filled_piece_by_piece() -> None:
    hub, client = Hub(), Client()
    joined(hub, "news:a", client)
    assert hub.catch_up("news:a", Cursor("e", 4), [(1, body(1)), (2, body(2))]) is Behind.BEHIND
    assert hub.catch_up("news:a", Cursor("e", 4), [(3, body(3)), (4, body(4))]) is True
    flush(hub)
    assert client.offsets == [1, 2, 3, 4]


def test_a_new_epoch_is_a_hole() -> None:
    hub, client = Hub(), Client()
    joined(hub, "news:a", client, top=7)
    assert not hub.catch_up("news:a", Cursor("new", 2), [(1, body(1)), (2, body(2))])
    assert hub.topics["news:a"].epoch == "new"
    assert hub.publish("news:a", "new", 3, body(3)) is Verdict.ACCEPTED


def test_catching_up_with_nothing_missed_or_nobody_there_is_fine() -> None:
    hub, client = Hub(), Client()
    assert hub.catch_up("news:a", Cursor("e", 3), ())
    hub.begin("news:a")
    assert hub.catch_up("news:a", Cursor("e", 3), ())
    hub.abandon("news:a")
    joined(hub, "news:a", client, top=3)
    assert hub.catch_up("news:a", Cursor("e", 3), ())


def test_ephemeral_publications_and_pushes_have_no_offset() -> None:
    hub, client = Hub(), Client()
    joined(hub, "news:a", client, top=5)
    hub.publish("news:a", "", 0, body(1))
    hub.push("news:a", b'{"push":{"channel":"news:a","join":{}}}')
    hub.push("news:a", b'{"push":{"channel":"news:a","leave":{}}}')
    hub.push("news:nobody", b"{}")
    flush(hub)
    assert client.offsets == []
    assert client.written[0].count(b'"push"') == 3
    assert hub.topics["news:a"].offset == 5


def test_the_last_listener_takes_the_topic_with_it() -> None:
    hub, a, b = Hub(), Client(), Client()
    joined(hub, "news:a", a)
    joined(hub, "news:a", b)
    assert not hub.leave("news:a", a)
    assert not hub.leave("news:a", a)
    assert hub.leave("news:a", b)
    assert not hub.leave("news:a", b)
    assert hub.topics == {}


def test_all_listeners_go_at_once_and_get_nothing_of_what_follows() -> None:
    hub, first, second, third = Hub(), Client(), Client(), Client()
    joined(hub, "news:a", first)
    joined(hub, "news:a", second)
    hub.begin("news:a")
    assert hub.disband("news:a") == ((first, second), False)
    assert isinstance(hub.finish("news:a", third, None, Cursor("e", 0), ()), Landing)
    hub.publish("news:a", "e", 1, body(1))
    flush(hub)
    assert (first.written, second.written, third.offsets) == ([], [], [1])
    assert [hub.has("news:a", member) for member in (first, second, third)] == [False, False, True]
    assert not hub.leave("news:a", first)
    assert hub.disband("news:a") == ((third,), True)
    assert not hub.has("news:a", third)
    assert hub.topics == {}


def test_a_join_under_way_keeps_the_topic() -> None:
    hub, a = Hub(), Client()
    joined(hub, "news:a", a)
    hub.begin("news:a")
    assert not hub.leave("news:a", a)
    assert hub.abandon("news:a")


def test_no_shortcut_without_a_cursor_a_listener_or_the_same_position() -> None:
    hub, a, b = Hub(), Client(), Client()
    assert hub.shortcut("news:a", a, None) is None
    hub.begin("news:a")
    assert hub.shortcut("news:a", a, None) is None
    hub.finish("news:a", a, None, Cursor("e", 4), ())
    assert hub.shortcut("news:a", b, Cursor("e", 3)) is None
    assert hub.shortcut("news:a", b, Cursor("x", 4)) is None
    assert hub.shortcut("news:a", b, Cursor("e", 4)) == Landing("e", 4, True, ())


def test_what_arrives_before_the_first_answer_is_not_lost() -> None:
    hub, client = Hub(), Client()
    hub.begin("news:a")
    hub.publish("news:a", "e", 5, body(5))
    hub.publish("news:a", "e", 6, body(6))
    landing = hub.finish("news:a", client, Cursor("e", 3), Cursor("e", 5), [(4, body(4)), (5, body(5))])
    assert landing == Landing("e", 5, True, ((4, body(4)), (5, body(5))))
    flush(hub)
    assert client.offsets == [6]


def test_a_client_ahead_of_the_hub_waits_for_it() -> None:
    hub, here, away = Hub(), Client(), Client()
    joined(hub, "news:a", here, top=1)
    hub.begin("news:a")
    missed: list[tuple[int, bytes]] = []
    assert hub.finish("news:a", away, Cursor("e", 3), Cursor("e", 3), missed) is Behind.BEHIND
    assert hub.catch_up("news:a", Cursor("e", 3), [(2, body(2)), (3, body(3))])
    flush(hub)
    assert hub.finish("news:a", away, Cursor("e", 3), Cursor("e", 3), missed) == Landing("e", 3, True, ())
    assert here.offsets == [2, 3]
    assert away.offsets == []


@pytest.mark.parametrize(
    ("since", "epoch", "missed"),
    [
        (2, "e", [4, 5]),  # a hole where the log was trimmed
        (2, "old", [3, 4, 5]),  # the log was made anew
        (9, "e", []),  # from the future
    ],
)
def test_recovery_is_all_or_nothing(since: int, epoch: str, missed: list[int]) -> None:
    hub, client = Hub(), Client()
    hub.begin("news:a")
    landing = hub.finish("news:a", client, Cursor(epoch, since), Cursor("e", 5), [(n, body(n)) for n in missed])
    assert landing == Landing("e", 5, False, ())


def test_a_join_into_another_epoch_than_the_hubs_waits_for_the_hub() -> None:
    hub, a, b, c = Hub(), Client(), Client(), Client()
    joined(hub, "news:a", a, top=2)
    hub.begin("news:a")
    assert hub.finish("news:a", b, Cursor("new", 1), Cursor("new", 1), ()) is Behind.BEHIND
    hub.begin("news:a")
    assert hub.finish("news:a", c, None, Cursor("new", 1), ()) == Landing("e", 2, False, ())
    assert hub.catch_up("news:a", Cursor("new", 1), ()) is False
    assert hub.finish("news:a", b, Cursor("new", 1), Cursor("new", 1), ()) == Landing("new", 1, True, ())


@settings(max_examples=300)
@given(st.data())
def test_every_listener_sees_each_offset_once_and_in_order(data: st.DataObject) -> None:
    """Entries of the log come in any order and more than once; joins read the log at any moment before they land."""
    hub = Hub()
    log: list[int] = []
    arriving: list[int] = []
    clients: list[tuple[Client, int]] = []
    reading: list[tuple[Client, int, int]] = []
    running = iter(())
    for _ in range(data.draw(st.integers(5, 60))):
        step = data.draw(st.sampled_from(["append", "arrive", "begin", "land", "flush", "slice", "catch_up"]))
        if step == "append":
            log.append(len(log) + 1)
            arriving.append(len(log))
        elif step == "arrive" and arriving:
            n = arriving[data.draw(st.integers(0, len(arriving) - 1))]
            if data.draw(st.booleans()):
                arriving.remove(n)
            hub.publish("t:x", "e", n, body(n))
        elif step == "begin":
            since = data.draw(st.integers(0, len(log)))
            hub.begin("t:x")
            reading.append((Client(), since, len(log)))
        elif step == "land" and reading:
            client, since, top = reading.pop(0)
            landing = hub.finish(
                "t:x", client, Cursor("e", since), Cursor("e", top), [(n, body(n)) for n in log[since:top]]
            )
            if isinstance(landing, Behind):
                hub.catch_up("t:x", Cursor("e", top), [(n, body(n)) for n in log[:top]])
                list(running)
                flush(hub)
                landing = hub.finish(
                    "t:x", client, Cursor("e", since), Cursor("e", top), [(n, body(n)) for n in log[since:top]]
                )
            assert isinstance(landing, Landing)
            if landing.recovered:
                assert [n for n, _ in landing.publications] == list(range(since + 1, landing.offset + 1))
            clients.append((client, landing.offset))
        elif step == "flush":
            list(running)
            flush(hub)
        elif step == "slice":
            list(running)
            running = hub.flush()
            next(running, None)
        elif step == "catch_up" and "t:x" in hub.topics:
            hub.catch_up("t:x", Cursor("e", len(log)), [(n, body(n)) for n in log])
    list(running)
    if "t:x" in hub.topics and hub.topics["t:x"].epoch:
        assert hub.catch_up("t:x", Cursor("e", len(log)), [(n, body(n)) for n in log])
    flush(hub)
    for client, start in clients:
        assert client.offsets == list(range(start + 1, len(log) + 1))


# Receipts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", [Wire.WEBSOCKET, Wire.SSE, Wire.STREAM])
def test_a_ping_goes_behind_what_goes_to_an_inbox_in_the_same_write(wire: Wire) -> None:
    hub, client = Hub(), Client(wire)
    joined(hub, "@ann", client, top=4)
    hub.publish("@ann", "e", 5, body(5))
    hub.publish("@ann", "e", 6, body(6))
    flush(hub)
    (written,) = client.written
    assert written.endswith(PINGS[wire])
    assert written.count(PINGS[wire]) == 1
    hub.publish("@ann", "e", 7, body(7))
    flush(hub)
    assert not client.written[1].endswith(PINGS[wire])  # one is under way
    assert hub.written == {"@ann": ("e", ((5, 7),))}


def test_each_device_has_a_ping_of_its_own_and_plain_streams_have_none() -> None:
    hub, socket, busy, stream = Hub(), Client(), Client(), Client(Wire.EVENTS)
    for client in (socket, busy, stream):
        joined(hub, "@ann", client)
    assert busy.session.wrote(0)
    hub.publish("@ann", "e", 1, body(1))
    flush(hub)
    assert socket.written[0] == busy.written[0] + PINGS[Wire.WEBSOCKET]
    assert stream.offered == [("@ann", 1, body(1))]
    assert stream.written == []


def test_topics_and_what_has_no_place_in_history_have_no_ping() -> None:
    hub, client = Hub(), Client()
    joined(hub, "news:a", client)
    joined(hub, "@ann", client)
    hub.publish("news:a", "e", 1, body(1))
    flush(hub)
    hub.publish("@ann", "e", 0, body(2))
    flush(hub)
    hub.push("@ann", b'{"push":{}}')
    flush(hub)
    assert not any(written.endswith(PINGS[Wire.WEBSOCKET]) for written in client.written)
    assert hub.written == {}


def test_an_inbox_and_a_topic_in_one_write_have_one_ping_at_its_end() -> None:
    hub, client = Hub(), Client()
    joined(hub, "@ann", client)
    joined(hub, "news:a", client)
    hub.publish("@ann", "e", 1, body(1))
    hub.publish("news:a", "e", 1, body(2))
    flush(hub)
    (written,) = client.written
    assert written.endswith(PINGS[Wire.WEBSOCKET])
    assert client.offsets == [1, 1]
    assert hub.written == {"@ann": ("e", ((1, 1),))}


def test_what_was_recovered_was_written_and_what_nobody_heard_was_not() -> None:
    hub, client = Hub(), Client()
    hub.begin("@ann")
    hub.finish("@ann", client, Cursor("e", 3), Cursor("e", 5), [(4, body(4)), (5, body(5))])
    assert hub.written == {"@ann": ("e", ((4, 5),))}
    hub.begin("@bob")
    hub.publish("@bob", "f", 9, body(9))
    hub.finish("@bob", Client(), None, Cursor("f", 8), ())
    hub.leave("@bob", next(iter(hub.topics["@bob"].members)))
    flush(hub)
    assert "@bob" not in hub.written


def test_written_offsets_of_another_epoch_take_the_place_of_those_before() -> None:
    hub, client = Hub(), Client()
    joined(hub, "@ann", client, top=8)
    hub.publish("@ann", "e", 9, body(9))
    flush(hub)
    hub.catch_up("@ann", Cursor("f", 1), ())
    hub.publish("@ann", "f", 2, body(2))
    flush(hub)
    assert hub.written == {"@ann": ("f", ((2, 2),))}
