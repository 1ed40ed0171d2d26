"""Each process that runs tests has ports of its own."""

from __future__ import annotations

import socket

from tests import ports
from tests.ports import NODES, PLAIN, Ports
from tocsin import embedded


def given(made: Ports, whole: range) -> set[int]:
    """All that it gives."""
    return {made.row(1)[0] for _ in whole}


def test_no_two_processes_have_a_port_in_common() -> None:
    whole = range(15_000, 15_080)
    first, second, alone = (given(Ports(whole, name), whole) for name in ("gw0", "gw1", ""))
    assert len(first | second | alone) == len(first) + len(second) + len(alone)
    assert first | second | alone <= set(whole)


def test_none_is_one_that_the_system_gives_to_who_connects() -> None:
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        least = int(file.read().split()[0])
    ranges = (PLAIN, NODES, range(NODES[0] + ports.BUS, NODES[-1] + ports.BUS + 1), embedded.PORTS)
    assert max(max(each) for each in ranges) < least
    assert len(set().union(*ranges)) == sum(map(len, ranges))
    assert embedded.free_port() in embedded.PORTS


def test_a_port_that_somebody_has_is_not_given() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports.free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        beside = given(Ports(range(port - 35, port + 5), ""), range(40))  # the last eighth is ours
        assert beside <= set(range(port + 1, port + 5))
        assert not ports.is_free(port)


def test_those_in_a_row_are() -> None:
    found = ports.free_ports(4)
    assert list(found) == list(range(found[0], found[0] + 4))
