"""What the demo page promises, tried on the running system by a real browser."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser.demo_page import Demo, demo_page, open_demo
from playwright.async_api import expect
from tocsin_system import descendants, dev

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LIMIT = 150.0
PAYLOAD = "<img src=x onerror=alert(1)><script>alert(2)</script>"
TRANSPORTS = pytest.mark.parametrize("transport", ["WebSocket", "SSE"])
NOTE_STATES = """(text) => {
    window.states = [];
    new MutationObserver(() => states.push(text.textContent)).observe(text, { childList: true, characterData: true });
}"""
"""Notes what an element says from now on, however short."""
LATENCY = re.compile(r"^(<1|\d+) ms$|^\d+\.\d s$")


@asynccontextmanager
async def opened(address: str, **options: Any) -> AsyncIterator[Demo]:
    async with asyncio.timeout(LIMIT), demo_page(address, **options) as demo:
        yield demo


# Live ------------------------------------------------------------------------------------------------------------


async def test_a_message_arrives_live_in_the_other_pane(address: str) -> None:
    async with opened(address) as demo:
        await demo.send(demo.names[1], "Dinner is ready", "Soup.")
        item = demo.right.inbox.first
        await expect(item.locator(".item-title")).to_have_text("Dinner is ready")
        await expect(item.locator(".item-body")).to_have_text("Soup.")
        await expect(item.locator(".item-took")).to_have_text(LATENCY)
        await expect(demo.left.inbox).to_have_count(0)
        await expect(demo.page.locator("#figure-count")).to_have_text("1")
        await expect(demo.page.locator("#figure-median")).to_have_text(LATENCY)
        await expect(demo.right.root.locator(".pace-text")).to_have_text(re.compile("^median "))
        assert await demo.right.root.locator(".spark-line").get_attribute("points")


async def test_a_topic_reaches_both(address: str) -> None:
    async with opened(address) as demo:
        await demo.send(demo.topic, "To all")
        for pane in (demo.left, demo.right):
            await expect(pane.titles(pane.topic)).to_have_text(["To all"])
            await expect(pane.inbox).to_have_count(0)


@TRANSPORTS
async def test_a_burst_arrives_whole_and_in_order(address: str, transport: str) -> None:
    async with opened(address) as demo:
        await demo.right.transport(transport)
        await demo.choose(demo.names[1])
        await demo.title.fill("Ring")
        if transport == "SSE":
            await demo.page.get_by_role("button", name="Send ten").click()
        else:
            await demo.title.press("Shift+Enter")
        # The newest is on top.
        wanted = [f"Ring ({i} of 10)" for i in range(10, 0, -1)]
        await expect(demo.right.titles(demo.right.inbox)).to_have_text(wanted)


# The plug --------------------------------------------------------------------------------------------------------


@TRANSPORTS
async def test_what_is_missed_while_unplugged_is_recovered_once_and_marked(address: str, transport: str) -> None:
    async with opened(address) as demo:
        left, right = demo.left, demo.right
        await right.transport(transport)
        await demo.connected()
        await demo.send(demo.names[1], "before")
        await expect(right.inbox).to_have_count(1)

        await right.plug.click()
        await expect(right.state).to_have_text("unplugged")
        await expect(left.people).to_have_text([demo.names[0]])
        for n in range(3):
            await demo.send(demo.names[1], f"missed {n}")
        for n in range(2):
            await demo.send(demo.topic, f"said {n}")
        await expect(left.topic).to_have_count(2)
        await held(demo, demo.names[1], 4)
        await expect(right.inbox).to_have_count(1)
        await expect(right.topic).to_have_count(0)

        await right.plug.click()
        await expect(right.state).to_have_text("connected")
        await expect(right.banner).to_contain_text(f"5 recovered (3 in the inbox, 2 in {demo.topic}), none missed.")
        await expect(right.titles(right.inbox)).to_have_text(["missed 2", "missed 1", "missed 0", "before"])
        await expect(right.titles(right.topic)).to_have_text(["said 1", "said 0"])
        await expect(right.root.locator(".item.recovered .tag")).to_have_text(["recovered"] * 5)
        await expect(right.badge).to_have_text("4")
        await expect(left.people).to_have_text(sorted(demo.names))

        await demo.send(demo.names[1], "after")
        await expect(right.inbox).to_have_count(5)
        await expect(right.inbox.first.locator(".item-took")).to_have_text(LATENCY)


async def held(demo: Demo, user: str, count: int) -> None:
    """Wait until somebody's inbox holds so many, wherever they are: what was accepted may have a while to go."""
    await demo.page.evaluate(
        """async ({ user, count }) => {
            const { Tocsin } = await import("/web/client/index.js");
            const token = async () => (await (await fetch(`/dev/token?user=${user}`)).json()).token;
            const tocsin = new Tocsin({ getToken: token });
            tocsin.connect();
            while ((await tocsin.inbox.list({ limit: count })).items.length < count)
                await new Promise((resolve) => setTimeout(resolve, 50));
            tocsin.close();
        }""",
        {"user": user, "count": count},
    )


