"""`<tocsin-bell>` on a page that is not ours, under a strict policy, against an inbox that is made up.

The page and the modules are answered from files, so no server is needed; what the browser complains about fails the
test.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from browser.demo_page import browser
from playwright.async_api import Locator, Page, Route, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT: Final = Path(__file__).parents[2]
ORIGIN: Final = "http://shop.test"
LIMIT: Final = 120.0
POLICY: Final = "default-src 'none'; script-src 'self'; style-src 'self'"
PAGE: Final = """<!doctype html><html lang="en"{attributes}><meta charset="utf-8"><title>Shop</title>
<meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="/page.css"><script type="module" src="/page.js"></script>
<body><header><h1>Shop</h1><tocsin-bell></tocsin-bell></header><p>What we sell.</p></body></html>"""
STYLE: Final = """:root { color-scheme: light dark; font-family: sans-serif } body { margin: 0 }
header { display: flex; justify-content: space-between; padding: 1rem }"""
SCRIPT: Final = """
import "/web/client/bell.js";
import { Tocsin } from "/web/client/index.js";
import { FakeInbox, transportTo } from "/tests/web/fake_inbox.mjs";
const inbox = window.inbox = new FakeInbox();
const old = location.search === "?full" ? 45 : 0;
for (let i = 1; i <= old; i += 1) inbox.ring({ title: `Old ${i}`, body: "A while ago." });
window.connect = () => {
  const client = new Tocsin({ url: "http://x", getToken: () => "T", transport: transportTo(inbox) });
  client.connect();
  return client;
};
window.client = window.connect();
window.bell = document.querySelector("tocsin-bell");
window.bell.client = window.client;
"""

NOTE: Final = """(note) => {
  window.said = [];
  new MutationObserver(() => note.hidden || window.said.push(note.textContent)).observe(note, { attributes: true });
}"""


class Bell:
    """The bell of a page, with names for its parts."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.button = page.locator("tocsin-bell .ring")
        self.badge = page.locator("tocsin-bell .badge")
        self.panel = page.get_by_role("dialog", name="Notifications")
        self.items = self.panel.get_by_role("listitem")
        self.titles = self.items.locator(".title")

    async def ring(self, title: str, **notification: Any) -> None:
        """A notification comes."""
        await self.page.evaluate("(n) => { inbox.ring(n) }", {"title": title, **notification})

    async def open(self) -> None:
        """A click on the bell."""
        await self.button.click()
        await expect(self.panel).to_be_visible()
        await expect(self.panel).not_to_have_attribute("aria-busy", "true")

    def item(self, title: str) -> Locator:
        """A row by its title."""
        return self.items.filter(has_text=title)


async def _answer(route: Route, attributes: str) -> None:
    path = urlsplit(route.request.url).path
    made = {"/": PAGE.format(attributes=attributes), "/page.css": STYLE, "/page.js": SCRIPT, "/favicon.ico": ""}
    kinds = {".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript"}
    body = made.get(path)
    if body is None:
        body = await asyncio.to_thread((ROOT / path.removeprefix("/")).read_text)
    kind = kinds.get(Path(path).suffix, "text/html")
    await route.fulfill(body=body, content_type=kind, headers={"content-security-policy": POLICY})


@asynccontextmanager
async def shop(query: str = "", attributes: str = "", **options: Any) -> AsyncIterator[Bell]:
    async with asyncio.timeout(LIMIT), browser(**options) as context:
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.route(f"{ORIGIN}/**", lambda route: _answer(route, attributes))
        await page.goto(f"{ORIGIN}/{query}")
        await page.wait_for_function("() => window.client?.state === 'connected'")
        yield Bell(page)
        assert complaints == []


async def test_the_badge_counts_what_came_since_the_bell_was_opened() -> None:
    async with shop() as bell:
        await expect(bell.badge).to_be_hidden()
        await expect(bell.button).to_have_accessible_name("Notifications")
        await bell.ring("Your order is on its way", body="Two boxes.")
        await expect(bell.badge).to_have_text("1")
        await expect(bell.button).to_have_accessible_name("Notifications, 1 new")
        await expect(bell.page.locator("tocsin-bell [role=status]")).to_have_text("Your order is on its way")
        await bell.open()
        await expect(bell.badge).to_be_hidden()
        await expect(bell.item("Your order")).to_have_class(re.compile("unread"))
        await bell.ring("Another one")
        await expect(bell.titles).to_have_text(["Another one", "Your order is on its way"])
        await expect(bell.badge).to_be_hidden()
        await bell.page.wait_for_function("() => inbox.seen >= 1")


