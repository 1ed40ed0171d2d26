"""Which nodes are gone for good."""

from __future__ import annotations

from fanout.graves import MOST, Graves


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def test_a_node_is_gone_after_long_silence() -> None:
    time = Time()
    graves = Graves(time, 60)
    assert not graves.silent("n1")
    time.now += 59
    assert not graves.silent("n1")
    time.now += 1
    assert graves.silent("n1")
    assert not graves.silent("n2")


def test_a_node_that_answers_is_alive() -> None:
    time = Time()
    graves = Graves(time, 60)
    graves.answered("n1")
    graves.silent("n1")
    graves.answered("n1")
    time.now += 60
    assert not graves.silent("n1")


def test_the_list_is_bounded() -> None:
    time = Time()
    graves = Graves(time, 60)
    for number in range(MOST + 5):
        graves.silent(f"n{number}")
    time.now += 60
    assert not graves.silent("n0")  # forgotten, and so seen as new
    assert graves.silent(f"n{MOST}")