async def test_nothing_missed_is_said_too(address: str) -> None:
    async with opened(address) as demo:
        await demo.left.plug.click()
        await expect(demo.left.state).to_have_text("unplugged")
        await demo.left.plug.click()
        await expect(demo.left.banner).to_contain_text("Nothing had come meanwhile.")


async def test_changing_the_transport_loses_nothing(address: str) -> None:
    async with opened(address) as demo:
        for n, transport in enumerate(["SSE", "WebSocket", "SSE"]):
            await demo.right.transport(transport)
            await demo.send(demo.names[1], f"message {n}")
        await expect(demo.right.titles(demo.right.inbox)).to_have_text(["message 2", "message 1", "message 0"])


# Inbox and people ------------------------------------------------------------------------------------------------


async def test_the_badge_counts_what_is_unread(address: str) -> None:
    async with opened(address) as demo:
        inbox, badge = demo.left.inbox, demo.left.badge
        await expect(badge).to_be_hidden()
        for n in range(3):
            await demo.send(demo.names[0], f"number {n}")
        await expect(badge).to_have_text("3")
        await inbox.nth(1).get_by_role("button", name="Mark as read: number 1").click()
        await expect(badge).to_have_text("2")
        await expect(inbox.nth(1)).not_to_have_class(re.compile("unread"))
        await demo.left.root.get_by_role("button", name="Mark all as read").click()
        await expect(badge).to_be_hidden()
        await expect(demo.left.root.locator(".unread")).to_have_count(0)


async def test_tabs_of_one_person_agree_on_what_is_read(address: str) -> None:
    async with opened(address) as demo:
        other = await open_demo(demo.page.context, address, demo.names, demo.topic)
        await other.connected()
        await demo.send(demo.names[0], "read me")
        await expect(demo.left.badge).to_have_text("1")
        await expect(other.left.badge).to_have_text("1")
        await demo.left.inbox.get_by_role("button").click()
        await expect(other.left.badge).to_be_hidden()
        assert other.complaints == []


async def test_a_reload_shows_what_came_earlier(address: str) -> None:
    async with opened(address) as demo:
        await demo.send(demo.names[0], "old news")
        await demo.send(demo.topic, "old talk")
        await expect(demo.left.topic).to_have_count(1)
        await expect(demo.left.inbox).to_have_count(1)
        await demo.page.reload()
        await demo.connected()
        for items in (demo.left.inbox, demo.left.topic):
            await expect(items.locator(".tag")).to_have_text(["earlier"])
        await expect(demo.left.badge).to_have_text("1")


async def test_a_pane_can_be_somebody_else_somewhere_else(address: str) -> None:
    async with opened(address) as demo:
        other = f"{demo.names[1]}-too"
        await demo.right.name.fill(other)
        await demo.right.name.press("Enter")
        await expect(demo.left.people).to_have_text([demo.names[0], other])
        await demo.send(other, "for the new one")
        await expect(demo.right.titles(demo.right.inbox)).to_have_text(["for the new one"])
        await demo.right.topic_name.fill(f"{demo.topic}-two")
        await demo.right.topic_name.press("Enter")
        await expect(demo.left.people).to_have_text([demo.names[0]])
        await expect(demo.right.people).to_have_text([other])
        await demo.send(f"{demo.topic}-two", "over here")
        await expect(demo.right.titles(demo.right.topic)).to_have_text(["over here"])
        await expect(demo.left.topic).to_have_count(0)


async def test_who_comes_and_goes_while_all_are_asked_for_counts_more_than_the_answer(address: str) -> None:
    async with opened(address) as demo:
        there = await demo.page.evaluate(
            """async () => {
                const { People } = await import("/web/demo/people.js");
                const list = document.createElement("ul");
                const people = new People(list);
                const shown = () => [...list.children].map((item) => item.textContent);
                people.join({ user: "old", client: "0" });
                people.ask();
                people.join({ user: "ben", client: "2" });
                people.leave({ client: "3" });
                people.set([{ user: "ann", client: "1" }, { user: "cat", client: "3" }]);
                const first = shown();
                people.forget();
                return [first, shown()];
            }"""
        )
        assert there == [["ann", "ben"], []]


