"""The documents: tables say what the code says, links lead somewhere, and the tour in the README works as typed."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from playwright.async_api import async_playwright
from tocsin_system import LIMIT, Dev, clean_environ, dev

from bus.namespaces import Namespaces
from bus.people.categories import Categories
from bus.settings import check_top_level, read
from fanout.deliver.settings import BURST, RATE
from tests.faults.checker import LAWS
from tocsin.cli import parser
from tocsin.settings import ROLES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert generator().main(["--check"]) == 0, capsys.readouterr().out


def test_every_setting_has_a_meaning() -> None:
    rows = [
        line
        for line in (ROOT / "docs" / "configuration.md").read_text().splitlines()
        if line.startswith("| `") and line.rstrip(" |").endswith("`")
    ]
    assert rows == []


TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [(page, text) for page in PAGES for text in TOML.findall(page.read_text())]


@pytest.mark.parametrize(("page", "text"), EXAMPLES, ids=[f"{page.stem}-{i}" for i, (page, _) in enumerate(EXAMPLES)])
def test_settings_that_are_shown_are_settings(page: Path, text: str) -> None:
    file = tomllib.loads(text)
    check_top_level(file, ROLES)
    for role, settings in ROLES.items():
        read(settings, file, {}, table=role)
    Categories(file.get("categories", {}))
    Namespaces(file.get("namespaces", {}))
    for kind, tables in file.get("deliver", {}).items():
        known, meanings = generator().PROVIDERS[kind]
        assert set(known) == set(meanings)
        for table in tables.values():
            assert set(table) <= {*known, RATE, BURST}


LINK = re.compile(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)")


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links, as GitHub does it."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for target, anchor in LINK.findall(page.read_text()):
        there = page.parent / target if target else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append(f"{target}#{anchor}")
    assert lost == []


def test_every_command_is_listed() -> None:
    (commands,) = (action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    listed = (ROOT / "README.md").read_text().split("## Commands")[1].split("## Further")[0]
    assert set(commands) <= set(re.findall(r"`([\w-]+)`", listed))


SHOWN = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")
"""A test, or a file of tests, that a page names; below tests/."""


def test_what_shows_a_promise_is_there() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text()
    missing = []
    for file, test in SHOWN.findall(page):
        path = ROOT / "tests" / file
        text = path.read_text() if path.exists() else ""
        if not text or (test and f"def {test}(" not in text):
            missing.append(f"{file}::{test}")
    assert missing == []


def test_every_invariant_is_among_the_promises() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text()
    rows = re.findall(r"^\| (\d+) \|.*`\w+/[\w/]*\w+\.py(?:::\w+)?`", page, re.MULTILINE)
    assert [int(number) for number in rows] == sorted(LAWS)


def test_decisions_are_numbered_and_dated() -> None:
    for number, page in enumerate(sorted((ROOT / "docs" / "decisions").glob("*.md")), 1):
        assert page.name.startswith(f"{number:04}-")
        title, _, date = page.read_text().splitlines()[:3]
        assert title.startswith(f"# {number}. ")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d, (accepted|replaced by \d+)", date)


# The tour --------------------------------------------------------------------------------------------------------


def blocks(language: str = "sh") -> list[str]:
    """The commands of the tour, in their order, as the reader would paste them."""
    tour = (ROOT / "README.md").read_text().split("## Five minutes")[1].split("## Who may what")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", tour, re.DOTALL | re.MULTILINE)


def here(text: str, system: Dev) -> str:
    """A block for a system that is not on port 8000, with what it installs already there."""
    text = text.replace("http://127.0.0.1:8000/", system.page).replace("ws://127.0.0.1:8000/", "ws" + system.page[4:])
    return text.replace("pip install --quiet centrifuge-python\n", "")


def shell(text: str, system: Dev, folder: Path) -> subprocess.Popen[str]:
    environ = clean_environ({"TOCSIN_DATA": str(system.folder)})
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    return subprocess.Popen(
        ["bash", "-euc", here(text, system)],
        cwd=folder,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def said(text: str, system: Dev, folder: Path) -> str:
    """What a command that ends prints."""
    with shell(text, system, folder) as process:
        out, _ = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, out
        return out


FOLLOWED = "curl http://127.0.0.1:8000/v1/users/carol/topics -H 'X-API-Key: dev-key'"


def until(text: str, block: str, system: Dev, folder: Path) -> str:
    """A command again and again, until what it prints has this in it."""
    end = time.monotonic() + LIMIT
    while text not in (printed := said(block, system, folder)):
        assert time.monotonic() < end, printed
    return printed


def hears_everything(listener: str, system: Dev, folder: Path) -> None:
    """A listener of the tour prints what is sent to Alice's inbox, and what is sent to the lobby."""
    lines: list[str] = []
    with shell(listener, system, folder) as process:
        output = process.stdout
        assert output is not None
        reader = threading.Thread(target=lambda: lines.extend(iter(output.readline, "")))
        reader.start()
        try:
            for _ in range(40):  # it says nothing when it begins to listen, so something is sent until it hears
                system.tocsin("publish", "--user", "alice", "--title", "To Alice")
                system.tocsin("publish", "--topic", "demo:lobby", "--title", "To all")
                heard = "".join(lines)
                if "To Alice" in heard and "To all" in heard:
                    return
                assert process.poll() is None, heard
            raise AssertionError(f"it heard only: {lines}")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            reader.join()


