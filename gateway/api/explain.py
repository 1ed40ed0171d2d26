"""Says in words why somebody did or did not get an event, step by step. Pure; only wording is decided here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bus.codec import iso
from bus.trail import Kind, Trace
from gateway.tracks import Person, State, Waiting, Whole, gathered, taken_back

CHANNELS: Final[Mapping[str, str]] = {
    "live": "live delivery",
    "push": "a push",
    "email": "an e-mail",
    "sms": "a text message",
    "webhook": "a webhook",
    "": "it",
}
DUPLICATE: Final = "duplicate"
"""What publish.lua says to somebody's trail whom it finds to have an event already."""
REASONS: Final[Mapping[str, str]] = {
    "acked": "a device of theirs already had it",
    "read": "they had already read it",
    "withdrawn": "the event was withdrawn",
    "expired": "its time was over",
    "no target": "there is no address or device to send it to",
    "preference": "they do not want it live",
    "category off": "they turned this category off",
    "channel off": "they turned this channel off",
    "off by default": "this category is off on this channel unless they turn it on",
    DUPLICATE: "it had reached them before: by another topic, by name, or by a repeat of the same source and id",
    "no device is left": "none of their devices is left",
    "digest": "",
}
"""What the reasons in trails mean. A reason that is not here says it itself."""
_UNTIL: Final = re.compile(r"^(.*?) ?until (\d{1,12})$")


