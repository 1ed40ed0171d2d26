"""Nobody missed: what the page promises about those who are not there, tried on the running system.

The waits are those of a development system: the phone after 5 seconds, e-mail after 10 more.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import pytest
from browser.demo_page import Demo, browser, demo_page, open_demo
from playwright.async_api import APIRequestContext, Page, expect

from bus.clock import SystemClock

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LIMIT: Final = 240.0
ALL_TRIED: Final = 60_000.0
"""Milliseconds in which a ladder has come to its end, and more."""
TRIES: Final = 4
ON_ITS_WAY: Final = 2.0
"""Seconds; what rings sooner than that after it was read may have been due before."""
KEY: Final = {"Authorization": "Bearer dev-key"}


@asynccontextmanager
async def opened(address: str, **options: Any) -> AsyncIterator[Demo]:
    async with asyncio.timeout(LIMIT), demo_page(address, **options) as demo:
        for pane, user in zip((demo.left, demo.right), demo.names, strict=True):
            await expect(pane.root.locator(".mailbox-link")).to_have_attribute("title", re.compile("@demo.test$"))
            await has_a_phone(demo, address, user)
        yield demo


async def has_a_phone(demo: Demo, address: str, user: str) -> None:
    """Wait until the gateway knows of the phone that the page gives them."""
    devices = f"{address}v1/users/{quote(user)}/devices"
    while not (await (await demo.page.context.request.get(devices, headers=KEY)).json())["devices"]:
        await demo.page.wait_for_timeout(50)


async def category(demo: Demo, title: str) -> None:
    """Choose of what category the next one is."""
    await demo.page.get_by_role("combobox", name="Category", exact=True).select_option(label=title)


class Outside:
    """What came to somebody elsewhere, asked of the gateway and not of a page."""

    def __init__(self, request: APIRequestContext, address: str, user: str) -> None:
        self._request, self._address, self._user = request, address, user

    async def phone(self) -> dict[str, float]:
        """Titles on the phone, and when each of them came."""
        answer = await self._request.get(f"{self._address}dev/phone/{quote(self._user)}")
        return {item["title"]: item["at"] for item in (await answer.json())["items"]}

    async def mailbox(self) -> dict[str, float]:
        """Subjects in the mailbox, and when each of them came."""
        mails = (await (await self._request.get(f"{self._address}dev/mailbox")).json())["mails"]
        mine = (mail for mail in mails if any(self._user in address for address in _list(mail["to"])))
        return {mail["subject"]: mail["at"] for mail in mine}


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


async def publish(request: APIRequestContext, address: str, event: Mapping[str, Any]) -> None:
    answer = await request.post(f"{address}dev/publish", data=dict(event))
    assert answer.status == 202


# The ladder ------------------------------------------------------------------------------------------------------


async def test_with_the_tab_open_it_comes_live_and_nothing_else_does(address: str) -> None:
    async with opened(address) as demo:
        user = demo.names[1]
        await demo.send(user, "Dinner is ready")
        await expect(demo.right.titles(demo.right.inbox)).to_have_text(["Dinner is ready"])
        await expect(demo.step("Arrived")).to_be_visible()
        await expect(demo.step("No phone needed")).to_be_visible(timeout=ALL_TRIED)
        await expect(demo.step("No e-mail needed")).to_be_visible(timeout=ALL_TRIED)
        outside = Outside(demo.page.context.request, address, user)
        assert await outside.phone() == {}
        assert await outside.mailbox() == {}


async def test_with_the_tab_closed_the_phone_rings_and_then_mail_comes(address: str) -> None:
    async with opened(address) as demo:
        user, request = demo.names[1], demo.page.context.request
        watching = await demo.page.context.new_page()
        await demo.page.close()
        await publish(request, address, {"type": "note", "to": {"users": [user]}, "title": "Where are you?"})
        outside = Outside(request, address, user)
        async with asyncio.timeout(ALL_TRIED / 1000):
            while not await outside.mailbox():
                await watching.wait_for_timeout(200)
        [(rang, at), *more] = (await outside.phone()).items()
        [(mail, later), *mails] = (await outside.mailbox()).items()
        assert (rang, more) == (mail, mails) == ("Where are you?", [])
        assert at < later  # its turn comes 10 seconds later, by the clock of who sent them


async def test_read_on_one_device_it_stops_on_all(address: str) -> None:
    """The phone rings after 5 seconds, unless it was read by then: whoever needs longer has another try."""
    for _ in range(TRIES):
        async with opened(address) as demo, browser() as elsewhere:
            outside = Outside(demo.page.context.request, address, demo.names[1])
            other = await open_demo(elsewhere, address, demo.names, demo.topic)
            await other.connected()
            await read_elsewhere(demo, other)
            read = SystemClock().wall()
            assert other.complaints == []
            await expect(demo.step("No e-mail needed")).to_be_visible(timeout=ALL_TRIED)
            rang = await outside.phone()
            assert await outside.mailbox() == {}
            if all(at > read + ON_ITS_WAY for at in rang.values()):
                assert rang == {}
                return
    raise AssertionError("the phone rang, each time")


async def read_elsewhere(demo: Demo, other: Demo) -> None:
    """One that must be read, seen and then read on the right person's other device."""
    await category(demo, "Your account")
    await demo.send(demo.names[1], "Was it you?")
    for page in (demo, other):
        await expect(page.right.bell.locator(".badge")).to_have_text("1")
        await expect(page.right.badge).to_have_text("1")
    await other.right.bell.locator(".ring").click()
    for page in (demo, other):
        await expect(page.right.bell.locator(".badge")).to_be_hidden()
    await other.right.bell.locator(".open").click()
    for page in (demo, other):
        await expect(page.right.badge).to_be_hidden()
        await expect(page.right.root.locator(".unread")).to_have_count(0)
    await expect(demo.step("Read")).to_be_visible()


