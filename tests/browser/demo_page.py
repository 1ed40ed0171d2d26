"""The demo page in a real Chromium, with names for what is on it. What the browser complains about fails the test."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Locator, Page, async_playwright, expect

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PATIENCE = 30_000.0
"""Milliseconds; a machine may be busy with other things."""

FAREWELL = 15.0
"""Seconds that a browser may take to end."""

expect.set_options(timeout=PATIENCE)


def chromium() -> str:
    """Path of the browser; where it is missing the test is skipped, but in CI that is a failure."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    if os.environ.get("CI") == "true":
        pytest.fail("chromium is not installed")
    pytest.skip("chromium is not installed")


class Pane:
    """One person's half of the page."""

    def __init__(self, page: Page, number: int) -> None:
        self.root = page.locator(".pane").nth(number)
        self.state = self.root.locator(".state-text")
        self.inbox = self.root.locator(".inbox .item")
        self.topic = self.root.locator(".topic .item")
        self.badge = self.root.locator(".inbox .badge")
        self.banner = self.root.locator(".banner")
        self.people = self.root.locator(".people li")
        self.plug = self.root.locator(".plug")
        self.name = self.root.get_by_label("User")
        self.topic_name = self.root.get_by_label("Topic")
        self.bell = self.root.locator("tocsin-bell")
        self.phone = self.root.locator(".phone-screen li")
        self.letters = self.root.locator(".letters li")

    def titles(self, items: Locator) -> Locator:
        """The titles of items."""
        return items.locator(".item-title")

    async def transport(self, name: str) -> None:
        """Choose WebSocket or SSE, as a hand would."""
        await self.root.get_by_role("radio", name=name, exact=True).check()


class Demo:
    """The page, opened for two people and a topic that no other test has."""

    def __init__(self, page: Page, left: str, right: str, topic: str) -> None:
        self.page = page
        self.names = (left, right)
        self.topic = topic
        self.left = Pane(page, 0)
        self.right = Pane(page, 1)
        self.title = page.get_by_label("Title")
        self.body = page.get_by_label("Text")
        self.steps = page.locator(".follow-steps li")
        self.complaints: list[str] = []

    async def connected(self) -> None:
        """Both are connected, and know of each other."""
        for pane in (self.left, self.right):
            await expect(pane.state).to_have_text("connected")
            await expect(pane.people).to_have_text(sorted(self.names))

    async def choose(self, recipient: str) -> None:
        """To whom the composer sends."""
        await self.page.locator("#recipients").get_by_role("radio", name=recipient, exact=True).check()

    def step(self, name: str) -> Locator:
        """A step of what is followed, by its name."""
        return self.steps.filter(has=self.page.locator(".step-name").get_by_text(name, exact=True))

    async def send(self, recipient: str, title: str, body: str = "") -> None:
        """Send by the composer and wait until the gateway has it."""
        await self.choose(recipient)
        await self.title.fill(title)
        await self.body.fill(body)
        async with self.page.expect_response("**/dev/publish") as answer:
            await self.title.press("Enter")
        assert (await answer.value).status == 202


@asynccontextmanager
async def browser(**options: Any) -> AsyncIterator[BrowserContext]:
    """A fresh profile."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        try:
            context = await running.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
            context.set_default_timeout(PATIENCE)
            yield context
        finally:
            # One that does not end by itself is ended with its driver.
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    await running.close()


async def open_demo(context: BrowserContext, address: str, names: tuple[str, str], topic: str) -> Demo:
    """The page in a tab, everything that the browser complains about noted."""
    page = await context.new_page()
    demo = Demo(page, *names, topic)
    page.on("console", lambda m: demo.complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: demo.complaints.append(str(error)))
    page.on("dialog", lambda dialog: demo.complaints.append(f"dialog: {dialog.message}"))
    await page.goto(f"{address}web/demo/?left={names[0]}&right={names[1]}&topic={topic}")
    return demo


@asynccontextmanager
async def demo_page(address: str, **options: Any) -> AsyncIterator[Demo]:
    """The page for two people of this test's own, connected; nothing may have been complained about in the end."""
    run = uuid.uuid4().hex[:6]
    async with browser(**options) as context:
        demo = await open_demo(context, address, (f"ann-{run}", f"ben-{run}"), f"test:{run}")
        await demo.connected()
        yield demo
        assert demo.complaints == []