@dataclass(frozen=True, slots=True)
class Line:
    """One step in words; `at`: Unix time in seconds, None where nobody noted it."""

    text: str
    at: float | None = None
    channel: str = ""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        out: dict[str, Any] = {"text": self.text}
        if self.at is not None:
            out["at"] = iso(self.at)
        return out | ({"channel": self.channel} if self.channel else {})


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer in a sentence or two, and what it rests on, in the order of time."""

    summary: str
    steps: tuple[Line, ...]

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"summary": self.summary, "steps": [line.shown() for line in self.steps]}


def explain(event: Whole, person: Person, now: float) -> Explanation:
    """Why the person did or did not get the event, as far as is known at Unix time `now`."""
    if not person.given:
        return Explanation(_not_reached(event, person), tuple(_why_not(event)))
    lines = [_place(person), *map(_told, person.traces), *(_to_come(step, now) for step in person.waiting)]
    return Explanation(_summary(event, person, now), tuple(lines))


# Never reached -----------------------------------------------------------------------------------------------------


def _not_reached(event: Whole, person: Person) -> str:
    who = person.user
    match event.state:
        case State.SCHEDULED:
            assert event.at is not None
            return f"Nobody has it yet: it is scheduled for {iso(event.at)}."
        case State.WITHDRAWN:
            return f"It was withdrawn before it reached {who}."
        case State.BURIED:
            return f"It never reached {who}: it is among the dead letters."
        case State.ACCEPTED:
            return "Nobody has it yet: it was accepted, and no fan-out worker has come to it."
        case State.EXPIRED:
            return f"It never reached {who}: its time (ttl) was over before a worker could publish it."
        case State.PUBLISHED if event.buried:
            return f"It did not reach {who}, though others: what could not be given is among the dead letters."
        case State.PUBLISHED:
            return (
                f"It never reached {who}, who is not in its audience: neither named as a user, "
                "nor a follower of one of its topics when it was published."
            )


def _why_not(event: Whole) -> Iterator[Line]:
    for reason in event.buried:
        yield Line(f"It was buried: {reason}. `tocsin dead` shows it, and sends it again.")
    if event.given:
        topics = f" and {event.topics} topic(s)" if event.topics else ""
        yield Line(f"It was given to {event.recipients} recipient(s){topics}.")


# Reached -----------------------------------------------------------------------------------------------------------


def _place(person: Person) -> Line:
    if not person.offset:
        return Line("It was not put into their inbox.", channel="live")
    kept = "" if person.kept else "; the inbox no longer holds it"
    return Line(f"It was put into their inbox at offset {person.offset}{kept}.", channel="live")


def _told(trace: Trace) -> Line:
    return Line(_sentence(trace), trace.at, trace.channel)


_SENTENCES: Final[Mapping[Kind, str]] = {
    Kind.WRITTEN: "It was written to a connection of theirs",
    Kind.ACKED: "A device of theirs acknowledged it",
    Kind.READ: "They read it",
    Kind.UNREAD: "They marked it as unread",
    Kind.ARCHIVED: "They put it away",
    Kind.UNARCHIVED: "They took it out of the archive",
    Kind.QUEUED: "{what} was handed to the senders",
    Kind.SKIPPED: "{what} was skipped",
    Kind.DEFERRED: "{what} was put off",
    Kind.CANCELLED: "{what} was not needed",
    Kind.DIGESTED: "It was gathered for {what} that tells of several at once",
    Kind.SENT: "{what} was sent",
    Kind.DELIVERED: "{what} arrived, says the provider",
    Kind.FAILED: "{what} failed for good",
    Kind.RETRY: "{what} failed and will be tried again",
    Kind.GONE: "{what} found its target gone",
    Kind.EXPIRED: "{what} was not sent: its time was over",
    Kind.WITHDRAWN: "The producer withdrew it, and their devices were told",
}


def _sentence(trace: Trace) -> str:
    text = _SENTENCES[trace.kind].format(what=CHANNELS.get(trace.channel, trace.channel))
    text = text[0].upper() + text[1:]
    if trace.attempt and trace.kind in (Kind.RETRY, Kind.FAILED):
        text += f" (attempt {trace.attempt})"
    if trace.kind is Kind.SENT:
        return f"{text} by {trace.reason}." if trace.reason else f"{text}."
    reason = _reason(trace.reason)
    return f"{text}: {reason}." if reason else f"{text}."


def _reason(reason: str) -> str:
    if found := _UNTIL.fullmatch(reason):
        words = _reason(found[1])
        return f"{words}, until {iso(float(found[2]))}" if words else f"until {iso(float(found[2]))}"
    return REASONS.get(reason, reason)


def _to_come(step: Waiting, now: float) -> Line:
    what = CHANNELS.get(step.channel, step.channel)
    unless = {"acked": ", unless a device has it by then", "read": ", unless they have read it by then"}
    due = f"is due at {iso(step.due)}" if step.due > now else "is due now"
    text = f"{what} {due}{unless.get(step.unless or '', '')}."
    return Line(text[0].upper() + text[1:], channel=step.channel)


# The summary -------------------------------------------------------------------------------------------------------


def _summary(event: Whole, person: Person, now: float) -> str:
    return " ".join(sentence for sentence in (_outcome(event, person), _next(person, now)) if sentence)


def _outcome(event: Whole, person: Person) -> str:
    who, first = person.user, _first(person)
    if person.read:
        sentence = f"{who} has read it{_since(first.get(Kind.READ))}."
    elif person.acked or Kind.ACKED in first:
        sentence = f"{who} has it: a device acknowledged it{_since(first.get(Kind.ACKED))}. It is not read."
    else:
        sentence = _by_channels(person, first)
    if event.withdrawn or taken_back(person.traces):
        return f"It was withdrawn{_since(first.get(Kind.WITHDRAWN))}. Before: {sentence}"
    return sentence


def _by_channels(person: Person, first: Mapping[Kind, float]) -> str:
    """For somebody no device of whom is known to have it live."""
    who, last = person.user, _last(person)
    arrived = [_named(channel) for channel, trace in last.items() if trace.kind is Kind.DELIVERED]
    if arrived:
        return f"{who} got it by {_and(arrived)}, as the provider says. No device acknowledged it."
    sent = [_named(channel) for channel, trace in last.items() if trace.kind is Kind.SENT]
    if sent:
        return f"It was sent to {who} by {_and(sent)}. Nothing tells whether they saw it."
    lost = [f"{_named(channel)} ({_short(trace)})" for channel, trace in last.items() if trace.kind in _ENDED]
    if lost:
        return f"{who} does not have it yet. Not delivered by: {', '.join(lost)}."
    if Kind.WRITTEN in first:
        return f"It was written to a connection of {who} and not acknowledged yet."
    if not person.offset:
        return f"{who} did not get it."
    if person.connected:
        return f"It waits in the inbox of {who}: a device is connected, but nothing shows that it has it."
    return f"It waits in the inbox of {who}: no device of theirs has fetched it."


_ENDED: Final = frozenset((Kind.SKIPPED, Kind.CANCELLED, Kind.FAILED, Kind.GONE, Kind.EXPIRED))


def _next(person: Person, now: float) -> str:
    if person.waiting:
        step = min(person.waiting, key=lambda step: step.due)
        return f"Next: {_to_come(step, now).text}"
    last = _last(person)
    put_off = [f"{_named(channel)} ({_short(trace)})" for channel, trace in last.items() if trace.kind is Kind.DEFERRED]
    if put_off:
        return f"Put off: {_and(put_off)}."
    under_way = [_named(channel) for channel, trace in last.items() if trace.kind in (Kind.QUEUED, Kind.RETRY)]
    if under_way:
        return f"Still under way: {_and(under_way)}."
    if waiting := gathered(person.traces):
        return f"Waits for a digest: {_and([_named(channel) for channel in waiting])}."
    return ""


def _first(person: Person) -> dict[Kind, float]:
    """When each kind came first."""
    return {trace.kind: trace.at for trace in reversed(person.traces)}


def _last(person: Person) -> dict[str, Trace]:
    """The last that is known of each channel."""
    return {trace.channel: trace for trace in person.traces if trace.channel and trace.reason != DUPLICATE}


def _named(channel: str) -> str:
    return {"email": "e-mail", "sms": "text message"}.get(channel, channel)


def _short(trace: Trace) -> str:
    return _reason(trace.reason) or trace.kind.value


def _since(at: float | None) -> str:
    return "" if at is None else f" at {iso(at)}"


def _and(words: list[str]) -> str:
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]
