"""People and producers for locust, over the public protocol alone; what is lost, doubled or out of order fails the run.

    locust -f loadtest/locustfile.py --headless --host http://127.0.0.1:8000 --redis redis://127.0.0.1:6379/0

`make load` starts a whole system and runs this against it. Class names at the end of the command line choose who takes
part: `WebSocketPerson PostProducer`, for example.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import secrets
import time
from typing import Any
from urllib.parse import urlsplit
from zlib import crc32

import redis
from locust import LoadTestShape, User, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from loadtest.eventstream import EventStream
from loadtest.ledger import total
from loadtest.listener import INBOX, Gone, Listener, Refused
from loadtest.shapes import SHAPES
from loadtest.tokens import user_token
from loadtest.world import Lane, Receiver, World

PRODUCERS = 2
"""Of each kind: by POST, and by XADD."""
CATCH_UP = 10.0
"""Seconds in which what was sent must have come when a person leaves."""
BACK_OFF = 3.0
"""After a cut people come back spread over this many seconds."""

world = World(run=secrets.token_hex(4), producers=2 * PRODUCERS)


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--shape", choices=list(SHAPES), env_var="LOAD_SHAPE", default="reconnect")
    parser.add_argument("--people", type=int, env_var="LOAD_PEOPLE", default=150, help="most people at a time")
    parser.add_argument("--seconds", type=float, env_var="LOAD_SECONDS", default=60, help="length of the test")
    parser.add_argument("--rate", type=float, env_var="LOAD_RATE", default=20, help="events per second and producer")
    parser.add_argument("--redis", env_var="LOAD_REDIS", default="redis://127.0.0.1:6379/0", help="for XADD")
    parser.add_argument("--key", env_var="LOAD_KEY", default="dev-key", help="API key for POST", is_secret=True)
    parser.add_argument(
        "--secret", env_var="LOAD_SECRET", default=os.environ.get("TOCSIN_TOKEN_SECRET", ""), is_secret=True,
        help="HMAC secret that signs people's tokens",
    )  # fmt: skip


class Course(LoadTestShape):
    """Follows the shape that `--shape` names."""

    def tick(self) -> tuple[int, float] | None:
        """How many there should be now, producers included."""
        if self.runner is None:
            return None
        options: Any = self.runner.environment.parsed_options
        stage = SHAPES[options.shape](options.people, options.seconds).at(time.perf_counter() - self.start_time)
        if stage is None:
            return None
        world.storms = stage.storms
        return stage.people + world.producers, stage.rate


def report(environment: Environment, kind: str, name: str, seconds: float, error: Exception | None = None) -> None:
    """One row of locust's statistics gets one more value."""
    environment.events.request.fire(  # type: ignore[no-untyped-call]
        request_type=kind, name=name, response_time=seconds * 1e3, response_length=0, exception=error, context={}
    )


# People ----------------------------------------------------------------------------------------------------------


class Person(User):
    """Someone with a connection, who gives an account of what came over it."""

    abstract = True
    wait_time = constant(0)
    kind = ""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        address = urlsplit(self.host or "")
        self.address = (address.hostname or "127.0.0.1", address.port or 80)
        self.name = world.person()
        self.topics = world.topics()
        self.receiver = Receiver(world, self.kind, self._delivered)
        self.storms = world.storms
        self.connected_at = 0.0
        self.client = self.make_client(user_token(self.name, self.options.secret, expires_at=time.time() + 3600))

    @property
    def options(self) -> Any:
        """What the command line said."""
        return self.environment.parsed_options

    def make_client(self, token: str) -> Listener | EventStream:
        """The client, not yet connected."""
        raise NotImplementedError

    def on_start(self) -> None:
        """Connect for the first time."""
        self._connect("connect")

    @task
    def listen(self) -> None:
        """Listen for a second; be cut off and come back when there is a storm."""
        if self.storms != world.storms:
            self.storms = world.storms
            self.client.drop()
            time.sleep(random.uniform(0, BACK_OFF))
            self._connect("reconnect")
        self._pump(1.0)

    def on_stop(self) -> None:
        """Wait for what is owed at this moment, then settle the account."""
        owed, deadline = self.receiver.owed(), time.monotonic() + CATCH_UP
        while not self.receiver.has_all(owed) and time.monotonic() < deadline:
            self._pump(0.1)
        self.receiver.close(owed)
        self.client.drop()

    def _pump(self, seconds: float) -> None:
        try:
            self.client.pump(seconds)
        except (Gone, Refused, OSError) as error:
            self._fire("closed", None, error)
            time.sleep(random.uniform(0.1, BACK_OFF))
            self._connect("reconnect")

    def _connect(self, what: str) -> None:
        for _ in range(20):
            began = time.perf_counter()
            self.connected_at = time.time()
            try:
                self.client.connect()
            except (Gone, Refused, OSError) as error:
                self._fire(what, began, error)
                time.sleep(random.uniform(0.1, BACK_OFF))
            else:
                self._fire(what, began)
                return

    def _delivered(self, what: str, sent_at: float) -> None:
        # What was sent while this person was away says how long they were away, not how fast the system is.
        kind = "deliver" if sent_at > self.connected_at else "recover"
        report(self.environment, kind, f"{self.kind} {what}", time.time() - sent_at)

    def _fire(self, what: str, began: float | None, error: Exception | None = None) -> None:
        report(self.environment, what, self.kind, 0.0 if began is None else time.perf_counter() - began, error)


