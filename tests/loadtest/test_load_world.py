"""loadtest.world: lanes, producers and accounts."""

from __future__ import annotations

from loadtest.ledger import Tally
from loadtest.world import TOPICS, Receiver, World


def world() -> World:
    return World(run="r", producers=2)


def test_an_event_repeats_until_it_is_accepted() -> None:
    lane = world().lane("load:x")
    first = lane.event(1.0)
    assert (first["id"], first["to"], first["data"]["number"]) == ("load:x.1", {"topics": ["load:x"]}, 1)
    assert lane.event(2.0)["id"] == first["id"]
    lane.sent += 1
    assert lane.event(2.0)["id"] == "load:x.2"


def test_a_person_has_a_lane_that_is_an_inbox() -> None:
    there = world()
    name = there.person()
    assert there.lane(name).audience == {"users": [name]}
    assert there.person() != name


def test_topics_are_different_ones() -> None:
    assert len(set(world().topics(TOPICS))) == TOPICS


def test_each_lane_has_one_producer_and_rests_while_busy() -> None:
    there = world()
    for _ in range(20):
        there.person()
    there.topics(TOPICS)
    seats = {there.seat(), there.seat()}
    assert seats == {0, 1}
    fed = [{lane.name for _ in range(400) if (lane := there.lane_for(seat))} for seat in sorted(seats)]
    assert not fed[0] & fed[1]
    for lane in there.lanes.values():
        lane.busy = True
    assert there.lane_for(0) is there.lane_for(1) is None


def test_a_receiver_settles_for_all_that_it_follows() -> None:
    there = world()
    seen: list[tuple[str, float]] = []
    receiver = Receiver(there, "websocket", lambda kind, sent_at: seen.append((kind, sent_at)))
    topic, inbox = there.lane("load:x"), there.lane(there.person())
    receiver.follow(topic.name, 0)
    receiver.follow(inbox.name, 0)
    receiver.follow(topic.name, 7)  # the first one counts
    for lane in (topic, inbox):
        receiver.receive(lane.event(lane.sent + 0.5)["data"])
        lane.sent += 1
    topic.sent += 1
    owed = receiver.owed()
    assert owed == {topic.name: 2, inbox.name: 1}
    assert not receiver.has_all(owed)
    assert receiver.has_all({topic.name: 1, inbox.name: 1})
    receiver.close(owed)
    assert there.accounts == {"websocket": Tally(delivered=2, lost=1)}
    assert seen == [("topic", 0.5), ("inbox", 0.5)]


def test_a_stand_leaves_out_what_is_on_its_way() -> None:
    there = world()
    lane = there.lane("load:x")
    lane.sent = 3
    receiver = Receiver(there, "sse", lambda kind, sent_at: None)
    assert receiver.stand() == {"load:x": 3}
    lane.busy = True
    assert receiver.stand() == {"load:x": 4}
