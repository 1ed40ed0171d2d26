"""Providers in trouble, and the real delivery worker that has to live with them: fake services on real connections.

Each mode is what a path of a webhook's other end does. A provider that asks for less is left alone for as long as it
says, one that fails or says nothing is asked again under the same key, and nobody else has to wait for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import pytest
from aiohttp import web

from fanout.channels.vapid import generate
from fanout.deliver.breaker import FAILURES, RESTS
from tests.fanout.office import until
from tests.faults.chaos import chaos
from tests.faults.crowd import eventually
from tests.faults.world import World, world
from tests.ports import free_port
from tests.providers.push_service import PushService, push_service
from tests.providers.scripted import Scripted, listening
from tests.providers.smtp_server import At, SmtpServer, smtp_server
from tests.servers import KINDS
from tests.system import KEY, token

HEADERS: Final = {"x-api-key": KEY, "content-type": "application/json"}
CHANNELS: Final = ("push", "email", "webhook")
TIMEOUT: Final = 5.0
"""Seconds that a provider may take for one message; those that are slow here take longer than any test. The others are
in this process, which may stand still for a while, and must not be asked again for that."""
LEASE: Final = 3.0
"""Seconds: who stands still for one has the same jobs still."""
ASKED: Final = 3
"""Seconds that a provider asks for."""
AGAIN: Final = 5.0 * 0.8
"""Least seconds until a webhook that failed is tried again."""
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Call:
    """A request that a webhook's other end read, at a time of the loop."""

    key: str
    event: str
    at: float


@dataclass
class Hooks:
    """Everybody's webhooks. `modes`: what happens to the requests for a path, each entry once and then all is well."""

    modes: dict[str, list[Scripted]] = field(default_factory=lambda: defaultdict(list))
    calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    origin: str = ""

    async def take(self, request: web.Request) -> web.StreamResponse:
        name, body = request.path.removeprefix("/"), orjson.loads(await request.read())
        call = Call(request.headers["webhook-id"], body["data"]["id"], asyncio.get_running_loop().time())
        self.calls[name].append(call)
        mode = self.modes[name].pop(0) if self.modes[name] else Scripted(204)
        return await mode.give(request)


@dataclass
class Shop:
    """A world, who sends in it, and the services that carry it."""

    made: World
    http: httpx.AsyncClient
    hooks: Hooks
    mail: SmtpServer
    pushes: PushService

    async def introduce(self, user: str) -> None:
        """Tell where the webhook and the mailbox of a person are."""
        contacts = {"webhook": {"url": f"{self.hooks.origin}/{user}"}, "email": f"{user}@example.com"}
        answer = await self.http.put(f"{self._origin}/v1/users/{user}", json=contacts, headers=HEADERS)
        assert answer.status_code == 200, answer.text

    async def post(self, name: str, user: str, *channels: str) -> None:
        """An event that goes out at once by these channels."""
        ladder = [{"via": "live"}, *({"via": each} for each in channels)]
        event = {"id": name, "source": "shop", "type": "x", "title": name, "to": {"users": [user]}, "ladder": ladder}
        answer = await self.http.post(f"{self._origin}/v1/events", json=event, headers=HEADERS)
        assert answer.status_code == 202, answer.text

    async def letters(self) -> list[dict[str, Any]]:
        """All dead letters."""
        answer = await self.http.get(f"{self._origin}/v1/dead", headers=HEADERS)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["letters"])

    @property
    def _origin(self) -> str:
        return self.made.origins[0]

    def mails(self, user: str) -> list[str]:
        return [mail.message["subject"] for mail in self.mail.taken if mail.recipients == [f"{user}@example.com"]]


