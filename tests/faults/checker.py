"""The fourteen invariants of the system as far as they show from outside, each a law over the ledger of a run. Pure.

`check` names all that is against a law. It knows no program: it reads what producers, devices, providers and operators
saw, and what lies in Redis at the end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tests.faults.ledger import OURS, REMOVED, REPLICATED, Accepted, Began, Fault, Got, Ledger

OFFLINE: Final = 20.0
"""Who is back so many seconds after a drain was never offline."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed, in seconds: `script` holds Redis, `reach` until a device has all, `flight` of a call."""

    script: float = 0.010
    reach: float = 40.0
    flight: float = 1.0


@dataclass(frozen=True, slots=True)
class Violation:
    """What was seen that must not be. `invariant`: its number."""

    invariant: int
    text: str

    def __str__(self) -> str:
        return f"invariant {self.invariant}: {self.text}"


Law = Callable[[Ledger, Limits], Iterator[str]]


def check(ledger: Ledger, limits: Limits | None = None) -> list[Violation]:
    """Everything in the ledger that is against an invariant; empty when all is well."""
    given = limits or Limits()
    return [Violation(number, text) for number, law in LAWS.items() for text in law(ledger, given)]


# 1: each accepted event reaches each recipient once, and each step of its ladder ends -------------------------------


def _reaches_everyone_once(ledger: Ledger, _: Limits) -> Iterator[str]:
    yield from _unreached(ledger, (a for a in ledger.accepted if a.mode != REPLICATED))
    yield from _unended(ledger)
    known = {(accepted.event, channel) for accepted in ledger.accepted for channel in accepted.channels}
    for event, channel in sorted({(record.event, record.channel) for record in (*ledger.stored, *ledger.got())}):
        if (event, channel) not in known and not event.startswith(OURS):
            yield f"{channel} has {event}, which nobody sent there"
    offsets: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for record in (*ledger.stored, *ledger.got()):
        if record.event != REMOVED:
            offsets[record.channel, record.epoch, record.event].add(record.offset)
    for (channel, _epoch, event), found in sorted(offsets.items()):
        if len(found) > 1:
            yield f"{event} stands in {channel} {len(found)} times, at {sorted(found)}"


def _unreached(ledger: Ledger, events: Iterator[Accepted]) -> Iterator[str]:
    stored = {(record.event, record.channel) for record in ledger.stored}
    buried = {(letter.event, letter.channel) for letter in ledger.buried if not letter.via}
    taken_back = {withdrawn.event for withdrawn in ledger.withdrawn}
    for accepted in events:
        if not accepted.certain or accepted.event in taken_back or _may_be_lost(accepted, ledger):
            continue
        for channel in accepted.channels:
            wanted = (accepted.event, channel)
            if wanted not in stored and wanted not in buried and (accepted.event, "") not in buried:
                yield f"{accepted.event} is lost for {channel}"


def _unended(ledger: Ledger) -> Iterator[str]:
    ended = {(end.event, end.user, end.via) for end in ledger.ends}
    dead = {(letter.event, letter.channel, letter.via) for letter in ledger.buried}
    stored = {(record.event, record.channel) for record in ledger.stored}
    taken_back = {withdrawn.event for withdrawn in ledger.withdrawn}
    for accepted in ledger.accepted:
        for channel in accepted.channels if accepted.event not in taken_back else ():
            if not channel.startswith("@") or (accepted.event, channel) not in stored:
                continue
            for via in accepted.steps:
                if (accepted.event, channel[1:], via) not in ended and (accepted.event, channel, via) not in dead:
                    yield f"the step {via} of {accepted.event} for {channel} never ended"


def _may_be_lost(accepted: Accepted, ledger: Ledger) -> bool:
    if accepted.mode == REPLICATED:
        return False
    return any(accepted.partition in f.loses and f.at <= accepted.at <= f.until for f in ledger.faults)


# 2: an ack that cancels a step is of somebody who has it ------------------------------------------------------------


def _acks_are_of_who_has_it(ledger: Ledger, _: Limits) -> Iterator[str]:
    got = {(record.event, record.channel) for record in ledger.got()}
    for end in ledger.ends:
        if end.acked and (end.event, f"@{end.user}") not in got:
            yield f"the step {end.via} of {end.event} was cancelled as acked, and no device of {end.user} got it"


