"""`tocsin dev`: the whole system on this machine, from nothing, until Ctrl-C."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bus.clock import SystemClock
from bus.fitness import check_fitness
from bus.pipe import opened
from gateway.settings import GatewaySettings
from tocsin.devconfig import dev_file
from tocsin.embedded import EmbeddedRedis, free_port
from tocsin.folder import Folder, Running, signing_secret
from tocsin.settings import load_gateway, names_redis, read_checked
from tocsin.supervisor import Child, Ready, Supervisor
from tocsin.toml import to_toml
from tocsin.trouble import CONFIG, Trouble

TEMPLATES: Final = Path(__file__).parents[1] / "templates"
"""The examples, where the source is at hand."""
CALM: Final[Mapping[str, str]] = {"TOCSIN_DRAIN_SECONDS": "0.5", "TOCSIN_LOG_LEVEL": "warning"}
"""Unless said otherwise: at a terminal nobody waits for a gentle farewell, or reads that all is well."""


@dataclass(frozen=True, slots=True)
class DevOptions:
    """What the command line says; None: what the settings say."""

    host: str | None = None
    port: int | None = None
    workers: int | None = None
    as_json: bool = False


def run(folder: Folder, environ: Mapping[str, str], options: DevOptions) -> int:
    """Run everything until told to stop. Raises what `tocsin.trouble.explain` knows."""
    settings = _settings(environ, options)
    check_port(settings.host, settings.port)
    with folder.held():
        redis = None if names_redis(environ) else EmbeddedRedis(folder.redis)
        if redis is None:
            asyncio.run(_check_redis(settings.redis_url))
        else:
            settings = replace(settings, redis_url=redis.url)
        smtp = free_port() if find_spec("aiosmtpd") else 0
        templates = str(TEMPLATES) if TEMPLATES.is_dir() else ""
        file = dev_file(read_checked(environ), _page(settings), smtp, templates, folder.keys().as_dict())
        folder.config.write_text(to_toml(file))
        settings = replace(settings, token_secret=signing_secret(settings, folder))
        running = Running(
            pid=os.getpid(), page=_page(settings), redis_url=settings.redis_url, config=str(folder.config.resolve())
        )

        def announce() -> None:
            folder.announce(running)
            print(json.dumps(asdict(running)) if options.as_json else _banner(running, folder, redis), flush=True)

        supervisor = Supervisor(clock=SystemClock(), say=say)
        asyncio.run(supervisor.run(_children(redis, environ, settings, running, smtp), announce))
    return 0


def say(text: str) -> None:
    """A line for the person at the terminal; on stderr, so that stdout stays for scripts."""
    print(f"tocsin: {text}", file=sys.stderr, flush=True)


# What is to run --------------------------------------------------------------------------------------------------


def _settings(environ: Mapping[str, str], options: DevOptions) -> GatewaySettings:
    settings = load_gateway(environ)
    port = settings.port if options.port is None else options.port
    return replace(
        settings,
        host=options.host or settings.host,
        port=port or free_port(),
        workers=options.workers or settings.workers,
    )


def check_port(host: str, port: int) -> None:
    """Raises `Trouble` when the gateway could not listen there, before anything is started."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Trouble(
            f"cannot listen on {host} port {port}: {reason}; try another port: --port {free_port()}", CONFIG
        ) from error


async def _check_redis(url: str) -> None:
    async with opened(url, name="tocsin-dev", clock=SystemClock(), scripts=False) as pipe:
        await check_fitness(pipe)


def _children(
    redis: EmbeddedRedis | None, environ: Mapping[str, str], settings: GatewaySettings, running: Running, smtp: int
) -> Sequence[tuple[Child, Ready]]:
    roles = dict(environ) | {
        "TOCSIN_CONFIG": running.config,
        "TOCSIN_REDIS_URL": settings.redis_url,
        "TOCSIN_TOKEN_SECRET": settings.token_secret,
        "TOCSIN_HOST": settings.host,
        "TOCSIN_PORT": str(settings.port),
        "TOCSIN_WORKERS": str(settings.workers),
        "TOCSIN_DEV": "true",
    }
    for name, value in CALM.items():
        roles.setdefault(name, value)
    python = (sys.executable, "-m", "tocsin")
    children: list[tuple[Child, Ready]] = []
    if redis is not None:
        children.append((Child("redis", redis.command, environ, log=redis.log), redis.answers))
    # All roles start at once: the page must not wait for the workers' imports.
    children.append((Child("fanout", lambda: (*python, "fanout"), roles), lambda: True))
    if smtp:
        children.append((Child("mailbox", lambda: (*python, "mailbox", "--port", str(smtp)), roles), lambda: True))
    children.append((Child("deliver", lambda: (*python, "deliver"), roles), lambda: True))
    children.append((Child("gateway", lambda: (*python, "gateway"), roles), lambda: _ready(running.page)))
    return children


def _ready(page: str) -> bool:
    """Whether the gateway says that an event would arrive."""
    address = page.removeprefix("http://").removesuffix("/")
    connection = http.client.HTTPConnection(address, timeout=1.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


# What is said ----------------------------------------------------------------------------------------------------


def _page(settings: GatewaySettings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}/" if ":" in host else f"http://{host}:{settings.port}/"


def _banner(running: Running, folder: Folder, redis: EmbeddedRedis | None) -> str:
    program = "tocsin" if shutil.which("tocsin") else min(os.path.relpath(sys.argv[0]), sys.argv[0], key=len)
    kept = f"embedded, its data in {folder.redis}" if redis is not None else "yours, from TOCSIN_REDIS_URL"
    return f"""
Tocsin runs. Open the page:  {running.page}

  send      {program} publish --user alice --title Hello
  a token   {program} token alice
  Redis     {kept}
  stop      Ctrl-C
"""