class WebSocketPerson(Person):
    """Inbox and topics over a WebSocket."""

    weight = 4
    kind = "websocket"

    def make_client(self, token: str) -> Listener:
        """See `Person`."""
        return Listener(self.address, token, self.topics, self._subscribed, self.receiver.receive)

    def _subscribed(self, channel: str, offset: int) -> None:
        self.receiver.follow(self.name if channel == INBOX else channel, offset)


class StreamPerson(Person):
    """Inbox and topics as a plain event stream.

    It does not say where it began: the first event does, and at the latest what is sent from now on is owed.
    """

    weight = 1
    kind = "sse"

    def make_client(self, token: str) -> EventStream:
        """See `Person`."""
        return EventStream(self.address, token, self.topics, self._receive)

    def on_start(self) -> None:
        """See `Person`."""
        self.latest: dict[str, int] = {}
        super().on_start()
        stand = self.receiver.stand()
        self.latest = {lane: stand[lane] for lane in (self.name, *self.topics)}

    def on_stop(self) -> None:
        """See `Person`."""
        for lane, position in self.latest.items():
            self.receiver.follow(lane, position)
        super().on_stop()

    def _receive(self, data: dict[str, Any]) -> None:
        lane, number = data["lane"], data["number"]
        self.receiver.follow(lane, min(number - 1, self.latest.get(lane, number)))
        self.receiver.receive(data)


# Producers -------------------------------------------------------------------------------------------------------


class Producer(User):
    """Feeds its own lanes, one event of a lane at a time; an event that was not accepted is sent again."""

    abstract = True
    fixed_count = PRODUCERS
    way = ""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.seat = world.seat()
        self.options: Any = environment.parsed_options

    def wait_time(self) -> float:
        """Seconds between two events."""
        return random.uniform(0.5, 1.5) / float(self.options.rate)

    @task
    def produce(self) -> None:
        """One event."""
        lane = world.lane_for(self.seat)
        if lane is None:
            return
        lane.busy = True
        began = time.perf_counter()
        error: Exception | None = None
        try:
            self.send(lane, lane.event(time.time()))
            lane.sent += 1
        except (OSError, http.client.HTTPException, redis.RedisError, Refused) as failure:
            error = failure
        finally:
            lane.busy = False
        report(self.environment, "produce", self.way, time.perf_counter() - began, error)

    def send(self, lane: Lane, event: dict[str, Any]) -> None:
        """Returns when the event is accepted."""
        raise NotImplementedError


class PostProducer(Producer):
    """By `POST /v1/events`."""

    way = "POST"

    def on_start(self) -> None:
        """Open the connection that is kept."""
        self.link = http.client.HTTPConnection(urlsplit(self.host or "").netloc, timeout=10)

    def send(self, lane: Lane, event: dict[str, Any]) -> None:
        """See `Producer`."""
        fields = {"Content-Type": "application/json", "Authorization": f"Bearer {self.options.key}"}
        try:
            self.link.request("POST", "/v1/events", json.dumps(event), fields)
            answer = self.link.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.link.close()
            raise
        if answer.status != 202:
            raise Refused(f"{answer.status} {text[:200].decode(errors='replace')}")


class XaddProducer(Producer):
    """By `XADD` to an ingest stream; a lane always to the same one, within which order is kept."""

    way = "XADD"

    def on_start(self) -> None:
        """Find the streams."""
        self.redis = redis.Redis.from_url(self.options.redis, socket_timeout=10)
        self.streams = sorted(key.decode() for key in self.redis.scan_iter("*:{*}:events", count=1000))

    def send(self, lane: Lane, event: dict[str, Any]) -> None:
        """See `Producer`."""
        if not self.streams:
            raise Refused("no ingest stream found")
        stream = self.streams[crc32(lane.name.encode()) % len(self.streams)]
        self.redis.xadd(stream, {"e": json.dumps(event)})


# The account -----------------------------------------------------------------------------------------------------


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _settle(environment: Environment, **_: object) -> None:
    """Show the account as rows of the report and decide how the process exits."""
    print("\nreceiver    delivered      lost   doubled  out of order")
    for kind, tally in sorted(world.accounts.items()):
        print(f"{kind:10} {tally.delivered:10} {tally.lost:9} {tally.doubled:9} {tally.disordered:13}")
    account = total(world.accounts.values())
    for name, count in (("lost", account.lost), ("doubled", account.doubled), ("out of order", account.disordered)):
        entry = environment.stats.get(name, "account")
        entry.num_requests, entry.num_failures = account.delivered + account.lost, count
    if not account.clean:
        environment.process_exit_code = 1
    elif not account.delivered:
        print("nothing was delivered")
        environment.process_exit_code = 1
