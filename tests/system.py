"""The roles as real processes on a real Redis: started, killed and stopped while they work, and what they logged."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from bus.clock import SystemClock
from gateway.mint import mint
from tests.ports import free_port
from tests.redis_site import DEAD_AFTER
from tests.servers import CHOSEN, Account, Plan, RedisSite, start
from tests.tocsin_system import clean_environ, command
from tocsin import acl
from tocsin.toml import to_toml

SECRET = "a test secret of at least thirty-two bytes"
KEY = "shop-key-0123456789"
OPS_KEY = "ops-key-0123456789"
"""Of an operator: scope admin."""
START_TIMEOUT = 60.0
END_TIMEOUT = 60.0
OPEN = {"subscribe": "user", "publish": "user", "history": "user", "history_size": 10_000}
"""Rules of the namespace `room`."""


def token(user: str, ttl: int = 3600, **claims: Any) -> str:
    """A token that every gateway here accepts."""
    return mint(SECRET, user=user, issuer="tocsin", audience="tocsin", now=SystemClock().wall(), ttl=ttl, **claims)


@dataclass
class Role:
    """A process of ours. It can be ended and started again, with the same settings and the same log."""

    name: str
    environ: dict[str, str]
    log: Path
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command(self.name), stdout=log, stderr=log, env=clean_environ(self.environ), start_new_session=True
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        try:
            return process.wait(END_TIMEOUT)
        finally:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End it as a crash would."""
        self.end(signal.SIGKILL)

    def resident(self) -> int:
        """Bytes of memory it has now."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Gateway(Role):
    """A gateway node on a port of its own."""

    port: int = 0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def status(self, path: str, timeout: float = 5.0) -> int:
        """Status of a GET; 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def until_ready(self) -> None:
        """Wait until an event would reach connections here. Blocks: under a loop, call it by `asyncio.to_thread`."""
        deadline = time.monotonic() + START_TIMEOUT
        while self.status("/readyz") != 200:
            assert self.runs, f"{self.name} ended: {self.log.read_text()[-2_000:]}"
            assert time.monotonic() < deadline, f"{self.name} is not ready: {self.log.read_text()[-2_000:]}"
            time.sleep(0.02)

    def metric(self, name: str, labels: str = "") -> float:
        """A counter or gauge of /metrics, summed over those of its labels that contain `labels`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}[{{ ]", line) and labels in line
        )


@dataclass
class System:
    """A Redis (of one server or more), gateways and fan-out workers."""

    redis: RedisSite
    settings: Mapping[str, str]
    """What every role is told, by its environment."""
    accounts: Mapping[str, Account]
    """The Redis user of each role."""
    gateways: list[Gateway] = field(default_factory=list)
    workers: list[Role] = field(default_factory=list)

    @property
    def roles(self) -> Sequence[Role]:
        return (*self.gateways, *self.workers)

    def environ(self, role: str) -> dict[str, str]:
        """What a process of a role is told: `gateway`, `fanout`, `deliver`, `cli`."""
        return {**self.settings, "TOCSIN_REDIS_URL": self.redis.url_of(self.accounts[role])}

    def logged(self) -> str:
        """All that the roles logged."""
        return "".join(role.log.read_text() for role in self.roles)

    def log_faults(self) -> list[str]:
        """Lines that are no log lines (tracebacks, warnings of Python), and lines that carry an exception."""
        return [line for line in self.logged().splitlines() if not line.startswith('{"time"') or '"error": {' in line]

    def tocsin(self, *argv: str) -> str:
        """What a command prints."""
        environ = clean_environ(self.environ("cli"))
        ran = subprocess.run(command(*argv), capture_output=True, text=True, timeout=60, check=True, env=environ)
        return ran.stdout


def accounts_for(prefix: str) -> dict[str, Account]:
    """The Redis users of an installation, as `tocsin acl` makes them."""
    users = acl.users_of(prefix)
    return {user.role: Account(user.name, user.password, user.rules, user.sentinel_rules) for user in users}


@contextmanager
def system(
    folder: Path,
    *,
    gateways: int = 1,
    workers: int = 1,
    site: str = CHOSEN,
    redis: Mapping[str, str] | None = None,
    dead_after: float = DEAD_AFTER,
    tls: Path | None = None,
    namespaces: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Iterator[System]:
    """A system that is ready when the block begins. `settings` go to every role.

    `site` is the form of its Redis (default: the one of this run), `redis` are settings of its servers; one that is
    silent for `dead_after` seconds is replaced; `tls` is the certificate with which they speak TLS. Each role has the
    Redis user that `tocsin acl` makes for it, and the default user may do nothing.

    At the end every process is ended, and none may have failed in a way that it did not expect.
    """
    config = folder / "tocsin.toml"
    accounts = accounts_for(str(settings.get("prefix", "tocsin")))
    keys = {
        "shop": {"sha256": sha256(KEY.encode()).hexdigest(), "scopes": ["events"]},
        "ops": {"sha256": sha256(OPS_KEY.encode()).hexdigest(), "scopes": ["admin"]},
    }
    config.write_text(to_toml({"namespaces": {"room": OPEN, **(namespaces or {})}, "gateway": {"api_keys": keys}}))
    with ExitStack() as stack:
        plan = Plan(options=redis or {}, dead_after=dead_after, accounts=[*accounts.values()], tls=tls)
        server = stack.enter_context(start(site, folder / "redis", plan))
        environ = {f"TOCSIN_{name.upper()}": str(value) for name, value in settings.items()}
        environ |= {"TOCSIN_CONFIG": str(config), "TOCSIN_TOKEN_SECRET": SECRET}
        made = System(server, environ, accounts)
        for number in range(workers):
            made.workers.append(Role("fanout", made.environ("fanout"), folder / f"fanout{number}.log"))
        for number in range(gateways):
            port = free_port()
            own = made.environ("gateway") | {"TOCSIN_PORT": str(port)}
            made.gateways.append(Gateway("gateway", own, folder / f"gateway{number}.log", port=port))
        for role in made.roles:
            stack.callback(role.kill)
            role.start()
        for gateway in made.gateways:
            gateway.until_ready()
        yield made
        for role in made.roles:
            role.end()
        assert not (faults := made.log_faults()), faults


def problem_of(answer: bytes) -> dict[str, Any]:
    """The body of a refusal over HTTP (RFC 9457)."""
    problem: dict[str, Any] = json.loads(answer)
    assert problem["detail"] or problem["title"]
    return problem
