"""The words of an explanation: for every way in which an event can reach somebody, or not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.trail import Kind, Trace
from gateway.api.explain import REASONS, Explanation, Line, explain
from gateway.tracks import Person, Waiting, Whole

NOW = 1_700_000_000.0
T0, T10 = "2023-11-14T22:13:20.000Z", "2023-11-14T22:13:30.000Z"


def told(
    *traces: tuple[Kind, str, str] | Trace, event: dict[str, Any] | None = None, **person: Any
) -> tuple[str, list[str]]:
    """Summary and the texts of the steps, for an event that alice was given at offset 7."""
    made = tuple(
        trace if isinstance(trace, Trace) else Trace(NOW + 10 * n, "r", *trace) for n, trace in enumerate(traces)
    )
    whole = Whole("a", "shop", **({"recipients": 1} | (event or {})))
    known: dict[str, Any] = {"given": True, "offset": 7, "kept": True} | person
    explanation = explain(whole, Person("alice", traces=made, **known), NOW)
    return explanation.summary, [step.text for step in explanation.steps]


PLACED = "It was put into their inbox at offset 7."


@pytest.mark.parametrize(
    ("event", "summary", "steps"),
    [
        ({"at": NOW, "recipients": 0}, f"Nobody has it yet: it is scheduled for {T0}.", []),
        (
            {"waits": True, "recipients": 0},
            "Nobody has it yet: it was accepted, and no fan-out worker has come to it.",
            [],
        ),
        (
            {"lapsed": True, "recipients": 0},
            "It never reached alice: its time (ttl) was over before a worker could publish it.",
            [],
        ),
        (
            {"buried": ("/type is required",), "recipients": 0},
            "It never reached alice: it is among the dead letters.",
            ["It was buried: /type is required. `tocsin dead` shows it, and sends it again."],
        ),
        (
            {"withdrawn": True, "recipients": 0},
            "It was withdrawn before it reached alice.",
            [],
        ),
        (
            {"recipients": 2, "topics": 1},
            "It never reached alice, who is not in its audience: neither named as a user, "
            "nor a follower of one of its topics when it was published.",
            ["It was given to 2 recipient(s) and 1 topic(s)."],
        ),
        (
            {"recipients": 2, "buried": ("1 recipient(s) have keys of another type",)},
            "It did not reach alice, though others: what could not be given is among the dead letters.",
            [
                "It was buried: 1 recipient(s) have keys of another type. `tocsin dead` shows it, and sends it again.",
                "It was given to 2 recipient(s).",
            ],
        ),
    ],
)
def test_who_was_never_reached(event: dict[str, Any], summary: str, steps: list[str]) -> None:
    assert told(event=event, given=False) == (summary, steps)


@pytest.mark.parametrize(
    ("traces", "person", "summary", "last"),
    [
        ([], {}, "It waits in the inbox of alice: no device of theirs has fetched it.", PLACED),
        (
            [],
            {"connected": True},
            "It waits in the inbox of alice: a device is connected, but nothing shows that it has it.",
            PLACED,
        ),
        (
            [],
            {"kept": False},
            "It waits in the inbox of alice: no device of theirs has fetched it.",
            "It was put into their inbox at offset 7; the inbox no longer holds it.",
        ),
        (
            [(Kind.WRITTEN, "", "")],
            {},
            "It was written to a connection of alice and not acknowledged yet.",
            "It was written to a connection of theirs.",
        ),
        (
            [(Kind.WRITTEN, "", ""), (Kind.ACKED, "", "")],
            {"acked": True},
            f"alice has it: a device acknowledged it at {T10}. It is not read.",
            "A device of theirs acknowledged it.",
        ),
        ([], {"acked": True}, "alice has it: a device acknowledged it. It is not read.", PLACED),
        (
            [(Kind.ACKED, "", ""), (Kind.READ, "", "")],
            {"acked": True, "read": True},
            f"alice has read it at {T10}.",
            "They read it.",
        ),
        (
            [(Kind.QUEUED, "push", ""), (Kind.SENT, "push", "main")],
            {},
            "It was sent to alice by push. Nothing tells whether they saw it.",
            "A push was sent by main.",
        ),
        (
            [(Kind.SENT, "push", ""), (Kind.SENT, "email", ""), (Kind.SENT, "sms", "")],
            {},
            "It was sent to alice by push, e-mail and text message. Nothing tells whether they saw it.",
            "A text message was sent.",
        ),
        (
            [(Kind.SENT, "sms", ""), (Kind.DELIVERED, "sms", "")],
            {},
            "alice got it by text message, as the provider says. No device acknowledged it.",
            "A text message arrived, says the provider.",
        ),
        (
            [(Kind.SKIPPED, "push", "no target"), Trace(NOW, "r", Kind.FAILED, "email", "552 mailbox full", 3)],
            {},
            "alice does not have it yet. Not delivered by: push (there is no address or device to send it to), "
            "e-mail (552 mailbox full).",
            "An e-mail failed for good (attempt 3): 552 mailbox full.",
        ),
        (
            [(Kind.EXPIRED, "push", "")],
            {},
            "alice does not have it yet. Not delivered by: push (expired).",
            "A push was not sent: its time was over.",
        ),
        (
            [(Kind.SKIPPED, "live", "preference")],
            {"offset": 0},
            "alice does not have it yet. Not delivered by: live (they do not want it live).",
            "Live delivery was skipped: they do not want it live.",
        ),
        ([], {"offset": 0}, "alice did not get it.", "It was not put into their inbox."),
        (
            [(Kind.SKIPPED, "live", "duplicate")],
            {},
            "It waits in the inbox of alice: no device of theirs has fetched it.",
            "Live delivery was skipped: it had reached them before: by another topic, by name, or by a repeat of the "
            "same source and id.",
        ),
        (
            [Trace(NOW, "r", Kind.RETRY, "webhook", "503", 1)],
            {},
            "It waits in the inbox of alice: no device of theirs has fetched it. Still under way: webhook.",
            "A webhook failed and will be tried again (attempt 1): 503.",
        ),
        (
            [(Kind.QUEUED, "push", ""), (Kind.DEFERRED, "push", f"quiet hours until {NOW + 10:.0f}")],
            {},
            "It waits in the inbox of alice: no device of theirs has fetched it. "
            f"Put off: push (quiet hours, until {T10}).",
            f"A push was put off: quiet hours, until {T10}.",
        ),
        (
            [(Kind.DIGESTED, "email", "")],
            {},
            "It waits in the inbox of alice: no device of theirs has fetched it. Waits for a digest: e-mail.",
            "It was gathered for an e-mail that tells of several at once.",
        ),
        (
            [(Kind.DEFERRED, "push", f"quiet hours until {NOW + 10:.0f}")],
            {"waiting": (Waiting("push", "acked", NOW + 10),)},
            "It waits in the inbox of alice: no device of theirs has fetched it. "
            f"Next: A push is due at {T10}, unless a device has it by then.",
            f"A push is due at {T10}, unless a device has it by then.",
        ),
        (
            [],
            {"waiting": (Waiting("sms", None, NOW + 10), Waiting("email", "read", NOW - 1))},
            "It waits in the inbox of alice: no device of theirs has fetched it. "
            "Next: An e-mail is due now, unless they have read it by then.",
            "An e-mail is due now, unless they have read it by then.",
        ),
        (
            [(Kind.CANCELLED, "push", "withdrawn"), (Kind.WITHDRAWN, "", "")],
            {},
            f"It was withdrawn at {T10}. Before: alice does not have it yet. "
            "Not delivered by: push (the event was withdrawn).",
            "The producer withdrew it, and their devices were told.",
        ),
        (
            [(Kind.GONE, "pigeon", "shot down")],
            {},
            "alice does not have it yet. Not delivered by: pigeon (shot down).",
            "Pigeon found its target gone: shot down.",
        ),
    ],
)
def test_who_was_given_it(traces: list[Any], person: dict[str, Any], summary: str, last: str) -> None:
    found, steps = told(*traces, **person)
    assert found == summary
    assert steps[-1] == last


def test_a_withdrawal_that_has_not_come_to_them_yet_is_told() -> None:
    summary, _ = told(event={"withdrawn": True}, read=True)
    assert summary == "It was withdrawn. Before: alice has read it."


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("quiet hours until 1700000000", f"quiet hours, until {T0}"),
        ("until 1700000000", f"until {T0}"),
        ("until further notice", "until further notice"),
        ("channel off", "they turned this channel off"),
    ],
)
def test_a_reason_is_put_into_words(reason: str, words: str) -> None:
    _, steps = told((Kind.DEFERRED, "email", reason))
    assert steps[-1] == f"An e-mail was put off: {words}."


@given(
    st.sampled_from(Kind),
    st.sampled_from(["", "live", "push", "email", "sms", "webhook"]),
    st.sampled_from([*REASONS, "x"]),
)
def test_every_trace_is_a_sentence(kind: Kind, channel: str, reason: str) -> None:
    _, steps = told((kind, channel, reason))
    assert steps[-1][0].isupper()
    assert steps[-1].endswith(".")
    assert "{" not in steps[-1]


def test_as_json() -> None:
    shown = Explanation("Yes.", (Line("One.", NOW, "push"), Line("Two."))).shown()
    assert shown == {"summary": "Yes.", "steps": [{"text": "One.", "at": T0, "channel": "push"}, {"text": "Two."}]}