@asynccontextmanager
async def shop(folder: Path, kind: str = "one", *, mail_port: int = 0, **deliver: Any) -> AsyncIterator[Shop]:
    """`mail_port`: where the worker finds the mail server (default: where it is); `deliver`: settings of that role."""
    private, public = generate()
    hooks, limits = Hooks(), httpx.Timeout(30.0)
    async with (
        smtp_server() as mail,
        push_service() as pushes,
        listening(hooks.take) as hooks.origin,
        httpx.AsyncClient(timeout=limits, trust_env=False) as http,
    ):
        sender = {"host": "127.0.0.1", "tls": "none", "from": "Shop <no-reply@shop.example>"}
        mine: dict[str, Any] = {
            "email": {"main": {**sender, "port": mail_port or mail.port}},
            "webpush": {"main": {"vapid_key": private, "subject": "mailto:ops@shop.example", "hosts": ["127.0.0.1"]}},
            "send_timeout": TIMEOUT,
            "lease_ttl": LEASE,
            "worker_ttl": LEASE,
            **deliver,
        }
        settings = {"deliver": mine, "gateway": {"webpush_public_key": public}}
        opened = world(folder, kind, gateways=1, fanouts=1, delivers=1, settings=settings, channels=CHANNELS)
        made = await asyncio.to_thread(opened.__enter__)
        try:
            yield Shop(made, http, hooks, mail, pushes)
        except BaseException as error:
            if not await asyncio.to_thread(opened.__exit__, type(error), error, error.__traceback__):
                raise
        else:
            await asyncio.to_thread(opened.__exit__, None, None, None)


LONGEST: Final = "failing-and-busy"
TROUBLE: Final[Mapping[str, tuple[Scripted, float]]] = {
    "busy": (Scripted(429, {"Retry-After": str(ASKED)}), ASKED),
    "failing": (Scripted(500), AGAIN),
    LONGEST: (Scripted(503, {"Retry-After": "12"}), 12.0),
    "silent": (Scripted(hang=True), AGAIN),  # it took the request, and says nothing for far longer than it may
    "cut": (Scripted(cut=True), AGAIN),  # it took the request, and the connection was lost before it could say so
}
"""What each person's webhook does once, and the seconds after which it is asked again at the earliest."""


async def test_a_webhook_is_asked_again_when_it_says_and_under_the_same_key(tmp_path: Path) -> None:
    async with asyncio.timeout(120), shop(tmp_path) as place:
        hooks = place.hooks
        for user in (*TROUBLE, "well"):
            await place.introduce(user)
        for user, (mode, _) in TROUBLE.items():
            hooks.modes[user].append(mode)
            await place.post(f"to {user}", user, "webhook")
        await eventually(lambda: all(hooks.calls[user] for user in TROUBLE))
        # Meanwhile whoever is well gets everything at once, on the same channel and on another.
        for number in range(5):
            name = f"well {number}"
            await place.post(name, "well", "webhook", "email")
            await eventually(lambda name=name: [c for c in hooks.calls["well"] if c.event == name])
            await eventually(lambda name=name: name in place.mails("well"))
        assert len(hooks.calls[LONGEST]) == 1, "they waited for somebody else's"
        await eventually(lambda: all(len(hooks.calls[user]) == 2 for user in TROUBLE), 30)
        for user, (_, least) in TROUBLE.items():
            first, second = hooks.calls[user]
            assert (first.key, first.event) == (second.key, second.event)
            assert second.at - first.at > least - 0.2, user
        assert Counter(place.mails("well")) == {f"well {number}": 1 for number in range(5)}
        assert Counter(call.event for call in hooks.calls["well"]) == {f"well {number}": 1 for number in range(5)}
        assert await place.letters() == []


