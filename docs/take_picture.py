"""Takes docs/page.png, the picture of the demo page in the README, from a system of its own: `make page`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, sync_playwright

PICTURE: Final = Path(__file__).parent / "page.png"
SIZE: Final = {"width": 1280, "height": 1310}
LOBBY: Final = (("Standup in five minutes", "Room 3 today."), ("Coffee is ready", "The good one."))
MISSED: Final = (
    ("Alice mentioned you", "“Ask Bob, he knows where the key is.”"),
    ("Build 1284 is green", "Ready to go out."),
)


@contextmanager
def system(folder: Path) -> Iterator[str]:
    """The page's address."""
    command = [sys.executable, "-m", "tocsin", "dev", "--port", "0", "--json", "--data-folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["page"]
        finally:
            process.terminate()


def arrange(page: Page, address: str, publish: Callable[..., None]) -> None:
    """Make something happen on the page, with Bob's plug pulled for a while."""
    page.goto(address)
    page.locator(".state", has_text="connected").nth(1).wait_for()
    page.select_option("#market-speed", index=1)
    page.click("#market-play")
    page.wait_for_timeout(8_000)
    page.click("#market-play")
    for title, body in LOBBY:
        publish("--topic", "demo:lobby", "--title", title, "--body", body)
    publish("--user", "alice", "--title", "Your parcel is at the door", "--body", "Left with number 12.")
    page.locator(".plug").nth(1).click()
    for title, body in MISSED:
        publish("--user", "bob", "--title", title, "--body", body)
    page.wait_for_timeout(18_000)  # nobody answers: the phone rings, then mail comes
    page.locator(".plug").nth(1).click()
    page.locator(".state", has_text="connected").nth(1).wait_for()
    page.wait_for_timeout(1_500)
    page.evaluate("window.scrollTo(0, 0)")


def main() -> int:
    """0 when the picture is taken."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, system(Path(name)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light", device_scale_factor=1)  # type: ignore[arg-type]

        def publish(*arguments: str) -> None:
            argv = [sys.executable, "-m", "tocsin", "publish", *arguments, "--data-folder", name]
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)

        arrange(page, address, publish)
        page.screenshot(path=PICTURE)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
