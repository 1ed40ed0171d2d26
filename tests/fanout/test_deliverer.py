"""A delivery from its job to its record: looked at once more, worded, handed over, told of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from bus.keys import Keys
from bus.outcome import Done, Gone, Misconfigured, Outcome, Rejected, Retry, Unavailable
from bus.people.devices import State
from bus.people.preferences import Faults, Preferences, parse
from bus.people.profile import Contacts, Profile, Webhook
from bus.people.unsubscribe import Unwanted
from bus.people.unsubscribe import read as read_token
from bus.people.vault import unsubscribe_secret
from fanout.channels.delivery import Delivery, EmailAddress, Hook, HookTarget, Mail, PhoneNumber, Push, PushTarget, Sms
from fanout.deliver.guard import Provider
from fanout.job import Job, Kind, delivery_id, digest_id
from tests.fanout.office import (
    ADDRESS,
    BODY,
    HOOK,
    INDEX,
    PHONE,
    PRIVATE,
    TITLE,
    TOKEN,
    Scripted,
    Town,
    an_event,
    town,
    until,
)
from tests.servers import RedisSite


@pytest_asyncio.fixture
async def place(any_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    # Tests let time go by for what waits: it is to be noticed soon.
    monkeypatch.setattr("bus.jobs.LONGEST_WAIT", 0.05)
    async with town(any_server.url, keys) as made:
        yield made


def only(sender: Scripted, kind: str) -> Mapping[str, Sequence[Provider]]:
    return {kind: (Provider("main", sender),)}


async def prefer(place: Town, raw: object) -> None:
    chosen = parse(raw)
    assert isinstance(chosen, Preferences)

    def make(_: Preferences) -> Preferences | Faults:
        return chosen

    await place.directory.change_preferences("alice", make)


# Sending ---------------------------------------------------------------------------------------------------------


async def test_a_mail_has_its_words_its_address_and_a_way_out(place: Town) -> None:
    sender = Scripted()
    await place.person()
    job = await place.send("email", category="offers", expires_at=4_000_000_000.0)
    async with place.working("email", providers=only(sender, "email")):
        await place.quiet("email")
    (delivery,) = sender.taken
    assert (delivery.id, delivery.channel, delivery.user, delivery.attempt) == (job.id, "email", "alice", 1)
    assert delivery.target == EmailAddress(ADDRESS, "Alice")
    assert delivery.message == Mail(TITLE, BODY)
    assert (delivery.event, delivery.expires_at) == (an_event(), 4_000_000_000.0)
    assert delivery.unsubscribe is not None
    assert delivery.unsubscribe.startswith("https://t.example/u/")
    token = delivery.unsubscribe.rpartition("/")[2]
    assert read_token(unsubscribe_secret(INDEX), token) == Unwanted("alice", "offers", "email")
    assert await place.told() == [("sent", "email", "main")]
    assert await place.count(an_event()) == {"email:sent": 1}
    assert sender.closed


async def test_text_messages_and_webhooks_have_their_own_forms(place: Town) -> None:
    sms, hook = Scripted(), Scripted()
    await place.person()
    await place.send("sms")
    await place.send("webhook")
    async with place.working("sms", "webhook", providers=only(sms, "sms") | only(hook, "webhook")):
        await place.quiet("sms", "webhook")
    (text,), (called,) = sms.taken, hook.taken
    assert text.target == PhoneNumber(PHONE)
    assert isinstance(text.message, Sms)
    assert called.target == HookTarget(HOOK.url, HOOK.secret)
    assert isinstance(called.message, Hook)
    said = json.loads(called.message.body)
    assert (said["type"], said["data"]["title"], said["data"]["user"]) == ("note", TITLE, "alice")


async def test_a_push_goes_to_its_device_and_the_device_is_known_to_live(place: Town) -> None:
    sender = Scripted()
    device = await place.device()
    await place.send("push", target=device.id)
    async with place.working("push", providers=only(sender, "fcm")):
        await place.quiet("push")
    (delivery,) = sender.taken
    assert isinstance(delivery.target, PushTarget)
    assert (delivery.target.target, delivery.target.provider, delivery.target.device) == (TOKEN, "fcm", device.id)
    assert delivery.message == Push(TITLE, BODY)
    (now,) = await place.directory.devices("alice")
    assert now.last_success_at is not None


async def test_a_digest_is_one_message_without_what_was_withdrawn(place: Town) -> None:
    sender = Scripted()
    await place.person()
    events = [an_event(number, title=f"title {number}") for number in (1, 2, 3)]
    for event in events:
        await place.place(event)
    p = place.keys.partition("alice")
    await place.pipe.ask("HSET", place.keys.body(p, events[1].ref), "w", "1")
    refs = tuple(event.ref for event in events)
    job = Job(digest_id(refs, "alice", "email"), refs[-1], "alice", kind=Kind.DIGEST, refs=refs)
    await place.pipe.ask("XADD", place.keys.jobs(p, "email"), "*", *job.fields())
    async with place.working("email", providers=only(sender, "email")):
        await place.quiet("email")
    (delivery,) = sender.taken
    assert isinstance(delivery.message, Mail)
    assert delivery.message.subject == "title 3 (+1)"
    assert "title 1" in delivery.message.text
    assert "title 2" not in delivery.message.text
    assert [await place.count(event) for event in events] == [{"email:sent": 1}] * 3


async def test_a_large_digest_leaves_out_what_was_withdrawn_or_is_no_longer_kept(place: Town) -> None:
    """Its events are read apart from what decides about them."""
    sender = Scripted()
    await place.person()
    events = [an_event(number, title=f"title {number}.") for number in range(100)]
    for event in events:
        await place.place(event)
    p = place.keys.partition("alice")
    await place.pipe.ask("HSET", place.keys.body(p, events[7].ref), "w", "1")
    await place.pipe.ask("DEL", place.keys.body(p, events[8].ref))
    refs = tuple(event.ref for event in events)
    job = Job(digest_id(refs, "alice", "webhook"), refs[-1], "alice", kind=Kind.DIGEST, refs=refs)
    await place.pipe.ask("XADD", place.keys.jobs(p, "webhook"), "*", *job.fields())
    async with place.working("webhook", providers=only(sender, "webhook")):
        await place.quiet("webhook")
    (delivery,) = sender.taken
    assert isinstance(delivery.message, Hook)
    told = [event["title"] for event in json.loads(delivery.message.body)["data"]["events"]]
    assert told == [event.title for number, event in enumerate(events) if number not in (7, 8)]


async def test_a_digest_by_webhook_lists_its_events(place: Town) -> None:
    sender = Scripted()
    await place.person()
    events = [an_event(number) for number in (1, 2)]
    for event in events:
        await place.place(event)
    refs = tuple(event.ref for event in events)
    job = Job(digest_id(refs, "alice", "webhook"), refs[-1], "alice", kind=Kind.DIGEST, refs=refs)
    await place.pipe.ask("XADD", place.keys.jobs(place.keys.partition("alice"), "webhook"), "*", *job.fields())
    async with place.working("webhook", providers=only(sender, "webhook")):
        await place.quiet("webhook")
    (delivery,) = sender.taken
    assert isinstance(delivery.message, Hook)
    said = json.loads(delivery.message.body)
    assert (said["type"], [event["id"] for event in said["data"]["events"]]) == ("tocsin.digest", ["e1", "e2"])


async def test_a_push_that_was_sent_is_taken_back(place: Town) -> None:
    sender = Scripted()
    device = await place.device()
    event = an_event(collapse_key="score")
    p = place.keys.partition("alice")
    left = {"id": "e1", "source": "shop", "type": "note", "time": "2027-01-15T08:00:00Z", "collapse_key": "score"}
    await place.pipe.ask("SET", place.keys.withdrawn(p, event.ref), "1")
    await place.pipe.ask("HSET", place.keys.body(p, event.ref), "w", "1", "c", json.dumps(left))
    id_ = delivery_id(event.ref, "alice", "push", device.id, Kind.WITHDRAW)
    job = Job(id_, event.ref, "alice", target=device.id, kind=Kind.WITHDRAW)
    await place.pipe.ask("XADD", place.keys.jobs(p, "push"), "*", *job.fields())
    async with place.working("push", providers=only(sender, "fcm")):
        await place.quiet("push")
    (delivery,) = sender.taken
    assert delivery.message == Push("", "", withdrawn=True)
    assert delivery.collapse == "score"
    assert await place.told() == []


async def test_the_wording_is_the_templates(place: Town, tmp_path: Path) -> None:
    sender = Scripted()
    for locale, text in (("default", "Hi {{ user.name }}"), ("de", "Hallo {{ user.name }}")):
        (tmp_path / "default" / locale).mkdir(parents=True)
        (tmp_path / "default" / locale / "email.subject.j2").write_text(text)
    await place.person(locale="de-AT")
    await place.send("email")
    async with place.working("email", providers=only(sender, "email"), templates=str(tmp_path)):
        await place.quiet("email")
    (delivery,) = sender.taken
    assert isinstance(delivery.message, Mail)
    assert (delivery.message.subject, delivery.locale) == ("Hallo Alice", "de-AT")


# Looking once more -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unless", "done", "reason"),
    [("acked", "acked", "acked"), ("acked", "read", "read"), ("read", "read", "read"), ("read", "acked", "")],
)
async def test_what_the_person_has_is_not_sent(place: Town, unless: str, done: str, reason: str) -> None:
    sender = Scripted()
    await place.person()
    job = await place.send("email", unless=unless)
    if done == "read":
        await place.pipe.ask("ZREM", place.keys.unread("alice"), job.offset)
    else:
        await place.pipe.ask("HSET", place.keys.meta("@alice"), "acked", f"{job.offset}-{job.offset}")
    async with place.working("email", providers=only(sender, "email")):
        await place.quiet("email")
    assert len(sender.taken) == (reason == "")
    assert await place.told() == [("cancelled", "email", reason) if reason else ("sent", "email", "main")]


async def test_what_was_withdrawn_is_not_sent(place: Town) -> None:
    sender = Scripted()
    await place.person()
    await place.send("email")
    await place.pipe.ask("SET", place.keys.withdrawn(place.keys.partition("alice"), an_event().ref), "1")
    async with place.working("email", providers=only(sender, "email")):
        await place.quiet("email")
    assert sender.taken == []
    assert await place.told() == [("cancelled", "email", "withdrawn")]


async def test_what_is_out_of_date_or_no_longer_kept_is_not_sent(place: Town) -> None:
    sender = Scripted()
    await place.person()
    await place.send("email", 1, expires_at=1_000_000_000.0)
    await place.send("email", 2)
    await place.pipe.ask("DEL", place.keys.body(place.keys.partition("alice"), an_event(2).ref))
    async with place.working("email", providers=only(sender, "email")):
        await place.quiet("email")
    assert sender.taken == []
    assert await place.told() == [("expired", "email", "")] * 2


async def test_what_the_person_does_not_want_is_not_sent(place: Town) -> None:
    sender = Scripted()
    await place.person()
    await prefer(place, {"channels": {"email": False}})
    await place.send("email")
    async with place.working("email", providers=only(sender, "email")):
        await place.quiet("email")
    assert sender.taken == []
    assert await place.told() == [("skipped", "email", "channel off")]


async def test_quiet_hours_put_it_off_and_it_is_looked_at_anew(place: Town) -> None:
    sender = Scripted()
    await place.person(timezone="UTC")
    now = datetime.now(UTC)
    hours = [(now + timedelta(hours=hours)).strftime("%H:%M") for hours in (-1, 1)]
    await prefer(place, {"quiet_hours": {"from": hours[0], "to": hours[1], "channels": ["sms"]}})
    await place.send("sms")
    async with place.working("sms", providers=only(sender, "sms")):
        await place.quiet("sms")
        ((kind, _, reason),) = await place.told()
        assert (kind, reason.rpartition(" ")[0]) == ("deferred", "quiet hours until")
        (due,) = await place.later("sms")
        await prefer(place, {})
        await place.hasten("sms", due + 1)
        await until(lambda: sender.taken)
        await place.quiet("sms")
    assert await place.later("sms") == []
    assert await place.dead() == []


async def test_who_has_no_address_is_passed_over(place: Town) -> None:
    sender = Scripted()
    await place.send("email")
    await place.send("push", target="no-such-device")
    async with place.working("email", "push", providers=only(sender, "email") | only(sender, "fcm")):
        await place.quiet("email", "push")
    assert sender.taken == []
    assert sorted(await place.told()) == [("skipped", "email", "no target"), ("skipped", "push", "no target")]


# What becomes of targets -----------------------------------------------------------------------------------------


async def test_an_address_that_is_gone_is_left_alone_until_it_changes(place: Town) -> None:
    sender = Scripted(rule=lambda delivery: Gone("no such mailbox (5.1.1)"))
    await place.person()
    await place.send("email", 1)
    async with place.working("email", providers=only(sender, "email")):
        await place.quiet("email")
        await place.send("email", 2)
        await place.quiet("email")
        assert len(sender.taken) == 1
        sender.rule = lambda delivery: Done()
        await place.directory.put("alice", Profile(contacts=Contacts("new@example.com")))
        await place.send("email", 3)
        await place.quiet("email")
    assert len(sender.taken) == 2
    assert [kind for kind, _, _ in await place.told()] == ["gone", "skipped", "sent"]


async def test_a_webhook_that_has_only_failed_for_five_days_is_left_alone_until_it_changes(place: Town) -> None:
    outcomes: list[Outcome] = [Retry("500"), Done(), Retry("502"), Rejected("not public"), Retry("503"), Retry("504")]
    sender = Scripted(rule=lambda delivery: outcomes[len(sender.taken) - 1])
    await place.person()
    profile = place.keys.profile("alice")

    async def since() -> bytes:
        return await place.pipe.ask("HGET", profile, "failing_webhook") or b""

    async with place.working("webhook", providers=only(sender, "webhook")):
        await place.send("webhook", 1)
        await place.quiet("webhook")
        assert abs(int(await since()) - place.clock.wall()) < 20
        await place.send("webhook", 2)
        await place.quiet("webhook")
        assert await since() == b""
        for number in (3, 4):
            await place.send("webhook", number)
            await place.quiet("webhook")
        begun = int(await since())
        await place.pipe.ask("HSET", profile, "failing_webhook", begun - 5 * 86_400 + 100)
        await place.directory.put("alice", Profile(name="Alicia", contacts=Contacts(ADDRESS, PHONE, HOOK)))
        assert int(await since()) == begun - 5 * 86_400 + 100, "another name is no reason to begin anew"
        await place.send("webhook", 5)
        await place.quiet("webhook")
        await place.pipe.ask("HINCRBY", profile, "failing_webhook", -200)
        await place.send("webhook", 6)
        await place.quiet("webhook")
        await place.send("webhook", 7)
        await place.quiet("webhook")
    assert len(sender.taken) == 6
    assert [(kind, reason) for kind, _, reason in await place.told()][-2:] == [
        ("gone", "nothing but failures for 5 days; last: 504"),
        ("skipped", "no target"),
    ]
    found = await place.directory.get("alice")
    assert found is not None
    assert found.gone == ("webhook",)
    other = Webhook("https://hooks.example.com/other", HOOK.secret)
    await place.directory.put("alice", Profile(contacts=Contacts(ADDRESS, PHONE, other)))
    assert await since() == b""


async def test_servers_that_all_share_are_no_fault_of_an_address(place: Town) -> None:
    sender = Scripted(rule=lambda delivery: Retry("451"))
    await place.person()
    await place.send("email")
    async with place.working("email", providers=only(sender, "email")):
        await place.quiet("email")
    assert await place.pipe.ask("HEXISTS", place.keys.profile("alice"), "failing_email") == 0


async def test_a_device_that_is_gone_is_marked_and_the_last_one_is_told_of(place: Town) -> None:
    sender = Scripted(rule=lambda delivery: Gone("UNREGISTERED"))
    device = await place.device()
    await place.send("push", 1, target=device.id)
    async with place.working("push", providers=only(sender, "fcm")):
        await place.quiet("push")
        await place.send("push", 2, target=device.id)
        await place.quiet("push")
    (now,) = await place.directory.devices("alice")
    assert (now.state, now.gone_reason) == (State.GONE, "UNREGISTERED")
    assert len(sender.taken) == 1
    assert [(kind, reason) for kind, _, reason in await place.told()] == [
        ("gone", "UNREGISTERED"),
        ("failed", "no device is left"),
        ("skipped", "no target"),
    ]


async def test_a_push_that_was_given_up_counts_against_its_device(place: Town) -> None:
    sender = Scripted(rule=lambda delivery: Rejected("INVALID_ARGUMENT"))
    device = await place.device()
    await place.send("push", target=device.id)
    async with place.working("push", providers=only(sender, "fcm")):
        await place.quiet("push")
    (now,) = await place.directory.devices("alice")
    assert (now.state, now.failures) == (State.ACTIVE, 1)
    (letter,) = await place.dead()
    assert letter[b"reason"] == b"INVALID_ARGUMENT"


# Failing ---------------------------------------------------------------------------------------------------------


async def test_a_failure_that_passes_is_tried_again_under_the_same_key(place: Town) -> None:
    outcomes: list[Outcome] = [Retry("timeout"), Unavailable("no connection"), Done()]
    sender = Scripted(rule=lambda delivery: outcomes.pop(0))
    await place.person()
    job = await place.send("sms")
    async with place.working("sms", providers=only(sender, "sms")):
        while outcomes:
            left = len(outcomes)
            await place.quiet("sms")
            await place.hasten("sms", 10)
            await until(lambda left=left: len(outcomes) < left)
        await place.quiet("sms")
    assert sender.ids == [job.id] * 3
    assert [delivery.attempt for delivery in sender.taken] == [1, 2, 2]
    assert await place.told() == [
        ("retry", "sms", "timeout"),
        ("retry", "sms", "no connection"),
        ("sent", "sms", "main"),
    ]


async def test_a_contact_that_cannot_be_opened_waits_for_its_key(place: Town) -> None:
    sender = Scripted()
    await place.person()
    await place.send("email")
    async with place.working("email", providers=only(sender, "email"), directory_keys=()):
        await until(lambda: place.later("email"))
    assert sender.taken == []
    assert await place.dead() == []
    ((kind, _, reason),) = await place.told()
    assert kind == "retry"
    assert "directory_keys" in reason


async def test_a_template_that_fails_buries_the_job_with_where_and_what(place: Town, tmp_path: Path) -> None:
    (tmp_path / "default" / "default").mkdir(parents=True)
    (tmp_path / "default" / "default" / "email.subject.j2").write_text("{{ data.nothing.there }}")
    await place.person()
    await place.send("email")
    async with place.working("email", providers=only(Scripted(), "email"), templates=str(tmp_path)):
        await place.quiet("email")
    (letter,) = await place.dead()
    assert letter[b"reason"].startswith(b"template default/default/email.subject.j2")


async def test_what_is_no_job_is_buried(place: Town) -> None:
    p = place.keys.partition("alice")
    await place.pipe.ask("XADD", place.keys.jobs(p, "email"), "*", "x", "y")
    async with place.working("email", providers=only(Scripted(), "email")):
        await place.quiet("email")
    (letter,) = await place.dead()
    assert letter[b"reason"] == b"this is no job"


async def test_nothing_private_is_told_anywhere(place: Town, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Outcome] = [Rejected("refused"), Retry("timeout"), Gone("gone"), Misconfigured("401")]

    def bug(delivery: Delivery) -> Outcome:
        if answers:
            return answers.pop()
        raise RuntimeError(f"{delivery.target!r} {delivery.message!r} {ADDRESS}")

    sender = Scripted(rule=bug)
    await place.person()
    device = await place.device()
    with caplog.at_level("DEBUG"):
        async with place.working("email", "push", providers=only(sender, "email") | only(sender, "fcm")):
            for number in range(1, 5):
                await place.send("email", number)
                await place.send("push", number, target=device.id)
                await place.quiet("email", "push")
    said = "".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    said += str(await place.told()) + str(await place.dead())
    p = place.keys.partition("alice")
    for key in (place.keys.later(p, "email"), place.keys.later(p, "push")):
        said += str(await place.pipe.ask("ZRANGE", key, 0, -1))
    for secret in PRIVATE:
        assert secret not in said
