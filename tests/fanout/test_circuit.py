"""Circuits: one per host where targets lead to many; slow ones are bounded, dead ones rest, personal ones blamed."""

from __future__ import annotations

from typing import get_args

import pytest

from bus.outcome import (
    Cancelled,
    Deferred,
    Done,
    Expired,
    Gone,
    Misconfigured,
    Outcome,
    Rejected,
    Retry,
    Scope,
    Skipped,
    Throttled,
    Unavailable,
)
from fanout.channels.delivery import EmailAddress, HookTarget, PhoneNumber, PushTarget
from fanout.deliver import circuit as module
from fanout.deliver.breaker import FAILURES, RESTS, State
from fanout.deliver.circuit import (
    AWAY,
    CROWDED,
    DEAD,
    LEAST,
    LONGEST_LINE,
    REFUSES,
    REST,
    SLOW,
    Circuit,
    Circuits,
    host_of,
)


def push(url: str) -> PushTarget:
    return PushTarget("d1", "webpush", url)


def call(circuit: Circuit, outcome: Outcome | None, now: float = 0.0) -> Outcome | None:
    assert circuit.admit(now, 0) is None
    return circuit.end(circuit.begin(now), outcome, now)


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (push("https://push.example/a/b"), ("push.example", False)),
        (push("https://user@push.example:444/a"), ("push.example:444", False)),
        (push("nonsense"), ("", False)),
        (PushTarget("d1", "fcm", "https://is-a-token"), ("", False)),
        (HookTarget("https://hooks.example/x"), ("hooks.example", True)),
        (EmailAddress("a@b.example"), ("", False)),
        (PhoneNumber("+49"), ("", False)),
    ],
)
def test_where_a_target_leads(target: PushTarget | HookTarget | EmailAddress, host: tuple[str, bool]) -> None:
    assert host_of(target) == host


def test_each_host_has_a_circuit_of_its_own() -> None:
    circuits = Circuits()
    a, b = circuits.of(push("https://a.example/1")), circuits.of(push("https://b.example/1"))
    assert a is not b
    assert circuits.of(push("https://a.example/2")) is a
    for _ in range(FAILURES):
        call(a, Unavailable("no connection"))
    assert (a.breaker.state, b.breaker.state, circuits.open) == (State.OPEN, State.CLOSED, 1)


def test_what_opens_it_and_all_while_it_is_open_is_held_against_no_job() -> None:
    circuit = Circuit(personal=False)
    assert call(circuit, Retry("timeout")) == Retry("timeout")
    assert call(circuit, Retry("timeout")) == Retry("timeout")
    # It may have been taken: it is for no other provider.
    assert call(circuit, Retry("timeout")) == Throttled(RESTS[0], Scope.TARGET, "timeout")
    assert circuit.admit(1.0, 0) == Throttled(RESTS[0] - 1, Scope.ENDPOINT, AWAY)


def test_a_provider_that_was_never_reached_leaves_the_job_to_others() -> None:
    circuit = Circuit(personal=False)
    outcomes = [call(circuit, Unavailable("no connection")) for _ in range(FAILURES)]
    assert outcomes[-1] == Throttled(RESTS[0], Scope.ENDPOINT, "no connection")


def test_the_failures_of_a_persons_own_endpoint_are_held_against_each_job() -> None:
    circuit = Circuit(personal=True)
    assert [call(circuit, Retry("500")) for _ in range(FAILURES)] == [Retry("500")] * FAILURES
    # However many wait for it, each comes to its end after its own attempts, though not all are calls.
    assert circuit.admit(RESTS[0] - 1, 0) == Retry(DEAD)
    assert circuit.admit(RESTS[0], 0) is None


def test_an_endpoint_that_is_dead_stops_no_other_at_its_host() -> None:
    circuits = Circuits()
    dead = circuits.of(HookTarget("https://hooks.example/dead"))
    for _ in range(FAILURES):
        call(dead, Retry("404"))
    other = circuits.of(HookTarget("https://hooks.example/other"))
    assert (dead.breaker.state, other.breaker.state) == (State.OPEN, State.CLOSED)
    assert call(other, Done()) == Done()
    call(dead, Throttled(3_600.0, Scope.ENDPOINT), RESTS[0])
    assert other.admit(RESTS[0], 16) is None


def test_the_endpoints_of_a_slow_host_share_its_places() -> None:
    circuits = Circuits()
    made = [circuits.of(HookTarget(f"https://hooks.example/{n}")) for n in range(5)]
    numbers = [circuit.begin(0.0) for circuit in made[:4]]
    assert made[4].admit(SLOW + 1, 16) == Throttled(CROWDED, Scope.ENDPOINT, "the provider is slow")
    assert circuits.of(HookTarget("https://other.example/")).admit(SLOW + 1, 16) is None
    assert not made[0].idle
    for circuit, number in zip(made, numbers, strict=False):
        circuit.end(number, Done(), 5.0)
    assert made[4].admit(SLOW + 1, 16) is None


@pytest.mark.parametrize("outcome", [Done(), Gone("410"), Misconfigured("401"), Throttled(1.0, Scope.TARGET)])
def test_whoever_answers_is_there(outcome: Outcome) -> None:
    circuit = Circuit(personal=False)
    for _ in range(FAILURES - 1):
        call(circuit, Unavailable("x"))
    assert call(circuit, outcome) == outcome
    assert call(circuit, Unavailable("x"), REST) == Unavailable("x")