async def test_an_outage_is_probed_and_everything_arrives_once_when_it_is_over(tmp_path: Path) -> None:
    """Behind a breaker nobody's attempts are used up, and the other channel does not notice."""
    with chaos() as net:
        link = net.link(0)
        async with (
            asyncio.timeout(150),
            shop(tmp_path, mail_port=link.port, metrics_port=(port := free_port())) as place,
        ):
            link.target = place.mail.port
            await place.introduce("anna")
            await place.post("before", "anna", "email")

            async def figure(name: str, labels: str = 'channel="email"') -> float:
                text = (await place.http.get(f"http://127.0.0.1:{port}/metrics")).text
                lines = [line for line in text.splitlines() if line.startswith(name) and labels in line]
                return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

            await eventually(lambda: place.mails("anna") == ["before"])
            # The worker, too, must have done with it: when its answer is lost that is a failure already.
            await until(lambda: figure("tocsin_deliver_outcomes", 'channel="email",outcome="done"'))
            link.cut()
            names = [f"during {number}" for number in range(12)]
            for name in names:
                await place.post(name, "anna", "email", "webhook")
            await eventually(lambda: {call.event for call in place.hooks.calls["anna"]} == set(names))

            async def rests() -> bool:
                return await figure("tocsin_deliver_open_breakers") == 1 and not await figure(
                    "tocsin_deliver_under_way"
                )

            await until(rests)
            # So many calls opened it and those that were under way with the last of them; from then on there are none
            # but a probe. Each of them dialled, for whoever is cut off on a kept connection tries a new one.
            began, dialled = asyncio.get_running_loop().time(), link.refused
            assert FAILURES <= dialled < FAILURES + len(names)

            async def all_told() -> bool:
                return await figure("tocsin_deliver_outcomes") - 1 == link.refused

            await until(all_told)
            await asyncio.sleep(2.0)
            probes = link.refused - dialled
            assert probes <= 1 + (asyncio.get_running_loop().time() - began) // RESTS[0]
            link.heal()
            await eventually(lambda: len(place.mails("anna")) > len(names), RESTS[probes] + 30)

            async def closed() -> bool:
                return await figure("tocsin_deliver_open_breakers", "") == 0

            await until(closed)
            assert Counter(place.mails("anna")) == dict.fromkeys(("before", *names), 1)
            assert await place.letters() == []


@pytest.mark.sites
@pytest.mark.parametrize("form", KINDS)
async def test_a_ladder_by_every_kind_of_service_under_the_workers_own_user(tmp_path: Path, form: str) -> None:
    """Sent, put off, buried, gone, and taken over from a worker that was killed: each form of Redis allows it all."""
    async with asyncio.timeout(150), shop(tmp_path, form) as place:
        hooks = place.hooks
        for user in ("anna", "ben", "cora"):
            await place.introduce(user)
        browser = place.pushes.subscribe()
        device = {"provider": "webpush", "target": browser.endpoint, "keys": browser.keys}
        answer = await place.http.post(
            f"{place.made.origins[0]}/v1/me/devices",
            json=device,
            headers={"authorization": f"Bearer {token('anna')}"},
        )
        assert answer.status_code in (200, 201), answer.text

        place.pushes.script.next.append(Scripted(429, {"Retry-After": "1"}))  # put off
        hooks.modes["ben"].append(Scripted(410))  # gone
        place.mail.next[At.RECIPIENT] += [None, "554 5.7.1 not wanted"]  # cora's is buried
        await place.post("one", "anna", *CHANNELS)
        await place.post("two", "ben", "webhook")
        await eventually(lambda: place.mails("anna") and hooks.calls["anna"] and browser.received)
        await place.post("three", "cora", "email")
        await eventually(lambda: hooks.calls["ben"])
        await until(place.letters)
        assert [letter["queue"] for letter in await place.letters()] == ["jobs:email"]

        # A worker is killed in the midst of a call, and the next one makes it again.
        hooks.modes["cora"].append(Scripted(hang=True))
        await place.post("four", "cora", "webhook")
        await eventually(lambda: hooks.calls["cora"])
        worker = place.made.roles["deliver 0"]
        await asyncio.to_thread(worker.kill)
        worker.start()
        await eventually(lambda: len(hooks.calls["cora"]) == 2)
        assert len({call.key for call in hooks.calls["cora"]}) == 1
        assert len(hooks.calls["anna"]) == len(place.mails("anna")) == len(browser.received) == 1
        assert len(hooks.calls["ben"]) == 1
        logged = "".join(role.log.read_text() for role in place.made.roles.values())
        assert "NOPERM" not in logged
