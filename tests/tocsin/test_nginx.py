"""deploy/nginx.conf with a real nginx in front of two real gateways, and the other files that deploy."""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tocsin_system import LIMIT, clean_environ, client, command, tocsin

from bus.namespaces import Namespaces
from bus.people.categories import Categories
from bus.settings import read
from fanout.deliver.settings import DeliverSettings
from tests.ports import free_port
from tocsin.embedded import EmbeddedRedis
from tocsin.settings import load, load_gateway

DEPLOY = Path(__file__).parents[2] / "deploy"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SECRET = "s" * 40
KEY_HASH = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"  # of `key`
BEARER = {"Authorization": "Bearer key"}
LINK = "dG9rZW4tb2YtYW4tdW5zdWJzY3JpYmUtbGluaw"


@dataclass(frozen=True, slots=True)
class Site:
    """nginx with what is behind it."""

    url: str
    environ: dict[str, str]
    gateways: dict[str, subprocess.Popen[bytes]]
    """By the port of each."""

    def token(self, user: str) -> str:
        return tocsin("token", user, environ=self.environ).stdout.strip()


def configuration(folder: Path, port: int, gateways: list[int]) -> Path:
    """The file as it is shipped, but for addresses and the folders that this machine's user may write."""
    text = (DEPLOY / "nginx.conf").read_text()
    changes = {
        "listen 8080;": f"listen 127.0.0.1:{port};",
        "gateway-1:8000": f"127.0.0.1:{gateways[0]}",
        "gateway-2:8000": f"127.0.0.1:{gateways[1]}",
        "/tmp/nginx": f"{folder}/nginx",
        "worker_processes auto;": f"worker_processes 1; daemon off; user {getpass.getuser()};",
        "/dev/stderr": f"{folder}/error.log",
        "/dev/stdout": f"{folder}/access.log",
        "worker_rlimit_nofile 65536;": "",
        "worker_connections 16384;": "worker_connections 512;",
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "nginx.conf"
    path.write_text(text)
    return path


@contextmanager
def program(argv: list[str], environ: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(argv, env=environ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(LIMIT)


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Redis, a fan-out worker, two gateways, and nginx."""
    assert NGINX is not None
    ports = [free_port() for _ in range(3)]
    settings = folder / "tocsin.toml"
    text = (DEPLOY / "tocsin.toml").read_text()
    # The key `key` of a producer, as the comments of the file say how.
    key = f'[gateway.api_keys.shop]\nsha256 = "{KEY_HASH}"\nscopes = ["events", "admin"]\n'
    settings.write_text(text.replace("[fanout]", f"{key}\n[fanout]"))
    with ExitStack() as stack:
        redis = stack.enter_context(EmbeddedRedis(folder / "redis"))
        environ = clean_environ(
            {
                "TOCSIN_CONFIG": str(settings),
                "TOCSIN_REDIS_URL": redis.url,
                "TOCSIN_TOKEN_SECRET": SECRET,
                "TOCSIN_HOST": "127.0.0.1",
                "TOCSIN_METRICS_PORT": "0",
                "TOCSIN_DRAIN_SECONDS": "0.2",
                "TOCSIN_LOG_LEVEL": "error",
                "TOCSIN_TEMPLATES": str(DEPLOY.parent / "templates"),
            }
        )
        stack.enter_context(program(command("fanout"), environ))
        stack.enter_context(program(command("deliver"), environ))
        gateways = {
            str(port): stack.enter_context(program(command("gateway"), environ | {"TOCSIN_PORT": str(port)}))
            for port in ports[1:]
        }
        stack.enter_context(program([NGINX, "-c", str(configuration(folder, ports[0], ports[1:]))]))
        yield Site(f"http://127.0.0.1:{ports[0]}", environ, gateways)


async def until_ready(site: Site) -> None:
    async with httpx.AsyncClient() as http:
        for port in site.gateways:
            while True:
                try:
                    if (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200:
                        break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        while True:
            try:
                if (await http.get(f"{site.url}/healthz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def publish(http: httpx.AsyncClient, site: Site, title: str) -> None:
    """As a producer does, who tries again where nginx cannot say what became of it; by its id it is one event."""
    event = {"id": title, "type": "note", "to": {"users": ["alice"]}, "title": title}
    answer = await http.post(f"{site.url}/v1/events", json=event, headers=BEARER)
    if answer.status_code == 502:
        answer = await http.post(f"{site.url}/v1/events", json=event, headers=BEARER)
    assert answer.status_code == 202, answer.text


@pytest.mark.slow
async def test_everything_passes_through_nginx_and_a_lost_gateway_is_replaced(tmp_path: Path) -> None:
    if NGINX is None:
        pytest.skip("no nginx on this machine")
    with site(tmp_path) as here:
        async with asyncio.timeout(2 * LIMIT), httpx.AsyncClient(timeout=LIMIT) as http:
            await until_ready(here)
            token = here.token("alice")
            ws = here.url.replace("http", "ws") + "/connection/websocket"
            async with client(ws) as first, client(ws) as second:
                for socket in (first, second):
                    place = (await socket.ask("connect", token=token))["connect"]["subs"]["inbox"]
                stream = http.stream("GET", f"{here.url}/sse", headers={"Authorization": f"Bearer {token}"})
                async with stream as events:
                    lines = events.aiter_lines()
                    async for line in lines:
                        if line == "event: tocsin.ready":
                            break
                    await publish(http, here, "One")
                    async for line in lines:
                        if "One" in line:
                            break
                for socket in (first, second):
                    assert (await socket.publication("inbox"))["data"]["title"] == "One"

            lost = next(iter(here.gateways.values()))
            lost.kill()
            lost.wait(LIMIT)
            await publish(http, here, "Two")
            async with client(ws) as again:
                recover = {"inbox": {"recover": True, "epoch": place["epoch"], "offset": place["offset"]}}
                inbox = (await again.ask("connect", token=token, subs=recover))["connect"]["subs"]["inbox"]
                missed = inbox["publications"]
                if len(missed) < 2:  # a worker may not have come to it yet
                    missed.append(await again.publication("inbox"))
                assert [p["data"]["title"] for p in missed] == ["One", "Two"]
            assert await emulated(http, here, token) == "inbox"
            await paths_of_people(http, here)
    log = (tmp_path / "access.log").read_text()  # now it is whole
    assert token not in log
    assert "POST /u/... 404" in log
    assert LINK not in log
    assert "emerg" not in (tmp_path / "error.log").read_text()


async def paths_of_people(http: httpx.AsyncClient, site: Site) -> None:
    """Links of mails lead to the gateway, a name may hold a slash, and followers may come in bulk."""
    page = await http.post(f"{site.url}/u/{LINK}")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    name = f"{site.url}/v1/users/a%2Fb"
    assert (await http.put(name, json={"locale": "de"}, headers=BEARER)).json() == {"id": "a/b", "locale": "de"}
    many = {"add": [f"user-{number:0120}" for number in range(10_000)]}
    added = await http.post(f"{site.url}/v1/topics/news:sport/members", json=many, headers=BEARER)
    assert added.json()["added"] == 10_000


async def emulated(http: httpx.AsyncClient, site: Site, token: str) -> str:
    """Connect by the HTTP stream: the reply must come while the answer is still open."""
    connect = f'{{"id":1,"connect":{{"token":"{token}"}}}}'
    async with http.stream("POST", f"{site.url}/connection/http_stream", content=connect) as response:
        async for line in response.aiter_lines():
            if '"connect"' in line:
                return next(iter(httpx.Response(200, text=line).json()["connect"]["subs"]))
    raise AssertionError("the stream ended before the reply")


def test_the_operators_endpoints_are_for_this_machine_alone() -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    block = re.search(r"location ~ \^/\(metrics\|readyz\|dev/\) \{(.*?)\}", text, re.DOTALL)
    assert block is not None
    assert "deny all;" in block[1]


def test_the_settings_that_are_shipped_are_known_settings() -> None:
    environ = {"TOCSIN_CONFIG": str(DEPLOY / "tocsin.toml")}
    assert load_gateway(environ).host == "0.0.0.0"
    load(environ)
    file = tomllib.loads((DEPLOY / "tocsin.toml").read_text())
    settings = read(DeliverSettings, file, environ, table="deliver")
    assert Categories(settings.categories).of("security").required
    assert settings.templates == "/app/templates"
    rules = Namespaces(tomllib.loads((DEPLOY / "tocsin.toml").read_text())["namespaces"])
    assert rules.of("room:1").publish == "subscriber"
    assert rules.of("other:1").subscribe == "token"


def test_compose_starts_what_the_documents_say() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    services = re.findall(r"^  ([a-z0-9-]+):", text.split("\nservices:\n")[1].split("\nvolumes:\n")[0], re.MULTILINE)
    assert services == ["nginx", "gateway-1", "gateway-2", "fanout-1", "fanout-2", "deliver-1", "deliver-2", "redis"]
    assert "--maxmemory-policy, noeviction" in text
    assert '--appendonly, "yes"' in text


def test_the_image_has_every_folder_that_is_imported() -> None:
    docker = (DEPLOY.parent / "Dockerfile").read_text()
    ignored = (DEPLOY.parent / ".dockerignore").read_text()
    for folder in ("bus", "gateway", "fanout", "tocsin", "templates", "web/client", "web/demo"):
        assert f"COPY {folder} {folder}" in docker
        assert f"\n!{folder}\n" in ignored
    # Dependencies are installed before the source is there, for which every package must have its folder.
    made = set(re.findall(r"[\w/]+", docker.split("mkdir -p")[1].split("&&")[0]))
    packages = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {package.replace(".", "/") for package in packages}
    assert {folder for folder in folders if not any(one.startswith(folder) for one in made)} == set()
    assert re.search(r"^USER tocsin$", docker, re.MULTILINE)
    assert "HEALTHCHECK" in docker