@pytest.mark.slow
def test_the_tour_sends_as_typed(tmp_path: Path) -> None:
    activate, curl, publish, xadd, buried, *_ = blocks()
    assert activate == ". .venv/bin/activate\n"
    with dev(tmp_path / "data") as system:
        assert '"id":' in said(curl, system, tmp_path)
        assert said(publish, system, tmp_path).startswith("accepted ")
        alice, position = said(xadd, system, tmp_path).splitlines()
        assert alice.split()[-1] in xadd
        assert re.fullmatch(r"\d+-\d+", position)
        said(buried.splitlines()[0], system, tmp_path)
        until("is not valid JSON", buried.splitlines()[1], system, tmp_path)


@pytest.mark.slow
def test_what_is_shown_of_following_works_as_typed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "notifications.md").read_text()
    first, *others = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    with dev(tmp_path / "data") as system:
        until("It was put into their inbox at offset 1", first, system, tmp_path)
        until("carol@example.com", first.splitlines()[-1], system, tmp_path)
        for block in others:
            assert "urn:problem-type" not in said(block, system, tmp_path)
        assert '["news:sport"]' in said(FOLLOWED, system, tmp_path)


@pytest.mark.slow
@pytest.mark.sdk
@pytest.mark.parametrize("number", [5, 7], ids=["curl", "python"])
def test_the_tour_listens_as_typed(tmp_path: Path, number: int) -> None:
    with dev(tmp_path / "data") as system:
        hears_everything(blocks()[number], system, tmp_path)


@pytest.mark.slow
@pytest.mark.sdk
@pytest.mark.node
def test_the_tour_listens_in_javascript_as_typed(tmp_path: Path) -> None:
    modules = ROOT / "tests" / "sdk" / "node_modules"
    if not (modules / "centrifuge").exists() or not shutil.which("node"):
        pytest.skip("the JavaScript SDK is not installed: make install-node")
    (tmp_path / "try").mkdir()
    (tmp_path / "try" / "node_modules").symlink_to(modules)
    install, _, script = blocks()[6].partition("\n")
    assert "npm install centrifuge ws" in install
    with dev(tmp_path / "data") as system:
        hears_everything("cd try\n" + script, system, tmp_path)


def dev_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(headers={"Authorization": "Bearer dev-key"}, timeout=LIMIT)


async def tab_of_alice(chromium: str, system: Dev) -> None:
    """Open the page for as long as it takes to give her a phone and a mailbox, and close it."""
    async with async_playwright() as playwright, dev_client() as http:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = await browser.new_page()
        await page.goto(system.page)
        alice = f"{system.page}v1/users/alice"
        while not (await http.get(f"{alice}/devices")).json()["devices"]:
            await page.wait_for_timeout(50)
        while "email" not in (await http.get(alice)).json():
            await page.wait_for_timeout(50)
        await browser.close()


@pytest.mark.slow
@pytest.mark.browser
async def test_the_tour_follows_whoever_closed_the_tab_as_typed(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    publish, elsewhere, why, read, choose, dead = blocks()[8:]
    with dev(tmp_path / "data") as system:
        async with asyncio.timeout(LIMIT):
            await tab_of_alice(chromium, system)
        said(publish, system, tmp_path)
        phone, mailbox = elsewhere.splitlines()
        until("A parcel is here", phone, system, tmp_path)
        assert "alice@demo.test" in until("A parcel is here", mailbox, system, tmp_path)
        explained = until("An e-mail was sent by mailbox.", why, system, tmp_path)
        assert "A push was sent by dev." in explained
        assert "alice has read it" in said(read, system, tmp_path)
        *send, explain = choose.splitlines()
        said("\n".join(send), system, tmp_path)
        until("A push was skipped: they turned this channel off.", explain, system, tmp_path)
        send, ls, replay = dead.rsplit("tocsin", 2)
        said(send, system, tmp_path)
        until("there is no template of the name", f"tocsin{ls}", system, tmp_path)
        assert "1 would be sent again" in said(f"tocsin{replay}", system, tmp_path)


SUBSCRIBED = """
const missing = new Set(["inbox", "demo:lobby"]);
await new Promise((done) => tocsin.on("subscribed", ({ topic }) => {
    missing.delete(topic);
    if (missing.size === 0) done();
}));
"""
"""Waits for all that the page listens to."""


@pytest.mark.slow
@pytest.mark.browser
async def test_the_tour_listens_in_the_page_as_typed(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    (block,) = blocks("js")
    heard: list[str] = []
    with dev(tmp_path / "data") as system:
        async with asyncio.timeout(LIMIT), async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = await browser.new_page()
            page.on("console", lambda message: heard.append(message.text))
            await page.goto(system.page)
            await page.evaluate(f"async () => {{ {block} {SUBSCRIBED} }}")
            system.tocsin("publish", "--user", "alice", "--title", "To Alice")
            system.tocsin("publish", "--topic", "demo:lobby", "--title", "To all")
            while not {"inbox To Alice", "demo:lobby To all"} <= set(heard):
                await page.wait_for_timeout(20)
            await browser.close()
