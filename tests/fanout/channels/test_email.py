"""E-mail against a real SMTP server that takes mail, refuses it, hangs, and drops connections at every stage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiosmtplib import SMTP

from bus.clock import SystemClock
from bus.outcome import Done, Expired, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled, Unavailable
from bus.settings import BadSetting
from fanout.channels.delivery import Delivery, EmailAddress, Mail, PhoneNumber, Sms
from fanout.channels.email import Email
from fanout.channels.smtp_codes import THROTTLE
from fanout.channels.smtp_pool import Line, Pool
from tests.fanout.channels.contract import BODY, NOW, TITLE, FixedClock, SenderContract, Situation, Stand, event
from tests.ports import free_port
from tests.providers.smtp_server import At, Does, SmtpServer, smtp_server
from tests.providers.tls import certificate, server_context

ADDRESS = "alice.private@example.org"
PASSWORD = "a password that nobody may see"


def delivery(address: str = ADDRESS, **changes: Any) -> Delivery:
    made = Delivery(
        id="0123456789abcdef0123456789abcdef",
        channel="email",
        user="alice",
        target=EmailAddress(address, "Alice"),
        message=Mail(TITLE, BODY, f"<p>{BODY}</p>"),
        event=event(),
        expires_at=NOW + 3600,
        unsubscribe="https://tocsin.example/u/token",
    )
    return replace(made, **changes)


@asynccontextmanager
async def stand(clock: FixedClock | None = None, **changes: Any) -> AsyncIterator[tuple[SmtpServer, Email]]:
    async with asyncio.timeout(20), smtp_server() as server, sender(server, clock, **changes) as made:
        yield server, made


@asynccontextmanager
async def sender(server: SmtpServer, clock: FixedClock | None = None, **changes: Any) -> AsyncIterator[Email]:
    table = {"host": "127.0.0.1", "port": server.port, "tls": "none", "from": "Shop <no-reply@shop.example>"}
    made = Email.from_settings("main", table | {"timeout": 5.0} | changes, clock or FixedClock(), allow_private=False)
    try:
        yield made
    finally:
        await made.close()


# As every sender ---------------------------------------------------------------------------------------------------

ANSWERS: dict[Situation, tuple[At, str | Does]] = {
    Situation.BUSY: (At.CONTENT, "451 4.3.0 try again"),
    Situation.ASKS_FOR_LESS: (At.SENDER, "450 4.7.28 unusual rate of mail"),
    Situation.KNOWS_NO_TARGET: (At.RECIPIENT, f"550 5.1.1 <{ADDRESS}> is unknown here"),
    Situation.REFUSES_MESSAGE: (At.CONTENT, f"554 5.6.0 what is {TITLE}"),
    Situation.HANGS: (At.CONTENT, Does.HANG),
    Situation.CUTS: (At.CONTENT, Does.DROP),
}


class TestContract(SenderContract):
    """E-mail is a sender like any other; SMTP has no `Retry-After`."""

    test_asked_to_wait_some_seconds = None  # type: ignore[assignment]
    test_asked_to_wait_until_a_date = None  # type: ignore[assignment]

    @asynccontextmanager
    async def stand(self, situation: Situation) -> AsyncIterator[Stand]:
        changes: dict[str, Any] = {"username": "shop", "password": PASSWORD}
        if situation is Situation.ABSENT:
            changes["port"] = free_port()
        if situation is Situation.HANGS:
            changes["timeout"] = 0.2
        async with stand(**changes) as (server, made):
            server.accounts = {"shop": "another"} if situation is Situation.REFUSES_US else {"shop": PASSWORD}
            if situation in ANSWERS:
                at, does = ANSWERS[situation]
                server.always[at] = does
            ids = lambda: [str(taken.message["Message-ID"]) for taken in server.taken]  # noqa: E731
            yield Stand(made, delivery(), (ADDRESS, "alice.private", PASSWORD), ids)


# The mail ----------------------------------------------------------------------------------------------------------


async def test_the_mail_arrives_as_it_should() -> None:
    async with stand(bounces="bounces@shop.example", helo="mx.shop.example", reply_to="help@shop.example") as (
        server,
        made,
    ):
        assert await made.send(delivery()) == Done()
        (taken,) = server.taken
        assert (taken.sender, taken.recipients) == ("bounces@shop.example", [ADDRESS])
        message = taken.message
        assert message["From"] == "Shop <no-reply@shop.example>"
        assert message["Reply-To"] == "help@shop.example"
        assert message["To"] == f"Alice <{ADDRESS}>"
        assert message["Subject"] == TITLE
        assert message["Message-ID"] == "<0123456789abcdef0123456789abcdef@shop.example>"
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert b"\r\nList-Unsubscribe: <https://tocsin.example/u/token>\r\n" in taken.raw
        assert [part.get_content().strip() for part in message.iter_parts()] == [BODY, f"<p>{BODY}</p>"]


async def test_lines_that_begin_with_a_dot_arrive() -> None:
    async with stand() as (server, made):
        assert await made.send(delivery(message=Mail("x", ".\r\n..\n.a"))) == Done()
        assert server.taken[0].message.get_content().split() == [".", "..", ".a"]


@pytest.mark.parametrize(
    ("address", "recipient"),
    [
        ('"john doe"@example.org', '"john doe"@example.org'),
        ("alice@bücher.example", "alice@xn--bcher-kva.example"),
        ("юзер@пример.рф", "юзер@xn--e1afmkfd.xn--p1ai"),
    ],
)
async def test_unusual_addresses(address: str, recipient: str) -> None:
    async with stand() as (server, made):
        assert await made.send(delivery(address)) == Done()
        assert server.taken[0].recipients == [recipient]
        assert ("SMTPUTF8" in server.taken[0].options) == (not recipient.isascii())


async def test_a_server_without_smtputf8_is_asked_for_no_such_address() -> None:
    async with stand() as (server, made):
        server.always[At.HELLO] = "250 HELP"
        assert isinstance(await made.send(delivery("юзер@example.org")), Rejected)
        assert await made.send(delivery()) == Done()
        assert server.seen[At.GREETING] == 1


@pytest.mark.parametrize(
    "address", ["", "alice", "a@example.org\r\nRCPT TO:<b@example.org>", "a\r\nBcc: b@example.org", "a@[127.0.0.1]"]
)
async def test_what_is_no_address_is_gone(address: str) -> None:
    async with stand() as (server, made):
        assert await made.send(delivery(address)) == Gone("the address is none that mail can go to")
        assert server.seen[At.GREETING] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"message": Mail("Hi\r\nBcc: x@evil.example", "x")},
        {"target": EmailAddress(ADDRESS, "Al\r\nBcc: x@evil.example")},
        {"unsubscribe": "https://x.example/\r\nBcc: x@evil.example"},
    ],
)
async def test_a_line_break_in_a_header_is_refused(changes: dict[str, Any]) -> None:
    async with stand() as (server, made):
        found = await made.send(delivery(**changes))
        assert found == Rejected("not sent: a header holds what no header may hold")
        assert server.taken == []


async def test_what_is_over_or_no_mail_is_not_sent() -> None:
    async with stand() as (server, made):
        assert await made.send(delivery(expires_at=NOW)) == Expired()
        assert isinstance(await made.send(delivery(message=Sms("x"))), Rejected)
        assert isinstance(await made.send(delivery(target=PhoneNumber("+41441234567"))), Rejected)
        assert server.seen[At.GREETING] == 0


# What servers do ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "does", "outcome"),
    [
        (At.GREETING, Does.DROP, Unavailable("no connection")),
        (At.GREETING, "421 4.3.2 too busy", Unavailable("the server answered 421 4.3.2 at the greeting")),
        (At.GREETING, "554 go away", Misconfigured("the server answered 554 at the greeting")),
        (At.HELLO, Does.DROP, Unavailable("no connection")),
        (At.SENDER, Does.DROP, Unavailable("the connection was lost to MAIL")),
        (At.SENDER, "550 5.7.60 not as this sender", Misconfigured("the server answered 550 5.7.60 to MAIL")),
        (At.SENDER, "421 closing", Retry("the server answered 421 to MAIL")),
        (At.RECIPIENT, Does.DROP, Unavailable("the connection was lost to RCPT")),
        (At.RECIPIENT, "450 4.7.1 greylisted", Retry("the server answered 450 4.7.1 to RCPT")),
        (At.RECIPIENT, "552 5.2.2 full", Retry("the server answered 552 5.2.2 to RCPT")),
        (At.RECIPIENT, "550 5.7.1 policy", Rejected("the server answered 550 5.7.1 to RCPT")),
        (At.RECIPIENT, "550 4.1.1 perhaps", Retry("the server answered 550 4.1.1 to RCPT")),
        (At.CONTENT_BEGIN, Does.DROP, Retry("the connection was lost to DATA")),
        (At.CONTENT, Does.DROP, Retry("the connection was lost to DATA")),
        (At.CONTENT, "421 closing", Retry("the server answered 421 to DATA")),
        (At.CONTENT, "552 5.3.4 too big", Rejected("the server answered 552 5.3.4 to DATA")),
        (At.SENDER, "450 4.3.2 too much", Throttled(THROTTLE, Scope.ENDPOINT, "the server answered 450 4.3.2 to MAIL")),
    ],
)
async def test_each_failure_is_called_what_it_is_and_the_next_mail_goes_out(
    at: At, does: str | Does, outcome: Outcome
) -> None:
    async with stand() as (server, made):
        server.next[at].append(does)
        assert await made.send(delivery()) == outcome
        assert await made.send(delivery()) == Done()
        assert len(server.taken) == 1


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        (At.GREETING, Unavailable),
        (At.HELLO, Unavailable),
        (At.SENDER, Unavailable),
        (At.RECIPIENT, Unavailable),
        (At.CONTENT, Retry),
    ],
)
async def test_a_server_that_says_nothing_is_waited_for_in_vain(at: At, kind: type[Outcome]) -> None:
    async with stand(timeout=0.15) as (server, made):
        server.next[at].append(Does.HANG)
        assert type(await made.send(delivery())) is kind
        assert await made.send(delivery()) == Done()
        assert server.seen[At.GREETING] == 2


async def test_a_refused_recipient_costs_no_connection() -> None:
    async with stand() as (server, made):
        server.next[At.RECIPIENT].append("550 5.1.1 unknown")
        assert isinstance(await made.send(delivery()), Gone)
        assert await made.send(delivery()) == Done()
        assert server.seen[At.GREETING] == 1


# Connections -------------------------------------------------------------------------------------------------------


async def test_a_connection_is_kept_for_so_many_mails() -> None:
    async with stand(mails=3) as (server, made):
        for _ in range(7):
            assert await made.send(delivery()) == Done()
        assert server.seen[At.GREETING] == 3


async def test_a_connection_without_mail_is_left() -> None:
    clock = FixedClock()
    async with stand(clock, idle=30.0) as (server, made):
        for pause in (0, 29, 31):
            clock.now += pause
            assert await made.send(delivery(expires_at=None)) == Done()
        assert server.seen[At.GREETING] == 2


@pytest.mark.parametrize("does", [Does.DROP, "421 4.4.2 idle for too long"])
async def test_a_kept_connection_that_ended_meanwhile_is_no_failure(does: str | Does) -> None:
    async with stand() as (server, made):
        assert await made.send(delivery()) == Done()
        server.next[At.SENDER].append(does)
        assert await made.send(delivery()) == Done()
        assert len(server.taken) == 2
        assert server.seen[At.GREETING] == 2


async def test_a_connection_dropped_while_nobody_used_it_is_not_used() -> None:
    async with stand() as (server, made):
        server.next[At.IDLE].append(Does.DROP)
        for _ in range(2):
            assert await made.send(delivery()) == Done()
        assert len(server.taken) == 2


async def test_no_more_connections_than_allowed() -> None:
    async with stand(connections=3) as (server, made):
        async with asyncio.TaskGroup() as group:
            sent = [group.create_task(made.send(delivery())) for _ in range(30)]
        assert all(one.result() == Done() for one in sent)
        assert len(server.taken) == 30
        assert server.seen[At.GREETING] <= 3


async def test_a_mail_given_up_on_takes_its_connection_with_it() -> None:
    async with stand(connections=1) as (server, made):
        server.next[At.CONTENT].append(Does.HANG)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await made.send(delivery())
        assert await made.send(delivery()) == Done()
        assert (len(server.taken), server.seen[At.GREETING]) == (1, 2)


async def test_connecting_given_up_on_makes_room_for_the_next() -> None:
    async with stand(connections=1) as (server, made):
        server.next[At.GREETING].append(Does.HANG)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await made.send(delivery())
        assert await made.send(delivery()) == Done()


# TLS and login -----------------------------------------------------------------------------------------------------


async def test_starttls_and_login(tmp_path: Path) -> None:
    file = certificate(tmp_path)
    async with asyncio.timeout(20), smtp_server(starttls=server_context(file), require_starttls=True) as server:
        server.accounts = {"shop": PASSWORD}
        options = {"tls": "starttls", "ca": str(file), "username": "shop", "password": PASSWORD}
        async with sender(server, **options) as made:
            assert await made.send(delivery()) == Done()
        assert (server.taken[0].tls, server.taken[0].login) == (True, "shop")


async def test_implicit_tls(tmp_path: Path) -> None:
    file = certificate(tmp_path)
    async with (
        asyncio.timeout(20),
        smtp_server(tls=server_context(file)) as server,
        sender(server, tls="implicit", ca=str(file)) as made,
    ):
        assert await made.send(delivery()) == Done()


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(tmp_path: Path, mode: str) -> None:
    context = server_context(certificate(tmp_path))
    offered = {"starttls": context} if mode == "starttls" else {"tls": context}
    async with asyncio.timeout(20), smtp_server(**offered) as server, sender(server, tls=mode) as made:
        assert await made.send(delivery()) == Unavailable("no trustworthy TLS")
        assert server.taken == []


async def test_a_server_without_starttls_is_not_used_in_the_clear() -> None:
    async with stand(tls="starttls") as (server, made):
        assert await made.send(delivery()) == Misconfigured("the server offers no STARTTLS")
        assert server.taken == []


async def test_a_server_without_login_is_told_no_password() -> None:
    async with stand(username="shop", password=PASSWORD) as (server, made):
        server.always[At.HELLO] = "250 HELP"
        assert await made.send(delivery()) == Misconfigured("the server offers no login that we know")


# Settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"host": ""}, "deliver.email.main.host must not be empty"),
        ({"from": "nobody"}, "deliver.email.main.from must hold a mail address"),
        ({"from": "юзер@example.org"}, "must hold a mail address in ASCII"),
        ({"from": "A\0B <a@example.org>"}, "must have no control characters"),
        ({"bounces": "a b@x"}, "deliver.email.main.bounces"),
        ({"reply_to": "x"}, "deliver.email.main.reply_to"),
        ({"tls": "maybe"}, "must be one of implicit, starttls, none"),
        ({"ca": "/nowhere.pem"}, "is no file of certificates"),
        ({"tls": "none", "username": "u", "password": "hidden"}, "the password would be readable"),
        ({"helo": "a b"}, "must be a host name"),
        ({"port": 0}, "must be a whole number"),
        ({"connections": 0}, "must be a whole number"),
        ({"pasword": "hidden"}, "has no pasword"),
    ],
)
def test_a_wrong_setting_is_named_and_not_quoted(changes: dict[str, Any], said: str) -> None:
    table = {"host": "smtp.example", "from": "a@example.org"} | changes
    with pytest.raises(BadSetting, match=said) as raised:
        Email.from_settings("main", table, FixedClock(), allow_private=False)
    assert "hidden" not in str(raised.value)


async def test_a_mail_that_finds_no_connection_free_was_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanout.channels.smtp_pool.PATIENCE", 0.01)

    async def dial() -> SMTP:
        return SMTP(hostname="127.0.0.1")

    pool = Pool(dial, SystemClock(), size=1, mails=10, idle=1.0)
    line = await pool.take()
    assert isinstance(line, Line)
    assert await pool.take() == Unavailable("all connections are in use")
    await pool.give_back(line, good=False)
    assert isinstance(await pool.take(), Line)