async def test_what_must_be_read_goes_on_though_it_arrived(address: str) -> None:
    async with opened(address) as demo:
        await category(demo, "Your account")
        await demo.send(demo.names[1], "Was it you?")
        await expect(demo.step("Arrived")).to_be_visible()
        await expect(demo.right.phone.locator(".push-title")).to_have_text(["Was it you?"], timeout=ALL_TRIED)
        await demo.right.root.get_by_role("button", name="Mark all as read").click()
        await expect(demo.step("No e-mail needed")).to_be_visible(timeout=ALL_TRIED)
        await expect(demo.right.letters).to_have_count(0)


async def test_scheduled_it_waits_for_its_time(address: str) -> None:
    async with opened(address) as demo:
        await demo.page.get_by_role("combobox", name="When").select_option(label="in 10 seconds")
        await demo.send(demo.names[1], "Later")
        await expect(demo.step("Goes out")).to_contain_text(re.compile(r"in \d+ s"))
        await expect(demo.right.inbox).to_have_count(0)
        await expect(demo.right.titles(demo.right.inbox)).to_have_text(["Later"], timeout=ALL_TRIED)
        await expect(demo.step("Arrived")).to_be_visible()


async def test_withdrawn_it_is_gone_everywhere(address: str) -> None:
    async with opened(address) as demo:
        right = demo.right
        await category(demo, "Your account")
        await demo.send(demo.names[1], "Never mind")
        await expect(right.inbox).to_have_count(1)
        await expect(right.phone.locator(".push-title")).to_have_text(["Never mind"], timeout=ALL_TRIED)
        await right.bell.locator(".ring").click()
        await expect(right.bell.locator(".item")).to_have_count(1)
        await demo.page.get_by_role("button", name="Withdraw").click()
        await expect(right.inbox).to_have_count(0)
        await expect(right.bell.locator(".item")).to_have_count(0)
        await expect(right.badge).to_be_hidden()
        await expect(right.root.locator(".phone-screen .withdrawn")).to_have_count(1)
        await expect(demo.step("Withdrawn")).to_be_visible()
        await expect(demo.page.get_by_role("button", name="Withdraw")).to_be_hidden()


# Settings --------------------------------------------------------------------------------------------------------


async def settings(demo: Demo) -> Any:
    """The right person's settings, opened."""
    await demo.right.root.get_by_role("button", name="Settings").click()
    dialog = demo.page.get_by_role("dialog", name="Settings")
    await expect(dialog.get_by_role("switch", name="News by Phone")).to_be_visible()
    return dialog


