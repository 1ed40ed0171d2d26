"""Delivery workers together: partitions move, channels are apart, figures are shown, settings are checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.request import urlopen

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, generate_latest

from bus.clock import SystemClock
from bus.errors import Unfit
from bus.keys import Keys
from bus.outcome import Done, Retry, Scope, Throttled
from bus.settings import BadSetting
from fanout.channels.webhook import Webhook
from fanout.deliver.guard import Provider
from fanout.deliver.main import run
from fanout.deliver.providers import MAKERS, providers
from fanout.deliver.settings import CHANNELS, KINDS, DeliverSettings, load
from fanout.deliver.stats import ChannelStats, DeliverStats
from tests.conftest import open_pipe
from tests.fanout.office import Scripted, Town, town, until
from tests.ports import free_port
from tests.servers import RedisSite

QUICK = {"lease_ttl": 8.0, "worker_ttl": 1.0}
"""Who comes and goes is noticed soon; no lease is over because this process or Redis waits for a core."""


@pytest_asyncio.fixture
async def place(redis_server: RedisSite, keys: Keys) -> AsyncIterator[Town]:
    async with town(redis_server.url, keys) as made:
        yield made


def mail(sender: Scripted) -> dict[str, tuple[Provider, ...]]:
    return {"email": (Provider("main", sender),)}


async def leases(place: Town, channel: str = "email") -> dict[int, str]:
    """Who works which partition."""
    owners = await place.pipe.asks(("GET", place.keys.jobs_lease(p, channel)) for p in range(place.keys.partitions))
    return {p: owner.decode().rpartition(" ")[0] for p, owner in enumerate(owners) if owner}


# Together --------------------------------------------------------------------------------------------------------


async def test_two_workers_share_the_partitions_and_one_takes_over_from_the_other(
    redis_server: RedisSite, keys: Keys
) -> None:
    # So many partitions that chance cannot give all of them to one.
    async with town(redis_server.url, Keys(keys.prefix, 64)) as place:
        await _share(place)


async def _share(place: Town) -> None:
    first, second = Scripted(), Scripted()
    users = [f"user{number}" for number in range(20)]
    for user in users:
        await place.person(user)

    async def shared(by: int) -> bool:
        owners = await leases(place)
        return len(owners) == place.keys.partitions and len(set(owners.values())) == by

    async with place.working("email", providers=mail(first), **QUICK) as stop_first:
        await until(lambda: shared(1))
        async with place.working("email", providers=mail(second), **QUICK):
            await until(lambda: shared(2))
            jobs = {(await place.send("email", 1, user)).id for user in users}
            await until(lambda: {*first.ids, *second.ids} == jobs)
            assert first.taken
            assert second.taken
            stop_first.set()
            await until(lambda: shared(1))
            more = {(await place.send("email", 2, user)).id for user in users}
            await until(lambda: more <= set(second.ids))


async def test_a_slow_channel_holds_no_other_up(place: Town) -> None:
    mails, texts = Scripted(gate=asyncio.Event()), Scripted()
    await place.person()
    for number in range(50):
        await place.send("email", number)
    everything = {**mail(mails), "sms": (Provider("main", texts),)}
    async with place.working("email", "sms", providers=everything, email_concurrency=4):
        await until(lambda: len(mails.taken) == 4)
        await place.send("sms", 100)
        await until(lambda: texts.taken)
        assert len(mails.taken) == 4
        assert mails.gate is not None
        mails.gate.set()
        await place.quiet("email")
    assert len(mails.taken) == 50


async def test_new_jobs_are_noticed_while_others_are_under_way(place: Town) -> None:
    gate = asyncio.Event()
    sender = Scripted()
    await place.person("slow")
    await place.person("quick")
    async with place.working("email", providers=mail(sender), email_concurrency=8):
        sender.gate = gate
        await place.send("email", 1, "slow")
        await until(lambda: sender.taken)
        sender.gate = None
        for number in range(2, 6):
            await place.send("email", number, "quick")
            await until(lambda number=number: len(sender.taken) == number)
        gate.set()


async def test_a_redis_without_a_group_or_a_stream_is_begun_anew(place: Town) -> None:
    sender = Scripted()
    await place.person()
    async with place.working("email", providers=mail(sender)):
        await place.send("email", 1)
        await until(lambda: len(sender.taken) == 1)
        await place.quiet("email")
        await place.pipe.ask("DEL", place.keys.jobs(place.keys.partition("alice"), "email"))
        await place.send("email", 2)
        await until(lambda: len(sender.taken) == 2)


async def test_a_lease_that_another_took_ends_the_work_at_once(place: Town) -> None:
    sender = Scripted(gate=asyncio.Event())
    await place.person()
    await place.send("email")
    p = place.keys.partition("alice")
    async with place.working("email", providers=mail(sender), **QUICK):
        await until(lambda: sender.taken)
        await place.pipe.ask("SET", place.keys.jobs_lease(p, "email"), "another 99", "PX", 800)
        assert sender.gate is not None
        await until(lambda: place.pipe.ask("EXISTS", place.keys.jobs_lease(p, "email")))
        sender.gate.set()
        await place.quiet("email")
    # The first call was ours and came to an end, but only what the next owner of the lease did counts.
    assert len(sender.taken) == 2
    assert [kind for kind, _, _ in await place.told()] == ["sent"]


async def test_what_is_under_way_is_finished_and_its_lease_kept(place: Town) -> None:
    sender = Scripted(gate=asyncio.Event())
    await place.person()
    await place.send("email")
    async with place.working("email", providers=mail(sender), **QUICK) as stop:
        await until(lambda: sender.taken)
        stop.set()
        await until(lambda: has_said_goodbye(place))
        for _ in range(3):
            await kept_again(place)
        assert sender.gate is not None
        sender.gate.set()
        await place.quiet("email")
    assert await leases(place) == {}
    assert sender.closed
    assert await place.told() == [("sent", "email", "main")]


async def has_said_goodbye(place: Town) -> bool:
    return not await place.pipe.ask("ZCARD", place.keys.deliverers("email"))


async def kept_again(place: Town) -> None:
    """Until the lease of alice's partition has longer to live than before; it must not be over meanwhile."""
    lease = place.keys.jobs_lease(place.keys.partition("alice"), "email")
    before = now = int(await place.pipe.ask("PTTL", lease))
    while now <= before:
        assert now > 0
        await asyncio.sleep(0.01)
        before, now = now, int(await place.pipe.ask("PTTL", lease))


