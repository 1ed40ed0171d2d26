"""Real processes for SDKs to talk to: Redis, two gateway nodes and a fan-out worker, on free ports."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from bus.clock import SystemClock
from gateway.mint import mint
from tests.ports import free_port
from tests.servers import RedisSite
from tocsin.embedded import EmbeddedRedis

SECRET = "a test secret of at least thirty-two bytes"
KEY = "test-key"
START_SECONDS = 30.0
CONFIG = """
[namespaces.room]
subscribe = "user"
publish = "subscriber"
presence = "user"
history = "user"
join_leave = true

[namespaces.news]
subscribe = "user"

[gateway]
ping_interval = 2.0
pong_timeout = 1.5
drain_seconds = 0.2
token_leeway = 0.0

[gateway.api_keys.test]
sha256 = "{key}"
scopes = ["events"]
"""


@dataclass
class Process:
    """One of our commands, which can be ended and started anew as the same."""

    command: Sequence[str]
    environ: dict[str, str]
    log: Path
    running: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        with self.log.open("ab") as log:
            argv = [sys.executable, "-m", "tocsin", *self.command]
            self.running = subprocess.Popen(argv, env=self.environ, stdout=log, stderr=log)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait until it is gone."""
        if self.running is not None:
            self.running.send_signal(how)
            try:
                self.running.wait(15)
            finally:
                self.running.kill()
                self.running.wait(5)
            self.running = None


@dataclass
class GatewayProcess(Process):
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def await_ready(self) -> None:
        """Until messages go through Redis to this node and back."""
        clock = SystemClock()
        deadline = clock.monotonic() + START_SECONDS
        with httpx.Client() as client:
            while clock.monotonic() < deadline:
                try:
                    if client.get(f"{self.url}/readyz").status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                assert self.running is not None
                assert self.running.poll() is None, self.log.read_text()
        raise AssertionError("the gateway is not ready:\n" + self.log.read_text())


@dataclass
class System:
    """All of it."""

    redis: RedisSite
    gateway: GatewayProcess
    other: GatewayProcess
    """A second node, for what may go to any."""
    producer: httpx.Client

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator[Self]:
        """Started, and ended in good order."""
        config = folder / "tocsin.toml"
        config.write_text(CONFIG.format(key=hashlib.sha256(KEY.encode()).hexdigest()))
        with ExitStack() as stack:
            redis = stack.enter_context(EmbeddedRedis(folder / "redis"))
            environ = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
            environ |= {"TOCSIN_CONFIG": str(config), "TOCSIN_REDIS_URL": redis.url, "TOCSIN_TOKEN_SECRET": SECRET}
            worker = Process(["fanout"], environ, folder / "fanout.log")
            nodes = []
            for name in ("gateway", "other"):
                port = free_port()
                node_environ = environ | {"TOCSIN_PORT": str(port)}
                nodes.append(GatewayProcess(["gateway"], node_environ, folder / f"{name}.log", port=port))
            for process in (worker, *nodes):
                stack.callback(process.end)
                process.start()
            for node in nodes:
                node.await_ready()
            yield cls(redis, *nodes, stack.enter_context(httpx.Client(headers={"Authorization": f"Bearer {KEY}"})))

    def token(self, user: str, ttl: int = 3600, **claims: Any) -> str:
        now = SystemClock().wall()
        return mint(SECRET, user=user, issuer="tocsin", audience="tocsin", now=now, ttl=ttl, **claims)

    def publish(self, **event: Any) -> None:
        """As a producer, through the node that is always there."""
        answer = self.producer.post(f"{self.other.url}/v1/events", json={"type": "test", **event})
        assert answer.status_code == 202, answer.text
