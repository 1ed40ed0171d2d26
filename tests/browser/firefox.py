"""A real Firefox, headless, driven by WebDriver BiDi over its own WebSocket: no driver program is needed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

LISTENING = b"WebDriver BiDi listening on "
PREFERENCES: Mapping[str, Any] = {
    # What a browser under test has is a browser without push; this one is to have it, from us.
    "remote.prefs.recommended": False,
    "dom.push.connection.enabled": True,
    "dom.push.testing.allowInsecureServerURL": True,
    "permissions.default.desktop-notification": 1,
    # Notifications drawn by the browser itself: there is no desktop here.
    "alerts.useSystemBackend": False,
    # Nothing may leave this machine.
    "app.update.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "http://127.0.0.1:1",
    "toolkit.telemetry.enabled": False,
}


def firefox() -> str:
    """Path of the browser; where it is missing the test is skipped, but in CI that is a failure."""
    for name in ("firefox-esr", "firefox"):
        if found := shutil.which(name):
            return found
    if os.environ.get("CI") == "true":
        pytest.fail("firefox is not installed")
    pytest.skip("firefox is not installed")


class FirefoxPage:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self._context = ""

    async def begin(self) -> None:
        await self._ask("session.new", capabilities={})
        tree = await self._ask("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]

    async def goto(self, url: str) -> None:
        """Load a page and wait until it is there."""
        await self._ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, body: str) -> Any:
        """Run an async function's body in the page; what it returns, by way of JSON."""
        script = f"(async () => JSON.stringify((await (async () => {{ {body} }})()) ?? null))()"
        answer = await self._ask(
            "script.evaluate", expression=script, target={"context": self._context}, awaitPromise=True
        )
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"]["value"])

    async def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(await self._socket.recv())
            if message.get("id") == self._number:
                assert message["type"] == "success", message
                return dict(message["result"])


@asynccontextmanager
async def firefox_page(profile: Path, preferences: Mapping[str, Any]) -> AsyncIterator[FirefoxPage]:
    """A tab in a fresh profile, which is a folder that exists; `preferences` come on top of those above."""
    lines = (f"user_pref({json.dumps(n)}, {json.dumps(v)});\n" for n, v in {**PREFERENCES, **preferences}.items())
    (profile / "user.js").write_text("".join(lines))
    command = (firefox(), "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0")
    process = await asyncio.create_subprocess_exec(
        *command,
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(profile)},
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        async with asyncio.TaskGroup() as group:
            while not (line := await process.stderr.readline()).startswith(LISTENING):
                assert line, "Firefox ended"
            rest = group.create_task(process.stderr.read())  # or the pipe fills and the browser stops
            address = line.removeprefix(LISTENING).decode().strip()
            async with connect(f"{address}/session", max_size=None) as socket:
                page = FirefoxPage(socket)
                await page.begin()
                yield page
            rest.cancel()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
