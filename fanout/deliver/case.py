"""All that is known of a job when it is worked, and what follows from it: may it go, where to, about what. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import orjson

from bus.codec import decode_content
from bus.event import Event
from bus.outcome import Cancelled, Deferred, Expired, Gone, Outcome, Retry, Skipped
from bus.people.categories import Category
from bus.people.device_store import Opened
from bus.people.devices import Device
from bus.people.preferences import Preferences, read
from bus.people.profile import Contacts
from bus.ranges import covers, parse
from fanout.channels.delivery import EmailAddress, HookTarget, PhoneNumber, PushTarget, Target
from fanout.job import Job, Kind
from fanout.ladder.gate import EXPIRED, Cancel, Defer, Go, Skip, Standing, gate

CONTACT: Final[Mapping[str, str]] = {"email": "email", "sms": "phone", "webhook": "webhook"}
"""Which of a person's contacts a channel uses; push goes to devices."""
GONE_PREFIX: Final = "gone_"
"""Before the kind of a contact: the field of a profile that holds the sealed address whose provider called it gone."""
FAILING_PREFIX: Final = "failing_"
"""Before the kind of a contact: the field that says since when it has only failed (Unix seconds)."""
BLAMED: Final = ("webhook",)
"""Channels whose targets are servers of the person's own, so that a failure is theirs and no provider's."""
HOPELESS: Final = 5 * 86_400.0
"""Seconds of nothing but failures after which such a target is no longer tried (Standard Webhooks)."""


@dataclass(frozen=True, slots=True)
class Body:
    """What is kept of an event in the person's partition."""

    content: bytes
    """The event as JSON; empty where it is gone."""
    withdrawn: bool
    remains: bytes
    """What is left of a withdrawn event, as JSON: id, source, type, time, collapse_key."""


@dataclass(frozen=True, slots=True)
class Case:
    """A job and its moment."""

    job: Job
    channel: str
    locale: str
    zone: str
    """Time zone of the profile; empty where it has none, as the locale and the name."""
    name: str = field(repr=False)
    preferences: Preferences
    withdrawn: bool
    acked: bytes
    """Ranges of offsets, as `bus.ranges` writes them."""
    read: bool
    target: bytes = field(repr=False)
    """The device as JSON, or the sealed contact; empty where there is none."""
    gone: bytes = field(repr=False)
    """The sealed contact that is known to be gone."""
    bodies: tuple[Body, ...] = field(repr=False)
    device: Device | None = field(default=None, repr=False)
    """The device of a push; its target is still sealed."""
    failing: bytes = b""
    """Since when the target has only failed, in Unix seconds; empty where it has not, or nobody notes it."""

    @property
    def has_target(self) -> bool:
        """Whether there is anywhere to send it."""
        if self.channel == "push":
            return self.device is not None and self.device.reachable
        return bool(self.target) and self.target != self.gone

    @property
    def failing_since(self) -> float | None:
        """Unix time in seconds; None where the last thing heard of the target was no failure."""
        return float(self.failing) if self.failing.isdigit() and len(self.failing) <= 15 else None

    @property
    def events(self) -> tuple[Event, ...]:
        """What it is about, oldest first, without what was withdrawn or is no longer kept."""
        if self.job.kind is Kind.WITHDRAW:
            return tuple(event for body in self.bodies if (event := _remaining(body.remains)) is not None)
        found = (_content(body.content) for body in self.bodies if not body.withdrawn and body.content)
        return tuple(event for event in found if event is not None)

    @property
    def all_withdrawn(self) -> bool:
        """Whether nothing of it may be sent any more."""
        return (self.withdrawn and self.job.kind is Kind.SEND) or all(body.withdrawn for body in self.bodies)


def judge(case: Case, category: Category, zone: str, now: float) -> Outcome | None:
    """Why it is not sent now, None when it is. `zone`: that of people who have none; `now`: Unix time in seconds."""
    job = case.job
    if job.expires_at is not None and now >= job.expires_at:
        return Expired()
    if job.kind is Kind.WITHDRAW:
        return None if case.has_target else Skipped("no target")
    standing = Standing(
        category=category,
        preferences=case.preferences,
        zone=case.zone or zone,
        has_target=case.has_target,
        acked=job.offset > 0 and case.acked != b"" and covers(parse(case.acked), job.offset),
        read=case.read,
        withdrawn=case.all_withdrawn,
        expires_at=job.expires_at,
    )
    match gate(standing, case.channel, job.unless, now):
        case Go():
            return None
        case Cancel(reason):
            return Expired() if reason == EXPIRED else Cancelled(reason)
        case Skip(reason):
            return Skipped(reason)
        case Defer(until, reason):
            return Deferred(max(0.0, until - now), f"{reason} until {until:.0f}")


def given_up(case: Case, outcome: Outcome, now: float) -> Outcome:
    """The outcome of a call; `Gone` where it is one more failure of a target that has had its time."""
    since = case.failing_since
    if not isinstance(outcome, Retry) or since is None or now - since < HOPELESS:
        return outcome
    return Gone(f"nothing but failures for {HOPELESS / 86_400:.0f} days; last: {outcome.reason}")


def contact(contacts: Contacts, name: str) -> Target | None:
    """Where mail, text messages and webhooks go: the one contact that there is."""
    if contacts.email:
        return EmailAddress(contacts.email, name)
    if contacts.phone:
        return PhoneNumber(contacts.phone)
    return HookTarget(contacts.webhook.url, contacts.webhook.secret) if contacts.webhook else None


def push_target(device: Device, opened: Opened) -> PushTarget:
    """Where a push goes."""
    return PushTarget(
        device=device.id,
        provider=device.provider,
        target=opened.target,
        keys=orjson.loads(opened.keys) if opened.keys else {},
        app=device.app,
        environment=device.environment,
        registered_at=device.last_registered_at,
    )


def bodies(raw: Sequence[Any], contents: Sequence[bytes | None] | None = None) -> tuple[Body, ...]:
    """What read_job.lua says of each event; `contents`: what they say, where that was read apart."""
    said = [content for content, _, _ in raw] if contents is None else [content or b"" for content in contents]
    return tuple(Body(one, bool(withdrawn), remains) for one, (_, withdrawn, remains) in zip(said, raw, strict=True))


# One event goes to many people, and many people have chosen nothing: each is read once for all of them.
_content = lru_cache(maxsize=1_024)(decode_content)
preferences = lru_cache(maxsize=1_024)(read)
"""What a person chose, from the stored document; empty for nothing."""


@lru_cache(maxsize=1_024)
def _remaining(remains: bytes) -> Event | None:
    return decode_content(remains) if remains else None
