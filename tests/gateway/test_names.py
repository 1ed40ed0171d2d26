"""Names that never come twice."""

from __future__ import annotations

from gateway.names import Names


def test_no_name_comes_twice_on_one_node_or_two() -> None:
    one, two = Names("a1"), Names("a11")
    names = [n.next() for n in (one, two) for _ in range(300)]
    assert len(set(names)) == 600


def test_a_name_tells_its_node() -> None:
    assert Names("a1").next().startswith("a1.")