async def test_reading_archiving_and_back_again() -> None:
    async with shop() as bell:
        for title in ("One", "Two", "Three"):
            await bell.ring(title)
        await bell.open()
        await bell.item("Two").locator(".open").click()
        await expect(bell.item("Two")).not_to_have_class(re.compile("unread"))
        await bell.item("Two").get_by_role("button", name="Mark as unread").click()
        await expect(bell.item("Two")).to_have_class(re.compile("unread"))
        await bell.item("One").get_by_role("button", name="Archive").click()
        await expect(bell.titles).to_have_text(["Three", "Two"])
        await bell.panel.get_by_role("radio", name="Archived").check()
        await expect(bell.titles).to_have_text(["One"])
        await bell.item("One").get_by_role("button", name="Move back").click()
        await expect(bell.panel.get_by_text("Nothing is archived.")).to_be_visible()
        await bell.panel.get_by_role("radio", name="Unread").check()
        await expect(bell.titles).to_have_text(["Three", "Two"])
        await bell.panel.get_by_role("button", name="Mark all as read").click()
        await expect(bell.panel.get_by_text("You have read everything.")).to_be_visible()
        await expect(bell.panel.get_by_role("button", name="Mark all as read")).to_be_hidden()
        await bell.panel.get_by_role("radio", name="All").check()
        await expect(bell.titles).to_have_text(["Three", "Two", "One"])
        await bell.page.wait_for_function("() => inbox.counts.unread === 0")


async def test_what_other_devices_do_shows_here() -> None:
    async with shop() as bell:
        await bell.ring("One")
        await bell.ring("Two")
        await bell.open()
        await bell.page.evaluate("window.phone = connect(); new Promise((r) => phone.on('subscribed', r))")
        await bell.page.evaluate("phone.inbox.read(1)")
        await expect(bell.item("One")).not_to_have_class(re.compile("unread"))
        await bell.page.evaluate("phone.inbox.archive(1)")
        await expect(bell.titles).to_have_text(["Two"])
        await bell.page.evaluate("phone.inbox.unarchive(1)")
        await expect(bell.titles).to_have_text(["Two", "One"])
        await bell.page.evaluate("inbox.withdraw(2)")
        await expect(bell.titles).to_have_text(["One"])


async def test_a_long_inbox_comes_page_by_page() -> None:
    async with shop("?full") as bell:
        await expect(bell.badge).to_have_text("45")
        await bell.open()
        await expect(bell.titles.first).to_have_text("Old 45")
        asked = await bell.page.evaluate("inbox.asked.filter(([m, p]) => m === 'inbox.list' && p.limit > 1).length")
        assert asked == 1
        while (there := await bell.items.count()) < 45:
            await bell.items.last.scroll_into_view_if_needed()
            await expect(bell.items).not_to_have_count(there)  # the next page comes when the browser notices
        await expect(bell.items).to_have_count(45)
        await expect(bell.titles.last).to_have_text("Old 1")
        assert await bell.titles.all_inner_texts() == [f"Old {i}" for i in range(45, 0, -1)]


async def test_a_mark_that_is_refused_is_taken_back_and_told() -> None:
    async with shop() as bell:
        await bell.ring("One")
        await bell.open()
        await bell.page.evaluate("inbox.refusal = { code: 111, message: 'too many requests' }")
        await bell.item("One").get_by_role("button", name="Archive").click()
        await expect(bell.panel.get_by_role("alert")).to_have_text("That was not done: too many requests.")
        await expect(bell.titles).to_have_text(["One"])
        await expect(bell.item("One")).to_have_class(re.compile("unread"))


async def test_a_list_that_cannot_be_had_can_be_tried_again() -> None:
    async with shop() as bell:
        await bell.ring("One")
        await bell.page.evaluate("() => { inbox.call = () => ({ error: { code: 100, message: 'x' } }) }")
        await bell.open()
        await expect(bell.panel.get_by_text("The list could not be loaded.")).to_be_visible()
        await bell.page.evaluate("delete inbox.call")
        await bell.panel.get_by_role("button", name="Try again").click()
        await expect(bell.titles).to_have_text(["One"])


async def test_by_keyboard_alone() -> None:
    async with shop() as bell:
        keyboard = bell.page.keyboard
        for title in ("One", "Two", "Three"):
            await bell.ring(title)
        await keyboard.press("Tab")
        await expect(bell.button).to_be_focused()
        await keyboard.press("Enter")
        await expect(bell.panel).to_be_focused()
        await expect(bell.titles).to_have_count(3)
        for wanted in (bell.panel.get_by_role("button", name="Close"), bell.panel.get_by_role("radio", name="All")):
            await keyboard.press("Tab")
            await expect(wanted).to_be_focused()
        await keyboard.press("Tab")
        await keyboard.press("Tab")
        await expect(bell.item("Three").locator(".open")).to_be_focused()
        for key, title in (("ArrowDown", "Two"), ("End", "One"), ("ArrowUp", "Two"), ("Home", "Three")):
            await keyboard.press(key)
            await expect(bell.item(title).locator(".open")).to_be_focused()
        await keyboard.press("Enter")
        await expect(bell.item("Three")).not_to_have_class(re.compile("unread"))
        await keyboard.press("Tab")
        await keyboard.press("Tab")
        await keyboard.press("Enter")
        await expect(bell.titles).to_have_text(["Two", "One"])
        await expect(bell.item("Two").locator(".open")).to_be_focused()
        await keyboard.press("Escape")
        await expect(bell.panel).to_be_hidden()
        await expect(bell.button).to_be_focused()