@asynccontextmanager
async def saved(dialog: Any) -> AsyncIterator[None]:
    """What is done in the block is saved when it ends. What was said of the change before is wiped away."""
    told = dialog.locator(".settings-told")
    await told.evaluate("(told) => { told.textContent = ''; }")
    yield
    await expect(told).to_have_text("Saved.")


async def test_what_is_switched_off_does_not_come_and_why_is_told(address: str) -> None:
    async with opened(address) as demo:
        dialog = await settings(demo)
        async with saved(dialog):
            await dialog.get_by_role("switch", name="Orders and deliveries by Phone").uncheck()
        await expect(dialog.get_by_role("switch", name="Your account by Phone")).to_be_disabled()
        await expect(dialog.get_by_role("switch", name="News by SMS")).not_to_be_checked()
        await dialog.get_by_role("button", name="Done").click()
        await demo.right.plug.click()
        await category(demo, "Orders and deliveries")
        await demo.send(demo.names[1], "Your parcel is at the door")
        await expect(demo.step("No phone")).to_contain_text("off", timeout=ALL_TRIED)
        await expect(demo.right.letters.locator(".letter-subject")).to_have_text(
            ["Your parcel is at the door"], timeout=ALL_TRIED
        )
        await expect(demo.right.phone).to_have_count(0)
        await demo.right.plug.click()
        await expect(demo.right.state).to_have_text("connected")
        dialog = await settings(demo)
        await expect(dialog.get_by_role("switch", name="Orders and deliveries by Phone")).not_to_be_checked()


async def test_quiet_hours_put_the_phone_off(address: str) -> None:
    async with opened(address) as demo:
        dialog = await settings(demo)
        async with saved(dialog):
            await dialog.get_by_role("button", name="Now, for an hour").click()
        await expect(dialog.get_by_role("switch", name="No phone from")).to_be_checked()
        await demo.page.keyboard.press("Escape")
        await demo.right.plug.click()
        await demo.send(demo.names[1], "Not that urgent")
        await expect(demo.step("Phone waits")).to_contain_text(re.compile(r"until \d\d:\d\d"), timeout=ALL_TRIED)
        await expect(demo.right.phone).to_have_count(0)
        await demo.right.plug.click()
        await expect(demo.right.state).to_have_text("connected")
        dialog = await settings(demo)
        async with saved(dialog):
            await dialog.get_by_role("switch", name="No phone from").uncheck()


async def test_a_choice_that_is_refused_is_not_shown_as_made(address: str) -> None:
    async with opened(address) as demo:
        dialog = await settings(demo)
        zone = dialog.get_by_label("Time zone")
        await zone.evaluate("(select) => select.append(new Option('Mars', 'Mars/Olympus'))")
        await zone.select_option("Mars/Olympus")
        await expect(dialog.locator(".settings-told")).to_have_text(re.compile("^Not done: "))
        await expect(zone).to_have_value("")


async def test_settings_stay_after_a_reload_and_by_keyboard(address: str) -> None:
    async with opened(address) as demo:
        dialog = await settings(demo)
        switch = dialog.get_by_role("switch", name="News by E-mail")
        await switch.focus()
        async with saved(dialog):
            await demo.page.keyboard.press("Space")
        await expect(switch).to_be_focused()
        async with saved(dialog):
            await dialog.get_by_label("How often e-mail about News comes").select_option(label="every hour")
        async with saved(dialog):
            await dialog.get_by_label("Language").select_option("de")
        await expect(dialog.get_by_label("Language")).to_have_value("de")
        await demo.page.reload()
        await demo.connected()
        dialog = await settings(demo)
        await expect(dialog.get_by_role("switch", name="News by E-mail")).not_to_be_checked()
        await expect(dialog.get_by_label("How often e-mail about News comes")).to_have_value("3600")
        await expect(dialog.get_by_label("Language")).to_have_value("de")


async def test_settings_fit_a_telephone(address: str) -> None:
    async with opened(address, viewport={"width": 360, "height": 740}) as demo:
        dialog = await settings(demo)
        assert await dialog.evaluate("(dialog) => dialog.scrollWidth <= dialog.clientWidth")
        assert await demo.page.evaluate("document.documentElement.scrollWidth") == 360


