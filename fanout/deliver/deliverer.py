"""Works the jobs of one channel in one partition: looks once more whether each is wanted, and hands it to a provider.

All that decides is read in one trip just before the call, so what was acked, read, withdrawn or turned off a moment ago
still counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bus.allowances import Allowances
from bus.clock import Clock
from bus.errors import BusError
from bus.event import source_in
from bus.jobs import Mark, Note
from bus.keys import Keys, escape
from bus.outcome import Done, Expired, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled
from bus.people.categories import Categories, Category
from bus.people.devices import Device, State
from bus.people.directory import Directory
from bus.people.vault import Unreadable
from bus.pipe import Pipe
from bus.policy import Bury, Settlement
from bus.producers import Producers
from bus.queue import Entry
from fanout.channels.delivery import Delivery, Target
from fanout.deliver.case import (
    BLAMED,
    CONTACT,
    FAILING_PREFIX,
    GONE_PREFIX,
    Case,
    bodies,
    contact,
    given_up,
    judge,
    preferences,
    push_target,
)
from fanout.deliver.compose import Composer
from fanout.deliver.guard import Guard, Told
from fanout.deliver.record import Record, record
from fanout.deliver.stats import ChannelStats
from fanout.job import Job, Kind, from_fields
from fanout.wording import Content

OVER_RATE: Final = "its producer's rate is reached"
TOGETHER: Final = 20
"""Most events that are read in one step with all that decides about them: a few milliseconds when they are large."""
REFRESH: Final = 3600.0
"""A device that is well is noted as such at most once in so many seconds."""

Unsubscribe = Callable[[str, str, str], str | None]
"""URL of one-click unsubscribing for a user, category and channel; None where there can be none."""


@dataclass(frozen=True, slots=True)
class Office:
    """What all deliverers of a channel share."""

    channel: str
    pipe: Pipe
    keys: Keys
    directory: Directory
    categories: Categories
    composer: Composer
    guard: Guard
    unsubscribe: Unsubscribe
    clock: Clock
    stats: ChannelStats
    producers: Producers
    allowances: Allowances
    locale: str
    """Of people who have chosen none; so is the zone."""
    zone: str


@dataclass(slots=True)
class _File:
    """What is kept of a job until it is settled."""

    job: Job
    case: Case | None = None
    provider: str = ""


class Deliverer:
    """One per lease: `handle` is the handler of its loop, `note` says what is told of each job when it is settled."""

    def __init__(self, office: Office, partition: int) -> None:
        self._office, self._partition = office, partition
        self._files: dict[str, _File] = {}

    async def handle(self, entries: Sequence[Entry]) -> list[Outcome]:
        """An outcome for each; the loop gives them one by one. Raises `BusError`."""
        return [await self._one(entry) for entry in entries]

    async def _one(self, entry: Entry) -> Outcome:
        job = from_fields(entry.fields)
        if job is None:
            return Rejected("this is no job")
        file = self._files[entry.id] = _File(job)
        case = file.case = await self._look(job)
        office = self._office
        now = office.clock.wall()
        category = office.categories.of(job.category)
        if (reason := judge(case, category, office.zone, now)) is not None:
            office.stats.outcomes["", type(reason).__name__.lower()] += 1
            return reason
        if (wait := await self._over_rate(job, entry)) is not None:
            return wait
        told = await self._send(case, category)
        file.provider = told.provider
        return given_up(case, told.outcome, office.clock.wall())

    async def _over_rate(self, job: Job, entry: Entry) -> Throttled | None:
        """Why a job has to wait for its producer's rate. It is counted once, and comes again when its turn is there."""
        office = self._office
        granted = office.producers.sends(source_in(job.ref) or "", office.channel)
        if granted is None or entry.fields.get(b"w") == OVER_RATE.encode():
            return None
        try:
            told = await office.allowances.reserve(*granted, 1)
        except BusError:
            return None  # the bucket may be on another server than the job, which need not wait for it
        return Throttled(told.wait, Scope.TARGET, OVER_RATE) if told.wait else None

    # Looking -----------------------------------------------------------------------------------------------------

    async def _look(self, job: Job) -> Case:
        """Everything about the job in one trip; of a large digest what the events say comes in another one before, for
        a script that read it all would hold Redis for too long. What decides is read last, in one moment."""
        office, keys, p = self._office, self._office.keys, self._partition
        channel = office.channel
        push = channel == "push"
        meta, unread, inbox, profile, chosen, devices = keys.sending(job.user)
        field, gone = (job.target, "") if push else (CONTACT[channel], GONE_PREFIX + CONTACT[channel])
        names = (keys.withdrawn(p, job.ref), meta, unread, inbox, profile, chosen, devices if push else profile)
        about = [keys.body(p, ref) for ref in job.refs or (job.ref,)]
        failing = FAILING_PREFIX + CONTACT[channel] if channel in BLAMED else ""
        apart = len(about) > TOGETHER
        contents = await self._contents(about) if apart else None
        args = (job.offset, escape(job.ref), field, gone, failing, len(about), int(apart))
        found = await office.pipe.script("read_job", (*names, *about), args)
        withdrawn, acked, read, target, gone_value, since, locale, zone, name, doc, *told = found
        return Case(
            job=job,
            channel=channel,
            locale=locale.decode(),
            zone=zone.decode(),
            name=name.decode(),
            preferences=preferences(doc),
            withdrawn=bool(withdrawn),
            acked=acked,
            read=bool(read),
            target=target,
            gone=gone_value,
            failing=since,
            bodies=bodies(told, contents),
            device=Device.from_json(job.target, target) if push and target else None,
        )

    async def _contents(self, about: Sequence[str]) -> list[bytes | None]:
        """What events say, by the keys of their bodies."""
        found = await self._office.pipe.asks([("HGET", body, "e") for body in about])
        for reply in found:
            if isinstance(reply, BusError):
                raise reply
        return found

    # Sending -----------------------------------------------------------------------------------------------------

    async def _send(self, case: Case, category: Category) -> Told:
        job, office = case.job, self._office
        found = self._target(case)
        if found is None:
            return Told(Misconfigured("the target cannot be opened: directory_keys lacks its key, or it is damaged"))
        target, kind = found
        if not (events := case.events):
            return Told(Expired())
        locale, zone = self._locale(case), case.preferences.timezone or case.zone or office.zone
        unsubscribe = self._unsubscribe(job, category)
        content = Content(events, job.user, case.name, zone, unsubscribe)
        message = office.composer.compose(job.kind, content, locale, tuple([body.content for body in case.bodies]))
        if isinstance(message, Rejected):
            return Told(message)
        delivery = Delivery(
            id=job.id,
            channel=office.channel,
            user=job.user,
            target=target,
            message=message,
            event=events[-1],
            expires_at=job.expires_at,
            attempt=job.attempts + 1,
            locale=locale,
            unsubscribe=unsubscribe,
            category=job.category or None,
        )
        return await office.guard.send(kind, delivery)

    def _target(self, case: Case) -> tuple[Target, str] | None:
        """Where it goes, in the clear, and the kind of provider; None where it cannot be opened."""
        office, user = self._office, case.job.user
        if (device := case.device) is not None:
            opened = office.directory.opened_target(user, device)
            return None if isinstance(opened, Unreadable) else (push_target(device, opened), device.provider)
        contacts = office.directory.opened_contact(user, CONTACT[office.channel], case.target.decode())
        target = None if isinstance(contacts, Unreadable) else contact(contacts, case.name)
        return None if target is None else (target, office.channel)

    def _unsubscribe(self, job: Job, category: Category) -> str | None:
        """A push has no place for a link, and who gets webhooks knows where they come from."""
        if category.required or self._office.channel not in ("email", "sms"):
            return None
        return self._office.unsubscribe(job.user, job.category, self._office.channel)

    def _locale(self, case: Case) -> str:
        own = case.device.locale if case.device is not None else None
        return case.preferences.locale or case.locale or own or self._office.locale

    # Telling -----------------------------------------------------------------------------------------------------

    def note(self, entry: Entry, outcome: Outcome, settlement: Settlement) -> Note:
        """What is told of a job as it is settled; asked once for each."""
        file = self._files.pop(entry.id, None) or _unread(entry)
        if file is None:
            return Note()
        told = record(outcome, settlement, file.provider, entry.fields.get(b"w", b"").decode(errors="replace"))
        job = file.job
        if job.kind is Kind.WITHDRAW:
            # Of what was withdrawn the trail knows already; how the push was taken back is for the metrics.
            told = Record(None, told.reason)
        return Note(
            user=job.user,
            refs=job.refs or (job.ref,),
            kind=told.kind.value if told.kind is not None else "",
            state=told.state,
            reason=told.reason,
            mark=None if file.case is None else self._mark(file.case, outcome, settlement),
        )

    def _mark(self, case: Case, outcome: Outcome, settlement: Settlement) -> Mark | None:
        if (device := case.device) is not None:
            changed = _lived(device, outcome, settlement, self._office.clock.wall())
            if changed == device:
                return None
            return Mark(device.id, changed.to_json(), device.id, case.target, device=True)
        if not case.target or case.channel == "push":
            return None
        kind = CONTACT[case.channel]
        if isinstance(outcome, Gone):
            return Mark(GONE_PREFIX + kind, case.target, kind, case.target, device=False)
        failing = _failing(case, outcome, self._office.clock.wall())
        return None if failing is None else Mark(FAILING_PREFIX + kind, failing, kind, case.target, device=False)


def _unread(entry: Entry) -> _File | None:
    """The file of a job that was never looked at."""
    job = from_fields(entry.fields)
    return None if job is None else _File(job)


def _failing(case: Case, outcome: Outcome, now: float) -> bytes | None:
    """What is noted about a target that fails, or does so no more; None where all is noted."""
    if case.channel not in BLAMED:
        return None
    if isinstance(outcome, Retry) and case.failing_since is None:
        return b"%d" % now
    return b"" if isinstance(outcome, Done) and case.failing else None


def _lived(device: Device, outcome: Outcome, settlement: Settlement, now: float) -> Device:
    """The device after what became of a push to it."""
    if isinstance(outcome, Gone):
        return device.gone(outcome.reason, now)
    if isinstance(settlement, Bury):
        return device.failed(now)
    if not isinstance(outcome, Done):
        return device
    fresh = device.last_success_at is not None and now - device.last_success_at < REFRESH
    well = device.state is State.ACTIVE and not device.failures
    return device if fresh and well else device.succeeded(now)
