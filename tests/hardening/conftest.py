"""A running system for the tests of each module, whose logs are read at the end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.gateway.signing import published
from tests.system import SECRET, Gateway, System, system

PLANTED = "hunter2"
"""Stands in everything private that the tests send: payloads, tokens, credentials, queries."""
FILES = 30
"""More than a gateway without clients has open."""


class KeySet(ThreadingHTTPServer):
    """An issuer's keys, and how often they were asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked = 0
        self.document = json.dumps({"keys": [published("ES256", kid="k1")]}).encode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/keys"


class _Answer(BaseHTTPRequestHandler):
    server: KeySet

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.document)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def key_set() -> Iterator[KeySet]:
    with KeySet() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def left(gateway: Gateway) -> dict[str, float]:
    """What is still there of the connections there were: sessions, listeners, open files."""
    names = ("connections", "authenticated", "stalled", "topics")
    found = {name: gateway.metric(f"tocsin_gateway_{name}") for name in names}
    found["files"] = max(0, len(list(Path(f"/proc/{gateway.pid}/fd").iterdir())) - FILES)
    return {name: count for name, count in found.items() if count}


def until_left(gateway: Gateway) -> None:
    """Wait until nothing is."""
    deadline = time.monotonic() + 30
    while found := left(gateway):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, key_set: KeySet) -> Iterator[System]:
    """One gateway, with times and sizes that tests can wait for. At the end its log must be clean and discreet."""
    with system(
        tmp_path_factory.mktemp("system"),
        log_level="debug",
        partitions=8,
        token_jwks_url=key_set.url,
        token_leeway=60,
        header_timeout=2,
        connect_timeout=3,
        outbox_bytes=262_144,
        connections_per_user=40,
        allowed_origins="https://app.example,https://other.example",
    ) as made:
        yield made
        until_left(made.gateways[0])
        logged = made.logged()
        assert '"node is up"' in logged
        assert [private for private in (PLANTED, SECRET, "eyJ", "tkt_", "127.0.0.1") if private in logged] == []