# The mailbox -----------------------------------------------------------------------------------------------------


async def mail_page(demo: Demo, user: str) -> Page:
    page = await demo.page.context.new_page()
    page.on("console", lambda m: demo.complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: demo.complaints.append(str(error)))
    link = demo.right.root.locator(".mailbox-link")
    await page.goto(await link.evaluate("(link) => link.href"))
    return page


async def test_a_mail_can_be_read_in_all_its_parts(address: str) -> None:
    async with opened(address) as demo:
        user = demo.names[1]
        await demo.page.get_by_role("combobox", name="If it is missed").select_option(label="e-mail at once")
        await demo.send(user, "Minutes <b>of</b> the meeting", "Nobody was <script>there</script>.")
        await expect(demo.right.letters).to_have_count(1, timeout=ALL_TRIED)
        page = await mail_page(demo, user)
        await expect(page.locator("#subject")).to_have_text("Minutes <b>of</b> the meeting")
        await expect(page.frame_locator("#html").locator("body")).to_contain_text("Nobody was <script>there</script>.")
        assert await page.locator("#html").get_attribute("sandbox") == "allow-popups allow-popups-to-escape-sandbox"
        await page.get_by_role("radio", name="Text").check()
        await expect(page.locator("#text")).to_contain_text("Nobody was <script>there</script>.")
        await page.get_by_role("radio", name="Headers").check()
        await expect(
            page.locator("#headers dt", has_text=re.compile("^List-Unsubscribe$", re.IGNORECASE))
        ).to_be_visible()
        for width in (1280, 700, 360):
            await page.set_viewport_size({"width": width, "height": 800})
            assert await page.evaluate("document.documentElement.scrollWidth") == width


# This browser ----------------------------------------------------------------------------------------------------

SUBSCRIBES: Final = """
// A browser with a push service that is made up: it gives out a subscription as RFC 8291 wants it.
PushManager.prototype.getSubscription = async () => null;
PushManager.prototype.subscribe = async function ({ applicationServerKey }) {
    window.subscribedWith = new Uint8Array(applicationServerKey).length;
    const pair = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, true, ["deriveBits"]);
    const point = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
    const base64 = (bytes) => btoa(String.fromCharCode(...bytes));
    const text = (bytes) => base64(bytes).replace(/[+]/g, "-").replace(/[/]/g, "_").replace(/=/g, "");
    const keys = { p256dh: text(point), auth: text(crypto.getRandomValues(new Uint8Array(16))) };
    return { toJSON: () => ({ endpoint: "https://push.example.org/" + crypto.randomUUID(), keys }) };
};
Notification.requestPermission = async () => "granted";
"""


async def test_this_browser_becomes_a_device(address: str) -> None:
    async with opened(address) as demo:
        await demo.page.evaluate(SUBSCRIBES)
        await demo.right.root.get_by_role("button", name="Ring this browser too").click()
        await expect(demo.right.root.locator(".browser-note")).to_have_text(
            f"This browser rings for {demo.names[1]} too."
        )
        assert await demo.page.evaluate("subscribedWith") == 65
        devices = await demo.page.evaluate(
            """async (user) => {
                const { Tocsin } = await import("/web/client/index.js");
                const token = async () => (await (await fetch(`/dev/token?user=${user}`)).json()).token;
                const tocsin = new Tocsin({ getToken: token });
                tocsin.connect();
                const { devices } = await tocsin.devices.list();
                tocsin.close();
                return devices.map(({ provider, state }) => `${provider} ${state}`);
            }""",
            demo.names[1],
        )
        assert devices == ["webpush active", "webpush active"]  # the phone, and this


async def test_a_browser_that_may_not_notify_says_so(address: str) -> None:
    async with opened(address) as demo:
        await demo.page.evaluate("Notification.requestPermission = async () => 'denied'")
        await demo.right.root.get_by_role("button", name="Ring this browser too").click()
        await expect(demo.right.root.locator(".browser-note")).to_have_text(
            "Not here: notifications are not allowed for this page."
        )
