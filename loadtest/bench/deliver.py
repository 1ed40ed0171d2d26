"""One delivery worker by itself: how many pushes and mails a second it gets to services on this machine.

What is to be sent is made as it always is: people are told of over HTTP, events are accepted for them, and a fan-out
worker climbs their ladders. Then everything else is ended, and a delivery worker finds its jobs waiting.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPConnection
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from loadtest.bench.process import Failed, Process, cpu_seconds, wait_until
from loadtest.bench.servers import LOAD_CORE, SERVER_CORE, START_TIMEOUT, Server, Tocsin, free_port

Readings = dict[str, float]

PEOPLE = 200
BATCH = 20
"""Events in one request."""
PATIENCE = 180.0
WARM = 0.1
"""Share of the messages that is sent before the clock starts."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many of each."""

    pushes: int = 40_000
    mails: int = 10_000


SMALL = Size(pushes=4_000, mails=2_000)


class Senders(Tocsin):
    """Redis and the services on the load's core, the delivery worker on its own; the rest only to make ready."""

    def start(self) -> None:
        self._store = self.start_redis()
        self._sink_port, self._mail_port = free_port(), free_port()
        command = [sys.executable, "-m", "loadtest.bench.sink", str(self._sink_port), str(self._mail_port)]
        self._sink = self.launch("sink", command, LOAD_CORE)
        env = self._env = self.environment()
        self._others = [
            self.launch("fanout", [self.program, "fanout"], LOAD_CORE, env),
            self.launch("gateway", [self.program, "gateway"], SERVER_CORE, env),
        ]
        self.pid = self._others[1].pid
        wait_until(lambda: self._ask("GET", "/readyz")[0] == 200, START_TIMEOUT, "not ready", *self._others)

    def environment(self) -> dict[str, str]:
        env = super().environment()
        digest = sha256(self.key.encode()).hexdigest()
        key = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value.to_bytes(32, "big")
        (self.folder / "tocsin.toml").write_text(
            f'directory_keys = ["k1:{_base64(os.urandom(32))}"]\ndirectory_index_key = "{_base64(os.urandom(32))}"\n'
            f'[gateway.api_keys.bench]\nsha256 = "{digest}"\nscopes = ["events", "admin"]\n'
            f"[deliver]\nallow_private_addresses = true\n"
            f'[deliver.webpush.main]\nvapid_key = "{_base64(key)}"\nsubject = "mailto:ops@example.com"\n'
            f'hosts = ["127.0.0.1"]\nconnections = 256\n'
            f'[deliver.email.main]\nhost = "127.0.0.1"\nport = {self._mail_port}\ntls = "none"\n'
            f'from = "Bench <bench@example.com>"\nconnections = 32\n'
        )
        return env

    # Making ready ------------------------------------------------------------------------------------------------

    def people(self) -> None:
        """Everybody has an address and one browser."""
        browser = ec.generate_private_key(ec.SECP256R1()).public_key()
        point = browser.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"p256dh": _base64(point), "auth": _base64(os.urandom(16))}
        for number in range(PEOPLE):
            self._must("PUT", f"/v1/users/u{number}", {"email": f"u{number}@example.com", "name": f"User {number}"})
            target = f"http://127.0.0.1:{self._sink_port}/p/{number}"
            device = {"provider": "webpush", "target": target, "keys": keys}
            self._must("POST", f"/v1/users/u{number}/devices", device)

    def queue(self, channel: str, count: int) -> None:
        """Events for everybody, whose one step is due at once, until so many jobs wait; then end who made them."""
        event = {
            "type": "bench",
            "to": {"users": [f"u{number}" for number in range(PEOPLE)]},
            "ladder": [{"via": channel}],
            "title": "Your parcel is on its way",
            "body": "It left the depot at nine and is with you before noon. " * 2,
            "data": {"url": "https://example.com/parcels/1", "parcel": "x" * 40},
        }
        for _ in range(0, count, PEOPLE * BATCH):
            self._must("POST", "/v1/events", {"events": [event] * BATCH})
        wait_until(lambda: self._jobs(channel) >= count, PATIENCE, f"{count} jobs are not there", *self._others)
        for process in self._others:
            process.end()

    def _jobs(self, channel: str) -> int:
        keys: list[Any] = list(self.redis.scan_iter(f"tocsin:*:jobs:{channel}", count=5_000))
        pipeline = self.redis.pipeline(transaction=False)
        for key in keys:
            pipeline.xlen(key)
        return sum(pipeline.execute())

    # The worker --------------------------------------------------------------------------------------------------

    def deliver(self, channel: str, what: str, count: int) -> Readings:
        """Messages by wall clock and by the worker's CPU, and Redis's CPU for each."""
        worker = self.launch("deliver", [self.program, "deliver", "--channel", channel], SERVER_CORE, self._env)
        self.pid = worker.pid
        begun = self._reading(worker, what, count * WARM)
        ended = self._reading(worker, what, count)
        sent = ended.count - begun.count
        return {
            f"deliver_{what}_wall": sent / (ended.time - begun.time),
            f"deliver_{what}_cpu": sent / (ended.cpu - begun.cpu),
            f"deliver_{what}_redis_us": (ended.redis - begun.redis) / sent * 1e6,
        }

    def _reading(self, worker: Process, what: str, count: float) -> _Reading:
        wait_until(lambda: self._count(what) >= count, PATIENCE, f"{count:.0f} are not sent", worker, self._sink)
        return _Reading(self._count(what), time.monotonic(), cpu_seconds(worker.pid), cpu_seconds(self._store.pid))

    def _count(self, what: str) -> int:
        link = HTTPConnection("127.0.0.1", self._sink_port, timeout=5)
        try:
            link.request("GET", "/counts")
            counts: dict[str, int] = json.loads(link.getresponse().read())
            return counts.get(what, 0)
        except OSError:
            return 0
        finally:
            link.close()

    # HTTP --------------------------------------------------------------------------------------------------------

    def _must(self, method: str, path: str, body: object) -> None:
        status, text = self._ask(method, path, json.dumps(body).encode())
        if status // 100 != 2:
            raise Failed(f"{method} {path} was answered {status}: {text[:300]!r}")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        link = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            link.request(method, path, body, self.headers())
            answer = link.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            link.close()


@dataclass(frozen=True, slots=True)
class _Reading:
    count: int
    time: float
    cpu: float
    redis: float


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# Measures --------------------------------------------------------------------------------------------------------


def pushes(server: Server, size: Size) -> Readings:
    """Web pushes: read, decided, worded, encrypted, signed, posted, noted."""
    assert isinstance(server, Senders)
    server.people()
    server.queue("push", size.pushes)
    return server.deliver("push", "push", size.pushes)


def mails(server: Server, size: Size) -> Readings:
    """Mails over kept connections."""
    assert isinstance(server, Senders)
    server.people()
    server.queue("email", size.mails)
    return server.deliver("email", "mail", size.mails)


MEASURES = ("push", "email")
"""Those that need a delivery worker by itself."""