# 3: an offset names one event ---------------------------------------------------------------------------------------


def _an_offset_names_one_event(ledger: Ledger, _: Limits) -> Iterator[str]:
    named: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for record in (*ledger.stored, *ledger.got()):
        if record.event != REMOVED:
            named[record.channel, record.epoch, record.offset].add(record.event)
    for (channel, epoch, offset), events in sorted(named.items()):
        if len(events) > 1:
            yield f"offset {offset} of {channel} in epoch {epoch} names {sorted(events)}"


# 4: a device sees offsets one by one, or is told that it missed something --------------------------------------------


def _devices_see_no_silent_gap(ledger: Ledger, _: Limits) -> Iterator[str]:
    at: dict[tuple[str, str], tuple[str, int]] = {}
    for record in ledger.seen:
        place = (record.device, record.channel)
        if isinstance(record, Began):
            yield from _wrong_begin(record, at.get(place))
        elif place not in at:
            yield f"{record.device} got {record.channel} without a beginning"
        elif (record.epoch, record.offset - 1) != at[place]:
            yield f"{record.device} got offset {record.offset} of {record.channel} ({record.epoch}) after {at[place]}"
        at[place] = (record.epoch, record.offset)


def _wrong_begin(began: Began, before: tuple[str, int] | None) -> Iterator[str]:
    if before is None or began.recovered is False:
        return
    where = f"{began.device} in {began.channel}"
    if began.recovered is None:
        yield f"{where} began anew, though it stood at {before}"
    # The epoch may be another: then what it had survived, and it goes on under the new one.
    elif began.offset != before[1]:
        yield f"{where} was told that all is recovered, but begins at {began.offset} and stood at {before}"


# 5: every live device reaches the top -------------------------------------------------------------------------------


def _everyone_reaches_the_top(ledger: Ledger, limits: Limits) -> Iterator[str]:
    at: dict[tuple[str, str], Began | Got] = {}
    for record in ledger.seen:
        if record.device in ledger.live:
            at[record.device, record.channel] = record
    tops = {top.channel: (top.epoch, top.offset) for top in ledger.tops}
    last = max((accepted.at for accepted in ledger.accepted), default=0.0)
    late = max(ledger.healed, last) + limits.reach
    for (device, channel), record in at.items():
        stands = (record.epoch, record.offset)
        if channel in tops and stands != tops[channel]:
            yield f"{device} stands at {stands} in {channel}, whose top is {tops[channel]}"
        elif record.at > late:
            yield f"{device} reached the top of {channel} {record.at - late:.1f} s too late"


# 6: nothing overtakes -----------------------------------------------------------------------------------------------


def _nothing_overtakes(ledger: Ledger, _: Limits) -> Iterator[str]:
    for look in ledger.queues:
        if look.pending and look.acked > min(look.pending):
            yield f"{look.name}: {look.acked} was acked while {min(look.pending)} was pending"
    order = {a.event: (a.line, n) for n, a in enumerate(ledger.accepted) if a.certain and a.line}
    newest: dict[tuple[str, str, str], tuple[int, str]] = {}
    for record in sorted(ledger.stored, key=lambda record: (record.channel, record.epoch, record.offset)):
        if record.event not in order:
            continue
        line, number = order[record.event]
        before = newest.get((record.channel, record.epoch, line))
        if before is not None and before[0] > number:
            yield f"{record.event} stands behind {before[1]} in {record.channel}, and was accepted before it"
        newest[record.channel, record.epoch, line] = (number, record.event)


# 7: only what itself fails is buried --------------------------------------------------------------------------------


def _only_what_fails_is_buried(ledger: Ledger, _: Limits) -> Iterator[str]:
    poison = {accepted.event for accepted in ledger.accepted if accepted.poison}
    for letter in ledger.buried:
        if letter.event not in poison:
            yield f"{letter.event} was buried ({letter.channel or 'all'} {letter.via}): {letter.reason}"


# 8: what is pending drains ------------------------------------------------------------------------------------------