# The real feed ---------------------------------------------------------------------------------------------------


async def test_the_real_feed_draws_prices_and_tells_of_falls(address: str) -> None:
    async with opened(address) as demo:
        market = demo.page.locator(".market")
        await market.get_by_label("Speed").select_option("0.25")  # all of it takes half a minute
        await market.get_by_role("button", name="Play real prices").click()
        await expect(market.locator(".chart.silent")).to_have_count(1)  # one share was not traded yet in 2000
        for pane in (demo.left, demo.right):
            await expect(pane.titles(pane.inbox).first).to_have_text(re.compile(r"^[A-Z]+ fell \d+\.\d %$"))
        await expect(market.locator("#market-state")).to_have_text(re.compile(r"^[1-9]\d* falls? of more than 10 %\.$"))
        await expect(market.locator(".chart-when").first).to_have_text(re.compile("^Jan 2000 – "))
        apple = market.locator(".chart", has_text="AAPL")
        await expect(apple.locator(".chart-line")).to_have_attribute("d", re.compile(r"^M[\d. ]+L"))
        await expect(apple.locator("svg")).to_have_accessible_name(re.compile(r"^AAPL: \d+\.\d\d in \w{3} 20\d\d$"))
        await market.get_by_role("button", name="Stop").click()
        await expect(market.get_by_role("button", name="Play real prices")).to_be_visible()
        await expect(market.locator("#market-state")).to_have_text(re.compile("^Stopped. "))


# Anybody's page --------------------------------------------------------------------------------------------------


async def test_nothing_is_wider_than_the_window(address: str) -> None:
    async with opened(address, viewport={"width": 360, "height": 780}) as demo:
        await demo.send(demo.names[0], "Donaudampfschifffahrtsgesellschaft" * 6, "x" * 400)
        await expect(demo.left.inbox).to_have_count(1)
        await demo.right.plug.click()
        for width in (1280, 1000, 999, 820, 819, 480, 390, 360, 320):
            await demo.page.set_viewport_size({"width": width, "height": 780})
            assert await demo.page.evaluate("document.documentElement.scrollWidth") == width


async def test_dark_by_preference(address: str) -> None:
    luminance = """(property) => {
        const [r, g, b] = getComputedStyle(document.body)[property].match(/[0-9]+/g).map(Number);
        return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
    }"""
    for scheme, is_dark in (("light", False), ("dark", True)):
        async with opened(address, color_scheme=scheme) as demo:
            paper = await demo.page.evaluate(luminance, "backgroundColor")
            ink = await demo.page.evaluate(luminance, "color")
            assert (paper < 0.15 and ink > 0.7) if is_dark else (paper > 0.8 and ink < 0.2)


async def test_no_motion_for_those_who_want_none(address: str) -> None:
    async with opened(address, reduced_motion="reduce") as demo:
        await demo.send(demo.names[0], "still")
        await expect(demo.left.inbox).to_have_count(1)
        assert await demo.page.evaluate("document.getAnimations().length") == 0


async def test_sending_by_keyboard_alone(address: str) -> None:
    async with opened(address) as demo:
        keyboard = demo.page.keyboard
        await keyboard.press("Tab")
        await expect(demo.page.get_by_role("link", name="Skip to the composer")).to_be_focused()
        await keyboard.press("Tab")
        await expect(demo.page.get_by_role("radio", name=demo.names[0])).to_be_focused()
        await keyboard.press("ArrowRight")
        await keyboard.press("Tab")
        await expect(demo.title).to_be_focused()
        await keyboard.type("by hand")
        await keyboard.press("Enter")
        await expect(demo.right.titles(demo.right.inbox)).to_have_text(["by hand"])
        await keyboard.press("Shift+Enter")
        await expect(demo.right.inbox).to_have_count(11)


async def test_everything_can_be_reached_and_is_seen_to_be(address: str) -> None:
    async with opened(address) as demo:
        seen: set[str] = set()
        for _ in range(60):
            await demo.page.keyboard.press("Tab")
            name, outlined = await demo.page.evaluate(
                """() => {
                    let e = document.activeElement;
                    if (e.shadowRoot) e = e.shadowRoot.activeElement;
                    const shown = e.type === "radio" ? e.nextElementSibling : e;
                    const outline = getComputedStyle(shown);
                    const seen = parseFloat(outline.outlineWidth) >= 2 && outline.outlineStyle !== "none";
                    return [`${e.tagName} ${e.className}`, seen];
                }"""
            )
            if name.startswith("BODY"):
                break
            assert outlined, name
            seen.add(name)
        buttons = ("BUTTON plug secondary", "BUTTON gear", "BUTTON ring")
        for wanted in (*buttons, "INPUT name-input", "INPUT topic-input", "SELECT ", "SUMMARY "):
            assert wanted in seen


