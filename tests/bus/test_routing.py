"""Which slot a command belongs to, what redirections say, and the map of slots; against the specification."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.address import Place
from bus.keys import Keys
from bus.partition import SLOTS, crc16
from bus.pipe.routing import (
    Arg,
    Ask,
    Moved,
    SlotMap,
    State,
    moving,
    prepared,
    read_redirection,
    read_slots,
    read_state,
    slot_of,
    tag_of,
)

A, B, C = Place("a", 1), Place("b", 2), Place("c", 3)
KEYS = Keys("tocsin", 64)


# Keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"foo{}{bar}", None),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"foo", None),
        (b"foo{bar", None),
        (b"foo}bar{", None),
    ],
)
def test_tags_are_those_of_the_specification(key: bytes, tag: bytes | None) -> None:
    assert tag_of(key) == tag


@given(st.binary(max_size=40))
def test_the_slot_is_the_checksum_of_the_tag_or_else_of_the_key(key: bytes) -> None:
    tag = tag_of(key)
    assert slot_of(key) == crc16(key if tag is None else tag) % SLOTS
    assert slot_of(b"x:{" + (tag or b"t") + b"}:" + key) == slot_of(tag or b"t")


@given(st.lists(st.text("{}a:ä", max_size=12), max_size=4), st.booleans())
def test_what_is_remembered_of_how_keys_begin_holds_for_all_that_begin_like_this(keys: list[str], known: bool) -> None:
    if known:  # else each is found as it comes
        keys += keys
    for key in keys:
        raw = key.encode()
        tag = tag_of(raw)
        slot = crc16(raw if tag is None else tag) % SLOTS
        assert prepared(("GET", key)) == (slot, ("GET", key))
        assert prepared(("GET", raw)) == (slot, ("GET", raw))
        extra = () if tag is None else (raw[: raw.index(b"{")] + b"{" + tag + b"}:never",)
        assert prepared(("EVALSHA", "sha", 1, key, "a")) == (slot, ("EVALSHA", "sha", 1 + len(extra), key, *extra, "a"))
        assert prepared(("eval", "text", 1, raw)) == (slot, ("eval", "text", 1 + len(extra), raw, *extra))


def test_the_check_value_of_the_specification() -> None:
    assert slot_of(b"123456789") == 0x31C3


@pytest.mark.parametrize(
    ("args", "key"),
    [
        (("GET", "k"), b"k"),
        (("get", b"k"), b"k"),
        (("XADD", "k", "*", "f", "GET"), b"k"),
        (("XREAD", "COUNT", 1, "BLOCK", 5, "STREAMS", "k", "0-0"), b"k"),
        (("xreadgroup", "GROUP", "g", "c", "STREAMS", "k", ">"), b"k"),
        (("XGROUP", "CREATE", "k", "g", 0), b"k"),
        (("XINFO", "GROUPS", "k"), b"k"),
        (("OBJECT", "ENCODING", "k"), b"k"),
        (("BLPOP", "k", 5), b"k"),
        (("INCRBY", 7, 1), b"7"),
        (("EVALSHA", "sha", 1, "k", "a"), b"k"),
    ],
)
def test_the_key_of_a_command_says_its_slot(args: tuple[Arg, ...], key: bytes) -> None:
    assert prepared(args) == (slot_of(key), args)


@pytest.mark.parametrize(
    "args",
    [
        *[("PING",), ("info", "server"), ("SCAN", 0), ("EVALSHA", "sha", 0, "a"), ("XREAD", "COUNT", 1), ("MYSTERY",)],
        *[("XREAD", "STREAMS"), ("XINFO", "HELP")],
    ],
)
def test_what_has_no_key_has_no_slot(args: tuple[Arg, ...]) -> None:
    assert prepared(args) == (None, args)


@given(st.integers(0, 63), st.integers(1, 9), st.lists(st.binary(max_size=5), max_size=5))
def test_a_script_gets_one_key_more_in_its_slot_and_nothing_else_changes(p: int, count: int, argv: list[bytes]) -> None:
    keys = [KEYS.tagged(p, "k", str(number)) for number in range(count)]
    slot, sent = prepared(("EVALSHA", "sha", count, *keys, *argv))
    assert slot == slot_of(keys[0].encode())
    *head, never = sent[: 4 + count]
    assert head == ["EVALSHA", "sha", count + 1, *keys]
    assert isinstance(never, bytes)
    assert slot_of(never) == slot
    assert never == KEYS.tagged(p, "never").encode()
    assert list(sent[4 + count :]) == argv


# Redirections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("MOVED 3999 10.0.0.1:6381", Moved(3999, Place("10.0.0.1", 6381))),
        ("MOVED 3999 :6381", Moved(3999, Place("a", 6381))),
        ("MOVED 3999 ?:6381", Moved(3999, Place("a", 6381))),
        ("MOVED 3999 ::1:6381", Moved(3999, Place("::1", 6381))),
        ("MOVED 3999 [::1]:6381", Moved(3999, Place("::1", 6381))),
        ("ASK 12 redis-2.example:1", Ask(Place("redis-2.example", 1))),
        ("MOVED 16384 b:1", None),
        ("MOVED 1 b", None),
        ("MOVED", None),
        ("MOVED x b:1", None),
        ("TRYAGAIN Multiple keys request during rehashing of slot", None),
        ("ERR MOVED 1 b:1", None),
    ],
)
def test_redirections_are_read(said: str, read: Moved | Ask | None) -> None:
    assert read_redirection(said, A) == read


# The map ---------------------------------------------------------------------------------------------------------


def test_a_map_is_read_from_cluster_slots() -> None:
    reply = [
        [0, 5460, [b"b", 2, b"id", []], [b"x", 9, b"id"]],
        [5461, 5461, [b"", 3, b"id"]],
        [5470, 16383, [None, 4, b"id"]],
    ]
    found = read_slots(reply, A, 7)
    assert (found.epoch, found.masters) == (7, (Place("a", 3), Place("a", 4), B))
    assert (found.owners[0], found.owners[5460], found.owners[5461]) == (B, B, Place("a", 3))
    assert (found.owners[5462], found.owners[5469], found.owners[16383]) == (None, None, Place("a", 4))
    assert found.uncovered == 8
    assert found.slots_of(Place("a", 3)) == {5461}


def test_an_empty_map_covers_nothing() -> None:
    assert (SlotMap().uncovered, SlotMap().masters, SlotMap().slots_of(A)) == (SLOTS, (), frozenset())


def test_what_every_pipe_asks_of_a_map_at_each_look_is_found_once() -> None:
    reply = [[0, 9, [b"a", 1]], [10, 19, [b"b", 2]], [30, 39, [b"a", 1]]]
    found, again = read_slots(reply, C, 7), read_slots(reply, C, 7)
    assert found == again
    assert all(mine is other for mine, other in zip(found.owners, again.owners, strict=True))
    assert found.slots_of(A) == {*range(10), *range(30, 40)}
    assert found.slots_of(A) is found.slots_of(Place("a", 1))
    assert (found.slots_of(B), found.slots_of(C)) == (set(range(10, 20)), frozenset())
    assert again.moved(15, Place("a", 1)).slots_of(A) == {*range(10), 15, *range(30, 40)}


def test_the_masters_of_a_map_are_found_once_and_do_not_tell_maps_apart() -> None:
    same = SlotMap((A, Place("a", 1), B, *(None,) * (SLOTS - 3)), 4)
    assert same.masters == (A, B)
    assert same.masters is same.masters
    assert same == SlotMap((A, A, B, *(None,) * (SLOTS - 3)), 4)
    assert same.moved(1, C).masters == (A, B, C)


@given(st.lists(st.tuples(st.integers(0, SLOTS - 1), st.sampled_from([A, B, C])), max_size=8))
def test_each_slot_is_at_the_master_it_moved_to_last(moves: list[tuple[int, Place]]) -> None:
    known = start = read_slots([[0, SLOTS - 1, [b"a", 1]]], A, 1)
    for slot, place in moves:
        known = known.moved(slot, place)
    last = dict(moves)
    assert all(known.owners[slot] == place for slot, place in last.items())
    changed = {slot for slot, place in last.items() if place != A}
    assert known.slots_of(A) == start.slots_of(A) - changed
    assert known.epoch == 1
    assert known.uncovered == 0
    assert known.moved(5, known.owners[5] or A) is known


def test_the_state_of_a_cluster_is_read() -> None:
    info = b"cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:6\r\n"
    assert read_state(info) == State(True, 6)
    assert read_state(info.replace(b":ok", b":fail")) == State(False, 6)
    assert read_state(b"") == State(False, 0)


def test_slots_on_the_move_are_seen() -> None:
    others = b"id1 127.0.0.1:1@2 master - 0 1 3 connected 0-5460\n"
    own = b"id2 127.0.0.1:2@3 myself,master - 0 1 4 connected 5461-10922"
    assert not moving(others + own + b"\n")
    assert moving(others + own + b" [93-<-id1]\n")
    assert moving(own + b" [77->-id1]")
    assert not moving(others + b"id2 127.0.0.1:2@3 master - 0 1 4 connected [1->-id1]\n")
    assert not moving(b"\n")