def _nothing_stays_pending(ledger: Ledger, _: Limits) -> Iterator[str]:
    yield from ledger.notes
    for queue in ledger.left:
        if queue.pending:
            yield f"{queue.name} has {len(queue.pending)} entries that nobody finishes, the first is {queue.pending[0]}"


# 9: no script holds Redis -------------------------------------------------------------------------------------------


def _no_script_holds_redis(ledger: Ledger, limits: Limits) -> Iterator[str]:
    for held in ledger.held:
        if held.seconds > limits.script:
            yield f"{held.script} held Redis for {held.seconds * 1000:.1f} ms"


# 10: nothing withdrawn goes out -------------------------------------------------------------------------------------


def _nothing_withdrawn_goes_out(ledger: Ledger, limits: Limits) -> Iterator[str]:
    losses = [fault for fault in ledger.faults if fault.loses]
    # What Redis itself loses may be a withdrawal.
    since = {w.event: w.at for w in ledger.withdrawn if not any(f.at <= w.at <= f.until for f in losses)}
    for call in ledger.calls:
        if call.event in since and call.at > _flown(since[call.event], ledger.faults, limits.flight):
            late = call.at - since[call.event]
            yield f"{call.via} was called for {call.event} {late:.1f} s after it was withdrawn"
    for record in ledger.stored:
        if record.event in since:
            yield f"{record.event} was withdrawn and stands in {record.channel}"


def _flown(at: float, faults: list[Fault], flight: float) -> float:
    """Until when a call may arrive that was under way then: who is paused in its midst makes it later."""
    return max((f.until for f in faults if f.at <= at + flight and f.until >= at), default=at) + flight


# 11: providers are called once --------------------------------------------------------------------------------------


def _providers_are_called_once(ledger: Ledger, _: Limits) -> Iterator[str]:
    calls = Counter(call.key for call in ledger.calls)
    again = Counter(call.key for call in ledger.calls if call.again)
    user = {call.key: call.user for call in ledger.calls}
    faults = sum(fault.interrupts for fault in ledger.faults)
    for key, count in calls.items():
        # A worker that stood still by itself, on a machine that does other things too, is no fault of the ledger's:
        # but what it had in hand goes to another only under another lease.
        interruptions = max(faults, ledger.handed.get(user[key], 0))
        if count > 1 + interruptions + again[key]:
            yield f"{key} was called {count} times, with {interruptions} interruptions and {again[key]} to be repeated"


# 12: a drain makes nobody offline -----------------------------------------------------------------------------------


def _a_drain_makes_nobody_offline(ledger: Ledger, _: Limits) -> Iterator[str]:
    accepted = {record.event: record for record in ledger.accepted}
    for drained in ledger.drained:
        if drained.back > drained.at + OFFLINE:
            continue
        for call in ledger.calls:
            event = accepted.get(call.event)
            if call.user != drained.user or event is None or not drained.at <= event.began <= drained.back:
                continue
            if call.at < event.began + event.wait:
                yield f"{call.via} was called for {drained.user}, whose node was drained and who was soon back"


# 13: what is replicated outlives a master ---------------------------------------------------------------------------


def _what_is_replicated_survives(ledger: Ledger, _: Limits) -> Iterator[str]:
    yield from _unreached(ledger, (a for a in ledger.accepted if a.mode == REPLICATED))


# 14: nothing stays --------------------------------------------------------------------------------------------------


def _nothing_stays(ledger: Ledger, _: Limits) -> Iterator[str]:
    if left := sorted(ledger.after - ledger.before):
        yield f"{len(left)} keys stay for ever, as {left[:5]}"


LAWS: Final[Mapping[int, Law]] = {
    1: _reaches_everyone_once,
    2: _acks_are_of_who_has_it,
    3: _an_offset_names_one_event,
    4: _devices_see_no_silent_gap,
    5: _everyone_reaches_the_top,
    6: _nothing_overtakes,
    7: _only_what_fails_is_buried,
    8: _nothing_stays_pending,
    9: _no_script_holds_redis,
    10: _nothing_withdrawn_goes_out,
    11: _providers_are_called_once,
    12: _a_drain_makes_nobody_offline,
    13: _what_is_replicated_survives,
    14: _nothing_stays,
}
"""By the number of the invariant."""
