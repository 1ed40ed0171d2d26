"""Web Push in real browsers: Firefox takes a message from our sender through its own push connection, and Chromium runs
the same service worker on what is pushed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, CDPSession, Page, Worker

from bus.clock import SystemClock
from bus.event import Event
from bus.outcome import Done, Misconfigured, Rejected
from fanout.channels.delivery import Delivery, Push, PushTarget
from fanout.channels.vapid import generate
from fanout.channels.webpush import WebPush
from tests.browser.demo_page import browser
from tests.browser.firefox import FirefoxPage, firefox_page
from tests.providers.autopush import TAKEN, autopush

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LIMIT = 90.0
PRIVATE, PUBLIC = generate()
REGISTER = """
    const registration = await navigator.serviceWorker.register("service-worker.js");
    await navigator.serviceWorker.ready;
"""
SHOWN = """
    const registration = await navigator.serviceWorker.ready;
    const wanted = JSON.stringify(WANTED);
    for (;;) {
        const shown = await registration.getNotifications();
        if (JSON.stringify(shown.map(({ title }) => title).sort()) === wanted)
            return shown.map(({ title, body, tag, data }) => ({ title, body, tag, data }));
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
"""
"""What is on the screen, as soon as its titles are these."""
WATCH = """() => {
    self.worked = 0;
    const wait = ExtendableEvent.prototype.waitUntil;
    ExtendableEvent.prototype.waitUntil = function (work) {
        if (this instanceof PushEvent) work.catch(() => undefined).then(() => { self.worked += 1; });
        return wait.call(this, work);
    };
    const show = ServiceWorkerRegistration.prototype.showNotification;
    ServiceWorkerRegistration.prototype.showNotification = function (title, options) {
        return show.call(this, title, { ...options, requireInteraction: true });
    };
}"""
"""Counts the pushes that are worked. Chromium takes from its screen what nobody looked at for 25 seconds, which a busy
machine may need for a test."""
WORKED = """async (count) => {
    while (self.worked < count) await new Promise((resolve) => setTimeout(resolve, 20));
}"""
SUBSCRIBE = (
    REGISTER
    + """
    const text = atob(KEY.replace(/-/g, "+").replace(/_/g, "/"));
    const key = Uint8Array.from(text, (character) => character.charCodeAt(0));
    const options = { userVisibleOnly: true, applicationServerKey: key };
    return (await registration.pushManager.subscribe(options)).toJSON();
"""
)


def sender(private: str) -> WebPush:
    table = {"vapid_key": private, "subject": "mailto:ops@shop.example", "hosts": ["127.0.0.1"]}
    return WebPush.from_settings("main", table, SystemClock(), allow_private=True)


def event(id: str, **changes: Any) -> Event:
    return Event(
        **{"id": id, "source": "shop", "type": "note", "created_at": 1.0, "collapse_key": "order-7", **changes}
    )


# Firefox ---------------------------------------------------------------------------------------------------------


async def shown_in(page: FirefoxPage, *wanted: str) -> list[dict[str, Any]]:
    return list(await page.evaluate(SHOWN.replace("WANTED", json.dumps(sorted(wanted)))))


async def test_firefox_shows_what_our_sender_sent(address: str, tmp_path: Path) -> None:
    made, stranger = sender(PRIVATE), sender(generate()[0])
    async with (
        asyncio.timeout(LIMIT),
        autopush() as service,
        firefox_page(tmp_path, {"dom.push.serverURL": service.url}) as page,
    ):
        await page.goto(f"{address}web/demo/mailbox.html")
        # A page that subscribes before the browser is connected to its push service waits for good.
        await service.connected.wait()
        subscription = await page.evaluate(SUBSCRIBE.replace("KEY", json.dumps(PUBLIC)))
        assert subscription["endpoint"].startswith(service.service.origin)
        target = PushTarget("d1", "webpush", subscription["endpoint"], subscription["keys"])
        first = Delivery("0" * 32, "push", "alice", target, Push("On its way", "Älso ☎", "/web/demo/#7"), event("e1"))

        # The browser told its service for whom it subscribed.
        assert isinstance(await stranger.send(first), Misconfigured | Rejected)

        assert await made.send(first) == Done()
        [notification] = await shown_in(page, "On its way")
        assert notification == {
            "title": "On its way",
            "body": "Älso ☎",
            "tag": "order-7",
            "data": {"id": "e1", "url": "/web/demo/#7"},
        }

        assert await made.send(replace(first, message=Push("Delivered", ""), event=event("e2"))) == Done()
        await shown_in(page, "Delivered")

        thin = replace(first, message=Push("Secret", "x" * 5_000), event=event("e3"))
        assert await made.send(thin) == Done()
        [notification] = await shown_in(page, "You have a notification")
        assert notification["data"] == {"id": "e3"}

        gone = Push("", "", withdrawn=True)
        assert await made.send(replace(first, message=gone, event=event("e1"))) == Done()
        assert await made.send(replace(first, message=gone, event=event("e3"))) == Done()
        await shown_in(page)
        assert [await service.acks.get() for _ in range(5)] == [TAKEN] * 5
    for one in (made, stranger):
        await one.close()


# Chromium --------------------------------------------------------------------------------------------------------


class Rung:
    """A page in Chromium with the worker registered, which can be pushed to."""

    def __init__(self, page: Page, worker: Worker, devtools: CDPSession, origin: str, registration: str) -> None:
        self.page, self.worker = page, worker
        self._devtools, self._origin, self._registration = devtools, origin, registration
        self._pushed = 0

    async def push(self, *said: Any) -> None:
        """As Chromium's push service would, after decrypting; all of them at once, and then they are waited for.

        Chromium forgets a notification that it is about to show while somebody asks for those that are shown.
        """
        for each in said:
            data = each if isinstance(each, str) else json.dumps(each)
            await self._devtools.send(
                "ServiceWorker.deliverPushMessage",
                {"origin": self._origin, "registrationId": self._registration, "data": data},
            )
        self._pushed += len(said)
        await self.worker.evaluate(WORKED, self._pushed)

    async def until(self, *wanted: str) -> list[dict[str, Any]]:
        """What is on the screen, as soon as its titles are these."""
        script = SHOWN.replace("WANTED", json.dumps(sorted(wanted)))
        return list(await self.page.evaluate(f"async () => {{ {script} }}"))

    async def click(self) -> list[str]:
        """Click what is shown first; where that led. Only a person's click may open windows, so what would is told."""
        found: list[str] = await self.worker.evaluate(
            """async () => {
                const led = [];
                Clients.prototype.openWindow = async (url) => void led.push(`opens ${url}`);
                WindowClient.prototype.focus = async function () { led.push(`focuses ${this.url}`); };
                const [notification] = await registration.getNotifications();
                const click = new NotificationEvent("notificationclick", { notification });
                const done = new Promise((resolve) => { click.waitUntil = resolve; });
                dispatchEvent(click);
                await (await done);
                return led;
            }"""
        )
        return found


async def _registered(devtools: CDPSession) -> str:
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on(message: dict[str, Any]) -> None:
        for one in message["registrations"]:
            if not told.done():
                told.set_result(one["registrationId"])

    devtools.on("ServiceWorker.workerRegistrationUpdated", on)
    await devtools.send("ServiceWorker.enable")
    return await told


async def _worker(context: BrowserContext) -> Worker:
    return context.service_workers[0] if context.service_workers else await context.wait_for_event("serviceworker")


@asynccontextmanager
async def chromium_page(address: str) -> AsyncIterator[Rung]:
    """A tab whose service worker is the demo page's."""
    origin = address.rstrip("/")
    async with asyncio.timeout(LIMIT), browser() as context:
        await context.grant_permissions(["notifications"], origin=origin)
        page = await context.new_page()
        await page.goto(f"{address}web/demo/mailbox.html")
        await page.evaluate(f"async () => {{ {REGISTER} }}")
        devtools = await context.new_cdp_session(page)
        worker = await _worker(context)
        await worker.evaluate(WATCH)
        yield Rung(page, worker, devtools, origin, await _registered(devtools))


async def test_chromium_shows_replaces_and_takes_away(address: str) -> None:
    async with chromium_page(address) as rung:
        await rung.push({"id": "e1", "tag": "a", "title": "On its way", "body": "Text", "url": "/web/demo/#7"})
        assert await rung.until("On its way") == [
            {"title": "On its way", "body": "Text", "tag": "a", "data": {"id": "e1", "url": "/web/demo/#7"}}
        ]
        await rung.push({"id": "e2", "tag": "b", "title": "Another"})
        await rung.until("On its way", "Another")
        await rung.push({"id": "e3", "tag": "a", "title": "Delivered"})
        await rung.until("Delivered", "Another")
        # The withdrawn one is not shown any more; what took its place stays.
        await rung.push({"withdrawn": "e1", "tag": "a"})
        await rung.push({"withdrawn": "e2", "tag": "b"})
        await rung.until("Delivered")
        await rung.push({"withdrawn": "e3", "tag": "a"})
        await rung.until()


async def test_chromium_works_what_comes_at_once_in_its_order(address: str) -> None:
    async with chromium_page(address) as rung:
        shown = [{"id": f"e{number}", "tag": f"t{number}", "title": f"No. {number}"} for number in range(6)]
        gone = [{"withdrawn": each["id"], "tag": each["tag"]} for each in shown[:5]]
        await rung.push(*(one for pair in zip(shown, [*gone, shown[5]], strict=True) for one in pair))
        await rung.until("No. 5")


async def test_chromium_shows_that_there_is_something_and_asks_nobody(address: str) -> None:
    async with chromium_page(address) as rung:
        asked: list[str] = []
        rung.page.context.on("request", lambda request: asked.append(request.url) if request.service_worker else None)
        await rung.push({"id": "e1", "tag": "a", "thin": True})
        await rung.until("You have a notification")
        for garbage in ("not json", "[]", "null", "7", ""):
            await rung.push(garbage)
        await rung.until(*["You have a notification"] * 6)
        assert [url for url in asked if not url.endswith((".svg", ".js"))] == []


async def test_a_click_leads_to_the_page(address: str) -> None:
    page = f"{address}web/demo/mailbox.html"
    async with chromium_page(address) as rung:
        for url, led in (
            (None, f"focuses {page}"),
            ("mailbox.html", f"focuses {page}"),
            ("/web/demo/?left=x", f"opens {address}web/demo/?left=x"),
            ("https://shop.example/orders/7", "opens https://shop.example/orders/7"),
            ("javascript:alert(1)", f"focuses {page}"),
            ("http://[", f"focuses {page}"),
        ):
            await rung.push({"id": "e1", "tag": "a", "title": "Click me", "url": url})
            await rung.until("Click me")
            assert await rung.click() == [led]
            await rung.until()
