"""Real processes for SDKs to talk to: Redis, two gateway nodes and a fan-out worker, on free ports."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
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
START_SECONDS = 90.0
END_SECONDS = 30.0
OFTEN = {"TOCSIN_PING_INTERVAL": "2.0", "TOCSIN_PONG_TIMEOUT": "1.8"}
"""Of the other node, which is there to see what becomes of pings: who stands still for two seconds is given up there,
so nobody is connected to it who has something else to show."""
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
drain_seconds = 0.2

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
                self.running.wait(END_SECONDS)
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
                    time.sleep(0.02)
                assert self.running is not None
                assert self.running.poll() is None, self.log.read_text()
        raise AssertionError("the gateway is not ready:\n" + self.log.read_text())


def producer() -> httpx.Client:
    return httpx.Client(headers={"Authorization": f"Bearer {KEY}"}, timeout=START_SECONDS)


@dataclass
class System:
    """All of it."""

    redis: RedisSite
    gateway: GatewayProcess
    other: GatewayProcess
    """A second node, for what may go to any; it pings often."""
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
            for name, pings in (("gateway", {}), ("other", OFTEN)):
                port = free_port()
                node_environ = environ | {"TOCSIN_PORT": str(port)} | pings
                nodes.append(GatewayProcess(["gateway"], node_environ, folder / f"{name}.log", port=port))
            for process in (worker, *nodes):
                stack.callback(process.end)
                process.start()
            for node in nodes:
                node.await_ready()
            yield cls(redis, *nodes, stack.enter_context(producer()))

    def token(self, user: str, ttl: int = 3600, **claims: Any) -> str:
        now = SystemClock().wall()
        return mint(SECRET, user=user, issuer="tocsin", audience="tocsin", now=now, ttl=ttl, **claims)

    def publish(self, **event: Any) -> None:
        """As a producer, through the node that is always there."""
        answer = self.producer.post(f"{self.other.url}/v1/events", json={"type": "test", **event})
        assert answer.status_code == 202, answer.text