def test_who_does_not_accept_us_rests() -> None:
    circuit = Circuit(personal=False)
    call(circuit, Misconfigured("401"))
    assert circuit.admit(REST / 2, 0) == Throttled(REST / 2, Scope.CHANNEL, REFUSES)
    assert circuit.refuses(REST / 2)
    assert circuit.admit(REST, 0) is None


def test_one_host_that_does_not_accept_us_shows() -> None:
    circuits = Circuits()
    for host in ("a", "b"):
        call(circuits.of(push(f"https://{host}.example/1")), Misconfigured("403") if host == "a" else Done())
    assert circuits.refusing(REST / 2)
    assert not circuits.refusing(REST)


@pytest.mark.parametrize("outcome", [Rejected("x"), Expired(), Cancelled("x"), Skipped("x"), Deferred(1.0, "x"), None])
def test_what_may_have_been_said_without_the_provider_decides_nothing(outcome: Outcome | None) -> None:
    circuit = Circuit(personal=False)
    for _ in range(FAILURES - 1):
        call(circuit, Unavailable("x"))
    assert call(circuit, outcome) == outcome
    assert isinstance(call(circuit, Unavailable("x")), Throttled)


def test_every_outcome_has_its_place() -> None:
    for kind in get_args(Outcome):
        circuit = Circuit(personal=False)
        made = {Throttled: (1.0, Scope.TARGET), Deferred: (1.0, "x"), Done: (), Expired: ()}.get(kind, ("x",))
        assert call(circuit, kind(*made)) == kind(*made)


def test_who_asks_for_less_is_left_alone_for_as_long() -> None:
    circuit = Circuit(personal=False)
    call(circuit, Throttled(30.0, Scope.ENDPOINT))
    call_later = circuit.admit(10.0, 0)
    assert call_later == Throttled(20.0, Scope.ENDPOINT, "throttled")
    assert circuit.admit(30.0, 0) is None
    call(circuit, Throttled(30.0, Scope.TARGET), 30.0)
    assert circuit.admit(30.0, 0) is None


def test_who_wants_to_be_asked_at_once_again_and_again_is_not() -> None:
    circuit = Circuit(personal=True)
    assert call(circuit, Throttled(0.0, Scope.ENDPOINT)) == Throttled(LEAST, Scope.ENDPOINT)
    assert circuit.admit(LEAST / 2, 0) == Throttled(LEAST / 2, Scope.ENDPOINT, "throttled")
    assert call(circuit, Throttled(0.0, Scope.TARGET), LEAST) == Throttled(LEAST, Scope.TARGET)


def test_a_provider_that_names_a_time_as_it_goes_down_is_given_that_time() -> None:
    circuit = Circuit(personal=False)
    outcomes = [call(circuit, Retry("503", after=1_800.0)) for _ in range(FAILURES)]
    assert outcomes[-1] == Throttled(1_800.0, Scope.TARGET, "503")


def test_those_who_find_no_place_come_back_one_after_the_other() -> None:
    circuit = Circuit(personal=True)
    for _ in range(FAILURES):
        call(circuit, Unavailable("x"))
    probe = circuit.begin(RESTS[0]) if circuit.admit(RESTS[0], 0) is None else None
    assert probe is not None
    found = [circuit.admit(RESTS[0], 0) for _ in range(10_000)]
    waits = [told.after for told in found if isinstance(told, Throttled)]
    assert waits[0] == CROWDED
    assert waits == sorted(waits)
    assert (len(set(waits)) > 5_000, waits[-1]) == (True, LONGEST_LINE)
    circuit.end(probe, Done(), RESTS[0])
    assert circuit.admit(RESTS[0], 0) is None


def test_a_slow_circuit_gets_a_share_of_the_window() -> None:
    circuit = Circuit(personal=False)
    numbers = [circuit.begin(0.0) for _ in range(4)]
    assert circuit.admit(SLOW, 16) is None
    assert circuit.admit(SLOW + 0.1, 16) == Throttled(CROWDED, Scope.ENDPOINT, "the provider is slow")
    assert circuit.admit(SLOW + 0.1, 17) == Throttled(CROWDED + 0.01, Scope.ENDPOINT, "the provider is slow")
    assert circuit.admit(SLOW + 0.1, 20) is None
    assert circuit.admit(SLOW + 0.1, 0) is None
    assert not circuit.idle
    for number in numbers:
        circuit.end(number, Done(), 5.0)
    assert circuit.idle
    assert circuit.admit(5.0, 16) is None


def test_hosts_that_nobody_asks_for_are_forgotten_but_not_what_is_known_of_dead_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST", 20)
    circuits = Circuits()
    dead = circuits.of(push("https://dead.example/"))
    for _ in range(FAILURES):
        call(dead, Unavailable("x"))
    for number in range(100):
        circuits.of(push(f"https://h{number}.example/"))
    assert circuits.of(push("https://dead.example/")) is dead
    assert len(circuits._by_place) <= 21


def test_very_many_dead_endpoints_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 20)
    circuits = Circuits()
    busy = circuits.of(HookTarget("https://hooks.example/busy"))
    busy.begin(0.0)
    for number in range(100):
        dead = circuits.of(HookTarget(f"https://hooks.example/{number}"))
        for _ in range(FAILURES):
            call(dead, Retry("500"))
    assert len(circuits._by_place) <= 21
    assert circuits.of(HookTarget("https://hooks.example/busy")) is busy