async def test_what_does_not_end_in_time_is_left_to_the_next(place: Town) -> None:
    sender = Scripted(gate=asyncio.Event())
    await place.person()
    job = await place.send("email")
    async with place.working("email", providers=mail(sender), stop_timeout=0.05) as stop:
        await until(lambda: sender.taken)
        stop.set()
    again = Scripted()
    async with place.working("email", providers=mail(again)):
        await place.quiet("email")
    assert again.ids == [job.id]


async def test_a_worker_refuses_an_installation_of_another_size(place: Town) -> None:
    async with open_pipe(place.url) as pipe:
        await pipe.ask("HSET", place.keys.installation, "partitions", 7)
    with pytest.raises(Unfit, match="7 partitions"):
        await run(place.settings(), ["email"], asyncio.Event())


# Figures ---------------------------------------------------------------------------------------------------------


async def test_the_figures_are_those_of_the_work(place: Town) -> None:
    port = free_port()
    # What is tried again is so long after the figures were read.
    outcomes = [Done(), Retry("timeout"), Throttled(600.0, Scope.TARGET)]
    sender = Scripted(rule=lambda delivery: outcomes.pop() if outcomes else Done())
    await place.person()

    def fetch(path: str) -> str:
        with suppress(OSError), urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
        return ""

    async with place.working("email", providers=mail(sender), metrics_port=port, email_concurrency=1):
        for number in range(4):
            await place.send("email", number)
        await place.quiet("email")
        text = ""
        while 'tocsin_deliver_jobs_finished_total{channel="email"} 2.0' not in text:
            text = await asyncio.to_thread(fetch, "/metrics")
        assert await asyncio.to_thread(fetch, "/healthz") == "ok\n"
    assert 'tocsin_deliver_outcomes_total{channel="email",outcome="done",provider="main"} 2.0' in text
    assert 'tocsin_deliver_outcomes_total{channel="email",outcome="retry",provider="main"} 1.0' in text
    assert 'tocsin_deliver_jobs_later{channel="email"} ' in text
    assert f'tocsin_deliver_leases{{channel="email"}} {place.keys.partitions}.0' in text
    assert 'tocsin_deliver_provider_seconds_count{channel="email"} 4.0' in text


def test_figures_of_channels_that_did_nothing_are_there() -> None:
    registry = CollectorRegistry()
    registry.register(DeliverStats([ChannelStats("push"), ChannelStats("sms")]))
    text = generate_latest(registry).decode()
    assert 'tocsin_deliver_jobs_waiting{channel="sms"} 0.0' in text
    assert 'tocsin_deliver_open_breakers{channel="push"} 0.0' in text


# Settings --------------------------------------------------------------------------------------------------------


def made(**tables: object) -> DeliverSettings:
    return DeliverSettings(**tables)  # type: ignore[arg-type]


def test_providers_are_made_in_the_order_of_their_tables() -> None:
    server = {"host": "mail.example.com", "from": "a@example.com"}
    found = providers(made(email={"b": server, "a": server | {"rate": 5}}), "email", SystemClock())
    assert [provider.name for provider in found["email"]] == ["b", "a"]
    first, second = found["email"]
    assert first.bucket is None
    assert second.bucket is not None
    assert [second.bucket.take(0.0) for _ in range(6)] == pytest.approx([0, 0, 0, 0, 0, 0.2])


def test_webhooks_need_no_table_and_other_channels_do() -> None:
    ((provider,),) = providers(made(), "webhook", SystemClock()).values()
    assert isinstance(provider.sender, Webhook)
    assert all(providers(made(), channel, SystemClock()) == {} for channel in CHANNELS if channel != "webhook")


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"email": {"main": "no table"}}, r"\[deliver.email\] must hold tables"),
        ({"email": {"main": {"host": "h", "from": "a@b.example", "rate": 0}}}, "deliver.email.main.rate must be"),
        ({"email": {"main": {"host": "h", "from": "a@b.example", "burst": 2}}}, "burst means nothing without rate"),
        ({"email": {"main": {"hots": "h"}}}, "deliver.email.main has no hots"),
    ],
)
def test_a_table_that_is_wrong_is_named(tables: dict[str, object], says: str) -> None:
    with pytest.raises(BadSetting, match=says):
        providers(made(**tables), "email", SystemClock())


def test_every_kind_has_its_maker_and_every_channel_its_kinds() -> None:
    assert {kind for kinds in KINDS.values() for kind in kinds} == MAKERS.keys()
    assert KINDS.keys() == set(CHANNELS)
    assert all(made().concurrency(channel) > 0 for channel in CHANNELS)


def test_settings_are_read_and_their_secrets_not_shown(tmp_path: object) -> None:
    settings = load({"TOCSIN_CONFIG": f"{tmp_path}/none.toml", "TOCSIN_PUSH_CONCURRENCY": "7"})
    assert settings.concurrency("push") == 7
    secret = made(email={"main": {"password": "hunter2"}}, webpush={"main": {"vapid_key": "hunter2"}})
    assert "hunter2" not in repr(secret)