async def test_a_click_elsewhere_closes_it() -> None:
    async with shop() as bell:
        await bell.open()
        await expect(bell.button).to_have_attribute("aria-expanded", "true")
        await bell.page.get_by_text("What we sell.").click()
        await expect(bell.panel).to_be_hidden()
        await expect(bell.button).to_have_attribute("aria-expanded", "false")


async def test_the_page_hears_what_is_opened_and_may_keep_it_from_leading_anywhere() -> None:
    async with shop() as bell:
        await bell.ring("Go", data={"url": "/orders/7"})
        await bell.ring("Stay", data={"url": "javascript:alert(1)"})
        await bell.open()
        assert await bell.item("Go").get_by_role("link").get_attribute("href") == f"{ORIGIN}/orders/7"
        await expect(bell.item("Stay").get_by_role("link")).to_have_count(0)
        await bell.page.evaluate(
            """document.addEventListener("tocsin-open", (event) => {
                event.preventDefault();
                window.opened = event.detail.notification.title;
            })"""
        )
        await bell.item("Go").get_by_role("link").click()
        assert await bell.page.evaluate("[opened, location.pathname]") == ["Go", "/"]
        await expect(bell.item("Go")).not_to_have_class(re.compile("unread"))


async def test_markup_is_text() -> None:
    async with shop() as bell:
        await bell.ring("<img src=x onerror=alert(1)>", body="<script>alert(2)</script>")
        await bell.open()
        await expect(bell.titles).to_have_text(["<img src=x onerror=alert(1)>"])
        await expect(bell.page.locator("img, tocsin-bell script")).to_have_count(0)


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
@pytest.mark.parametrize("width", [1000, 400, 320])
async def test_it_stays_in_the_window(width: int, direction: str) -> None:
    async with shop("?full", f' dir="{direction}"', viewport={"width": width, "height": 640}) as bell:
        await bell.open()
        box = await bell.panel.bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= width - box["width"]
        assert 0 <= box["y"] <= 640 - box["height"]
        assert await bell.page.evaluate("document.documentElement.scrollWidth") == width


async def test_dark_where_the_page_is_dark_and_still_where_motion_is_unwanted() -> None:
    async with shop("?full", color_scheme="dark", reduced_motion="reduce") as bell:
        await bell.open()
        colour = await bell.panel.evaluate("(panel) => getComputedStyle(panel).backgroundColor")
        assert max(int(part) for part in re.findall(r"\d+", colour)[:3]) < 80
        await bell.ring("Still")
        await expect(bell.titles.first).to_have_text("Still")
        assert await bell.page.evaluate("document.getAnimations().length") == 0


async def test_a_page_has_its_own_words_and_colours() -> None:
    async with shop() as bell:
        await bell.page.evaluate("bell.words = { notifications: 'Neues', nothing: { current: 'Noch nichts.' } }")
        await bell.page.evaluate("bell.style.setProperty('--tocsin-paper', 'rgb(1, 2, 3)')")
        await expect(bell.button).to_have_accessible_name("Neues")
        await bell.button.click()
        panel = bell.page.get_by_role("dialog", name="Neues")
        await expect(panel.get_by_text("Noch nichts.")).to_be_visible()
        assert await panel.evaluate("(panel) => getComputedStyle(panel).backgroundColor") == "rgb(1, 2, 3)"


async def test_without_a_connection_it_says_so() -> None:
    async with shop() as bell:
        await bell.ring("One")
        await bell.open()
        await bell.panel.locator(".note").first.evaluate(NOTE)
        await bell.page.evaluate("dispatchEvent(new Event('offline'))")
        # The page notes it itself: it comes back after half a second at most, which may be before we look.
        await bell.page.wait_for_function("() => said.includes('Not connected. This list may be old.')")
        await bell.page.evaluate("dispatchEvent(new Event('online'))")
        await expect(bell.panel.get_by_text("Not connected.")).to_be_hidden()
        await bell.page.evaluate("bell.remove(); client.close()")
        await expect(bell.panel).to_be_hidden()