async def test_markup_in_a_message_is_text(address: str) -> None:
    async with opened(address) as demo:
        await demo.send(demo.names[0], PAYLOAD, PAYLOAD)
        await demo.send(demo.topic, PAYLOAD)
        item = demo.left.inbox.first
        await expect(item.locator(".item-title")).to_have_text(PAYLOAD)
        await expect(item.locator(".item-body")).to_have_text(PAYLOAD)
        await demo.right.name.fill(PAYLOAD[:32])
        await demo.right.name.press("Enter")
        await expect(demo.left.people.last).to_have_text(demo.names[0])
        await expect(demo.left.people.first).to_have_text(PAYLOAD[:32])
        await expect(demo.page.locator("img, main script")).to_have_count(0)


async def test_the_policy_lets_nothing_foreign_run(address: str) -> None:
    async with opened(address) as demo:
        violated = await demo.page.evaluate(
            """async () => {
                const told = new Promise((resolve) => {
                    addEventListener("securitypolicyviolation", (e) => resolve(e.effectiveDirective));
                });
                const script = document.createElement("script");
                script.textContent = "window.owned = true";
                document.body.append(script);
                return [await told, window.owned === undefined];
            }"""
        )
        assert violated == ["script-src-elem", True]
        demo.complaints.clear()


async def test_a_gateway_that_refuses_is_told(address: str) -> None:
    async with opened(address) as demo:
        await demo.page.route(
            "**/dev/publish", lambda route: route.fulfill(status=503, json={"detail": "Redis is away"})
        )
        await demo.title.fill("x")
        await demo.title.press("Enter")
        await expect(demo.page.get_by_role("alert")).to_have_text("Not sent: Redis is away")
        demo.complaints.clear()


# When things break -----------------------------------------------------------------------------------------------


async def test_without_websockets_the_client_takes_sse(address: str) -> None:
    async with opened(address) as demo:
        asked: list[str] = []
        demo.page.on("request", lambda request: asked.append(urlsplit(request.url).path))
        heard = await demo.page.evaluate(
            """async (user) => {
                const { Tocsin } = await import("/web/client/index.js");
                globalThis.WebSocket = class extends WebSocket {
                    constructor(url) { super(url.replace("/connection/websocket", "/wall")); }
                };
                const getToken = async () => (await (await fetch(`/dev/token?user=${user}`)).json()).token;
                const tocsin = new Tocsin({ getToken });
                const told = new Promise((resolve) => tocsin.on("inbox", resolve));
                const connected = new Promise((resolve) => tocsin.on("subscribed", resolve));
                tocsin.connect();
                await connected;
                const event = { type: "note", to: { users: [user] }, title: "through the wall" };
                await fetch("/dev/publish", { method: "POST", body: JSON.stringify(event) });
                const { data } = await told;
                tocsin.close();
                return data.title;
            }""",
            f"walled-{demo.names[0]}",
        )
        assert heard == "through the wall"
        assert "/connection/sse" in asked
        demo.complaints.clear()  # the wall


@TRANSPORTS
async def test_a_gateway_that_is_killed_costs_nothing(tmp_path: Path, transport: str) -> None:
    with dev(tmp_path) as system:
        async with opened(system.page) as demo:
            await demo.right.transport(transport)
            await demo.send(demo.names[1], "before")
            await expect(demo.right.inbox).to_have_count(1)
            await demo.right.state.evaluate(NOTE_STATES)
            os.kill(gateway_of(system.process.pid), signal.SIGKILL)
            await demo.page.wait_for_function("() => states.some((state) => state !== 'connected')")
            await demo.connected()
            await expect(demo.right.banner).to_contain_text("Nothing had come meanwhile.")
            await demo.send(demo.names[1], "after")
            await expect(demo.right.titles(demo.right.inbox)).to_have_text(["after", "before"])
            demo.complaints.clear()  # refused connections, which are the point


def gateway_of(pid: int) -> int:
    """The gateway's process among those below one."""
    for child in descendants(pid):
        if b"\0gateway\0" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    raise AssertionError("no gateway")
