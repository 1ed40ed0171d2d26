"""Keys: no two names meet in one key, and all keys of a partition lie in one cluster slot."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.keys import INBOX, Keys, escape, inbox_of, unescape
from bus.partition import SLOTS, crc16, partition_of
from tests.redis_clients import client as redis_client
from tocsin.embedded import EmbeddedRedis

KEYS = Keys("tocsin", 8)
NAMES = st.text("ab:%{}@/3A", min_size=1, max_size=6) | st.text(min_size=1, max_size=8)
PARTS: dict[str, Callable[[Keys, int], str]] = {
    "events": Keys.events,
    "lease": Keys.lease,
    "head": Keys.head,
    "dead": Keys.dead,
    "timers": Keys.timers,
    "bulk": Keys.bulk,
    "bulk_head": Keys.bulk_head,
}
OF_CHANNEL: dict[str, Callable[[Keys, int, str], str]] = {
    "jobs": Keys.jobs,
    "jobs_lease": Keys.jobs_lease,
    "jobs_head": Keys.jobs_head,
    "later": Keys.later,
}
OF_EVENT: dict[str, Callable[[Keys, int, str], str]] = {
    "body": Keys.body,
    "seen": Keys.seen,
    "withdrawn": Keys.withdrawn,
    "accepted": Keys.accepted,
    "counts": Keys.counts,
}
OF_TOPIC: dict[str, Callable[[Keys, str], str]] = {
    "log": Keys.log,
    "meta": Keys.meta,
    "routes": Keys.routes,
    "presence": Keys.presence,
    "presence_expiry": Keys.presence_expiry,
}
OF_USER: dict[str, Callable[[Keys, str], str]] = {
    "unread": Keys.unread,
    "archived": Keys.archived,
    "profile": Keys.profile,
    "prefs": Keys.preferences,
    "devices": Keys.devices,
    "trail": Keys.trail,
    "follows": Keys.follows,
    "places": Keys.places,
    "digests": Keys.digests,
}
OF_NODE: dict[str, Callable[[Keys, str], str]] = {
    "deliveries": Keys.node_deliveries,
    "sequence": Keys.node_sequence,
    "alive": Keys.node_alive,
}


OF_CONTROL = (Keys.revoked, Keys.revoked_until, Keys.revoked_version, Keys.rules, Keys.rules_version)


def slot_of(key: str) -> int:
    """As Redis Cluster does it: the hash of what stands between the first braces."""
    tag = re.search(r"\{([^}]+)\}", key)
    return crc16((tag[1] if tag else key).encode()) % SLOTS


def all_keys(name: str, partition: int) -> list[tuple[tuple[str, ...], str]]:
    """Every key that a name can be in, beside what it means."""
    own = [(("partition", kind, str(partition)), make(KEYS, partition)) for kind, make in PARTS.items()]
    event = [(("event", kind, str(partition), name), make(KEYS, partition, name)) for kind, make in OF_EVENT.items()]
    topic = [(("topic", kind, name), make(KEYS, name)) for kind, make in OF_TOPIC.items()]
    inbox = [(("topic", kind, inbox_of(name)), make(KEYS, inbox_of(name))) for kind, make in OF_TOPIC.items()]
    node = [(("node", kind, name), make(KEYS, name)) for kind, make in OF_NODE.items()]
    channel = [(("jobs", kind, str(partition)), make(KEYS, partition, "push")) for kind, make in OF_CHANNEL.items()]
    user = [(("user", kind, name), make(KEYS, name)) for kind, make in OF_USER.items()]
    user += [(("user", "digest", name, c, name), KEYS.digest(name, c, name)) for c in ("push", name)]
    shards = [(("members", name, str(partition)), KEYS.members(name, partition))]
    other = [(("ticket", name), KEYS.ticket(name)), (("idempotency", name), KEYS.idempotency(name))]
    other += [(("index", name), KEYS.index(name)), (("phone", name), KEYS.phone(name))]
    fixed = [(("nodes",), KEYS.nodes), (("workers",), KEYS.workers), (("installation",), KEYS.installation)]
    other += [(("allowance", name), KEYS.allowance(name))]
    other += [(("address_places", name), KEYS.address_places(name.encode().hex()))]
    fixed += [(("demo_feed",), KEYS.demo_feed), (("bell", name), KEYS.worker_bell(name))]
    fixed += [((of.fget.__name__,), of.fget(KEYS)) for of in OF_CONTROL if of.fget]
    fixed += [(("mailbox",), KEYS.mailbox), (("deliverers", "push"), KEYS.deliverers("push"))]
    return own + event + topic + inbox + node + channel + user + shards + other + fixed


@given(NAMES, NAMES, st.integers(0, 7), st.integers(0, 7))
def test_keys_are_injective(name: str, other: str, partition: int, other_partition: int) -> None:
    meanings: dict[str, tuple[str, ...]] = {}
    for meaning, key in all_keys(name, partition) + all_keys(other, other_partition):
        assert meanings.setdefault(key, meaning) == meaning


@given(NAMES, NAMES)
def test_escaping_is_injective_and_leaves_nothing_that_means_something(name: str, other: str) -> None:
    assert (escape(name) == escape(other)) == (name == other)
    assert not set(":{}") & set(escape(name))
    assert unescape(escape(name)) == name


@given(NAMES, NAMES, st.integers(0, 7))
def test_keys_of_a_partition_share_a_slot(name: str, ref: str, partition: int) -> None:
    at_home = [make(KEYS, partition) for make in PARTS.values()] + [
        make(KEYS, partition, ref) for make in OF_EVENT.values()
    ]
    at_home += [make(KEYS, partition, "email") for make in OF_CHANNEL.values()] + [KEYS.members(name, partition)]
    assert len({slot_of(key) for key in at_home}) == 1
    for topic in (name.lstrip(INBOX) or "x", inbox_of(name)):
        own = [make(KEYS, topic) for make in OF_TOPIC.values()]
        assert {slot_of(key) for key in own} == {slot_of(KEYS.events(KEYS.partition(topic)))}


@given(NAMES)
def test_keys_of_a_node_share_a_slot(name: str) -> None:
    assert len({slot_of(make(KEYS, name)) for make in OF_NODE.values()}) == 1


def test_what_operators_decide_shares_a_slot() -> None:
    assert len({slot_of(of.fget(KEYS)) for of in OF_CONTROL if of.fget}) == 1


@given(NAMES)
def test_an_inbox_lives_with_its_user(name: str) -> None:
    assert KEYS.partition(inbox_of(name)) == partition_of(name, 8)


@given(NAMES)
def test_all_that_is_of_a_person_shares_a_slot(name: str) -> None:
    own = [make(KEYS, name) for make in OF_USER.values()] + [KEYS.digest(name, "push", name), KEYS.log(inbox_of(name))]
    assert {slot_of(key) for key in own} == {slot_of(KEYS.jobs(partition_of(name, 8), "push"))}


@given(NAMES, NAMES)
def test_names_are_read_back_from_a_key(name: str, other: str) -> None:
    assert KEYS.named(KEYS.profile(name).encode()) == ("user", name, "profile")
    assert KEYS.named(KEYS.digest(name, other, name).encode()) == ("user", name, "digest", other, name)
    assert Keys("a:b", 8).named(Keys("a:b", 8).unread(name).encode()) == ("user", name, "unread")


def test_a_pattern_finds_its_own_keys_alone(redis_server: EmbeddedRedis) -> None:
    prefix = "te*t-[x]\\^"
    own = Keys(prefix, 8)
    with redis_client(redis_server.url) as redis:
        for key in (own.profile("a"), own.profile("b*"), own.devices("a"), Keys("teXt-x", 8).profile("a")):
            redis.set(key, "1", ex=60)
        assert {*redis.scan_iter(own.pattern("user", "*", "profile"))} == {
            own.profile("a").encode(),
            own.profile("b*").encode(),
        }


@given(NAMES, st.integers(0, 7))
def test_a_script_finds_a_body_by_its_prefix(ref: str, partition: int) -> None:
    assert KEYS.body_prefix(partition) + escape(ref) == KEYS.body(partition, ref)
    assert KEYS.counts_prefix(partition) + escape(ref) == KEYS.counts(partition, ref)


@given(NAMES)
def test_what_a_join_needs_is_the_same_at_once_and_one_by_one(name: str) -> None:
    for topic in (name, inbox_of(name)):
        log, meta, routes, bodies = KEYS.listening(topic)
        assert (log, meta, routes) == (KEYS.log(topic), KEYS.meta(topic), KEYS.routes(topic))
        assert bodies == KEYS.body_prefix(KEYS.partition(topic))


def test_two_installations_share_nothing() -> None:
    other = Keys("tocsin2", 8)
    assert other.events(0) != KEYS.events(0)
    assert other.nodes != KEYS.nodes


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (KEYS.log("news:sport"), r"tocsin:\{\d+\}:topic:news%3Asport:log"),
        (KEYS.log("@alice"), r"tocsin:\{\d+\}:user:alice:inbox"),
        (KEYS.node_alive("n1"), r"tocsin:\{node-n1\}:alive"),
        (KEYS.ticket("ab"), "tocsin:ticket:ab"),
    ],
)
def test_keys_are_readable(key: str, expected: str) -> None:
    assert re.fullmatch(expected, key)


@given(NAMES)
def test_what_a_sender_reads_is_what_it_is_called(user: str) -> None:
    inbox = inbox_of(user)
    named = (KEYS.meta(inbox), KEYS.unread(user), KEYS.log(inbox))
    assert KEYS.sending(user) == (*named, KEYS.profile(user), KEYS.preferences(user), KEYS.devices(user))
