"""Cores that are broken on purpose, one fault each: what the simulator must find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from bus.outcome import Done, Outcome
from bus.policy import RetryPolicy
from bus.ranges import Ranges
from bus.settlement import Settled, settle
from fanout.deliver.breaker import Breaker
from fanout.deliver.case import Case, judge
from fanout.ladder.due import DueStep
from fanout.ladder.moves import Move, decide
from gateway.hub import Hub, Topic, Verdict
from gateway.session import Session
from tests.simulation.cores import Cores


class HubThatTakesHoles(Hub):
    def _place(self, topic: Topic, offset: int, body: bytes) -> Verdict:
        if offset <= topic.offset:
            return Verdict.DUPLICATE
        self._advance(topic, offset, body)
        return Verdict.ACCEPTED


class HubThatTakesRepeats(Hub):
    def _place(self, topic: Topic, offset: int, body: bytes) -> Verdict:
        if offset == topic.offset:
            self._advance(topic, offset, body)
        return super()._place(topic, offset, body)


class HubThatForgetsWhatIsAhead(Hub):
    def _place(self, topic: Topic, offset: int, body: bytes) -> Verdict:
        if offset > topic.offset + 1:
            topic.offset = offset
            return Verdict.ACCEPTED
        return super()._place(topic, offset, body)


class SessionThatAcksWhatCameBefore(Session):
    def entered(self, since: int, at: int) -> bool:
        super().entered(0, at)
        return True


class BreakerThatStaysOpen(Breaker):
    def admit(self, now: float) -> float:
        return super().admit(0.0)


def merge_over_holes(ranges: Ranges, added: Ranges) -> Ranges:
    both = (*ranges, *added)
    return ((min(first for first, _ in both), max(last for _, last in both)),) if both else ()


def settle_past_a_failure(
    ids: Sequence[str], outcomes: Sequence[Outcome], failures: int, policy: RetryPolicy, chance: float
) -> Settled:
    good = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Done)]
    return settle([ids[at] for at in good], [outcomes[at] for at in good], failures, policy, chance)


def decide_without_acks(due: DueStep, *rest: Any) -> Move:
    return decide(replace(due, mark=replace(due.mark, acked=False)), *rest)


def decide_as_if_acked(due: DueStep, *rest: Any) -> Move:
    return decide(replace(due, mark=replace(due.mark, acked=True)), *rest)


def judge_without_withdrawal(case: Case, *rest: Any) -> Outcome | None:
    bodies = tuple(replace(body, withdrawn=False) for body in case.bodies)
    return judge(replace(case, withdrawn=False, bodies=bodies), *rest)


FLAWS: Final[Mapping[str, Cores]] = {
    "the hub takes a publication behind a hole": Cores(hub=HubThatTakesHoles),
    "the hub takes a publication twice": Cores(hub=HubThatTakesRepeats),
    "the hub forgets what comes early": Cores(hub=HubThatForgetsWhatIsAhead),
    "a session acknowledges what lay before it": Cores(session=SessionThatAcksWhatCameBefore),
    "a breaker never closes": Cores(breaker=BreakerThatStaysOpen),
    "receipts grow over holes": Cores(merge=merge_over_holes),
    "a batch is acknowledged past a failure": Cores(settle=settle_past_a_failure),
    "the ladder ignores receipts": Cores(decide=decide_without_acks),
    "the ladder makes up receipts": Cores(decide=decide_as_if_acked),
    "a sender ignores withdrawal": Cores(judge=judge_without_withdrawal),
    "publishing forgets whom it gave an event": Cores(remembers=False),
    "nothing is given again after a failover": Cores(replays=False),
}
